"""What somebody else changed, and whether anybody gets more by it: the evaluator is asked."""

from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from downhaul.backends.edits import with_on, with_rollout, with_targets
from downhaul.evaluator.compile import World
from downhaul.evaluator.view import View
from downhaul.flag import Bucketing, Flag, FlagKind, FlagType, Rule, Split, Weight
from downhaul.rollout.drift import (
    Drift,
    drift_of,
    exposure_of,
    foreign_changes,
    lies_between,
    lowered_below,
    with_about,
)

HALF = Flag.boolean("agent", percent=50)
LAST = Split((Weight("off", 60_000), Weight("on", 40_000)))
ARMS = Flag(
    key="agent",
    kind=FlagKind.STRING,
    variants={"none": "0", "a": "1", "b": "2"},
    off_variant="none",
    default=Split((Weight("a", 50_000), Weight("b", 30_000), Weight("none", 20_000))),
    on=True,
)


def arms(*weights):
    parts = zip(("a", "b", "none"), weights, strict=True)
    return replace(ARMS, default=Split(tuple(Weight(*one) for one in parts)))


def salted(flag, salt):
    return replace(flag, default=replace(flag.default, bucketing=Bucketing(salt=salt)))


@pytest.mark.rule("R7")
@pytest.mark.parametrize(
    "before, now, drift",
    [
        (HALF, HALF, Drift.NONE),
        (HALF, replace(HALF, version="9", description="new", owner="ana"), Drift.NONE),
        (HALF, replace(HALF, tags=("agents",), type=FlagType.EXPERIMENT), Drift.NONE),
        (HALF, with_rollout(HALF, "on", 40_000), Drift.LOWERED),
        (HALF, replace(HALF, default="off"), Drift.LOWERED),
        (HALF, with_on(HALF, False), Drift.LOWERED),
        (replace(HALF, default="on"), HALF, Drift.LOWERED),
        (HALF, with_rollout(HALF, "on", 60_000), Drift.RAISED),
        (HALF, replace(HALF, default="on"), Drift.RAISED),
        (with_on(HALF, False), HALF, Drift.RAISED),
        (HALF, with_targets(HALF, "on", ["eve"]), Drift.OTHER),
        (HALF, with_targets(with_rollout(HALF, "on", 40_000), "on", ["eve"]), Drift.OTHER),
        (HALF, replace(HALF, rules=(Rule("on"),)), Drift.OTHER),
        (HALF, salted(HALF, "x"), Drift.OTHER),
        (HALF, salted(with_rollout(HALF, "on", 40_000), "x"), Drift.OTHER),
        (HALF, replace(HALF, default=LAST), Drift.OTHER),
        (replace(HALF, on=False, default="off"), replace(HALF, default="off"), Drift.OTHER),
        (with_on(HALF, False), with_on(with_rollout(HALF, "on", 60_000), False), Drift.OTHER),
        (ARMS, with_rollout(ARMS, "a", 20_000), Drift.LOWERED),
        (ARMS, arms(40_000, 40_000, 20_000), Drift.OTHER),  # not in the proportion of before
        (ARMS, arms(50_000, 20_000, 30_000), Drift.OTHER),
    ],
)  # fmt: skip
def test_a_drift_has_a_name(before, now, drift):
    variant = "a" if "a" in before.variants else "on"
    assert drift_of(before, now, variant) is drift


USERS = [f"user-{number}" for number in range(60)]


def served(flag, variant):
    view = View(World({flag.key: flag}, {}))
    return {user for user in USERS if view.results[flag.key](user).variant == variant}


@st.composite
def defaults(draw):
    """What serves by default: a variant, or parts in any order, out of one of two salts."""
    edges = sorted(draw(st.tuples(*[st.sampled_from([0, 20_000, 50_000, 80_000, 100_000])] * 2)))
    parts = (edges[0], edges[1] - edges[0], 100_000 - edges[1])
    names = draw(st.permutations(["a", "b", "none"]))
    salt = draw(st.sampled_from([None, None, None, "x"]))
    split = Split(tuple(map(Weight, names, parts)), Bucketing(salt=salt))
    return draw(st.sampled_from([split, split, split, names[0]]))


@pytest.mark.rule("R7")
@given(defaults(), defaults(), st.booleans())
def test_who_is_served_after_a_lowering_was_served_before_it(before, after, on):
    """Whatever somebody puts: what is called lowered gives the variant to nobody new."""
    flag, now = replace(ARMS, default=before), replace(ARMS, default=after, on=on)
    drift = drift_of(flag, now, "a")
    event(drift)
    if drift is Drift.LOWERED:
        assert served(now, "a") <= served(flag, "a")
    elif drift is Drift.NONE:
        assert served(now, "a") == served(flag, "a")


@pytest.mark.rule("R8")
def test_what_a_restore_would_undo_is_named_and_a_lower_part_is_not():
    assert foreign_changes(HALF, with_on(HALF, False), "on") == ()
    assert foreign_changes(HALF, with_rollout(HALF, "on", 10_000), "on") == ()
    assert foreign_changes(with_on(HALF, False), with_on(HALF, True), "on") == ()
    assert foreign_changes(HALF, replace(HALF, description="x"), "on") == ()
    (found,) = foreign_changes(HALF, with_targets(HALF, "on", ["eve"]), "on")
    assert "eve" in found
    # Raised while it was off: nobody had it, and a restore undoes it all the same.
    raised = with_on(with_rollout(HALF, "on", 80_000), False)
    assert any("50 % -> 80 %" in one for one in foreign_changes(HALF, raised, "on"))


@pytest.mark.rule("R8")
@pytest.mark.parametrize(
    "desired, found",
    [
        (HALF, False),
        (with_rollout(HALF, "on", 90_000), False),
        (with_rollout(HALF, "on", 40_000), True),
        (with_on(HALF, False), True),
        (with_on(with_rollout(HALF, "on", 90_000), False), True),
    ],
)
def test_what_was_taken_away_below_the_snapshot_is_named(desired, found):
    assert bool(lowered_below(HALF, desired, "on")) is found
    assert lowered_below(with_on(HALF, False), with_on(desired, False), "on") == ()


def test_half_a_write_is_recognised_and_a_stranger_s_is_not():
    was = with_on(with_rollout(HALF, "on", 0), False)
    meant = with_targets(with_on(with_rollout(was, "on", 10_000), True), "on", ["qa"])
    part = with_rollout(was, "on", 10_000)
    assert lies_between(was, meant, was)
    assert lies_between(was, meant, part)
    assert lies_between(was, meant, with_targets(part, "on", ["qa"]))
    assert lies_between(was, meant, replace(meant, description="x", version="7"))
    assert not lies_between(was, meant, with_rollout(part, "on", 20_000))
    assert not lies_between(was, meant, with_targets(meant, "on", ["eve"]))


def test_the_fields_that_decide_nothing_are_carried_over():
    now = replace(HALF, description="new", owner="ana", tags=("a",), type=FlagType.PERMISSION)
    back = with_about(with_rollout(HALF, "on", 5_000), with_on(now, False))
    assert back == with_rollout(now, "on", 5_000)


def test_what_is_off_exposes_nobody():
    assert exposure_of(HALF, "on") == 50_000
    assert exposure_of(with_on(HALF, False), "on") == 0
    assert exposure_of(replace(HALF, default="on"), "on") == 100_000
    assert exposure_of(HALF, "no such variant") == 0
