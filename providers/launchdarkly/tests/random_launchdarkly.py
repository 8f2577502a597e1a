"""Flags, segments and contexts at random, as LaunchDarkly sends them to its SDKs."""

from downhaul_emulators.launchdarkly import flag_of
from downhaul_launchdarkly.rules import OPERATORS
from hypothesis import strategies as st

KINDS = st.sampled_from(["user", "org"])
KEYS = st.sampled_from(["u1", "u2", "o1", "x", "日", "5"])
VALUES = st.sampled_from(
    [
        *("pro", "p", "", 1, 0, 5.5, True, False, "1.2.3", "2.1", "2.0.0-rc.1", "^p"),
        *("2023-11-14T22:13:20Z", "2023-11-14T22:13:20.5+01:00", 1_700_000_000_000),
    ]
)
NAMES = st.sampled_from(["plan", "age", "key", "kind", "/address/city", "address", "anonymous"])


@st.composite
def clauses(draw):
    if draw(st.integers(0, 4)) == 0:
        return {
            "attribute": "",
            "op": "segmentMatch",
            "values": ["s1"],
            "negate": draw(st.booleans()),
        }
    kind = draw(st.sampled_from([{}, {"contextKind": "user"}, {"contextKind": "org"}]))
    return {
        **kind,
        "attribute": draw(NAMES),
        "op": draw(st.sampled_from(sorted(OPERATORS))),
        "values": draw(st.lists(VALUES, min_size=1, max_size=3)),
        "negate": draw(st.booleans()),
    }


@st.composite
def serves(draw):
    if draw(st.booleans()):
        return {"variation": draw(st.integers(0, 2))}
    first = draw(st.integers(0, 100_000))
    second = draw(st.integers(0, 100_000 - first))
    weights = [first, second, 100_000 - first - second]
    rollout = {
        "contextKind": draw(KINDS),
        "variations": [{"variation": place, "weight": one} for place, one in enumerate(weights)],
        **draw(st.sampled_from([{}, {"bucketBy": "plan"}, {"bucketBy": "/address/city"}])),
        **draw(st.sampled_from([{}, {"seed": 61}, {"kind": "experiment", "seed": 7}])),
    }
    return {"rollout": rollout}


@st.composite
def flags(draw, key, others):
    first, second = draw(st.lists(KEYS, max_size=3)), draw(st.lists(KEYS, max_size=2))
    targets = [
        {"variation": 2, "values": first},
        {"variation": 0, "values": [one for one in second if one not in first]},
    ]
    places = [
        {"variation": 0, "values": [], "contextKind": "user"},
        {"variation": 1, "values": draw(st.lists(KEYS, max_size=2)), "contextKind": "org"},
        {"variation": 2, "values": [], "contextKind": "user"},
    ]
    rules = [
        {
            "id": f"r{place}",
            "clauses": draw(st.lists(clauses(), min_size=1, max_size=2)),
            **draw(serves()),
        }
        for place in range(draw(st.integers(0, 3)))
    ]
    return flag_of(
        key,
        ["a", "b", "c"],
        on=draw(st.integers(0, 5)) > 0,
        offVariation=draw(st.sampled_from([None, 0, 2])),
        fallthrough=draw(serves()),
        targets=targets,
        contextTargets=draw(st.sampled_from([[], places])),
        rules=rules,
        prerequisites=[{"key": one, "variation": draw(st.integers(0, 2))} for one in others],
    )


@st.composite
def payloads(draw):
    rule = {
        "id": "1",
        "clauses": draw(st.lists(clauses(), max_size=1)),
        "weight": draw(st.integers(0, 100_000)),
    }
    if draw(st.booleans()):
        rule |= {
            "rolloutContextKind": draw(KINDS),
            "bucketBy": draw(st.sampled_from(["key", "age"])),
        }
    rule["clauses"] = [one for one in rule["clauses"] if one["op"] != "segmentMatch"]
    segment = {
        "key": "s1",
        "version": 1,
        "salt": "s",
        "included": draw(st.lists(KEYS, max_size=1)),
        "excluded": draw(st.lists(KEYS, max_size=1)),
        "includedContexts": [{"contextKind": "org", "values": draw(st.lists(KEYS, max_size=1))}],
        "excludedContexts": [],
        "rules": [rule],
    }
    one = draw(flags("one", []))
    two = draw(flags("two", draw(st.sampled_from([[], ["one"]]))))
    return {"flags": {"one": one, "two": two}, "segments": {"s1": segment}}


CONTEXTS = st.dictionaries(
    KINDS,
    st.fixed_dictionaries(
        {"key": KEYS},
        optional={
            "plan": VALUES | st.lists(VALUES, max_size=2),
            "age": VALUES,
            "anonymous": st.booleans(),
            "address": st.fixed_dictionaries({}, optional={"city": VALUES}),
        },
    ),
    min_size=1,
)
