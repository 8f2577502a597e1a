"""What a plan would do, with dates."""

import datetime as dt
from dataclasses import replace

import pytest

from downhaul.rollout.gates.model import Gates
from downhaul.rollout.gates.times import Window, microseconds_of, weekly_of
from downhaul.rollout.plan import DAY, HOUR
from downhaul.rollout.planfile import make_plan
from downhaul.rollout.schedule import durations, schedule

START = dt.datetime(2026, 3, 28, 9, tzinfo=dt.UTC)
PLAN = make_plan(flag="a", steps="1,10,100", bake="24h,12h,1h", max_bake="48h", error_rate=5)


@pytest.mark.rule("R1")
def test_each_step_begins_where_the_one_before_it_ends():
    first, second, third = schedule(PLAN, START)
    hours = dt.timedelta(hours=1)
    assert (first.number, first.percent, first.enters) == (1, 1, START)
    assert (first.ends, first.ends_latest) == (START + 24 * hours, START + 48 * hours)
    assert (second.enters, second.enters_latest) == (first.ends, first.ends_latest)
    assert third.ends == START + 37 * hours
    assert third.ends_latest == START + 144 * hours
    assert durations(PLAN) == (DAY + 13 * HOUR, 6 * DAY)


def test_a_limit_of_time_says_which_steps_it_may_cut():
    limited = replace(PLAN, max_duration=4 * DAY)
    assert [one.capped for one in schedule(limited, START)] == [False, False, True]
    assert not any(one.capped for one in schedule(PLAN, START))


def test_bakes_are_hours_that_pass_and_not_hours_of_a_wall_clock():
    from zoneinfo import ZoneInfo

    berlin = START.astimezone(ZoneInfo("Europe/Berlin"))  # the clocks change in the night
    (first, *_) = schedule(PLAN, berlin)
    assert first.ends.astimezone(dt.UTC) == START + dt.timedelta(hours=24)


@pytest.mark.rule("E11")
def test_a_time_without_an_offset_is_refused():
    with pytest.raises(ValueError, match="no UTC offset"):
        schedule(PLAN, START.replace(tzinfo=None))


def test_what_falls_into_a_freeze_begins_when_it_is_over():
    weekend = Window(weekly=weekly_of("Sat 00:00 - Mon 08:00 UTC"))
    plan = replace(PLAN, gates=Gates(freezes=(weekend,)))
    first, second, _ = schedule(plan, START)  # a Saturday
    monday = dt.datetime(2026, 3, 30, 8, tzinfo=dt.UTC)
    assert first.enters == monday
    assert second.enters == monday + dt.timedelta(hours=24)
    nowhere = Window(weekly=weekly_of("Sat 00:00 - Mon 08:00 Nowhere/Atall"))
    (first, *_) = schedule(replace(PLAN, gates=Gates(freezes=(nowhere,))), START)
    assert first.enters == START


def test_a_plan_that_starts_later_is_reckoned_from_then():
    later = START + dt.timedelta(days=2)
    plan = replace(PLAN, gates=Gates(starts_at=microseconds_of(later)), max_duration=4 * DAY)
    found = schedule(plan, START)
    assert found[0].enters == later
    assert [one.capped for one in found] == [False, False, True]
    assert schedule(plan, later + dt.timedelta(days=1))[0].enters == later + dt.timedelta(days=1)
