"""What a plan foretells of itself."""

import math
from dataclasses import replace

import pytest
from rollout_world import plan_for

from downhaul.analysis.model import Against, Check, Counts, Measure
from downhaul.rollout.forecast import Traffic, forecast
from downhaul.rollout.plan import Strategy

HOUR = 3600.0
ERRORS = Check(Measure.ERROR_RATE, against=Against.CONTROL)
SLO = Check(Measure.ERROR_RATE, limit=0.05, against=Against.SLO)
PLAN = plan_for("agent", 1, 10, 50, 100, bake=24 * HOUR, guardrails=(ERRORS, SLO))
BUSY = Traffic(Counts(24_000, 240, 23_760), 24 * HOUR)


def harms(found, check=ERRORS):
    return {one.times: one for one in found.harms if one.check == check.name}


@pytest.mark.rule("R6")
def test_larger_differences_are_found_sooner_and_at_less_harm():
    found = forecast(PLAN, BUSY)
    by_times = harms(found)
    times = sorted(by_times)
    assert times == [2, 3, 5, 10]
    after = [by_times[one].after for one in times]
    assert after == sorted(after, reverse=True)
    # Harm before a rollback is small, whatever the difference (some 5 to 25 requests).
    assert all(2 <= by_times[one].failed <= 25 for one in times)


def test_more_traffic_sees_more():
    few, many = (
        forecast(PLAN, Traffic(Counts(n, n // 100, n - n // 100), 24 * HOUR))
        for n in (2_400, 240_000)
    )
    for one, other in zip(few.steps, many.steps, strict=True):
        for here, there in zip(one.checks, other.checks, strict=True):
            assert there.least is not None
            assert here.least is None or here.least >= there.least
            assert here.clear >= there.clear


def test_at_a_hundred_percent_only_a_promise_is_looked_at():
    found = forecast(PLAN, BUSY)
    assert [one.check for one in found.steps[-1].checks] == [SLO.name]
    assert [one.check for one in found.steps[0].checks] == [ERRORS.name, SLO.name]


def test_what_stays_under_its_promise_is_never_found_by_it():
    found = harms(forecast(PLAN, BUSY), SLO)
    assert found[5].number is None  # 1 % five times is the promise itself
    assert math.isinf(found[2].failed)
    assert found[10].number is not None


def test_of_what_never_happened_the_least_is_assumed_and_said():
    found = forecast(PLAN, Traffic(Counts(1000, 0, 1000), HOUR))
    assert found.unseen == {ERRORS.name, SLO.name}
    assert set(found.rates.values()) == {0.001}


def test_evidence_of_earlier_steps_counts_at_later_ones():
    alone = forecast(replace(PLAN, steps=PLAN.steps[1:]), BUSY)
    after = forecast(PLAN, BUSY)
    assert after.steps[1].checks[0].least <= alone.steps[0].checks[0].least


@pytest.mark.parametrize(
    "plan,traffic",
    [
        (replace(PLAN, guardrails=()), BUSY),
        (PLAN, Traffic(Counts(), 24 * HOUR)),
        (replace(PLAN, guardrails=(Check(Measure.ERROR_RATE, limit=0.05),)), BUSY),
        (replace(PLAN, guardrails=(replace(ERRORS, dry_run=True),)), BUSY),
    ],
)
def test_where_nothing_can_be_foretold_nothing_is(plan, traffic):
    assert forecast(plan, traffic) is None


def test_a_preview_is_left_out():
    preview = replace(PLAN.steps[0], weight=0, preview=True)
    plan = replace(
        PLAN, strategy=Strategy.BLUE_GREEN, steps=(preview, PLAN.steps[-1]), audience=("qa",)
    )
    assert [one.number for one in forecast(plan, BUSY).steps] == [2]
