"""Whole rollouts of each strategy, by a real controller: what is served at each step, and back."""

from dataclasses import replace
from itertools import count, groupby

import pytest
from rollout_world import BAKE, ERRORS, WHO, plan_for

from downhaul.analysis.model import Check, Measure, Verdict
from downhaul.backends.edits import with_segments
from downhaul.backends.memory import MemoryProvider
from downhaul.errors import DocumentError, Refused
from downhaul.flag import Clause, Keys, Operator, Rule, Segment
from downhaul.provider import Capability
from downhaul.rollout.plan import Step, Strategy
from downhaul.store.requests import RequestRow

_numbers = count()
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


# --- named users first


STAFF = Segment("staff", (Keys(frozenset({"eve", "mia"})),))


def named(world, key="agent"):
    """Return who gets the variant by name: users, and segments."""
    kept = world.kept(key)
    users = {one for target in kept.targets if target.variant == "on" for one in target.keys}
    return users | {name for rule in kept.rules for name in rule.clauses[0].values}


def release(*percents, **fields):
    plan = plan_for("agent", *percents, strategy=Strategy.RELEASE, **fields)
    first = Step(0, BAKE, 3 * BAKE, preview=True, targets=("ana", "ben"), segments=("staff",))
    return replace(plan, steps=(first, *plan.steps))


@pytest.mark.rule("R3", "R8")
def test_named_users_and_segments_come_first_and_then_the_percentages(world):
    world.provider.put_segment(STAFF, WHO)
    before = world.flag(on=False, allow=["zoe"], deny=["ben"])
    world.rollouts.start(release(10, 100))
    world.tick(0)
    assert (world.percent(), world.kept().on) == (0, True)
    assert named(world) == {"ana", "ben", "zoe", "staff"}
    world.go(lambda: world.percent() == 10)
    assert named(world) == {"ana", "ben", "zoe", "staff"}
    world.go_to("completed")
    assert climbed(world) == [0, 10, 100]
    assert named(world) == {"ana", "ben", "zoe"}  # the rule serves nobody whom the default doesn't
    assert world.rollouts.revert("agent", "worse").rollout.phase == "reverted"
    assert replace(world.kept(), version="") == replace(before, version="")


@pytest.mark.rule("R8")
@pytest.mark.parametrize("percent", [0, 10])
def test_the_way_back_takes_the_variant_from_who_was_named_too(world, percent):
    world.provider.put_segment(STAFF, WHO)
    rule = Rule("on", (Clause("plan", Operator.IN, ("pro",)),))
    before = world.flag(allow=["ana"], rules=(rule,))
    world.rollouts.start(release(10, 100))
    world.go(lambda: world.state().entered and world.percent() == percent)
    world.rollouts.rollback("agent", "enough")
    assert replace(world.kept(), version="") == replace(before, version="")


@pytest.mark.rule("R7", "R8")
def test_who_is_taken_out_by_hand_stays_out(world):
    world.provider.put_segment(STAFF, WHO)
    world.flag()
    world.rollouts.start(release(10, 50))
    world.tick(0)
    world.provider.set_targets("agent", "on", {"ana"}, WHO)
    world.go_to("paused")
    assert world.state().because == "drift_other"
    assert world.rollouts.rollback("agent", "no").rollout.phase == "latched"  # what they did stands
    assert not world.kept().on
    assert world.rollouts.rollback("agent", "all", overwrite=True).applied
    world.rollouts.start(release(10, 50))
    world.tick()
    world.provider.put(replace(world.kept(), rules=(), version=""), WHO)
    world.go_to("paused")
    world.rollouts.resume("agent")
    world.go_to("completed")
    assert world.percent() == 50
    assert named(world) == {"ana", "ben"}


@pytest.mark.rule("R7")
def test_who_is_named_by_hand_pauses_the_rollout(world):
    world.provider.put_segment(STAFF, WHO)
    world.flag()
    world.rollouts.start(plan_for("agent", 10, 50))
    world.go(lambda: world.percent() == 10)
    world.provider.put(replace(with_segments(world.kept(), "on", ["staff"]), version=""), WHO)
    world.go_to("paused")
    assert "staff" in world.state().message
    assert world.rollouts.rollback("agent", "no").rollout.phase == "latched"


@pytest.mark.rule("R5", "R10")
def test_the_requests_of_named_users_are_counted_while_they_alone_are_served(here):
    here.count_requests()
    here.provider.put_segment(STAFF, WHO)
    here.flag()
    errors = replace(ERRORS, min_sample=4)
    here.rollouts.start(release(10, 100, guardrails=(errors,)))
    here.tick(0)
    log = here.control.requests
    log.write(
        [request(key, by) for key, by in (("ana", "target"), ("eve", "rule"), ("mia", "rule"))]
    )
    here.tick()
    (found,) = here.state().findings
    assert (found.verdict, found.requests) == (Verdict.UNDECIDED, 3)
    log.write([request("mia", "rule", error=True), request("bob", "split", variant="off")])
    here.go_to("rolled_back", most=3)
    assert not named(here)


def request(key, served_by, *, variant="on", error=False):
    return RequestRow(
        id=f"request-{next(_numbers)}",
        flag="agent",
        variant=variant,
        served_by=served_by,
        success=not error,
        error=error,
        latency_ms=50.0,
        subject=key,
        flag_version="",
    )


@pytest.mark.rule("R2", "R3")
@pytest.mark.parametrize("point", ["before_write", "after_write"])
def test_a_write_of_names_that_was_cut_off_is_known_again(world, point):
    world.provider.put_segment(STAFF, WHO)
    before = world.flag(on=False)
    world.rollouts.start(release(10, 100))

    def stop(name, _rollout):
        if name == point:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.another("doomed", points=stop).tick()
    world.clock.advance(16)
    world.go(lambda: world.state().entered)
    assert "drift" not in world.told()
    assert named(world) == {"ana", "ben", "staff"}
    world.rollouts.rollback("agent", "enough")
    assert replace(world.kept(), version="") == replace(before, version="")


class Segmentless(MemoryProvider):
    """A backend without rules for segments."""

    capabilities = MemoryProvider.capabilities - {Capability.SEGMENTS}


@pytest.mark.rule("P4")
def test_segments_are_refused_at_the_start_where_no_rule_can_name_them(world_of):
    world = world_of("apart", Segmentless())
    world.flag()
    with pytest.raises(DocumentError) as refused:
        world.rollouts.start(release(10, 100))
    (problem,) = refused.value.problems
    assert "no rules for segments of ours" in problem.message
    assert "name targeting keys" in problem.hint
    plan = release(10, 100)
    users_alone = replace(plan.steps[0], segments=())
    world.rollouts.start(replace(plan, steps=(users_alone, *plan.steps[1:])))
    world.tick(0)
    assert named(world) == {"ana", "ben"}


def test_nothing_is_rehearsed_with_a_segment_that_is_not_there(here):
    here.flag()
    with pytest.raises(Refused, match='no segment "staff" to rehearse with'):
        here.rollouts.rehearse(release(10, 100))
    here.provider.put_segment(STAFF, WHO)
    found = here.rollouts.rehearse(release(10, 100))
    assert found.held
    assert found.exposed[0] == 2 + 20  # ana and ben; eve, asked as somebody of the segment is


# --- ring by ring

BETA = Segment("beta", (Keys(frozenset({"mia", "bob"})),))


def rings(*percents, **fields):
    plan = plan_for("agent", *percents, strategy=Strategy.RINGS, **fields)
    ring = Step(0, BAKE, 3 * BAKE, preview=True)
    named_ones = (
        replace(ring, targets=("ana", "ben"), name="us"),
        replace(ring, segments=("staff",)),
        replace(ring, targets=("zoe",), segments=("beta",)),
    )
    return replace(plan, steps=(*named_ones, *plan.steps))


@pytest.mark.rule("R3", "E7")
def test_each_ring_adds_its_own_in_one_write_and_everybody_is_last(world):
    world.provider.put_segment(STAFF, WHO)
    world.provider.put_segment(BETA, WHO)
    before = world.flag(on=False)
    world.rollouts.start(rings(50, 100))
    written = len(world.provider.history("agent"))
    found = [(set(), 0.0)]
    while world.phase() != "completed":
        world.tick(0 if len(found) == 1 else 5)
        now = (named(world), world.percent())
        if now != found[-1]:
            found.append(now)
    us, staff, beta = {"ana", "ben"}, {"staff"}, {"zoe", "beta"}
    assert found[1:] == [
        (us, 0),
        (us | staff, 0),
        (us | staff | beta, 0),
        (us | staff | beta, 50),
        (us | {"zoe"}, 100),
    ]
    assert len(world.provider.history("agent")) == written + 5
    assert [one.step for one in world.state().history] == [0, 1, 2, 3, 4]
    world.rollouts.revert("agent", "worse")
    assert replace(world.kept(), version="") == replace(before, version="")


@pytest.mark.rule("R4", "R8")
@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_a_bad_ring_is_taken_back_with_all_before_it(world, step):
    world.provider.put_segment(STAFF, WHO)
    world.provider.put_segment(BETA, WHO)
    before = world.flag(allow=["lea"], rules=(Rule("off", (Clause("plan", Operator.PRESENT),)),))
    world.rollouts.start(rings(50, 100, guardrails=(ERRORS,)))
    world.go(lambda: world.state().entered and world.state().step == step)
    world.traffic.arms["on"].errors = 0.2
    world.go_to("rolled_back")
    assert replace(world.kept(), version="") == replace(before, version="")


# --- blue-green: preview, looked at, switch, looked at, armed, back


def blue_green(**fields):
    plan = plan_for("agent", 100, strategy=Strategy.BLUE_GREEN, audience=("qa",), **fields)
    preview = Step(0, BAKE, 3 * BAKE, preview=True, segments=("staff",))
    return replace(plan, steps=(preview, *plan.steps))


@pytest.mark.rule("R9")
def test_a_preview_may_be_for_a_segment_and_ends_with_the_switch(world):
    world.provider.put_segment(STAFF, WHO)
    before = world.flag()
    world.rollouts.start(blue_green())
    world.tick(0)
    assert (world.percent(), named(world)) == (0, {"qa", "staff"})
    written = len(world.provider.history("agent"))
    world.go(lambda: world.percent() == 100)
    assert len(world.provider.history("agent")) == written + 1  # the switch
    assert named(world) == {"qa"}
    world.go_to("completed")
    assert world.store.now() - world.state().ended_at < 3600 * 1e6
    world.clock.advance(71 * 3600)
    world.rollouts.revert("agent", "blue was better")
    assert replace(world.kept(), version="") == replace(before, version="")
    assert all(one.after["on"] for one in world.provider.history("agent") if "on" in one.after)


@pytest.mark.rule("R4", "R9")
def test_a_preview_that_is_bad_is_never_switched(world):
    world.provider.put_segment(STAFF, WHO)
    before = world.flag()
    world.rollouts.start(blue_green(guardrails=(ERRORS,)))
    world.tick(0)
    world.traffic.arms["on"].errors = 0.2
    world.go_to("rolled_back")
    assert max(climbed(world)) == 0
    assert replace(world.kept(), version="") == replace(before, version="")


@pytest.mark.rule("R8", "R9")
def test_a_bad_preview_serves_nobody_while_a_person_is_asked_about_the_flag(world):
    world.provider.put_segment(STAFF, WHO)
    world.flag()
    world.rollouts.start(blue_green(guardrails=(ERRORS,)))
    world.tick(0)
    world.provider.set_targets("agent", "off", {"zoe"}, WHO)
    world.traffic.arms["on"].errors = 0.2
    world.go_to("latched")
    assert world.kept().on
    assert not named(world)
    assert {key for one in world.kept().targets for key in one.keys} == {"zoe"}


@pytest.mark.rule("R4", "R9")
def test_green_is_watched_after_the_switch_and_blue_takes_over_in_one_write(world):
    world.provider.put_segment(STAFF, WHO)
    before = world.flag()
    world.rollouts.start(blue_green(guardrails=(ERRORS,)))
    world.go(lambda: world.percent() == 100)
    world.traffic.arms["on"].errors = 0.2
    world.go_to("rolled_back")
    assert climbed(world) == [0, 100, 0]
    assert replace(world.kept(), version="") == replace(before, version="")
