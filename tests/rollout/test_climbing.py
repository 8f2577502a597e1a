"""Whole rollouts of each strategy, by a real controller: what is served at each step, and back."""

from dataclasses import replace
from itertools import groupby

import pytest
from rollout_world import BAKE, ERRORS, plan_for

from downhaul.analysis.model import Check, Measure
from downhaul.rollout.plan import Step

COMPARED = Check(Measure.ERROR_RATE, over_control=0.02, min_sample=100)


def climbed(world, key="agent"):
    """Return what the percentage was, one after the other."""
    return [percent for percent, _ in groupby(world.exposures(key))]


# --- a holdback


def held_back(key, **fields):
    plan = plan_for(key, 50, 98, guardrails=(COMPARED, ERRORS), **fields)
    return replace(plan, steps=(*plan.steps, Step(100_000, 0.0, 0.0)))


@pytest.mark.rule("R3", "R5")
def test_a_holdback_stands_through_the_final_bake_and_then_everybody_is_in(world):
    before = world.flag()
    world.rollouts.start(held_back("agent"))
    world.go(lambda: world.percent() == 98)
    entered = world.clock.now()
    world.tick()
    assert {one.check for one in world.state().findings} == {COMPARED.name, ERRORS.name}
    world.go_to("completed")
    assert world.clock.now() - entered >= BAKE * 1e6
    assert climbed(world) == [0, 50, 98, 100]
    assert [one.step for one in world.state().history] == [0, 1, 2]
    world.rollouts.revert("agent", "worse")
    assert replace(world.kept(), version="") == replace(before, version="")


@pytest.mark.rule("R4")
def test_what_is_worse_than_those_held_back_is_taken_back(world):
    world.flag()
    world.rollouts.start(held_back("agent"))
    world.go(lambda: world.percent() == 98)
    world.traffic.arms["on"].errors = 0.04  # below every limit, and four points over the control
    world.go_to("rolled_back")
    assert climbed(world) == [0, 50, 98, 0]
