"""Rule E9: what left a vendor decides as the vendor's own SDK does, where that SDK is installed.

The SDKs are no dependency of the tests (``make bench`` installs them); the golden vectors, which
they wrote, always run.
"""

import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import texts

from downhaul import Context, Flag, Flags, Segment
from downhaul.evaluator.bucketing import measure_of
from downhaul.flag import (
    CONTEXT_KIND,
    TARGETING_KEY,
    Bucketing,
    Clause,
    Dialect,
    FlagKind,
    Gate,
    Keys,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    SegmentRule,
    Split,
    Target,
    Weight,
)
from downhaul.result import Reason

pytestmark = [pytest.mark.rule("E9"), pytest.mark.filterwarnings("ignore")]
keys = texts.filter(bool)

# --- LaunchDarkly: whole flags, written at random as its server sends them

KINDS = ("user", "org")
ATTRIBUTES = ("plan", "age", "key", "kind", "/address/city", "version", "since", "roles")
OPERATORS = {
    "in": Operator.IN,
    "startsWith": Operator.STARTS_WITH,
    "endsWith": Operator.ENDS_WITH,
    "contains": Operator.CONTAINS,
    "matches": Operator.MATCHES,
    "lessThan": Operator.LESS,
    "lessThanOrEqual": Operator.LESS_OR_EQUAL,
    "greaterThan": Operator.GREATER,
    "greaterThanOrEqual": Operator.GREATER_OR_EQUAL,
    "before": Operator.BEFORE,
    "after": Operator.AFTER,
    "semVerEqual": Operator.SEMVER_EQUAL,
    "semVerLessThan": Operator.SEMVER_LESS,
    "semVerGreaterThan": Operator.SEMVER_GREATER,
}
VALUES = st.sampled_from([
    "pro", "p", "o", "Oslo", "user", "org", "u1", "o1", "", 1, 1.0, 0, 5, 5.5, -1, True, False,
    "1.2.3", "1.2", "1", "2.0.0-rc.1", "2-rc.1", "1.2.3+build", "01.2.3", "v1", 1_700_000_000_000,
    "2023-11-14T22:13:20Z", "2023-11-14T22:13:20.5+01:00", "2023-11-14T22:13:20", "^p", "[", 1e308,
])  # fmt: skip


@st.composite
def ld_clauses(draw, segments=()):
    if segments and draw(st.integers(0, 3)) == 0:
        named = draw(st.lists(st.sampled_from([*segments, "missing"]), min_size=1, max_size=2))
        negate = draw(st.booleans())
        return {"attribute": "", "op": "segmentMatch", "values": named, "negate": negate}
    return {
        "contextKind": draw(st.sampled_from(KINDS)),
        "attribute": draw(st.sampled_from(ATTRIBUTES)),
        "op": draw(st.sampled_from(sorted(OPERATORS))),
        "values": draw(st.lists(VALUES, min_size=1, max_size=3)),
        "negate": draw(st.booleans()),
    }


@st.composite
def ld_serves(draw, count):
    if draw(st.booleans()):
        return {"variation": draw(st.integers(0, count - 1))}
    edges = sorted(draw(st.lists(st.integers(0, 100_000), max_size=count - 1)))
    edges = [0, *edges, draw(st.sampled_from([100_000, 100_000, 99_000]))]
    sizes = [max(0, high - low) for low, high in itertools.pairwise(edges)]
    variations = [{"variation": draw(st.integers(0, count - 1)), "weight": size} for size in sizes]
    rollout = {"contextKind": draw(st.sampled_from(KINDS)), "variations": variations}
    bucket_by = draw(st.sampled_from([None, None, "plan", "age", "key", "/address/city"]))
    if bucket_by:
        rollout["bucketBy"] = bucket_by
    if draw(st.booleans()):
        rollout["seed"] = draw(st.integers(0, 100))
    return {"rollout": rollout}


def lists_of_keys():
    return st.lists(st.sampled_from(["u1", "u2", "o1"]), max_size=2)


@st.composite
def ld_segments(draw, key, others):
    def contexts():
        return [{"contextKind": "org", "values": draw(lists_of_keys())}]

    rules = []
    for number in range(draw(st.integers(0, 2))):
        rule = {"id": str(number), "clauses": draw(st.lists(ld_clauses(others), max_size=2))}
        if draw(st.booleans()):
            rule["weight"] = draw(st.integers(0, 100_000))
            rule["rolloutContextKind"] = draw(st.sampled_from(KINDS))
            if draw(st.booleans()):
                rule["bucketBy"] = draw(st.sampled_from(["plan", "age", "key"]))
        rules.append(rule)
    return {
        "key": key,
        "version": 1,
        "salt": "s",
        "included": draw(lists_of_keys()),
        "excluded": draw(lists_of_keys()),
        "includedContexts": contexts(),
        "excludedContexts": contexts(),
        "rules": rules,
    }


@st.composite
def ld_flags(draw, key, segments, others):
    count = draw(st.integers(1, 4))
    prerequisites = [
        {"key": draw(st.sampled_from([*others, "missing"])), "variation": draw(st.integers(0, 3))}
        for _ in range(draw(st.integers(0, 1)))
    ]
    taken = []
    targets = []
    for variation in range(draw(st.integers(0, count))):
        values = [one for one in draw(lists_of_keys()) if one not in taken]
        taken += values
        targets.append({"variation": variation, "values": values})
    return {
        "key": key,
        "version": 1,
        "on": draw(st.integers(0, 5)) > 0,
        "salt": draw(st.sampled_from(["", "8b1c", "日"])),
        "variations": [f"{key}-{number}" for number in range(count)],
        **draw(st.sampled_from([{}, {"offVariation": 0}, {"offVariation": count - 1}])),
        "fallthrough": draw(ld_serves(count)),
        "targets": targets,
        "rules": [
            {
                "id": f"r{number}",
                "clauses": draw(st.lists(ld_clauses(segments), min_size=1, max_size=2)),
                **draw(ld_serves(count)),
            }
            for number in range(draw(st.integers(0, 3)))
        ],
        "prerequisites": prerequisites,
    }


@st.composite
def ld_payloads(draw):
    segments, flags = {}, {}
    for key in ("s1", "s2"):
        segments[key] = draw(ld_segments(key, list(segments)))
    for key in ("f1", "f2", "f3"):
        flags[key] = draw(ld_flags(key, list(segments), list(flags)))
    return {"flags": flags, "segments": segments}


@st.composite
def ld_contexts(draw):
    attributes = st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("plan", "age", "version", "since"), VALUES | st.none()),
            "roles": st.lists(VALUES, max_size=3),
            "address": st.fixed_dictionaries({}, optional={"city": VALUES}) | VALUES,
        },
    )
    chosen = draw(st.sampled_from([("user",), ("org",), ("user", "org")]))
    return {
        kind: {"key": draw(st.sampled_from(["u1", "u2", "o1", "x"]) | keys), **draw(attributes)}
        for kind in chosen
    }


# The mapper: what LaunchDarkly means, said in our model.


def mapped_clause(clause):
    if clause["op"] == "segmentMatch":
        return Clause("", Operator.IN_SEGMENT, tuple(clause["values"]), negate=clause["negate"])
    special = {"key": TARGETING_KEY, "kind": CONTEXT_KIND}
    return Clause(
        special.get(clause["attribute"], clause["attribute"]),
        OPERATORS[clause["op"]],
        tuple(clause["values"]),
        negate=clause["negate"],
        context_kind=clause["contextKind"],
        dialect=Dialect.LAUNCHDARKLY,
    )


def mapped_bucketing(key, salt, by, kind, seed=None):
    return Bucketing(
        Scheme.LAUNCHDARKLY,
        salt=f"{key}.{salt}" if seed is None else str(seed),
        by=(TARGETING_KEY if by in (None, "key") else by,),
        context_kind=kind,
        no_key=NoKey.FIRST,
    )


def mapped_serve(serve, flag):
    if "variation" in serve:
        return str(serve["variation"])
    rollout = serve["rollout"]
    how = mapped_bucketing(
        flag["key"], flag["salt"], rollout.get("bucketBy"), rollout["contextKind"],
        rollout.get("seed"),
    )  # fmt: skip
    weights = (Weight(str(one["variation"]), one["weight"]) for one in rollout["variations"])
    return Split(tuple(weights), how)


def mapped_flag(flag):
    off = flag.get("offVariation")
    return Flag(
        key=flag["key"],
        kind=FlagKind.STRING,
        variants={str(index): value for index, value in enumerate(flag["variations"])},
        off_variant=None if off is None else str(off),
        on=flag["on"],
        default=mapped_serve(flag["fallthrough"], flag),
        targets=tuple(
            Target(str(one["variation"]), frozenset(one["values"])) for one in flag["targets"]
        ),
        rules=tuple(
            Rule(
                mapped_serve(rule, flag), tuple(map(mapped_clause, rule["clauses"])), id=rule["id"]
            )
            for rule in flag["rules"]
        ),
        prerequisites=tuple(
            Prerequisite(one["key"], (str(one["variation"]),)) for one in flag["prerequisites"]
        ),
    )


def mapped_segment(segment):
    def lists(name):
        return (
            Keys(frozenset(segment[name])),
            *(
                Keys(frozenset(one["values"]), one["contextKind"])
                for one in segment[f"{name}Contexts"]
            ),
        )

    def gate(rule):
        if "weight" not in rule:
            return None
        how = mapped_bucketing(
            segment["key"], segment["salt"], rule.get("bucketBy"), rule["rolloutContextKind"]
        )
        return Gate(rule["weight"], how)

    return Segment(
        segment["key"],
        included=lists("included"),
        excluded=lists("excluded"),
        rules=tuple(
            SegmentRule(tuple(map(mapped_clause, rule["clauses"])), gate(rule))
            for rule in segment["rules"]
        ),
    )


REASONS = {
    "OFF": {Reason.DISABLED},
    "PREREQUISITE_FAILED": {Reason.DISABLED},
    "TARGET_MATCH": {Reason.TARGETING_MATCH},
    "RULE_MATCH": {Reason.TARGETING_MATCH, Reason.SPLIT},
    "FALLTHROUGH": {Reason.DEFAULT, Reason.STATIC, Reason.SPLIT},
}


def their_answers(payload, asked):
    from ldclient import Context as TheirContext
    from ldclient.impl.evaluator import Evaluator
    from ldclient.impl.events.types import EventFactory
    from ldclient.impl.model import FeatureFlag
    from ldclient.impl.model import Segment as TheirSegment

    flags = {key: FeatureFlag(one) for key, one in payload["flags"].items()}
    segments = {key: TheirSegment(one) for key, one in payload["segments"].items()}
    evaluator = Evaluator(flags.get, segments.get, lambda _key: None)
    parts = [TheirContext.from_dict({"kind": kind, **part}) for kind, part in asked.items()]
    context = parts[0] if len(parts) == 1 else TheirContext.create_multi(*parts)
    assert context.valid, context.error
    return {
        key: evaluator.evaluate(flag, context, EventFactory(False)).detail
        for key, flag in flags.items()
    }


def check_launchdarkly(payload, asked):
    ours = Flags.in_memory(
        map(mapped_flag, payload["flags"].values()),
        map(mapped_segment, payload["segments"].values()),
    )
    context = {"kind": "multi", **asked}
    for key, theirs in their_answers(payload, asked).items():
        result = ours.evaluate(key, context, "mine")
        expected = "mine" if theirs.value is None else theirs.value
        assert result.value == expected, (theirs.reason, ours.explain(key, context))
        assert result.reason in REASONS[theirs.reason["kind"]]
        assert result.metadata.get("rule") == theirs.reason.get("ruleId")


@pytest.fixture
def ldclient():
    return pytest.importorskip("ldclient", reason="launchdarkly-server-sdk is not installed")


@settings(suppress_health_check=list(HealthCheck))
@given(payload=ld_payloads(), asked=st.lists(ld_contexts(), min_size=1, max_size=6))
@pytest.mark.slow
def test_launchdarkly_flags_decide_as_its_own_evaluator_does(ldclient, payload, asked):
    for one in asked:
        check_launchdarkly(payload, one)


# --- the hashes of Split and Unleash


@given(key=keys, seed=st.integers(-(2**31), 2**31 - 1))
def test_split_buckets_are_those_of_its_sdk(key, seed):
    splitters = pytest.importorskip("splitio.engine.splitters", reason="splitio-client")
    from splitio.models.splits import HashAlgorithm

    for scheme, algorithm in (
        (Scheme.SPLIT, HashAlgorithm.MURMUR),
        (Scheme.SPLIT_LEGACY, HashAlgorithm.LEGACY),
    ):
        ours = measure_of(Bucketing(scheme, seed=seed, total=100), "f")(key)
        assert ours == splitters.Splitter.get_bucket(key, seed, algorithm)


@pytest.fixture(scope="module")
def unleash():
    return pytest.importorskip("yggdrasil_engine.engine", reason="UnleashClient").UnleashEngine()


# Its engine writes the group into a rule of its own language, and can't with these two in it.
groups = keys.filter(lambda group: not {'"', "\\"}.intersection(group))


@settings(suppress_health_check=list(HealthCheck))
@given(key=keys, group=groups, percent=st.integers(0, 100))
def test_an_unleash_percentage_serves_whom_its_engine_serves(unleash, key, group, percent):
    parameters = {"groupId": group, "rollout": str(percent), "stickiness": "userId"}
    strategy = {"name": "flexibleRollout", "parameters": parameters}
    feature = {"name": "f", "enabled": True, "strategies": [strategy]}
    unleash.take_state(json.dumps({"version": 2, "features": [feature]}))
    how = Bucketing(Scheme.UNLEASH, salt=group, no_key=NoKey.MISS, total=100)
    gate = Rule("on", gate=Gate(percent, how))
    ours = Flags.in_memory([Flag(key="f", default="off", on=True, rules=(gate,))])
    theirs = unleash.is_enabled("f", {"userId": key}).is_enabled
    assert ours.is_enabled("f", key) is theirs
    assert ours.is_enabled("f", Context()) is unleash.is_enabled("f", {}).is_enabled
