"""What Unleash can keep of a flag: whatever `fit` answers with decides there as it does here."""

from dataclasses import replace

import pytest
from downhaul_unleash.fitting import fitted
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection
from downhaul_unleash.translate import flags_from
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kept_unleash import contexts, flag_sets
from served_unleash import asked_of_the_engine, payload_of
from strategies import flag_sets as any_flag_sets

from downhaul import Flag, Flags
from downhaul.evaluator.carriers import bucketing_of, carrier_of
from downhaul.flag import (
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
    Segment,
    SegmentRule,
    Split,
    Target,
    Weight,
    percentage,
)
from downhaul.ledger import Fidelity

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
NOT_A_SPLIT = "in a way that is no split"


def told(translation, key="f"):
    """Return what is not carried whole, by the last name of its path."""
    return {
        one.path.removeprefix(f"flags.{key}").lstrip("."): (one.fidelity, one.reason)
        for one in translation.ledger.of(key)
        if one.fidelity is not Fidelity.FULL
    }


def answer(flags, key, context):
    result = flags.evaluate(key, context, None)
    return result.value, result.variant, result.error_code


@pytest.mark.rule("M1", "E9")
@settings(suppress_health_check=SLOW)
@given(flag_sets(), st.lists(contexts(), min_size=3, max_size=6))
@pytest.mark.slow
def test_what_fits_decides_in_unleash_as_it_does_here(flag_set, asked):
    kept = fitted(flag_set).flags
    if not kept:
        return
    with asked_of_the_engine(kept) as theirs, Flags.in_memory(kept) as ours:
        for flag in kept:
            for context in asked:
                expected = answer(ours, flag.key, context)
                assert answer(theirs, flag.key, context) == expected, (flag, context)


@pytest.mark.rule("M1", "E9")
@settings(suppress_health_check=SLOW)
@given(flag_sets(), st.lists(contexts(), min_size=3, max_size=6))
@pytest.mark.slow
def test_what_was_written_reads_back_as_what_decides_the_same(flag_set, asked):
    kept = fitted(flag_set).flags
    back = flags_from(payload_of(kept))
    with Flags.in_memory(back.flags) as again, Flags.in_memory(kept) as ours:
        for flag in kept:
            alone = any(NOT_A_SPLIT in one.reason for one in back.ledger.of(flag.key))
            of_kinds = any(one.context_kind != "user" for r in flag.rules for one in r.clauses)
            for context in () if alone or of_kinds or flag.prerequisites else asked:
                assert answer(again, flag.key, context) == answer(ours, flag.key, context), flag


def named(how, key):
    return bucketing_of(carrier_of(how, key))


def with_salts_said(flag):
    """Return a flag whose bucketings all say their salts, without what is of no rule."""

    def serve(one):
        return one if isinstance(one, str) else Split(one.weights, named(one.bucketing, flag.key))

    rules = [
        replace(
            one,
            id="",
            serve=serve(one.serve),
            gate=None
            if one.gate is None
            else replace(one.gate, bucketing=named(one.gate.bucketing, flag.key)),
        )
        for one in flag.rules
    ]
    targets = tuple(one for one in flag.targets if one.keys)
    return replace(flag, default=serve(flag.default), rules=tuple(rules), targets=targets, owner="")


@pytest.mark.rule("M1")
@settings(suppress_health_check=SLOW, max_examples=150)
@given(flag_sets() | any_flag_sets())
@pytest.mark.slow
def test_what_is_not_named_in_the_ledger_is_as_it_was(flag_set):
    made = fitted(flag_set)
    flags = made.flag_set().flags
    for key, flag in flag_set.flags.items():
        lossy = [one for one in made.ledger.of(key) if one.lossy]
        assert (key in flags) is not any(one.fidelity is Fidelity.MANUAL for one in lossy)
        dropped = any(one.path.endswith("]") and one.reason for one in made.ledger.of(key))
        if key in flags and not lossy and not dropped:
            assert with_salts_said(flag) == flags[key]
        for one in made.ledger.of(key):
            assert one.fidelity is Fidelity.FULL or (one.reason and one.fragment is not None)
    assert {one.path for one in made.ledger if not one.flag} == {
        f"segments.{key}" for key in flag_set.segments
    }


def test_a_provider_fits_without_a_server_or_a_token():
    made = UnleashProvider(Connection("nowhere", None)).fit(FlagSet.of([Flag.boolean("f")]))
    assert made.flags == (Flag.boolean("f"),)
    assert [(one.path, one.fidelity) for one in made.ledger] == [("flags.f", Fidelity.FULL)]


def test_a_plain_split_says_its_salt_so_that_its_users_stay():
    (flag,) = fitted(FlagSet.of([Flag.boolean("f", percent=12.345)])).flags
    assert flag.default == Split((Weight("on", 12_345), Weight("off", 87_655)), Bucketing(salt="f"))


ODD = Bucketing(Scheme.SPLIT, seed=1, total=100)


@pytest.mark.parametrize(
    "fields, path, reason",
    [
        ({"off_variant": "on"}, "variants", "would be True"),
        ({"variants": {"yes": True}, "off_variant": "yes", "default": "yes"}, "variants", "True"),
        ({"targets": (Target("on", frozenset({"x"}), "org"),)}, "rules", "kind 'org'"),
        ({"targets": (Target("on", frozenset({"a" * 101})),)}, "targets[0]", "100 characters"),
        ({"prerequisites": (Prerequisite("g"),)}, "prerequisites[0]", "no flag"),
        (
            {"rules": (Rule("on", (Clause("ip", Operator.IN_CIDR, ("10.0.0.0/8",)),)),)},
            "rules[0].clauses[0]",
            "networks",
        ),
        (
            {"rules": (Rule("on", (Clause("/a/b", Operator.IN, ("x",)),)),)},
            "rules[0].clauses[0]",
            "within others",
        ),
        (
            {"rules": (Rule("on", (Clause("roles", Operator.HAS_ANY, ("x",)),)),)},
            "rules[0].clauses[0]",
            "lists",
        ),
        (
            {"rules": (Rule("on", (Clause("name", Operator.MATCHES, ("x",), negate=True),)),)},
            "rules[0].clauses[0]",
            "no opposite",
        ),
        (
            {"rules": (Rule("on", (Clause("a", Operator.IN, ("x" * 101,)),)),)},
            "rules[0].clauses[0]",
            "100 characters",
        ),
    ],
)
def test_what_has_no_place_is_manual_and_the_flag_left_out(fields, path, reason):
    made = fitted(FlagSet.of([Flag(**{"key": "f", "default": "on", "on": True, **fields})]))
    assert made.flags == ()
    lost = told(made)
    assert lost[path][0] is Fidelity.MANUAL
    assert reason in lost[path][1]
    assert "left out" in lost[""][1]


def test_more_strategies_than_unleash_takes_are_manual():
    rules = tuple(
        Rule("on", (Clause("plan", Operator.IN, (f"p{number}",)),)) for number in range(30)
    )
    kept = fitted(FlagSet.of([Flag(key="f", default="off", rules=rules[:29])]))
    assert len(kept.flags) == 1
    lost = told(fitted(FlagSet.of([Flag(key="f", default="off", rules=rules)])))
    assert "31 strategies" in lost["rules"][1]


def test_off_rules_multiply_the_strategies_after_them_until_it_is_too_much():
    pair = [Clause(name, Operator.IN, ("x",)) for name in ("a", "b")]
    denied = [
        Rule("off", tuple(replace(one, attribute=f"{one.attribute}{n}") for one in pair))
        for n in range(5)
    ]
    flag = Flag(key="f", default="on", rules=tuple(denied[:4]))
    assert fitted(FlagSet.of([flag])).flags
    lost = told(fitted(FlagSet.of([replace(flag, rules=tuple(denied))])))
    assert "Unleash takes 30" in lost["rules"][1]


def test_variants_take_names_that_unleash_has_and_keep_their_values():
    by_name = Flag(
        key="f",
        kind=FlagKind.STRING,
        variants={"big model": "m-2", "größer": "m-3", "big-model": "m-1"},
        off_variant="big-model",
        default=Split((Weight("big model", 1), Weight("größer", 99)), ODD),
    )
    made = fitted(FlagSet.of([by_name]))
    (flag,) = made.flags
    assert flag.variants == {"big-model-2": "m-2", "gr-er": "m-3", "big-model": "m-1"}
    assert [one.variant for one in flag.default.weights] == ["big-model-2", "gr-er"]
    assert '"big model" is "big-model-2"' in told(made)["variants"][1]


def test_a_boolean_of_other_names_is_on_and_off_and_so_are_those_who_require_it():
    yes = Flag(key="f", variants={"yes": True, "no": False}, off_variant=None, default="yes")
    child = Flag(key="g", default="on", prerequisites=(Prerequisite("f", ("yes",)),))
    made = fitted(FlagSet.of([child, yes]))
    kept = made.flag_set().flags
    assert (kept["f"].default, kept["f"].off_variant) == ("on", "off")
    assert kept["g"].prerequisites == (Prerequisite("f", ("on",)),)
    said = told(made)["variants"][1]
    assert '"yes" is "on"' in said
    assert "not the caller's default" in said


def test_who_requires_a_flag_that_requires_another_is_manual():
    chain = [
        Flag.boolean("a"),
        Flag.boolean("b", prerequisites=(Prerequisite("a"),)),
        Flag.boolean("f", prerequisites=(Prerequisite("b"),)),
    ]
    made = fitted(FlagSet.of(chain))
    assert [flag.key for flag in made.flags] == ["a", "b"]
    assert "one level" in told(made)["prerequisites[0]"][1]


def test_a_flag_of_values_names_the_variants_of_a_parent_that_will_do():
    parent = Flag(
        key="p", kind=FlagKind.STRING, variants={"a": "A", "b": "B", "o": "O"},
        off_variant="o", default="a", on=True,
    )  # fmt: skip
    child = Flag.boolean("f", prerequisites=(Prerequisite("p"),))
    kept = fitted(FlagSet.of([parent, child])).flags
    (needed,) = payload_of(kept)["features"][1]["dependencies"]
    assert needed == {"feature": "p", "enabled": True, "variants": ["a", "b"]}


def test_tags_and_owners_are_told():
    made = fitted(FlagSet.of([Flag.boolean("f", tags=("agents",), owner="ana")]))
    assert {name: one[0] for name, one in told(made).items()} == {
        "tags": Fidelity.PARTIAL,
        "owner": Fidelity.SKIPPED,
    }
    assert (made.flags[0].tags, made.flags[0].owner) == ((), "")


def test_a_clause_on_texts_is_told_and_one_on_keys_is_the_same():
    on_plan, on_key = (
        Clause("plan", Operator.IN, ("pro", 5, True)),
        Clause("targetingKey", Operator.STARTS_WITH, ("test-",), negate=True),
    )
    flag = Flag(key="f", default="off", rules=(Rule("on", (on_plan, on_key)),))
    made = fitted(FlagSet.of([flag]))
    assert list(told(made)) == ["rules[0].clauses[0]"]
    first, second = made.flags[0].rules[0].clauses
    assert (first.dialect, first.values) == (Dialect.UNLEASH, ("pro", "5", "5.0", "true"))
    assert second == on_key


def test_a_segment_is_written_out_in_the_rules_that_name_it():
    how = Bucketing(Scheme.LAUNCHDARKLY, salt="s", total=100)
    beta = Segment(
        "beta",
        included=(Keys(frozenset({"ada"})),),
        excluded=(Keys(frozenset({"eve"})),),
        rules=(SegmentRule((Clause("plan", Operator.IN, ("pro",)),), Gate(50, how)),),
    )
    unused = Segment("unused")
    named_by = Rule("on", (Clause("", Operator.IN_SEGMENT, ("beta",)),))
    flag_set = FlagSet.of([Flag(key="f", default="off", rules=(named_by,))], [beta, unused])
    made = fitted(flag_set)
    (flag,) = made.flags
    assert [len(one.clauses) for one in flag.rules] == [1, 2]
    assert flag.rules[1].gate == Gate(50, replace(how, no_key=NoKey.MISS))
    assert flag.rules[1].clauses[0].missing is Missing.FALSE
    by_path = {one.path: one.fidelity for one in made.ledger}
    assert by_path["segments.beta"] is Fidelity.PARTIAL
    assert by_path["segments.unused"] is Fidelity.SKIPPED
    assert by_path["flags.f.rules[0]"] is Fidelity.PARTIAL


def test_whom_a_segment_lets_in_by_percentage_can_not_be_left_out():
    beta = Segment("beta", rules=(SegmentRule((), Gate(50, ODD)),))
    outside = Rule("on", (Clause("", Operator.IN_SEGMENT, ("beta",), negate=True),))
    made = fitted(FlagSet.of([Flag(key="f", default="off", rules=(outside,))], [beta]))
    assert "leave out" in told(made)["rules[0]"][1]


@settings(phases=[Phase.generate], suppress_health_check=SLOW)
@given(any_flag_sets())
@pytest.mark.slow
def test_any_flag_set_is_fitted_or_told(flag_set):
    made = fitted(flag_set)
    assert {one.flag for one in made.ledger if one.flag} == set(flag_set.flags)
    payload_of(made.flags)


def test_percentages_finer_than_a_percent_are_kept():
    flag = Flag(key="f", default=percentage("on", 0.001, rest="off"))
    made = fitted(FlagSet.of([flag]))
    assert not told(made)
    (constraint,) = payload_of(made.flags)["features"][0]["strategies"][0]["constraints"]
    assert (constraint["operator"], constraint["value"]) == ("NUM_LT", "1")
