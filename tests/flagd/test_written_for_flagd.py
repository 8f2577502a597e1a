"""Rules E6 and M1: what is written for flagd decides in its engine as here, or is left out.

The oracle is flagd's engine for Python, in process.
"""

import json

import pytest
from flagd_engine import Engine, ours
from flagd_strategies import asked, worlds
from hypothesis import HealthCheck, currently_in_test_context, event, given, settings
from hypothesis import strategies as st
from strategies import flag_sets

from downhaul import Context, Flag, Flags, Segment
from downhaul.documents.flagd import document_of, flags_from
from downhaul.flag import (
    TARGETING_KEY,
    Bucketing,
    Clause,
    Dialect,
    FlagKind,
    FlagSet,
    Gate,
    Keys,
    Missing,
    NoKey,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    SegmentRule,
    Split,
    Target,
    Weight,
    percentage,
)
from downhaul.ledger import Fidelity

SLOW_DATA = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def written(*flags, segments=()):
    return document_of(FlagSet.of(flags, segments))


def definition(flag, segments=()):
    return written(flag, segments=segments).document["flags"][flag.key]


def told(flag, segments=()):
    """Return (fidelity, path, reason) of what became of a flag."""
    ledger = written(flag, segments=segments).ledger
    return [(one.fidelity.value, one.path, one.reason) for one in ledger.of(flag.key)]


def agree(flag_set, contexts, *, back=False):
    """Assert that every flag that is carried whole decides alike on both sides."""
    exported = document_of(flag_set)
    engine = Engine(exported.document)
    carried, ledger = flag_set, exported.ledger
    if back:
        read = flags_from(json.dumps(exported.document))
        carried, ledger = read.flag_set(), read.ledger
    with Flags.in_memory(carried.flags.values(), segments=carried.segments.values()) as flags:
        for key, flag in carried.flags.items():
            whole = key in exported.document["flags"] and not any(
                one.lossy for one in (*ledger.of(key), *exported.ledger.of(key))
            )
            if currently_in_test_context():
                event("whole" if whole else "not whole")
            for context in contexts if whole else ():
                assert engine.decide(key, flag.kind, context) == ours(flags, key, context)


@pytest.mark.rule("E6", "M1")
@settings(max_examples=20, suppress_health_check=SLOW_DATA)
@given(worlds, st.lists(asked(), min_size=1, max_size=8))
def test_a_flag_that_is_written_in_full_decides_in_flagd_as_here(flag_set, contexts):
    agree(flag_set, contexts)


@pytest.mark.slow
@pytest.mark.rule("E6", "M1")
@settings(max_examples=10 * settings().max_examples, suppress_health_check=SLOW_DATA)
@given(worlds, st.lists(asked(), min_size=1, max_size=8))
def test_many_flags_that_are_written_in_full_decide_in_flagd_as_here(flag_set, contexts):
    agree(flag_set, contexts)


@pytest.mark.slow
@pytest.mark.rule("M1")
@settings(max_examples=5 * settings().max_examples, suppress_health_check=SLOW_DATA)
@given(worlds, st.lists(asked(), min_size=1, max_size=8))
def test_what_was_written_and_is_read_back_decides_as_flagd_does(flag_set, contexts):
    agree(flag_set, contexts, back=True)


@pytest.mark.slow
@pytest.mark.rule("M1")
@settings(suppress_health_check=SLOW_DATA)
@given(flag_sets(), st.lists(asked(), min_size=1, max_size=4))
def test_whatever_the_flags_each_is_written_or_left_out_with_a_reason(flag_set, contexts):
    agree(flag_set, contexts)
    exported = document_of(flag_set)
    for key in flag_set.flags:
        entries = exported.ledger.of(key)
        left_out = [one for one in entries if one.fidelity is Fidelity.MANUAL]
        assert entries
        assert bool(left_out) is (key not in exported.document["flags"])
        assert all(one.fragment is not None for one in entries if one.lossy)


@pytest.mark.rule("E6", "E7")
@pytest.mark.parametrize("percent", [25, 0.001])
def test_twenty_thousand_users_are_the_same_in_flagd(percent):
    flag = Flag.boolean("new_agent_version", percent=percent)
    engine = Engine(written(flag).document)
    with Flags.in_memory([flag]) as flags:
        apart = [
            key
            for key in (f"user-{number}" for number in range(20_000))
            if engine.decide(flag.key, flag.kind, Context(key))
            != ours(flags, flag.key, Context(key))
        ]
    assert apart == []


# --- the shape of what is written


def test_a_percentage_is_one_fractional_and_a_missing_key_the_callers_default():
    assert definition(Flag.boolean("f", percent=25)) == {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": None,
        "targeting": {"fractional": [["on", 25000], ["off", 75000]]},
    }


def test_nobody_and_everybody_need_no_targeting():
    for percent, variant in ((0, "off"), (100, "on")):
        made = definition(Flag.boolean("f", percent=percent))
        assert made["defaultVariant"] == variant
        assert "targeting" not in made


def test_targets_and_rules_are_one_chain_that_ends_with_the_default():
    rule = Rule("on", (Clause("plan", Operator.IN, ("pro", "team")),))
    flag = Flag.boolean("f", allow=["bob", "ann"], rules=(rule,), default="off")
    assert definition(flag)["targeting"] == {
        "if": [
            {"in": [{"var": "targetingKey"}, ["ann", "bob"]]},
            "on",
            {"some": [{"merge": [{"var": "plan"}]}, {"in": [{"var": ""}, ["pro", "team"]]}]},
            "on",
            None,
        ]
    }
    assert definition(flag)["defaultVariant"] == "off"


@pytest.mark.rule("E4")
def test_a_flag_that_is_off_serves_its_off_variant_and_its_rules_are_told():
    flag = Flag.boolean("f", on=False, percent=25, allow=["ann"])
    assert definition(flag) == {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
    }
    skipped = [(fidelity, path) for fidelity, path, _ in told(flag)[1:]]
    assert skipped == [("skipped", "flags[0].targets"), ("skipped", "flags[0].default")]


@pytest.mark.rule("E4")
def test_a_flag_that_serves_the_callers_default_while_it_is_off_is_disabled():
    flag = Flag(key="f", default="on", off_variant=None)
    assert definition(flag)["state"] == "DISABLED"
    agree(FlagSet.of([flag]), [Context("ann")])


def test_segments_are_written_into_the_flags_that_name_them():
    staff = Segment(
        "staff",
        included=(Keys(frozenset({"ann"})),),
        rules=(SegmentRule((Clause("mail", Operator.ENDS_WITH, ("@example.com",)),)),),
    )
    rule = Rule("on", (Clause("", Operator.IN_SEGMENT, ("staff", "gone")),))
    flag_set = FlagSet.of([Flag.boolean("f", default="off", rules=(rule,))], [staff])
    exported = document_of(flag_set)
    assert "$evaluators" not in exported.document
    assert not exported.ledger.lossy
    contexts = [Context("ann"), Context("bob", {"mail": "b@example.com"}), Context("bob")]
    agree(flag_set, contexts)


def test_what_is_known_of_a_flag_is_metadata_that_is_read_back():
    flag = Flag.boolean("f", tags=("agents", "beta"), owner="ana", description="New agents")
    assert definition(flag)["metadata"] == {
        "owner": "ana",
        "tags": "agents,beta",
        "description": "New agents",
    }
    (back,) = flags_from(written(flag).document).flags
    assert (back.tags, back.owner, back.description) == (flag.tags, "ana", "New agents")


def test_a_document_with_splits_says_which_engines_hash_so():
    (remark,) = [one for one in written(Flag.boolean("f", percent=5)).ledger if not one.flag]
    assert (remark.path, remark.fidelity) == ("flags", Fidelity.FULL)
    assert "CBOR" in remark.reason
    assert len(written(Flag.boolean("fractional")).ledger) == 1


# --- what flagd can't say


def split(**how):
    return Split((Weight("on", 50_000), Weight("off", 50_000)), Bucketing(**how))


def clause(operator=Operator.IN, values=("pro",), attribute="plan", **fields):
    return Rule("on", (Clause(attribute, operator, values, **fields),))


RULE, CLAUSE = "flags[0].rules[0]", "flags[0].rules[0].when[0]"
LEFT_OUT = {
    "salt": ({"default": split(salt="other")}, "flags[0].default", 'the salt "other"'),
    "scheme": ({"default": split(scheme=Scheme.SPLIT)}, "flags[0].default", "scheme split"),
    "by": ({"default": split(by=("mail",))}, "flags[0].default", "targeting key only"),
    "draw": ({"default": split(no_key=NoKey.RANDOM)}, "flags[0].default", "draws no bucket"),
    "total": (
        {
            "default": Split(
                (Weight("on", 1), Weight("off", (1 << 31) - 1)), Bucketing(total=1 << 31)
            )
        },
        "flags[0].default",
        "add up to 2147483647",
    ),
    "gate": ({"rules": (Rule("on", gate=Gate(5, Bucketing(salt="g"))),)}, RULE, 'the salt "g"'),
    "needs": ({"prerequisites": (Prerequisite("g"),)}, "flags[0].prerequisites[0]", 'requires "g"'),
    "target": ({"targets": (Target("on", frozenset("x"), "team"),)}, "flags[0].targets[0]", "team"),
    "kind": ({"rules": (clause(context_kind="team"),)}, CLAUSE, 'no kind "team"'),
    "pattern": ({"rules": (clause(Operator.MATCHES),)}, CLAUSE, "regular expressions"),
    "network": ({"rules": (clause(Operator.IN_CIDR, ("10.0.0.0/8",)),)}, CLAUSE, "networks"),
    "date": ({"rules": (clause(Operator.BEFORE, ("2026-01-31T09:00:00Z",)),)}, CLAUSE, "dates"),
    "case": ({"rules": (clause(ignore_case=True),)}, CLAUSE, "case of letters"),
    "dialect": ({"rules": (clause(dialect=Dialect.SPLIT),)}, CLAUSE, "as split does"),
    "dot": ({"rules": (clause(attribute="a.b"),)}, CLAUSE, 'the attribute "a.b"'),
    "length": ({"rules": (clause(attribute="/a/length"),)}, CLAUSE, '"/a/length"'),
    "taken": ({"rules": (clause(attribute="/$flagd/flagKey"),)}, CLAUSE, "can't read"),
    "kinds": ({"rules": (clause(attribute="contextKind"),)}, CLAUSE, '"contextKind"'),
}


@pytest.mark.rule("M1")
@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_flag_that_flagd_cannot_say_is_left_out_and_told(name):
    fields, path, reason = LEFT_OUT[name]
    flag = Flag.boolean("f", **{"default": "off", **fields})
    assert written(flag).document["flags"] == {}
    ((fidelity, where, why),) = told(flag)
    assert (fidelity, where) == ("manual", path)
    assert reason in why
    assert why.endswith("; the flag is left out")


@pytest.mark.rule("M1")
def test_every_reason_is_told_at_once_with_its_part():
    flag = Flag.boolean("f", default=split(salt="s"), rules=(clause(Operator.MATCHES),))
    entries = written(flag).ledger.of("f")
    assert [one.path for one in entries] == [CLAUSE, "flags[0].default"]
    assert entries[0].fragment == {"attribute": "plan", "operator": "matches", "values": ["pro"]}


@pytest.mark.rule("M1")
def test_a_segment_that_flagd_cannot_say_is_named_where_a_flag_asks_for_it():
    beta = Segment("beta", rules=(SegmentRule(gate=Gate(500)),))
    flag = Flag.boolean("f", rules=(clause(Operator.IN_SEGMENT, ("beta",), ""),))
    ((fidelity, path, reason),) = told(flag, [beta])
    assert (fidelity, path) == ("manual", CLAUSE)
    assert reason.startswith('segment "beta": ')


@pytest.mark.rule("M1")
def test_a_segment_that_depends_on_itself_is_told_and_not_followed():
    loop = Segment("loop", rules=(SegmentRule((Clause("", Operator.IN_SEGMENT, ("loop",)),)),))
    flag = Flag.boolean("f", rules=(clause(Operator.IN_SEGMENT, ("loop",), ""),))
    ((_, _, reason),) = told(flag, [loop])
    assert "depends on itself" in reason


@pytest.mark.rule("M1")
def test_what_is_only_almost_alike_is_partial():
    versions = clause(Operator.SEMVER_LESS, ("2.0.0",), "version")
    wide = clause(Operator.IN, (2**53 + 1,), "id")
    lists = {"kind": FlagKind.OBJECT, "variants": {"a": [1]}, "default": "a", "off_variant": "a"}
    for flag, path in (
        (Flag.boolean("f", rules=(versions,)), CLAUSE),
        (Flag.boolean("f", rules=(wide,)), CLAUSE),
        (Flag(key="f", on=True, **lists), "flags[0].variants.a"),
    ):
        assert written(flag).document["flags"]
        assert [(one.fidelity.value, one.path) for one in written(flag).ledger.lossy] == [
            ("partial", path)
        ]


def test_a_name_of_a_rule_is_skipped():
    rule = Rule("on", (Clause("plan", Operator.PRESENT),), id="r1", description="Pays")
    entries = told(Flag.boolean("f", rules=(rule,)))
    assert [one[:2] for one in entries] == [("full", "flags[0]"), ("skipped", RULE)]


# --- single cases of types and of missing values


VALUES = [None, "", "pro", "a pro b", "5", 5, 5.0, 4, 0, 1, -0.0, True, False, "True", "1", "true"]
VALUES += [[], ["pro"], [5, "x"], [True], [1], [None], [["pro"]], {}, {"a": 1}, [{}], 1e300]
OPERATORS = [
    (Operator.IN, ("pro", 5)),
    (Operator.IN, (1,)),
    (Operator.IN, (True, 0)),
    (Operator.STARTS_WITH, ("p", "a")),
    (Operator.ENDS_WITH, ("",)),
    (Operator.CONTAINS, ("pro",)),
    (Operator.CONTAINS, ("", "x")),
    (Operator.EQUAL, (5, 1)),
    (Operator.LESS, (5,)),
    (Operator.LESS_OR_EQUAL, (5, 0)),
    (Operator.GREATER, (0,)),
    (Operator.GREATER_OR_EQUAL, (5,)),
    (Operator.HAS_ANY, ("pro", 1)),
    (Operator.HAS_ALL, (5, "x")),
    (Operator.SET_EQUALS, (True,)),
    (Operator.SUBSET_OF, ("pro", 5, "x")),
    (Operator.PRESENT, ()),
]


@pytest.mark.rule("E8")
@pytest.mark.parametrize("attribute", ["plan", "/a/b", TARGETING_KEY])
@pytest.mark.parametrize(
    "operator, values", OPERATORS, ids=[f"{one.value}-{values}" for one, values in OPERATORS]
)
def test_each_operator_decides_alike_over_every_type_there_and_back(operator, values, attribute):
    contexts = [Context("pro"), Context(None), Context("pro", {"a": "b"})]
    contexts += [Context("a", {"plan": value, "a": {"b": value}}) for value in VALUES]
    for negate in (False, True):
        for missing in (Missing.NO_MATCH, Missing.FALSE):
            one = Clause(attribute, operator, values, negate=negate, missing=missing)
            flag_set = FlagSet.of([Flag.boolean("f", default="off", rules=(Rule("on", (one,)),))])
            assert not document_of(flag_set).ledger.lossy
            agree(flag_set, contexts)
            agree(flag_set, contexts, back=True)


@pytest.mark.rule("E8", "E9")
@pytest.mark.parametrize("no_key", [NoKey.ERROR, NoKey.MISS, NoKey.FIRST])
@pytest.mark.parametrize("outside", [None, "off"])
def test_splits_and_gates_decide_alike_with_and_without_a_key_there_and_back(no_key, outside):
    how = Bucketing(no_key=no_key)
    some = Split((Weight("on", 20_000), Weight(None, 50_000), Weight("off", 30_000)), how)
    clauses = (Clause("plan", Operator.IN, ("pro",)),)
    flag = Flag.boolean(
        "f",
        default=Split(percentage("on", 30, rest="off").weights, how),
        rules=(
            Rule("on", clauses, Gate(30_000, how, outside)),
            Rule(some, clauses),
            Rule(some, gate=Gate(60_000, how)),
            Rule("on", gate=Gate(0, how)),
        ),
    )
    keys = [None, *(f"user-{number}" for number in range(200))]
    contexts = [Context(key, {"plan": plan}) for key in keys for plan in ("pro", "free")]
    flag_set = FlagSet.of([flag])
    assert not document_of(flag_set).ledger.lossy
    assert not flags_from(document_of(flag_set).document).ledger.lossy
    agree(flag_set, contexts)
    agree(flag_set, contexts, back=True)


@pytest.mark.rule("E8")
@pytest.mark.parametrize("gate", [Gate(100_000), Gate(500, Bucketing(no_key=NoKey.FIRST))])
def test_a_split_behind_a_gate_that_lets_in_who_has_no_key_still_wants_one(gate):
    served = Split((Weight("on", 20_000), Weight(None, 80_000)))
    flag = Flag.boolean("f", default="off", rules=(Rule(served, gate=gate),))
    agree(FlagSet.of([flag]), [Context(), *(Context(f"user-{number}") for number in range(50))])
