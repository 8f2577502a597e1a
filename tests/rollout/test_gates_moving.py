"""Gates of rollouts that a controller moves, on real stores: who signs what, and what it opens."""

import re
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from rollout_world import ERRORS, WHO, plan_for
from sqlalchemy import text, update

from downhaul.control import Operator
from downhaul.errors import Refused, SchemaMissing, Unreachable, VersionConflict
from downhaul.overlay import Scope
from downhaul.rollout import service
from downhaul.rollout.gates.model import Approval, Auto, Gates, Item, When
from downhaul.rollout.gates.standing import Mark
from downhaul.rollout.gates.times import SECOND, Window, datetime_of, moment_text, weekly_of
from downhaul.rollout.plan import Plan, digest_of
from downhaul.rollout.service import Rollouts
from downhaul.store.writing import dumps

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
    rollouts = world.store.database.tables.rollouts
    with world.store.database.writing() as connection:
        row = update(rollouts).where(rollouts.c.id == rollout.id)
        connection.execute(row.values(plan=dumps(edited.as_mapping())))
    baked(world)
    assert (world.percent(), waits(world)) == (10, "approval")


@pytest.mark.rule("R1")
def test_what_a_later_version_keeps_of_a_plan_voids_no_signature(world):
    rollout = begin(world, 10, 50, gates=APPROVED)
    rollouts = world.store.database.tables.rollouts
    kept = {**rollout.plan.as_mapping(), "unheard_of": 1}
    assert digest_of(kept) != rollout.plan.digest
    with world.store.database.writing() as connection:
        row = update(rollouts).where(rollouts.c.id == rollout.id)
        connection.execute(row.values(plan=dumps(kept), digest=digest_of(kept)))
    acting(world, "ben").approve("agent", "fine")
    baked(world, 3)
    assert world.percent() == 50


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
    seen = At(row.id, row.digest, rollout.plan, rollout.state, NOTHING, 0, change)
    signed = approval(seen, given=True)
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


# Checklists

LIST = Gates(
    checklist=(
        Item("on-call", "Somebody is on call"),
        Item("feedback", "Nobody complains", When.DURING),
        Item("cake", "There is cake", required=False),
        Item("lessons", "What was learned is written down", When.AFTER),
    )
)


def marks(world, flag="agent"):
    return {one.item.id: one.mark for one in world.rollouts.get(flag).checklist}


def test_a_checklist_holds_the_start_and_each_step_and_nothing_after_the_end(world):
    begin(world, 10, 20, 50, gates=LIST)
    assert (world.phase(), waits(world)) == ("starting", "checklist")
    assert world.state().hold_message == "on-call (Somebody is on call) is not ticked"
    done = acting(world, "ben").check("agent", "on-call", "ben, 24/7")
    assert (done.written, done.outcome) == (True, "on-call (Somebody is on call) is done")
    world.tick(0)
    assert world.percent() == 10
    for percent in (10, 20):
        baked(world, 4)
        assert (world.percent(), waits(world)) == (percent, "checklist")
        assert marks(world)["feedback"] is Mark.OPEN
        assert world.rollouts.check("agent", "feedback").written
        world.tick(0)
    assert world.percent() == 50
    world.go_to("completed")
    assert marks(world) == {
        "on-call": Mark.DONE,
        "feedback": Mark.DONE,  # at the last step that needed it
        "cake": Mark.LATER,
        "lessons": Mark.OPEN,
    }
    assert world.rollouts.check("agent", "lessons", "see the wiki").written
    assert marks(world)["lessons"] is Mark.DONE
    ticked = [one for one in world.rollouts.events("agent") if one.action == "ticked"]
    assert [one.detail["item"] for one in ticked] == ["on-call", "feedback", "feedback", "lessons"]
    assert ticked[0].actor == "ben"


def test_an_item_that_is_taken_back_closes_its_door_again(world):
    begin(world, 10, 20, gates=LIST)
    world.rollouts.check("agent", "on-call")
    acting(world, "eve").uncheck("agent", "on-call", "ben fell ill")
    world.tick()
    assert (world.percent(), waits(world)) == (0, "checklist")
    assert 'eve took it back: "ben fell ill"' in world.state().hold_message
    again = world.rollouts.uncheck("agent", "on-call")
    assert (again.written, again.outcome) == (
        False,
        "that was so already: on-call (Somebody is on call) is not done",
    )
    world.rollouts.check("agent", "on-call")
    world.tick(0)
    assert world.percent() == 10


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "item, step, said",
    [
        ("on-cal", None, 'no item "on-cal"'),
        ("on-call", None, "not the time for on-call .* the rollout has started"),
        ("lessons", None, "not the time for lessons .* the rollout is not completed"),
        ("feedback", 1, "meant for step 2, and the rollout is at step 1"),
        ("alerts", None, "alerts ticks itself: nobody is told"),
    ],
)
def test_a_tick_at_the_wrong_time_is_refused_and_not_kept(here, item, step, said):
    told = Item("alerts", "People are told", auto=Auto.ALERTS, required=False)
    begin(here, 10, 20, gates=replace(LIST, checklist=(*LIST.checklist, told)))
    here.rollouts.check("agent", "on-call")
    here.tick(0)
    rollout = here.rollouts.get("agent")
    before = here.store.gates.signoffs([rollout.id])
    with pytest.raises(Refused, match=said):
        here.rollouts.check("agent", item, step=step)
    assert here.store.gates.signoffs([rollout.id]) == before


def test_items_of_a_step_wait_for_one_that_is_served_and_one_that_follows(here):
    begin(here, 10, 20, gates=LIST)
    with pytest.raises(Refused, match="no step is served yet"):
        here.rollouts.check("agent", "feedback")
    here.rollouts.check("agent", "on-call")
    here.tick(0)
    here.rollouts.check("agent", "feedback")
    baked(here, 3)
    assert here.percent() == 20
    with pytest.raises(Refused, match="no step follows"):
        here.rollouts.check("agent", "feedback")
    here.rollouts.rollback("agent", "enough")
    with pytest.raises(Refused, match="the rollout is rolled back"):
        here.rollouts.check("agent", "lessons")
    here.flag("other")
    here.rollouts.start(plan_for("other", 10), "")
    with pytest.raises(Refused, match="has no checklist"):
        here.rollouts.check("other", "on-call")


def auto(*kinds, **fields):
    return Gates(checklist=tuple(Item(one.value, "it is so", auto=one, **fields) for one in kinds))


class Pager:
    """A sink that people read."""

    def send(self, event):
        """Take it."""


def test_what_ticks_itself_is_looked_at_at_every_look(world):
    gates = auto(Auto.REHEARSAL, Auto.METRICS, Auto.ALERTS, Auto.KILL_SWITCH, Auto.GUARDRAILS)
    world.flag()
    plan = replace(plan_for("agent", 10, 50, guardrails=(ERRORS,)), gates=gates)
    world.rollouts.start(plan, "")
    world.traffic.error = Unreachable("no answer")
    world.tick()
    message = world.state().hold_message
    assert "rehearsal (it is so): the way back was never rehearsed" in message
    assert "metrics (it is so): the metric source does not answer" in message
    assert "alerts (it is so): nobody is told" in message
    assert "kill_switch (it is so): the kill switch was never used" in message
    assert "guardrails" not in message
    world.traffic.error = None
    world.rollouts.rehearse(plan)
    world.tick()
    message = world.state().hold_message
    assert "rehearsal" not in message
    assert "metrics" not in message
    told = world.another("told", alerts=(Pager(),))
    world.tick(controller=told)
    assert world.state().hold_message == ("kill_switch (it is so): the kill switch was never used")
    assert (world.percent(), waits(world)) == (0, "checklist")


@pytest.mark.parametrize("used", ["tag:agents", "switch:drill:game-day"])
def test_a_kill_switch_that_was_used_lets_it_start(world, used):
    world.flag(tags=("agents",))
    for killed in (True, False):
        world.control.record_kill(Scope.parse(used), WHO, killed=killed)
    world.clock.advance(1)
    plan = replace(plan_for("agent", 10), gates=auto(Auto.KILL_SWITCH))
    world.rollouts.start(plan, "")
    world.tick(0)
    assert world.percent() == 10


def test_a_rehearsal_is_forgotten_after_its_time(here):
    here.flag()
    plan = replace(plan_for("agent", 10), gates=auto(Auto.REHEARSAL, limit=3600.0))
    here.rollouts.rehearse(plan)
    here.clock.advance(3700)
    here.rollouts.start(plan, "")
    here.tick(0)
    assert waits(here) == "checklist"
    (entry,) = here.rollouts.get("agent").checklist
    assert entry.mark is Mark.OPEN
    assert re.fullmatch(r"the way back was rehearsed .+ ago", entry.message)


def test_a_source_that_breaks_is_no_answer(here):
    here.flag()
    plan = replace(plan_for("agent", 10, guardrails=(ERRORS,)), gates=auto(Auto.METRICS))
    here.rollouts.start(plan, "")
    here.traffic.error = ZeroDivisionError("a defect")
    here.tick(0)
    assert waits(here) == "checklist"


def test_people_hear_where_they_are_needed(world):
    begin(world, 10, 20, gates=replace(LIST, approvals=(Approval(BY, steps=(2,)),)))
    world.rollouts.check("agent", "on-call")
    world.tick(0)
    world.rollouts.check("agent", "feedback")
    baked(world, 4)
    acting(world, "ben").approve("agent", "fine")
    told = [(one.event["what"], one.event["reason"]) for one in world.store.announcements()]
    assert told == [
        ("held", "on-call (Somebody is on call) is not ticked"),
        ("started", "step 1 of 2: 10 %"),
        ("held", "step 2 needs an approval by ben or leads"),
        ("approved", "fine"),
    ]
