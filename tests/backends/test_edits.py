"""The narrow verbs: one field changes, and a percentage only adds or only removes users."""

from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from strategies import flags

from downhaul.backends.edits import (
    serves_segment,
    weight_of_variant,
    with_on,
    with_rollout,
    with_segments,
    with_targets,
    without_segments,
)
from downhaul.documents import check_flag
from downhaul.errors import Refused
from downhaul.evaluator.bucketing import bucket_of
from downhaul.flag import (
    WHOLE,
    Bucketing,
    Clause,
    Flag,
    FlagKind,
    Gate,
    NoKey,
    Operator,
    Rule,
    Scheme,
    Split,
    Target,
    Weight,
    percentage,
)

USERS = [f"user-{number}" for number in range(300)]
STICKY = (Scheme.DOWNHAUL, Scheme.SPLIT, Scheme.SPLIT_LEGACY, Scheme.UNLEASH)
weights = st.sampled_from([0, 1, 1_000, 10_000, 50_000, 99_999, WHOLE]) | st.integers(0, WHOLE)


def served(flag):
    """Return the variant of each user, by the buckets of the default alone."""
    if isinstance(flag.default, str):
        return dict.fromkeys(USERS, flag.default)
    bucketing = flag.default.bucketing
    found = {}
    for user in USERS:
        place = bucket_of(bucketing, flag.key, user)
        edge = 0
        for one in flag.default.weights:
            edge += one.weight
            if place < edge:
                found[user] = one.variant
                break
    return found


def users_of(flag, variant):
    return {user for user, name in served(flag).items() if name == variant}


def split_flag(*parts, **bucketing):
    names = [name for name, _ in parts]
    return Flag(
        key="a",
        kind=FlagKind.STRING,
        variants={name: name for name in [*dict.fromkeys([*names, "off"])]},
        off_variant="off",
        default=Split(tuple(Weight(*part) for part in parts), Bucketing(**bucketing)),
    )


# --- rule E7


@pytest.mark.rule("E7")
@given(flags(), st.data(), st.lists(weights, min_size=1, max_size=5))
def test_raising_only_adds_users_and_lowering_only_removes_whatever_the_split(flag, data, steps):
    if isinstance(flag.default, Split):
        total = flag.default.bucketing.total
        assume(flag.default.bucketing.scheme in STICKY)
        steps = [
            step // (WHOLE // total) * (WHOLE // total) for step in steps if WHOLE % total == 0
        ]
    variant = data.draw(st.sampled_from(list(flag.variants)))
    for weight in steps:
        try:
            after = with_rollout(flag, variant, weight)
        except Refused:
            return
        was, now = weight_of_variant(flag, variant), weight_of_variant(after, variant)
        assert now == weight
        before_users, after_users = users_of(flag, variant), users_of(after, variant)
        assert before_users <= after_users if now >= was else after_users <= before_users
        assert check_flag(after) == []
        flag = after


@pytest.mark.rule("E7")
def test_nobody_at_zero_and_everybody_at_a_hundred():
    flag = Flag.boolean("a", percent=0)
    assert users_of(with_rollout(flag, "on", 0), "on") == set()
    assert users_of(with_rollout(flag, "on", WHOLE), "on") == set(USERS)


@pytest.mark.rule("E7")
def test_a_variant_that_serves_nobody_yet_comes_first():
    for default in ("off", percentage("off", 100, rest="on"), Split((Weight("off", WHOLE),))):
        flag = Flag(key="a", default=default)
        after = with_rollout(flag, "on", 25_000)
        assert after.default == percentage("on", 25, rest="off")


@pytest.mark.rule("E7")
def test_a_variant_with_users_keeps_its_place_so_that_they_keep_theirs():
    flag = Flag(key="a", default=percentage("off", 70, rest="on"))
    after = with_rollout(flag, "on", 50_000)
    assert after.default.weights == (Weight("off", 50_000), Weight("on", 50_000))
    assert users_of(flag, "on") < users_of(after, "on")


# --- who gets the rest


def test_the_rest_keeps_its_proportion_and_adds_up_exactly():
    flag = split_flag(("new", 0), ("a", 66_667), ("b", 33_333))
    after = with_rollout(flag, "new", 10_000)
    assert [one.weight for one in after.default.weights] == [10_000, 60_000, 30_000]
    after = with_rollout(flag, "new", 99_999)
    assert sum(one.weight for one in after.default.weights) == WHOLE


@pytest.mark.parametrize(
    "flag, expected",
    [
        (Flag(key="a", default="on"), ("on", "off")),
        (Flag(key="a", default="off", off_variant="on"), ("off", "on")),
        (Flag(key="a", default="on", off_variant=None), ("on", "off")),
        (Flag(key="a", default=Split((Weight("on", WHOLE), Weight("off", 0)))), ("on", "off")),
    ],
)
def test_lowering_a_variant_that_everybody_gets_gives_the_rest_to_the_other(flag, expected):
    after = with_rollout(flag, expected[0], 40_000)
    assert after.default == Split((Weight(expected[0], 40_000), Weight(expected[1], 60_000)))


def test_with_nobody_to_give_the_rest_to_it_is_refused():
    variants = {"a": "", "b": "", "c": ""}
    flag = Flag(key="x", kind=FlagKind.STRING, variants=variants, off_variant="a", default="a")
    with pytest.raises(Refused, match="nothing says who gets the rest"):
        with_rollout(flag, "a", 50_000)
    assert with_rollout(flag, "b", 50_000).default == percentage("b", 50, rest="a")


# --- what it keeps, and what it refuses


@given(flags(), st.data(), weights)
def test_nothing_but_the_weights_of_the_default_changes(flag, data, weight):
    variant = data.draw(st.sampled_from(list(flag.variants)))
    try:
        after = with_rollout(flag, variant, weight)
    except Refused:
        return
    assert replace(after, default=flag.default) == flag
    if isinstance(flag.default, Split):
        assert after.default.bucketing == flag.default.bucketing


def test_the_same_weight_again_changes_nothing():
    for flag in (Flag.boolean("a"), Flag.boolean("a", percent=25)):
        assert with_rollout(flag, "on", weight_of_variant(flag, "on")) is flag


def test_the_bucketing_of_an_imported_split_stays_with_its_resolution():
    bucketing = Bucketing(Scheme.SPLIT, seed=7, no_key=NoKey.MISS, total=100)
    flag = Flag(key="a", default=Split((Weight("on", 10), Weight("off", 90)), bucketing))
    after = with_rollout(flag, "on", 25_000)
    assert after.default == Split((Weight("on", 25), Weight("off", 75)), bucketing)
    with pytest.raises(Refused, match=r"12.5 % cannot be kept.*resolution is 1 %"):
        with_rollout(flag, "on", 12_500)


@pytest.mark.parametrize("weight", [-1, WHOLE + 1, 2.5, True, "5", None])
def test_a_weight_is_a_whole_number_within_bounds(weight):
    with pytest.raises(Refused, match="whole number from 0 to 100000"):
        with_rollout(Flag.boolean("a"), "on", weight)


def test_an_unknown_variant_is_refused_with_the_nearest():
    for verb in (
        lambda flag: with_rollout(flag, "onn", 5),
        lambda flag: with_targets(flag, "onn", []),
    ):
        with pytest.raises(Refused, match='did you mean "on"'):
            verb(Flag.boolean("a"))


def test_a_default_that_cannot_take_it_is_refused():
    with pytest.raises(Refused, match="falls through"):
        with_rollout(split_flag((None, 50_000), ("off", 50_000)), "off", 1_000)
    parts = (("a", 30_000), ("off", 40_000), ("a", 30_000))
    with pytest.raises(Refused, match="2 separate parts"):
        with_rollout(split_flag(*parts), "a", 1_000)
    with pytest.raises(Refused, match="do not add up"):
        with_rollout(split_flag(("a", 1), ("off", 1)), "a", 1_000)


def test_on_is_all_that_switching_touches():
    flag = Flag.boolean("a", percent=25, on=False)
    assert with_on(flag, True) == replace(flag, on=True)
    assert with_on(flag, False) is flag


# --- targets


@given(flags(), st.data(), st.frozensets(st.sampled_from(["user-1", "user-2", "x"])))
@example(Flag.boolean("a", allow=["x"]), None, frozenset({"x"}))
def test_exactly_these_keys_are_the_variants_and_no_others_have_them(flag, data, keys):
    variant = data.draw(st.sampled_from(list(flag.variants))) if data else "off"
    after = with_targets(flag, variant, keys)
    mine = [one for one in after.targets if one.context_kind == "user"]
    assert frozenset().union(*(one.keys for one in mine if one.variant == variant)) == keys
    assert not any(one.keys & keys for one in mine if one.variant != variant)
    others = [one for one in flag.targets if one.context_kind != "user"]
    assert [one for one in after.targets if one.context_kind != "user"] == others
    assert replace(after, targets=flag.targets) == flag
    assert with_targets(after, variant, keys) == after
    assert check_flag(after) == []


def test_the_other_variants_keep_the_keys_that_were_not_taken():
    flag = Flag.boolean("a", allow=["x", "y"], deny=["z"])
    after = with_targets(flag, "off", ["x"])
    assert after.targets == (Target("off", frozenset({"x"})), Target("on", frozenset({"y"})))


@pytest.mark.parametrize("keys", ["user-1", [""], [1], [None]])
def test_keys_that_are_none_are_refused(keys):
    with pytest.raises(Refused):
        with_targets(Flag.boolean("a"), "on", keys)


# --- rules for segments

STAFF = Clause("", Operator.IN_SEGMENT, ("staff",))
HALF = Flag.boolean("a", percent=50)


@pytest.mark.rule("E7", "P5")
@given(flags(segments=["staff", "beta"]), st.data())
def test_rules_for_segments_come_last_once_and_go_again(flag, data):
    variant = data.draw(st.sampled_from(list(flag.variants)))
    named = data.draw(st.lists(st.sampled_from(["staff", "beta", "qa"]), max_size=4))
    after = with_segments(flag, variant, named)
    assert after.rules[: len(flag.rules)] == flag.rules
    assert replace(after, rules=flag.rules) == flag
    for one in named:
        assert any(serves_segment(rule, variant, one) for rule in after.rules)
    added = after.rules[len(flag.rules) :]
    assert len({rule.clauses[0].values for rule in added}) == len(added) <= len(set(named))
    assert with_segments(after, variant, named) == after
    assert check_flag(replace(after, rules=added)) == check_flag(replace(flag, rules=()))
    new = [rule.clauses[0].values[0] for rule in added]
    assert without_segments(after, variant, new) == flag


@pytest.mark.parametrize(
    "rule",
    [
        Rule("off", (STAFF,)),
        Rule("on", (replace(STAFF, negate=True),)),
        Rule("on", (replace(STAFF, values=("staff", "beta")),)),
        Rule("on", (STAFF, Clause("plan", Operator.PRESENT))),
        Rule("on", (STAFF,), Gate(50_000)),
        Rule(percentage("on", 50, rest="off"), (STAFF,)),
        Rule("on"),
    ],
)
def test_a_rule_for_others_or_for_less_is_not_taken_for_one(rule):
    flag = replace(HALF, rules=(rule,))
    assert len(with_segments(flag, "on", ["staff"]).rules) == 2
    assert without_segments(flag, "on", ["staff"]) == flag


def test_a_rule_that_others_stand_behind_stays():
    behind = Rule("off", (Clause("plan", Operator.PRESENT),))
    flag = with_segments(HALF, "on", ["staff", "beta"])
    flag = replace(flag, rules=(*flag.rules[:1], behind, *flag.rules[1:]))
    assert without_segments(flag, "on", ["staff", "beta"]).rules == flag.rules[:2]


def test_a_segment_is_named_for_a_variant_that_there_is():
    with pytest.raises(Refused, match='no variant "onn"'):
        with_segments(HALF, "onn", ["staff"])
