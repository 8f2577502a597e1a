"""Guardrails that compare with the control at every look, through controllers and the store."""

from dataclasses import replace

import pytest
from rollout_world import TICK, Arm, plan_for

from downhaul.analysis.model import Against, Check, Count, Measure
from downhaul.rollout.plan import OnUndecided

CONTROL = Check(Measure.ERROR_RATE, against=Against.CONTROL)
SLO = Check(Measure.ERROR_RATE, limit=0.05, against=Against.SLO)
GUARDED = {"guardrails": (CONTROL,)}
FEW = {"on": Arm(rate=2.0, errors=0.01), "off": Arm(rate=20.0, errors=0.01)}
MANY = {"on": Arm(rate=400.0, errors=0.01), "off": Arm(rate=3600.0, errors=0.01)}


def started(world, *percents, **fields):
    world.flag()
    world.rollouts.start(plan_for("agent", *percents, **fields))
    world.go(lambda: world.percent() == percents[0])


@pytest.mark.rule("R4", "R6")
def test_a_variant_with_more_errors_than_the_control_is_taken_back(world):
    started(world, 10, 50, **GUARDED)
    world.traffic.arms = {"on": Arm(rate=20.0, errors=0.1), "off": Arm(rate=180.0, errors=0.01)}
    world.go_to("rolled_back")
    (found,) = world.state().findings
    assert found.evidence >= found.enough == 100
    # Ten times the errors need some hundred requests; the looks come every hundred.
    assert found.requests <= 400
    assert "that it is worse, and 100 to 1 is enough" in world.state().message


@pytest.mark.rule("R5", "R6")
def test_a_variant_that_is_shown_to_be_no_worse_climbs_and_an_incident_stops_it_not(world):
    started(world, 10, 50, **GUARDED)
    world.traffic.arms = MANY
    world.tick()
    for arm in world.traffic.arms.values():
        arm.errors = 0.2  # of both
    world.tick()
    for arm in world.traffic.arms.values():
        arm.errors = 0.01
    world.go_to("completed")
    assert world.percent() == 50


@pytest.mark.rule("R5")
def test_with_too_little_traffic_nothing_is_shown_and_the_plan_says_what_then(world):
    started(world, 10, 50, **GUARDED)
    world.traffic.arms = FEW
    world.go_to("paused")
    assert world.state().because == "undecided"
    assert "not shown to be below 2 times the others yet" in world.state().message


@pytest.mark.rule("R5")
def test_a_plan_may_go_on_where_nothing_speaks_against_it(world):
    started(world, 10, 50, on_undecided=OnUndecided.PROMOTE, **GUARDED)
    world.traffic.arms = FEW
    world.go_to("completed")


@pytest.mark.rule("R2", "R6")
def test_evidence_goes_on_at_the_next_step_with_the_next_controller(world):
    started(world, 10, 50, **GUARDED)
    # Not enough at the first step to say that it is worse, and a person goes on all the same.
    world.traffic.arms = {"on": Arm(rate=4.0, errors=0.05), "off": Arm(rate=40.0, errors=0.01)}
    world.go(lambda: world.state().findings and world.state().findings[0].evidence > 3)
    kept = world.state().findings[0].evidence
    world.rollouts.promote("agent", "it looks fine to me")
    other = world.another("second")
    world.go(lambda: world.state().step == 1, controller=other)
    world.traffic.arms = {"on": Arm(rate=0.0), "off": Arm(rate=0.0)}
    world.tick(controller=other)
    (found,) = world.state().findings
    assert found.evidence >= kept / 2  # what was gathered is still there, without a request since
    assert found.verdict == "no_data"


@pytest.mark.rule("R6")
def test_at_a_hundred_percent_a_promise_is_still_kept_watch_over(world):
    started(world, 50, 100, guardrails=(CONTROL, SLO))
    world.traffic.arms = {"on": Arm(rate=500.0, errors=0.01), "off": Arm(rate=500.0, errors=0.01)}
    world.go(lambda: world.percent() == 100)
    world.traffic.arms = {"on": Arm(rate=40.0, errors=0.3)}
    world.tick(TICK)
    world.tick(TICK)
    world.go_to("rolled_back")
    assert "vs SLO 5 %" in world.state().message


@pytest.mark.rule("R2")
def test_a_look_is_kept_with_what_was_decided_on_it_and_one_a_minute_beside(world):
    started(world, 10, 50, bake=1000.0, **GUARDED)
    world.traffic.arms = FEW
    for _ in range(30):  # two minutes and a half, a look each five seconds
        world.tick()
    rollout = world.rollouts.get("agent").id
    kept = world.store.looks.of(rollout, limit=100)
    assert 3 <= len(kept) <= 6
    world.traffic.arms = {"on": Arm(rate=50.0, errors=0.5), "off": Arm(rate=50.0, errors=0.01)}
    world.go_to("rolled_back")
    last = world.rollouts.look(rollout)
    assert (last.look["action"], last.look["phase"]) == ("off", "rolling_back")
    (found,) = last.look["findings"]
    assert found["verdict"] == "regressed"
    assert last.look["arms"]["on"]["errors"] >= 10
    raised = world.rollouts.look(rollout, at=kept[-1].at)
    assert raised.look["step"] == 1


def test_a_source_that_is_away_is_kept_as_a_look_that_saw_nothing(world):
    started(world, 10, 50, **GUARDED)
    world.traffic.error = OSError("the warehouse is closed")
    world.tick()
    look = world.rollouts.look("agent").look
    assert "the warehouse is closed" in look["error"]
    assert look["findings"] == []
    assert "the warehouse is closed" in look["hold"]


@pytest.mark.rule("R6")
def test_users_are_counted_once_a_step_has_settled(world, monkeypatch):
    asked = []
    sample = world.traffic.sample

    def noted(flag, window, thresholds, *, users_since, **options):
        asked.append((users_since, window))
        return sample(flag, window, thresholds, **options)

    monkeypatch.setattr(world.traffic, "sample", noted)
    check = Check(Measure.ERROR_RATE, against=Against.CONTROL, count=Count.USERS)
    started(world, 10, 50, bake=200.0, guardrails=(check,))
    for _ in range(4):
        world.tick()
    begun = asked[0][1].since
    assert {since for since, _ in asked} == {begun + 30_000_000}


SPLIT = Check(Measure.SAMPLE_RATIO, min_sample=1)


@pytest.mark.rule("R5", "R6")
def test_a_split_is_looked_at_where_there_is_one_and_holds_up_no_last_step(world, monkeypatch):
    sample = world.traffic.sample

    def of_users(*words, **options):
        found = sample(*words, **options)
        share = world.percent() / 100
        people = {"on": round(400 * share), "off": round(400 * (1 - share))}
        arms = {
            name: replace(one, users=people[name], new_users=people[name])
            for name, one in found.arms.items()
        }
        return replace(found, arms=arms)

    monkeypatch.setattr(world.traffic, "sample", of_users)
    started(world, 10, 50, 100, signals=(SPLIT,))
    world.go_to("completed")
    looked = [[one.check for one in step.findings] for step in world.state().history]
    assert looked == [[SPLIT.name], [SPLIT.name], []]


def test_a_preview_is_no_split():
    preview = replace(plan_for("agent", 10).steps[0], weight=3_000, preview=True)
    plan = plan_for("agent", 100, signals=(SPLIT,), guardrails=(CONTROL,))
    plan = replace(plan, steps=(preview, *plan.steps))
    assert [plan.checks_at(step) for step in (0, 1)] == [(CONTROL,), ()]
