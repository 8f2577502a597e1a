"""Rules E7 and E8: what a percentage does to users, and to whoever has no key."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import texts

from downhaul import Context, Flag, Flags
from downhaul.flag import (
    USER,
    WHOLE,
    Bucketing,
    FlagKind,
    Gate,
    NoKey,
    Rule,
    Scheme,
    Split,
    Weight,
    percentage,
    weight_of,
)
from downhaul.result import ErrorCode, Reason

percents = st.integers(0, WHOLE).map(lambda weight: weight / 1000)
keys = texts.filter(bool)
KEYLESS = (None, "", Context(), Context(""), {}, {"targetingKey": ""}, Context("o", {}, "org"))


def at(percent, **fields):
    return Flag.boolean("f", percent=percent, **fields)


def through_a_rule(percent):
    """The same percentage, by another road through the evaluator."""
    return Flag(
        key="f",
        default="off",
        on=True,
        rules=(Rule(percentage("on", percent, rest=None)),),
    )


def behind_a_gate(percent):
    return Flag(key="f", default="off", on=True, rules=(Rule("on", gate=Gate(weight_of(percent))),))


def of_other_buckets(percent, scheme=Scheme.UNLEASH):
    weight = weight_of(percent)
    split = Split((Weight("on", weight), Weight("off", WHOLE - weight)), Bucketing(scheme=scheme))
    return Flag(key="f", default=split, on=True)


SHAPES = (at, through_a_rule, behind_a_gate, of_other_buckets)


def served(flag, users):
    flags = Flags.in_memory([flag])
    return {user for user in users if flags.is_enabled("f", user)}


@pytest.mark.rule("E7")
@pytest.mark.parametrize("shape", SHAPES)
@given(low=percents, high=percents, users=st.lists(keys, min_size=1, max_size=30))
def test_raising_a_percentage_only_adds_users_and_lowering_only_removes(shape, low, high, users):
    low, high = sorted((low, high))
    assert served(shape(low), users) <= served(shape(high), users)


@pytest.mark.rule("E7")
@given(
    weights=st.tuples(st.integers(0, WHOLE), st.integers(0, WHOLE)).map(sorted),
    raised=st.integers(0, WHOLE),
    users=st.lists(keys, min_size=1, max_size=20),
)
def test_raising_the_first_of_many_variants_only_adds_users_to_it(weights, raised, users):
    def flag(first):
        edges = [first, max(first, weights[1]), WHOLE]
        sizes = [edges[0], edges[1] - edges[0], edges[2] - edges[1]]
        return Flag(
            key="f",
            kind=FlagKind.STRING,
            variants={"a": "1", "b": "2", "c": "3"},
            off_variant="c",
            on=True,
            default=Split(tuple(map(Weight, "abc", sizes))),
        )

    low, high = sorted((weights[0], raised))
    before, after = (Flags.in_memory([flag(first)]) for first in (low, high))
    for user in users:
        if before.evaluate("f", user).variant == "a":
            assert after.evaluate("f", user).variant == "a"


@pytest.mark.rule("E7")
@pytest.mark.parametrize("shape", SHAPES)
@given(key=keys)
@example(key="user-1")
def test_zero_is_nobody_and_a_hundred_is_everybody(shape, key):
    assert not Flags.in_memory([shape(0)]).is_enabled("f", key)
    assert Flags.in_memory([shape(100)]).is_enabled("f", key)


@pytest.mark.rule("E7")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("context", KEYLESS)
def test_zero_and_a_hundred_need_no_key(shape, context):
    nobody, everybody = Flags.in_memory([shape(0)]), Flags.in_memory([shape(100)])
    assert nobody.is_enabled("f", context, default=True) is False
    assert everybody.is_enabled("f", context) is True
    assert nobody.evaluate("f", context, default=True).authoritative
    assert everybody.evaluate("f", context, default=False).authoritative


@pytest.mark.rule("E7")
def test_the_resolution_is_a_thousandth_of_a_percent():
    assert weight_of(0.001) == 1
    assert weight_of(99.999) == 99_999
    assert weight_of(33.333) == 33_333
    with pytest.raises(ValueError, match=r"the finest percentage is 0\.001"):
        weight_of(0.0001)
    users = [f"user-{number}" for number in range(100_000)]
    assert 0 < len(served(at(0.003), users)) < 12


@pytest.mark.rule("E7")
@given(percents)
def test_a_percentage_is_kept_exactly(percent):
    split = percentage("on", percent, rest="off")
    assert split.weights[0].weight / 1000 == percent
    assert sum(one.weight for one in split.weights) == WHOLE
    assert split.weights[0].variant == "on"


@pytest.mark.parametrize("percent", [-0.001, 100.001, float("nan"), float("inf"), True, "5", None])
def test_what_is_no_percentage_is_refused(percent):
    with pytest.raises(ValueError, match="a percentage"):
        Flag.boolean("f", percent=percent) if percent is not None else weight_of(percent)


@pytest.mark.rule("E7")
def test_allowed_and_denied_users_stay_what_they_are_at_any_percentage():
    for percent in (0, 50, 100):
        flags = Flags.in_memory([at(percent, allow=["ana", "eve"], deny=["eve", "bob"])])
        assert flags.is_enabled("f", "ana")
        assert not flags.is_enabled("f", "bob")
        assert not flags.is_enabled("f", "eve")  # a deny wins
        assert flags.evaluate("f", "bob").reason is Reason.TARGETING_MATCH


@pytest.mark.rule("E8")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("context", KEYLESS)
@pytest.mark.parametrize("default", [True, False])
def test_a_percentage_between_without_a_key_is_the_callers_default(shape, context, default):
    flags = Flags.in_memory([shape(50)])
    result = flags.evaluate("f", context, default)
    assert result.value is default
    assert result.error_code is ErrorCode.TARGETING_KEY_MISSING
    assert result.reason is Reason.ERROR
    assert result.variant is None
    assert not result.authoritative
    assert flags.is_enabled("f", context, default) is default


@pytest.mark.rule("E8")
def test_the_empty_key_is_nobodys_even_where_somebody_targets_it():
    for percent in (None, 0, 50):
        flags = Flags.in_memory([at(percent, deny=[""], allow=["ana"])])
        for context in KEYLESS:
            assert flags.is_enabled("f", context, True) is (percent != 0)


def with_no_key(answer, weight=50_000):
    split = Split(
        (Weight("on", weight), Weight("off", WHOLE - weight)),
        Bucketing(scheme=Scheme.UNLEASH, no_key=answer),
    )
    return Flags.in_memory([Flag(key="f", default=split, on=True)])


@pytest.mark.rule("E8")
def test_an_imported_split_answers_for_a_missing_key_as_its_vendor_does():
    assert with_no_key(NoKey.MISS).evaluate("f").reason is Reason.DEFAULT
    assert with_no_key(NoKey.MISS).is_enabled("f") is False
    assert with_no_key(NoKey.FIRST).is_enabled("f") is True
    assert with_no_key(NoKey.FIRST).evaluate("f").reason is Reason.SPLIT
    random = with_no_key(NoKey.RANDOM)
    assert {random.is_enabled("f") for _ in range(200)} == {True, False}
    assert random.is_enabled("f", "ana") == random.is_enabled("f", "ana")


@pytest.mark.rule("E8")
def test_no_key_is_a_miss_even_at_a_hundred_percent_where_so_said():
    assert with_no_key(NoKey.MISS, WHOLE).is_enabled("f") is False
    assert with_no_key(NoKey.MISS, WHOLE).is_enabled("f", "ana") is True


@pytest.mark.rule("E8")
def test_the_first_variant_of_any_weight_is_who_has_no_key_where_so_said():
    nothing = with_no_key(NoKey.FIRST, 0)
    assert nothing.is_enabled("f", Context()) is False  # bucket zero is not below an edge at zero
    # LaunchDarkly: without the kind, the first of the list whatever its weight.
    assert nothing.is_enabled("f", Context("o", {}, "org")) is True


def by(*names, kind=USER, scheme=Scheme.DOWNHAUL, percent=50):
    weight = weight_of(percent)
    return Flags.in_memory(
        [
            Flag(
                key="f",
                on=True,
                default=Split(
                    (Weight("on", weight), Weight("off", WHOLE - weight)),
                    Bucketing(scheme=scheme, by=names, context_kind=kind),
                ),
            )
        ]
    )


def test_a_split_by_an_attribute_gives_the_same_to_all_who_share_it():
    flags = by("team")
    plain = by("targetingKey")
    for team in map(str, range(50)):
        answers = {flags.is_enabled("f", Context(f"u{n}", {"team": team})) for n in range(5)}
        assert answers == {plain.is_enabled("f", team)}
    assert flags.is_enabled("f", Context("u", {"team": 7})) == plain.is_enabled("f", "7")


def test_the_first_attribute_that_is_there_is_hashed():
    flags, plain = by("session", "targetingKey"), by("targetingKey")
    for key in map(str, range(50)):
        assert flags.is_enabled("f", key) == plain.is_enabled("f", key)
        assert flags.is_enabled("f", Context("x", {"session": key})) == plain.is_enabled("f", key)


@pytest.mark.rule("E8")
@pytest.mark.parametrize("value", [None, "", True, 2.5, [], {}, pytest.param(10**5000, id="huge")])
def test_what_cannot_be_bucketed_by_is_no_key(value):
    result = by("team").evaluate("f", Context("u", {"team": value}), default=False)
    assert result.error_code is ErrorCode.TARGETING_KEY_MISSING


def test_a_split_by_another_kind_hashes_that_kinds_key():
    flags, plain = by("targetingKey", kind="org"), by("targetingKey")
    for key in map(str, range(50)):
        both = Context.multi(Context("whoever"), Context(key, {}, "org"))
        assert flags.is_enabled("f", both) == plain.is_enabled("f", key)
    assert flags.evaluate("f", "ana").error_code is ErrorCode.TARGETING_KEY_MISSING


@pytest.mark.rule("E9")
def test_a_rule_falls_through_where_its_bucket_misses():
    rules = (
        Rule(percentage("on", 50, rest=None), id="first"),
        Rule(Split(
            (Weight("on", 30), Weight(None, 70)),
            Bucketing(scheme=Scheme.UNLEASH, salt="other", total=100),
        ), id="second"),
    )  # fmt: skip
    flags = Flags.in_memory([Flag(key="f", default="off", on=True, rules=rules)])
    users = [f"user-{number}" for number in range(2_000)]
    results = [flags.evaluate("f", user) for user in users]
    by_rule = [result.metadata.get("rule") for result in results]
    assert 900 < by_rule.count("first") < 1_100
    assert 220 < by_rule.count("second") < 380
    assert all((r.variant == "on") is (r.reason is Reason.SPLIT) for r in results)


@pytest.mark.rule("E9")
def test_a_gate_and_a_split_are_two_hashes_and_outside_may_be_served():
    gate = Gate(20, Bucketing(scheme=Scheme.SPLIT, seed=1, total=100), outside="off")
    split = Split(
        (Weight("on", 50), Weight("off", 50)), Bucketing(scheme=Scheme.SPLIT, seed=2, total=100)
    )
    rules = (Rule(split, gate=gate), Rule("on"))
    flags = Flags.in_memory([Flag(key="f", default="on", on=True, rules=rules)])
    share = sum(flags.is_enabled("f", f"user-{number}") for number in range(5_000)) / 5_000
    assert 0.08 < share < 0.12
