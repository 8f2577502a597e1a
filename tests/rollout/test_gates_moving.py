"""Gates of rollouts that a controller moves, on real stores: who signs what, and what it opens."""

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from rollout_world import ERRORS, WHO, plan_for
from sqlalchemy import text

from downhaul.control import Operator
from downhaul.errors import Refused, SchemaMissing, VersionConflict
from downhaul.overlay import Scope
from downhaul.rollout import service
from downhaul.rollout.gates.model import Approval, Gates
from downhaul.rollout.gates.times import SECOND, Window, datetime_of, moment_text, weekly_of
from downhaul.rollout.plan import Plan
from downhaul.rollout.service import Rollouts

BY = ("ben", "leads")
GROUPS = {"leads": ("eve", "ida")}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """What waits for a controller says so at once: the tests tick themselves."""
    monkeypatch.setattr(service, "_WAIT", 0.0)


def begin(world, *percents, flag="agent", gates=None, **fields):
    world.flag(flag)
    plan = replace(plan_for(flag, *percents or (10, 50), **fields), gates=gates or Gates())
    world.rollouts.start(plan, "a better agent")
    world.tick(0)
    return world.rollouts.get(flag)


def acting(world, actor, *, marked=False):
    """The rollouts of the same world, for somebody else."""
    operator = Operator(
        world.provider,
        world.control,
        actor=actor,
        marked=marked,
        environment=world.store.environment,
    )
    return Rollouts(operator)


def baked(world, looks=4, **options):
    for _ in range(looks):
        world.tick(**options)


def waits(world, flag="agent"):
    return world.state(flag).hold


# Approvals


APPROVED = Gates(approvals=(Approval(BY, steps=(2,)),))


@pytest.mark.rule("R4")
def test_a_step_waits_for_its_approval_and_goes_on_at_the_next_look(world):
    begin(world, 10, 50, gates=APPROVED)
    baked(world, 12)  # far longer than the longest bake
    assert (world.percent(), waits(world)) == (10, "approval")
    assert world.state().hold_message == "step 2 needs an approval by ben or leads"
    done = acting(world, "ben").approve("agent", "no complaints", step=1)
    assert (done.written, done.outcome) == (True, "step 2 is approved")
    (gate,) = done.rollout.gates
    assert (gate.open, gate.message) == (True, 'step 2 was approved by ben: "no complaints"')
    world.tick(0)
    assert world.percent() == 50
    (told,) = [one for one in world.rollouts.events("agent") if one.action == "approved"]
    assert (told.actor, told.reason) == ("ben", "no complaints")
    assert told.detail["under"] == ["ben"]


def test_an_approval_that_is_given_during_the_bake_lets_it_go_on_without_a_stop(world):
    begin(world, 10, 50, gates=APPROVED)
    acting(world, "eve").approve("agent", "I saw it", groups=GROUPS)
    baked(world, 3)
    assert world.percent() == 50
    assert "held" not in world.told()


@pytest.mark.rule("R1", "X4")
@pytest.mark.parametrize(
    "who, step, said",
    [
        ("ben", 2, "too early for step 3: the next one is step 2"),
        ("ben", 0, "step 1 is behind it: the next one is step 2"),
        ("eve", 1, "eve is not among those who approve step 2: ben or leads"),
        ("ana", 1, "ana is not among those who approve step 2"),
    ],
)
def test_what_is_early_late_or_somebody_elses_is_refused_and_not_kept(world, who, step, said):
    begin(world, 10, 50, 100, gates=Gates(approvals=(Approval(BY),)))
    acting(world, "ben").approve("agent", "start it")
    world.tick()
    assert world.percent() == 10
    with pytest.raises(Refused, match=said):
        acting(world, who).approve("agent", "because", step=step)
    assert len(world.store.gates.signoffs([world.rollouts.get("agent").id]).popitem()[1]) == 1
    baked(world)
    assert (world.percent(), waits(world)) == (10, "approval")


def test_who_started_it_does_not_approve_it_where_the_plan_says_so(world):
    begin(world, 10, 50, gates=Gates(approvals=(Approval(("ana", "ben"), not_author=True),)))
    assert waits(world) == "approval"
    assert "not by ana" in world.state().hold_message
    with pytest.raises(Refused, match="ana started this rollout, and step 1 needs somebody else"):
        world.rollouts.approve("agent", "trust me")
    acting(world, "ben").approve("agent", "looks good")
    world.tick(0)
    assert world.percent() == 10


def test_so_many_different_people_have_to_approve(world):
    begin(world, 10, 50, gates=Gates(approvals=(Approval(BY, steps=(2,), count=2),)))
    baked(world)
    acting(world, "eve").approve("agent", "fine", groups=GROUPS)
    again = acting(world, "eve").approve("agent", "still fine", groups=GROUPS)
    assert (again.written, again.outcome) == (False, "eve said so already: step 2 is approved")
    world.tick()
    assert world.state().hold_message == "step 2 needs 2 approvals by ben or leads; eve did"
    acting(world, "ida").approve("agent", "me too", groups=GROUPS)
    world.tick(0)
    assert world.percent() == 50


def test_a_rejection_holds_until_the_same_person_approves(world):
    begin(world, 10, 50, gates=APPROVED)
    acting(world, "ben").approve("agent", "fine")
    acting(world, "eve").reject("agent", "answers got longer", groups=GROUPS)
    baked(world)
    assert (world.percent(), waits(world)) == (10, "approval")
    assert world.state().hold_message == 'step 2 was rejected by eve: "answers got longer"'
    with pytest.raises(Refused, match="dan is not among those"):
        acting(world, "dan").reject("agent", "me too")
    acting(world, "eve").approve("agent", "mended", groups=GROUPS)
    world.tick(0)
    assert world.percent() == 50
    assert world.told()[-4:] == ["rejected", "held", "approved", "raised"]


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_signature_needs_a_reason(here, verb):
    begin(here, 10, 50, gates=APPROVED)
    with pytest.raises(Refused, match="needs a reason"):
        getattr(acting(here, "ben"), verb)("agent", " ")


def test_what_needs_no_approval_and_what_goes_nowhere_takes_none(world):
    begin(world, 10, 20, 50, gates=Gates(approvals=(Approval(BY, at_least=50_000),)))
    with pytest.raises(Refused, match="step 2 needs no approval"):
        acting(world, "ben").approve("agent", "fine")
    world.go(lambda: world.percent() == 20)
    acting(world, "ben").approve("agent", "fine")
    world.go_to("completed")
    with pytest.raises(Refused, match=r"no step of rollout \w+ to approve: it is completed"):
        acting(world, "ben").approve("agent", "fine")


@pytest.mark.rule("R4")
def test_while_an_approval_is_missing_guardrails_take_it_back(world):
    was = world.flag()
    plan = replace(plan_for("agent", 10, 50, guardrails=(ERRORS,)), gates=APPROVED)
    world.rollouts.start(plan, "a better agent")
    baked(world, 6)
    assert waits(world) == "approval"
    world.traffic.arms["on"].errors = 0.5
    world.go_to("rolled_back")
    assert world.kept().default == was.default
    with pytest.raises(Refused, match="it is rolled back"):
        acting(world, "ben").approve("agent", "late")


@pytest.mark.rule("R4", "K5")
@pytest.mark.parametrize("verb", ["pause", "rollback", "cancel", "kill"])
def test_no_gate_delays_what_freezes_lowers_or_kills(world, verb):
    begin(world, 10, 50, gates=APPROVED)
    baked(world)
    assert waits(world) == "approval"
    if verb == "kill":
        world.control.record_kill(Scope.parse("agent"), WHO, killed=True)
        world.tick(0)
    else:
        assert getattr(world.rollouts, verb)("agent", "now").applied
    ends = {"pause": "paused", "rollback": "rolled_back", "cancel": "stopped", "kill": "stopped"}
    assert world.phase() == ends[verb]


@pytest.mark.rule("R1")
def test_an_approval_of_another_plan_counts_for_nothing(world):
    rollout = begin(world, 10, 50, gates=APPROVED)
    acting(world, "ben").approve("agent", "fine")
    edited = replace(rollout.plan, steps=rollout.plan.steps[:1] + plan_for("x", 60).steps)
    assert edited.digest != rollout.plan.digest
    with world.store.database.writing() as connection:
        from downhaul.store.writing import dumps

        connection.execute(
            world.store.database.tables.rollouts.update()
            .where(world.store.database.tables.rollouts.c.id == rollout.id)
            .values(plan=dumps(edited.as_mapping()))
        )
    baked(world)
    assert (world.percent(), waits(world)) == (10, "approval")


@pytest.mark.rule("R1", "R7")
def test_a_step_that_was_lowered_by_hand_is_approved_anew(world):
    begin(world, 10, 50, 100, gates=Gates(approvals=(Approval(BY, steps=(2,)),)))
    acting(world, "ben").approve("agent", "fine")
    baked(world, 3)
    assert world.percent() == 50
    world.provider.set_rollout("agent", "on", 20_000, WHO)
    world.tick()
    assert world.phase() == "paused"
    world.rollouts.resume("agent")
    world.tick()
    assert (world.percent(), waits(world)) == (20, "approval")
    acting(world, "ben").approve("agent", "fine, once more", step=1)
    world.tick(0)
    assert world.percent() == 50


def test_who_signs_has_seen_what_is_signed(world):
    rollout = begin(world, 10, 50, gates=APPROVED)
    row = world.store.existing(rollout.id)
    world.tick()
    from downhaul.provider import Change
    from downhaul.rollout.gates.facts import NOTHING
    from downhaul.rollout.gates.signing import At, approval

    change = Change("ben", "fine")
    signed = approval(At(row.id, rollout.plan, rollout.state, NOTHING, 0, change), given=True)
    with pytest.raises(VersionConflict, match="moved on meanwhile"):
        world.store.gates.sign(row, signed.new(), signed.event(change), change)
    assert world.store.gates.signoffs([row.id]) == {row.id: []}


def test_signatures_come_through_while_a_controller_goes_on(world, monkeypatch):
    begin(world, 10, 50, gates=APPROVED)
    sign, seen = world.store.gates.sign, []
    others = acting(world, "ben")

    def late(row, *rest):
        if not seen:
            world.tick()
        seen.append(row.revision)
        return sign(row, *rest)

    monkeypatch.setattr(world.store.gates, "sign", late)
    assert others.approve("agent", "fine").written
    assert len(seen) == 2


@pytest.mark.rule("R4")
def test_what_can_not_be_read_closes_the_gate_and_delays_no_way_back(world, monkeypatch):
    begin(world, 10, 50, gates=APPROVED)
    acting(world, "ben").approve("agent", "fine")

    def gone(_):
        raise SchemaMissing("no such table: rollout_signoffs")

    monkeypatch.setattr(world.store.gates, "signoffs", gone)
    baked(world)
    assert (world.percent(), waits(world)) == (10, "gate")
    assert "no such table" in world.state().hold_message
    monkeypatch.undo()
    world.tick()
    assert world.percent() == 50


def test_a_plan_with_gates_does_not_start_on_tables_that_have_none(here):
    here.flag()
    with here.store.database.writing() as connection:
        connection.execute(text("ALTER TABLE downhaul_rollout_signoffs RENAME TO away"))
    try:
        with pytest.raises(SchemaMissing, match="too old"):
            here.rollouts.start(replace(plan_for("agent", 10, 50), gates=APPROVED), "")
        assert here.rollouts.list() == []
        here.rollouts.start(plan_for("agent", 10), "")
    finally:
        with here.store.database.writing() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO downhaul_rollout_signoffs"))


@pytest.mark.rule("R1")
def test_code_from_before_gates_leaves_a_plan_with_some_alone():
    plan = plan_for("agent", 10)
    assert plan.as_mapping()["schema"] == 1
    assert replace(plan, gates=APPROVED).as_mapping()["schema"] == 2
    assert Plan.from_mapping(replace(plan, gates=APPROVED).as_mapping()).gates == APPROVED


# Freezes, and a time to start


def in_seconds(world, seconds):
    return world.clock.now() + seconds * SECOND


@pytest.mark.rule("X3")
def test_a_rollout_in_a_freeze_holds_until_its_end_and_says_when(world):
    freeze = Window(in_seconds(world, -5), in_seconds(world, 20), reason="the fair")
    later = Window(in_seconds(world, 28), in_seconds(world, 60))
    begin(world, 10, 50, gates=Gates(freezes=(freeze, later)))
    assert (world.phase(), waits(world)) == ("starting", "freeze")
    assert world.state().hold_message == f"frozen until {moment_text(freeze.end)}: the fair"
    (gate,) = world.rollouts.get("agent").gates
    assert (gate.open, gate.until) == (False, freeze.end)
    world.tick(19.0)
    assert world.percent() == 0
    world.tick(1.0)
    assert world.percent() == 10
    baked(world, 5)
    assert (world.percent(), waits(world)) == (10, "freeze")
    baked(world, 3)
    assert world.percent() == 50
    assert world.told() == ["planned", "held", "started", "held", "raised"]


def test_a_freeze_of_each_week_goes_by_the_clock_of_the_store(world):
    """Not by a host's: the store's clock may be anywhere."""
    zone = ZoneInfo("Asia/Kolkata")
    now = datetime_of(world.clock.now()).astimezone(zone)
    soon = now + timedelta(minutes=2)
    weekly = weekly_of(f"{now:%a %H:%M} - {soon:%a %H:%M} Asia/Kolkata")
    begin(world, 10, 50, gates=Gates(freezes=(Window(weekly=weekly),)))
    assert waits(world) == "freeze"
    world.tick(121)
    assert world.percent() == 10


@pytest.mark.rule("R4")
def test_in_a_freeze_guardrails_take_it_back(world):
    world.flag()
    freeze = Window(in_seconds(world, 8), in_seconds(world, 10_000))
    plan = replace(plan_for("agent", 10, 50, guardrails=(ERRORS,)), gates=Gates(freezes=(freeze,)))
    world.rollouts.start(plan, "")
    baked(world, 6)
    assert waits(world) == "freeze"
    world.traffic.arms["on"].errors = 0.5
    world.go_to("rolled_back")


def test_a_rollout_starts_at_its_time(world):
    world.flag()
    at = in_seconds(world, 3600)
    rollout = world.rollouts.start(plan_for("agent", 10), "later", at=datetime_of(at))
    assert rollout.plan.gates.starts_at == at
    (planned,) = world.rollouts.events("agent")
    assert planned.detail["starts_at"] == moment_text(at)
    baked(world, 3)
    assert (world.phase(), waits(world)) == ("starting", "start_time")
    assert world.state().hold_message == f"it starts at {moment_text(at)}"
    assert world.percent() == 0
    with pytest.raises(Refused, match="has a live rollout already"):
        world.rollouts.start(plan_for("agent", 20), "now")
    world.clock.advance(3600)
    world.tick(0)
    assert world.percent() == 10


def test_one_that_is_scheduled_can_be_cancelled(world):
    was = world.flag(percent=2)
    at = datetime_of(in_seconds(world, 3600))
    world.rollouts.start(plan_for("agent", 10), "later", at=at)
    done = world.rollouts.cancel("agent", "not today")
    assert (done.applied, world.phase()) == (True, "stopped")
    world.clock.advance(7200)
    world.tick(0)
    assert world.kept() == was
    world.rollouts.start(plan_for("agent", 20), "now")


@pytest.mark.rule("K5")
def test_a_kill_ends_one_that_is_scheduled(world):
    world.flag()
    world.rollouts.start(plan_for("agent", 10), "", at=datetime_of(in_seconds(world, 3600)))
    world.control.record_kill(Scope.parse("agent"), WHO, killed=True)
    world.tick(0)
    assert world.phase() == "stopped"


@pytest.mark.rule("E11")
def test_a_time_to_start_that_lies_behind_is_refused(here):
    here.flag()
    with pytest.raises(Refused, match="lies behind: by the control store it is"):
        here.rollouts.start(plan_for("agent", 10), "", at=datetime_of(in_seconds(here, -1)))
    assert here.rollouts.list() == []


def test_the_next_look_is_when_the_gate_opens(here):
    begin(here, 10, gates=Gates(starts_at=in_seconds(here, 7)))
    row = here.store.live_of("agent")
    assert row.due_at - here.clock.now() == 5 * SECOND
    here.tick()
    row = here.store.live_of("agent")
    assert row.due_at - here.clock.now() <= 2 * SECOND
