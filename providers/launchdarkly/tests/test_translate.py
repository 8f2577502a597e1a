"""What is read from LaunchDarkly decides here as LaunchDarkly's own evaluator decides."""

import json

import pytest
from downhaul_emulators.launchdarkly import boolean, flag_of
from downhaul_launchdarkly.rules import OPERATORS
from downhaul_launchdarkly.translate import context_from, flags_from
from hypothesis import given
from hypothesis import strategies as st
from ldclient import Context as TheirContext
from ldclient.impl.evaluator import Evaluator
from ldclient.impl.events.types import EventFactory
from ldclient.impl.model import FeatureFlag
from ldclient.impl.model import Segment as TheirSegment

from downhaul import Flags
from downhaul.errors import DocumentError
from downhaul.ledger import Fidelity

KINDS = st.sampled_from(["user", "org"])
KEYS = st.sampled_from(["u1", "u2", "o1", "x", "日", "5"])
VALUES = st.sampled_from(
    ["pro", "p", "", 1, 0, 5.5, True, False, "1.2.3", "2.0.0-rc.1", "^p", "2023-11-14T22:13:20Z"]
)
NAMES = st.sampled_from(["plan", "age", "key", "kind", "/address/city", "address"])


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
            "plan": VALUES,
            "age": VALUES,
            "address": st.fixed_dictionaries({}, optional={"city": VALUES}),
        },
    ),
    min_size=1,
)


@pytest.mark.rule("E9", "M1")
@given(payload=payloads(), asked=st.lists(CONTEXTS, min_size=1, max_size=5))
def test_what_was_read_decides_as_the_sdk_does(payload, asked):
    translation = flags_from(json.dumps(payload))
    assert not translation.ledger.lossy
    ours = Flags.in_memory(translation.flags, translation.segments)
    models = {key: FeatureFlag(one) for key, one in payload["flags"].items()}
    segments = {key: TheirSegment(one) for key, one in payload["segments"].items()}
    evaluator = Evaluator(models.get, segments.get, lambda _key: None)
    for context in asked:
        parts = [TheirContext.from_dict({"kind": kind, **one}) for kind, one in context.items()]
        theirs = parts[0] if len(parts) == 1 else TheirContext.create_multi(*parts)
        for key, model in models.items():
            detail = evaluator.evaluate(model, theirs, EventFactory(False)).detail
            result = ours.evaluate(key, context_from({"kind": "multi", **context}), "mine")
            expected = "mine" if detail.value is None else detail.value
            assert result.value == expected, (
                detail.reason,
                ours.explain(key, {"kind": "multi", **context}),
            )


def rest_flag(**environments):
    sent = boolean("agent", percent=25)
    here = {name: sent[name] for name in ("on", "salt", "version", "offVariation", "fallthrough")}
    rule = {
        "_id": "r",
        "clauses": [{"_id": "c", "attribute": "plan", "op": "in", "values": ["pro"]}],
        "variation": 0,
    }
    environments = environments or {"production": {**here, "rules": [rule]}}
    variations = [{"_id": "t", "value": True}, {"_id": "f", "value": False}]
    return {"key": "agent", "variations": variations, "tags": ["ai"], "environments": environments}


@pytest.mark.parametrize("listed", [False, True])
def test_a_flag_of_the_rest_api_is_read_with_its_tags(listed):
    document = {"items": [rest_flag()]} if listed else rest_flag()
    (flag,) = flags_from(document).flags
    assert (flag.key, flag.tags, flag.off_variant, flag.version) == ("agent", ("ai",), "off", "1")
    assert [(one.id, one.serve) for one in flag.rules] == [("r", "on")]
    assert [one.weight for one in flag.default.weights] == [25_000, 75_000]


def test_a_document_of_several_environments_is_not_read_as_one_of_them():
    with pytest.raises(DocumentError, match="production, test"):
        flags_from(rest_flag(production={}, test={}))


@pytest.mark.parametrize(
    "changed",
    [
        {"offVariation": 7},
        {"fallthrough": {}},
        {"prerequisites": [{"key": "elsewhere", "variation": 0}]},
        {
            "rules": [
                {"clauses": [{"attribute": "a", "op": "resembles", "values": [1]}], "variation": 0}
            ]
        },
        {"variations": None},
    ],
)
def test_what_would_decide_otherwise_here_is_left_out_and_told(changed):
    translation = flags_from({"flags": {"agent": {**boolean("agent"), **changed}}})
    assert translation.flags == ()
    (entry,) = translation.ledger
    assert (entry.flag, entry.fidelity) == ("agent", Fidelity.MANUAL)


def test_what_needs_something_that_is_left_out_is_left_out_too():
    clause = {"attribute": "", "op": "segmentMatch", "values": ["big"]}
    document = {
        "flags": {
            "bad": boolean("bad", fallthrough={}),
            "child": boolean("child", prerequisites=[{"key": "bad", "variation": 0}]),
            "leaf": boolean("leaf", prerequisites=[{"key": "child", "variation": 0}]),
            "vip": boolean("vip", rules=[{"id": "r", "clauses": [clause], "variation": 0}]),
            "vips": boolean("vips", prerequisites=[{"key": "vip", "variation": 0}]),
            "good": boolean("good"),
        },
        "segments": {"big": {"key": "big", "unbounded": True}},
    }
    translation = flags_from(document)
    assert [one.key for one in translation.flags] == ["good"]
    lossy = [entry.flag for entry in translation.ledger.lossy]
    assert lossy == ["bad", "child", "leaf", "vip", "vips", ""]


def test_a_big_segment_is_told():
    translation = flags_from({"flags": {}, "segments": {"big": {"key": "big", "unbounded": True}}})
    assert "big segment" in translation.ledger.lossy[0].reason


@pytest.mark.parametrize(
    "document", ["{", "[]", "{}", b'{"flags": {"a": 1}}', {"items": [{"environments": {"e": {}}}]}]
)
def test_what_is_no_document_of_launchdarkly_is_refused(document):
    with pytest.raises(DocumentError):
        flags_from(document)
