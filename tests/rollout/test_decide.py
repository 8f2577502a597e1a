"""What becomes of a rollout: the rules over a whole table of moments, then cases by name."""

import copy
import functools
import itertools
import json
import math
from dataclasses import dataclass, replace

import pytest
from rollout_cases import (
    BAKE,
    BEFORE,
    BLUE_GREEN,
    CANARY,
    CLEAN,
    DRY_RUN,
    HELD_BACK,
    NAMED,
    NO_DATA,
    NOW,
    REGRESSED,
    RELEASE,
    RINGS,
    RISES,
    SIGNAL,
    TICK,
    UNDECIDED,
    asks,
    at_step,
    carried_out,
    new_state,
    plan_of,
    seen_with,
    state_at,
)

from downhaul.backends.edits import with_on, with_rollout, with_segments, with_targets
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.flag import Flag
from downhaul.rollout.decide import decide
from downhaul.rollout.deciding.case import SECOND, Action, Call, Decision, Operation, Seen
from downhaul.rollout.deciding.moves import ALERT_AFTER, failed, retry_in
from downhaul.rollout.deciding.rising import ABSENT_AFTER
from downhaul.rollout.deciding.wayback import REASSERTIONS
from downhaul.rollout.drift import Drift, drift_of, exposure_of
from downhaul.rollout.gates.facts import NOTHING, Answer, Door, Facts, SignKind, Signoff
from downhaul.rollout.gates.model import (
    Approval,
    Auto,
    Gates,
    Hook,
    HookWhen,
    Item,
    TextAt,
    When,
)
from downhaul.rollout.gates.times import Window
from downhaul.rollout.plan import OnMetricsLost, OnUndecided, Plan, Step, Strategy
from downhaul.rollout.state import GATED, LIVE, RETURNING, Act, Because, Phase, State, Verb

_ONE_WORKER = pytest.mark.xdist_group("table of decisions")


def whole_table(test):
    """Mark a test over the whole table, which is made once: one worker runs all, and takes time."""
    return pytest.mark.slow(_ONE_WORKER(test))


# --- the whole table

FINDINGS = {
    "clean": CLEAN,
    "undecided": UNDECIDED,
    "no data": NO_DATA,
    "guardrail regressed": REGRESSED,
    "signal regressed": SIGNAL,
    "dry run regressed": DRY_RUN,
    "not made": (),
    "metrics lost": None,
}
FLAGS = ("wanted", "lowered", "off", "raised", "changed", "as before", "gone", "unreachable")
WAY_BACK = RETURNING | {Phase.LATCHED, Phase.ROLLED_BACK, Phase.REVERTED}
ENDED = frozenset(Phase) - LIVE


@dataclass(frozen=True, slots=True)
class Moment:
    """One row of the table."""

    plan: Plan
    state: State
    seen: Seen
    flag: str
    findings: str
    decision: Decision

    @property
    def verb(self) -> Verb | None:
        return self.seen.asked[0].verb if self.seen.asked else None

    @property
    def obeyed(self) -> Verb | None:
        """What was asked, if it was done."""
        return None if self.decision.refused else self.verb

    @property
    def after(self) -> State:
        """The state once the action, if any, is done."""
        return self.decision.then or self.decision.state

    @property
    def rises(self) -> bool:
        action = self.decision.action
        return action is not None and action.operation in RISES

    @property
    def goes_on(self) -> bool:
        """Whether the rollout comes closer to its end."""
        return self.rises or (self.state.live and self.after.phase is Phase.COMPLETED)

    @property
    def was_changed(self) -> bool:
        """Whether somebody changed the flag and nobody was told so far."""
        if self.seen.flag is None:
            return True
        wanted = flag_from_data(self.state.desired)
        return drift_of(wanted, self.seen.flag, self.plan.variant) is not Drift.NONE

    def __str__(self) -> str:
        return (
            f"{self.plan.strategy} {self.state.phase} {self.state.because} step {self.state.step} "
            f"baked {self.state.baked} act {self.state.act} | {self.verb} | {self.flag} | "
            f"{self.findings} | kill {self.seen.kill!r} -> {self.decision.action} "
            f"{self.after.phase} {self.after.because} {self.after.hold} {self.decision.done}"
        )


def states_of(plan, before):
    """A state for each way in which a rollout can stand."""
    last = len(plan.steps) - 1
    common = {"before": before}
    yield new_state(before)
    yield new_state(before, phase=Phase.PAUSED, because=Because.BY_HAND)
    for step in {0, last, last - 1 if plan.holdback or plan.strategy is Strategy.RINGS else 0}:
        for seconds in (25.0, BAKE, 4 * BAKE):
            yield state_at(plan, step, baked=seconds, waited=seconds, **common)
    for because in (Because.BY_HAND, Because.DRIFT_LOWERED, Because.UNDECIDED):
        yield state_at(plan, 0, Phase.PAUSED, because=because, **common)
    yield state_at(plan, 0, entered=False, **common)  # resumed after it was lowered
    for phase, act in itertools.product(sorted(RETURNING), (Act.EXPOSED, Act.OFF)):
        yield state_at(plan, last, phase, act=act, **common)
    yield state_at(plan, last, Phase.ROLLING_BACK, overwrite=True, **common)
    yield state_at(plan, last, Phase.LATCHED, act=Act.OFF, foreign=("x: 1 -> 2",), **common)
    for phase in sorted(ENDED):
        yield state_at(plan, last, phase, entered=False, ended_at=NOW - SECOND, **common)


def flag_as(name, state, before):
    wanted = flag_from_data(state.desired)
    weight = int(exposure_of(wanted, "on"))
    flags = {
        "wanted": wanted,
        "lowered": with_rollout(wanted, "on", weight // 2),
        "off": with_on(wanted, False),
        "raised": with_rollout(wanted, "on", min(100_000, weight + 20_000)),
        "changed": with_targets(wanted, "on", ["eve"]),
        "as before": before,
    }
    return flags.get(name)


def moments_of(plan, before):
    orders = [()]
    orders += [asks(verb) for verb in Verb]
    orders += [asks(Verb.PROMOTE, 1), asks(Verb.ROLLBACK, overwrite=True)]
    looks = [(name, "") for name in FLAGS]
    looks += [(name, "flag:agent") for name in ("wanted", "changed", "unreachable")]
    for state, asked, (name, kill), findings in itertools.product(
        states_of(plan, before), orders, looks, FINDINGS
    ):
        if not state.live and (name != "wanted" or findings != "clean"):
            continue
        seen = seen_with(
            flag_as(name, state, before),
            before,
            unreachable="it timed out" if name == "unreachable" else "",
            kill=kill,
            findings=FINDINGS[findings],
            metrics_error="" if FINDINGS[findings] is not None else "no answer",
            asked=asked,
        )
        yield Moment(plan, state, seen, name, findings, decide(plan, state, seen))


@functools.cache
def table():
    """Every moment of a canary, of blue-green with other policies, and of other strategies."""
    careful = plan_of(10, 100)
    at_ease = replace(
        plan_of(100, strategy=Strategy.BLUE_GREEN),
        on_undecided=OnUndecided.PROMOTE,
        on_metrics_lost=OnMetricsLost.ROLLBACK,
        metrics_lost_after=0.0,
    )
    off = Flag.boolean("agent", on=False, percent=0)
    lines = (
        moments_of(careful, off),
        moments_of(at_ease, BEFORE),
        moments_of(HELD_BACK, BEFORE),
        moments_of(RELEASE, BEFORE),
        moments_of(RINGS, BEFORE),
    )
    return tuple(itertools.chain.from_iterable(lines))


def each(holds):
    """Give the moments of the table for which ``holds``, and see that there are some."""
    chosen = [one for one in table() if holds(one)]
    assert len(chosen) > 20
    return chosen


@whole_table
@pytest.mark.rule("R2")
def test_the_table_holds_every_phase_verb_flag_and_finding():
    rows = table()
    assert len(rows) > 20_000
    assert {one.state.phase for one in rows} == set(Phase)
    assert {one.after.phase for one in rows} == set(Phase)
    assert {one.verb for one in rows} == {None, *Verb}
    done = {one.decision.action.operation for one in rows if one.decision.action}
    assert done == set(Operation)


@whole_table
@pytest.mark.rule("R2")
def test_a_decision_is_a_pure_function():
    for one in table()[::9]:
        kept = copy.deepcopy(one.state.desired), dict(one.state.desired)
        assert decide(one.plan, one.state, one.seen) == one.decision, one
        assert kept == (one.state.desired, one.state.desired), one


@whole_table
@pytest.mark.rule("R1", "R2")
def test_every_state_that_is_kept_reads_back_as_it_was():
    kept = {}
    for one in table()[::3]:
        for state in (one.decision.state, one.decision.then):
            if state is not None:
                kept[json.dumps(state.as_mapping(), sort_keys=True)] = state
    for text, state in kept.items():
        assert State.from_mapping(json.loads(text)) == state


@whole_table
@pytest.mark.rule("R2")
def test_every_look_has_a_next_one_and_every_command_an_answer():
    for one in table():
        decision = one.decision
        assert math.isfinite(decision.due_in), one
        assert decision.due_in >= 0, one
        assert set(decision.done) == {asked.id for asked in one.seen.asked}, one
        assert all(decision.done.values()), one
        assert decision.refused <= set(decision.done), one
        assert (decision.action is None) == (decision.then is None), one
        assert decision.state.looked_at == NOW, one


@whole_table
def test_what_has_ended_does_nothing_any_more():
    for one in each(lambda one: not one.state.live):
        decision = one.decision
        assert decision.action is None, one
        assert replace(decision.state, looked_at=one.state.looked_at) == one.state, one
        assert decision.happened == (), one
        assert decision.refused == set(decision.done), one


@whole_table
@pytest.mark.rule("R2")
def test_nothing_is_written_where_the_flag_was_not_seen():
    for one in each(lambda one: one.flag in ("gone", "unreachable")):
        assert one.decision.action is None, one


@whole_table
@pytest.mark.rule("R3")
def test_nothing_but_a_start_and_a_raise_serves_more():
    for one in each(lambda one: one.decision.action is not None):
        action, seen = one.decision.action, one.seen
        after = carried_out(action, seen.flag, seen.snapshot, one.plan)
        now, then = exposure_of(seen.flag, "on"), exposure_of(after, "on")
        if action.operation is Operation.RESTORE:
            assert then <= max(now, exposure_of(seen.snapshot, "on")), one
        elif action.operation not in RISES:
            assert then <= now, one


@whole_table
@pytest.mark.rule("R3")
def test_nobody_is_named_but_by_a_start_and_a_raise():
    written = each(lambda one: one.plan in (RELEASE, RINGS) and one.decision.action is not None)
    for one in written:
        action, seen = one.decision.action, one.seen
        after = carried_out(action, seen.flag, seen.snapshot, one.plan)
        if one.rises:
            gone = set(one.plan.segments) if action.weight == 100_000 else set()
            assert named(seen.flag) <= named(after) | gone, one
            own = one.plan.steps[one.after.step]
            assert {*own.targets, *own.segments} <= named(after), one
        else:
            assert named(after) <= named(seen.flag), one


def named(flag):
    """Return who gets the variant by name: users and segments."""
    users = {key for one in flag.targets if one.variant == "on" for key in one.keys}
    return users | {name for rule in flag.rules for name in rule.clauses[0].values}


@whole_table
@pytest.mark.rule("R3")
def test_on_is_written_at_the_start_and_never_again():
    for one in each(lambda one: one.decision.action is not None):
        operation = one.decision.action.operation
        if operation is Operation.START:
            assert not one.state.started_at, one
        elif operation is not Operation.RESTORE:
            after = carried_out(one.decision.action, one.seen.flag, one.seen.snapshot, one.plan)
            assert one.seen.flag.on or not after.on, one


@whole_table
@pytest.mark.rule("R3", "R5")
def test_nothing_goes_on_without_metrics_data_and_an_unchanged_flag():
    for one in each(lambda one: one.goes_on):
        assert one.state.phase in (Phase.STARTING, Phase.PROGRESSING, Phase.PAUSED), one
        assert one.state.phase is not Phase.PAUSED or one.obeyed in (Verb.RESUME, Verb.PROMOTE), one
        assert not one.seen.kill, one
        assert not one.was_changed, one
        assert one.seen.findings is not None, one
        if one.state.started_at and one.state.entered and one.after.step > one.state.step:
            assert one.findings in ("clean", "dry run regressed", "undecided"), one


@whole_table
@pytest.mark.rule("R5")
def test_a_step_is_left_only_for_good_reasons():
    left = each(
        lambda one: (
            one.goes_on
            and one.state.started_at
            and one.state.entered
            and not one.plan.ends_holdback(one.state.step)  # which baked before it
        )
    )
    for one in left:
        assert one.findings in ("clean", "dry run regressed", "undecided"), one
        if one.obeyed is Verb.PROMOTE:
            continue
        assert one.state.baked + TICK >= BAKE, one
        if one.findings == "undecided":
            assert one.plan.on_undecided is OnUndecided.PROMOTE, one
            assert one.state.waited + TICK >= 3 * BAKE, one


@whole_table
@pytest.mark.rule("R1", "R3")
def test_a_decision_moves_on_by_one_step_at_most():
    for one in each(lambda one: one.rises):
        entered = one.state.step + 1 if one.state.entered else one.state.step
        assert one.after.step == entered, one
        assert one.decision.action.weight == one.plan.steps[entered].weight, one
        assert one.decision.state.step == one.state.step, one  # until it was seen to be done


@whole_table
@pytest.mark.rule("K5")
def test_a_kill_ends_a_rollout_and_nothing_rises_under_it():
    killed = each(lambda one: one.seen.kill and one.state.live)
    for one in killed:
        assert not one.rises, one
        assert one.after.phase is not Phase.COMPLETED, one
        if one.state.phase in WAY_BACK or one.obeyed is Verb.ROLLBACK:
            assert one.after.phase in WAY_BACK or one.obeyed is Verb.CANCEL, one
        else:
            assert one.after.phase is Phase.STOPPED, one
            assert one.decision.action is None, one
            wanted = Because.BY_HAND if one.obeyed is Verb.CANCEL else Because.KILLED
            assert one.after.because == wanted, one


@whole_table
@pytest.mark.rule("R4")
def test_a_bad_guardrail_takes_every_started_rollout_back_at_once():
    bad = each(
        lambda one: (
            one.findings == "guardrail regressed"
            and one.state.live
            and one.state.started_at
            and one.obeyed is not Verb.CANCEL
            and (one.state.phase in WAY_BACK or not one.seen.kill)
        )
    )
    for one in bad:
        assert one.after.phase in WAY_BACK, one
        assert not one.rises, one
        if one.state.phase in (Phase.PROGRESSING, Phase.PAUSED) and one.flag == "wanted":
            assert one.decision.action.operation in (Operation.OFF, Operation.LOWER), one


@whole_table
def test_a_signal_and_a_dry_run_take_nothing_back():
    for one in each(lambda one: one.findings in ("signal regressed", "dry run regressed")):
        if one.state.phase not in WAY_BACK and one.obeyed is not Verb.ROLLBACK:
            assert one.after.phase not in WAY_BACK, one


@whole_table
@pytest.mark.rule("R5")
def test_no_data_and_lost_metrics_hold_and_take_nothing_back_unless_the_plan_says_so():
    for one in each(lambda one: one.findings in ("no data", "not made", "metrics lost")):
        if one.state.phase in WAY_BACK or one.obeyed is Verb.ROLLBACK:
            continue
        by_plan = (
            one.plan.on_metrics_lost is OnMetricsLost.ROLLBACK and one.findings == "metrics lost"
        )
        assert one.after.phase not in WAY_BACK or by_plan, one


@whole_table
def test_to_pause_and_to_cancel_write_nothing():
    for one in each(lambda one: one.obeyed in (Verb.PAUSE, Verb.CANCEL)):
        if one.obeyed is Verb.CANCEL:
            assert one.decision.action is None, one
            assert one.after.phase is Phase.STOPPED, one
        else:
            assert one.after.phase in {Phase.PAUSED, Phase.STOPPED, *WAY_BACK}, one
            assert not one.rises, one


@whole_table
@pytest.mark.rule("R7")
def test_who_changes_the_flag_by_hand_holds_the_rollout():
    changed = each(
        lambda one: (
            one.state.phase in (Phase.STARTING, Phase.PROGRESSING)
            and one.flag not in ("unreachable", "gone")
            and one.was_changed
            and one.findings not in ("guardrail regressed", "metrics lost")
            and not one.seen.kill
            and one.obeyed not in (Verb.ROLLBACK, Verb.CANCEL)
        )
    )
    for one in changed:
        assert one.after.phase is Phase.PAUSED, one
        assert one.after.because.startswith("drift_"), one
        assert one.decision.action is None, one
        drifts = [told for told in one.decision.happened if told.action == "drift"]
        assert [told.announce for told in drifts] == [True], one
        wanted, now = flag_from_data(one.state.desired), one.seen.flag
        if drift_of(wanted, now, "on") is Drift.LOWERED:
            assert one.after.because == Because.DRIFT_LOWERED, one
            assert flag_from_data(one.after.desired) == now, one
        else:
            assert one.after.desired == one.state.desired, one


@whole_table
@pytest.mark.rule("R7", "R8")
def test_on_the_way_back_what_serves_goes_off_before_anything_else():
    back = each(
        lambda one: (
            one.state.phase in RETURNING
            and one.flag in ("wanted", "raised")
            and one.after.phase is not Phase.STOPPED  # cancelled, once it had been off
            and drift_of(one.seen.snapshot, one.seen.flag, "on") is not Drift.NONE
        )
    )
    for one in back:
        assert one.decision.action.operation in (Operation.OFF, Operation.LOWER), one
        assert one.after.act is Act.OFF, one
        assert one.after.reasserted == int(one.state.act is Act.OFF), one


@whole_table
@pytest.mark.rule("R8")
def test_nothing_is_restored_while_it_is_served_or_over_what_somebody_else_did():
    for one in each(lambda one: one.decision.action is not None):
        if one.decision.action.operation is not Operation.RESTORE:
            continue
        assert one.after.phase in (Phase.ROLLED_BACK, Phase.REVERTED), one
        served = exposure_of(one.seen.flag, "on")
        assert served <= exposure_of(one.seen.snapshot, "on"), one
        assert one.flag not in ("changed", "raised") or one.after.overwrite, one


@whole_table
@pytest.mark.rule("R9")
def test_blue_takes_over_in_one_write_while_it_is_armed():
    for one in each(lambda one: one.plan.strategy is Strategy.BLUE_GREEN and one.decision.action):
        assert one.decision.action.operation is not Operation.OFF, one
        if one.decision.action.operation is Operation.LOWER:
            assert one.decision.action.weight == exposure_of(one.seen.snapshot, "on"), one


# --- single cases, by name

RUNNING = at_step(BEFORE, CANARY, 0)
BAKED = state_at(baked=BAKE, waited=BAKE)
OVERDUE = state_at(baked=BAKE, waited=3 * BAKE)
FULL = at_step(BEFORE, CANARY, 2)


def look(state=None, flag=RUNNING, plan=CANARY, **seen):
    return decide(plan, state or state_at(plan), seen_with(flag, **seen))


def told(decision):
    return [(one.action, one.announce) for one in decision.happened]


def test_a_new_rollout_starts_at_its_first_step():
    decision = look(new_state(), BEFORE, findings=())
    assert decision.action == Action(Operation.START, weight=10_000)
    assert [one.action for one in decision.afterwards] == ["started"]
    then = decision.then
    assert (then.phase, then.step, then.entered) == (Phase.PROGRESSING, 0, True)
    assert (then.started_at, then.entered_at, then.looked_at) == (NOW, NOW, NOW)
    assert decision.state.phase is Phase.STARTING  # until it was seen


def test_a_step_that_bakes_is_left_alone_until_its_time():
    decision = look(state_at(baked=50.0))
    assert decision.action is None
    assert decision.state.baked == 55.0
    assert decision.due_in == TICK
    assert look(state_at(baked=53.0)).due_in == 2.0  # not a look later than needed


@pytest.mark.rule("R2")
def test_a_baked_step_with_clean_checks_is_raised():
    decision = look(BAKED)
    assert decision.action == Action(Operation.RAISE, weight=50_000)
    assert (decision.then.step, decision.then.baked, decision.then.waited) == (1, 0.0, 0.0)
    assert (decision.then.entered_at, decision.then.started_at) == (NOW, BAKED.started_at)
    assert [one.step for one in decision.then.history] == [0]
    assert decision.then.history[0].findings == CLEAN
    assert [(one.action, one.announce) for one in decision.afterwards] == [("raised", True)]


@pytest.mark.rule("R2", "R3")
def test_a_raise_that_fails_is_decided_anew():
    decision = look(BAKED)
    kept = failed(decision.state, "it timed out", NOW)
    assert (kept.step, kept.entered, kept.history) == (0, True, ())
    assert look(kept, findings=NO_DATA).action is None
    assert look(kept, findings=None).action is None
    assert look(kept, findings=REGRESSED).action == Action(Operation.OFF)
    assert look(kept).action == Action(Operation.RAISE, weight=50_000)
    assert look(kept).then.failures == 0


def test_the_last_bake_completes_the_rollout():
    decision = look(state_at(step=2, baked=BAKE), FULL)
    assert decision.action is None
    assert decision.state.phase is Phase.COMPLETED
    assert decision.state.ended_at == NOW
    assert [one.step for one in decision.state.history] == [2]
    assert told(decision) == [("completed", True)]


@pytest.mark.rule("R3", "R5")
def test_a_holdback_has_a_control_while_it_bakes_and_is_let_in_by_one_more_write():
    compared = replace(CANARY.signals[0], limit=None, over_control=0.3)
    plan = replace(HELD_BACK, signals=(compared,))
    held, full = at_step(BEFORE, plan, 1), at_step(BEFORE, plan, 2)
    assert exposure_of(held, "on") == 98_000
    baked = state_at(plan, 1, baked=BAKE)
    without = look(baked, held, plan, findings=CLEAN[:2])
    assert without.state.hold == Because.NO_DATA  # the check with a control was not made
    checked = (*CLEAN[:2], replace(CLEAN[2], check=compared.name))
    ended = look(baked, held, plan, findings=checked)
    assert ended.action == Action(Operation.RAISE, weight=100_000)
    assert (ended.then.phase, ended.then.step) == (Phase.PROGRESSING, 2)
    over = look(replace(ended.then, desired=flag_to_data(full)), full, plan, findings=NO_DATA)
    assert (over.action, over.state.phase) == (None, Phase.COMPLETED)
    assert [one.step for one in over.state.history] == [1, 2]


@pytest.mark.rule("R4", "R5")
def test_what_was_let_in_at_the_end_is_watched_until_it_is_completed():
    last = state_at(HELD_BACK, 2, baked=0.0)
    full = at_step(BEFORE, HELD_BACK, 2)
    assert look(last, full, HELD_BACK, findings=REGRESSED).action == Action(Operation.OFF)
    assert look(last, full, HELD_BACK, findings=None).state.hold == Because.METRICS_LOST
    lower = look(last, at_step(BEFORE, HELD_BACK, 1), HELD_BACK).state
    assert (lower.phase, lower.because) == (Phase.PAUSED, Because.DRIFT_LOWERED)


@pytest.mark.rule("R5")
def test_undecided_holds_then_pauses():
    held = look(BAKED, findings=UNDECIDED)
    assert (held.state.phase, held.state.hold) == (Phase.PROGRESSING, Because.UNDECIDED)
    assert told(held) == [("held", False)]
    again = look(replace(held.state, looked_at=NOW - SECOND), findings=UNDECIDED)
    assert told(again) == []
    paused = look(OVERDUE, findings=UNDECIDED)
    assert (paused.state.phase, paused.state.because) == (Phase.PAUSED, Because.UNDECIDED)
    assert told(paused)[-1] == ("paused", True)
    assert paused.action is None


@pytest.mark.rule("R5")
def test_undecided_may_promote_or_take_back_if_the_plan_says_so():
    on = look(OVERDUE, plan=replace(CANARY, on_undecided=OnUndecided.PROMOTE), findings=UNDECIDED)
    assert on.action == Action(Operation.RAISE, weight=50_000)
    assert [one.action for one in on.afterwards] == ["promoted", "raised"]
    plan = replace(CANARY, on_undecided=OnUndecided.ROLLBACK)
    back = look(OVERDUE, plan=plan, findings=UNDECIDED)
    assert back.action == Action(Operation.OFF)
    assert back.state.because == Because.UNDECIDED


@pytest.mark.rule("R5")
@pytest.mark.parametrize("nothing", [NO_DATA, (), CLEAN[:2]])
def test_no_data_pauses_even_where_undecided_promotes(nothing):
    plan = replace(CANARY, on_undecided=OnUndecided.PROMOTE)
    assert look(BAKED, plan=plan, findings=nothing).state.hold == Because.NO_DATA
    paused = look(OVERDUE, plan=plan, findings=nothing)
    assert (paused.action, paused.state.phase) == (None, Phase.PAUSED)
    assert paused.state.because == Because.NO_DATA


@pytest.mark.rule("R5")
def test_findings_of_other_checks_stand_in_for_none():
    strange = (*CLEAN[:1], replace(CLEAN[2], check="another"))
    assert look(BAKED, findings=strange).state.hold == Because.NO_DATA


def test_with_everybody_in_no_control_is_asked_for():
    compared = replace(CANARY.signals[0], limit=None, over_control=0.3)
    plan = plan_of(10, 100, signals=(compared,))
    left_out = CLEAN[:2]
    assert look(BAKED, plan=plan, findings=left_out).state.hold == Because.NO_DATA
    full = state_at(plan, 1, baked=BAKE)
    assert look(full, FULL, plan, findings=left_out).state.phase is Phase.COMPLETED


def test_a_bad_signal_holds_then_pauses_and_never_takes_back():
    plan = replace(CANARY, on_undecided=OnUndecided.ROLLBACK)
    assert look(BAKED, plan=plan, findings=SIGNAL).state.hold == Because.SIGNAL
    paused = look(OVERDUE, plan=plan, findings=SIGNAL)
    assert (paused.state.phase, paused.state.because) == (Phase.PAUSED, Because.SIGNAL)


@pytest.mark.rule("R4")
@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.PAUSED])
def test_a_bad_guardrail_takes_the_rollout_back_in_the_middle_of_a_bake(phase):
    decision = look(state_at(phase=phase, baked=1.0), findings=REGRESSED)
    assert decision.action == Action(Operation.OFF)
    assert decision.state.phase is Phase.ROLLING_BACK
    assert decision.state.because == Because.REGRESSED
    assert "10 % errors" in decision.state.message
    assert [one.step for one in decision.state.history] == [0]
    assert told(decision) == [("rolling_back", True)]


@pytest.mark.rule("R4")
def test_a_bad_guardrail_takes_back_what_cannot_be_reached_as_soon_as_it_can():
    decision = look(findings=REGRESSED, flag=None, unreachable="it timed out")
    assert (decision.action, decision.state.phase) == (None, Phase.ROLLING_BACK)
    assert decision.due_in == retry_in(decision.state) == 1.0
    assert look(decision.state, findings=()).action == Action(Operation.OFF)


@pytest.mark.rule("R5")
def test_lost_metrics_stop_the_bake_and_are_told_once():
    decision = look(BAKED, findings=None, metrics_error="no answer")
    assert (decision.action, decision.state.hold) == (None, Because.METRICS_LOST)
    assert (decision.state.baked, decision.state.waited) == (BAKE, BAKE + TICK)
    assert ("metrics_lost", True) in told(decision)
    later = look(replace(decision.state, looked_at=NOW - SECOND), findings=None)
    assert told(later) == []
    back = look(later.state)
    assert told(back) == [("metrics_found", False)]
    assert back.state.metrics_lost_at == 0


@pytest.mark.rule("R5")
@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.PAUSED])
def test_metrics_lost_for_long_take_back_only_if_the_plan_says_so(phase):
    plan = replace(CANARY, on_metrics_lost=OnMetricsLost.ROLLBACK, metrics_lost_after=100.0)
    for seconds, action in ((99, None), (100, Action(Operation.OFF))):
        lost = state_at(phase=phase, metrics_lost_at=NOW - seconds * SECOND)
        assert look(lost, plan=plan, findings=None).action == action
        assert look(lost, findings=None).action is None  # the default holds


@pytest.mark.rule("R3")
def test_time_without_a_controller_makes_the_step_bake_anew():
    absent = state_at(baked=59.0, looked_at=NOW - int((ABSENT_AFTER + 1) * SECOND))
    absent = replace(absent, entered_at=absent.looked_at)
    decision = look(absent)
    assert (decision.state.baked, decision.state.waited) == (0.0, 0.0)
    assert decision.fresh
    assert decision.action is None
    assert decision.happened[0].detail["because"] == Because.ABSENCE


def test_a_late_look_counts_no_more_than_two():
    late = state_at(baked=10.0, looked_at=NOW - 29 * SECOND)
    assert look(late).state.baked == 10.0 + 2 * TICK


def test_it_pauses_when_its_time_is_up():
    plan = replace(CANARY, max_duration=3600.0)
    started = look(new_state(), BEFORE, plan, findings=()).then
    assert started.limit_at == NOW + 3600 * SECOND
    raised = look(state_at(baked=BAKE, limit_at=NOW + 1), plan=plan)
    assert raised.then.limit_at == NOW + 1
    late = look(state_at(baked=BAKE, limit_at=NOW), plan=plan)
    assert (late.action, late.state.phase) == (None, Phase.PAUSED)
    assert late.state.because == Because.TIME_LIMIT
    resumed = look(late.state, plan=plan, asked=asks(Verb.RESUME))
    assert resumed.state.phase is Phase.PROGRESSING
    assert resumed.state.limit_at == NOW + 3600 * SECOND


def test_it_pauses_by_a_limit_that_its_plan_does_not_name():
    late = look(state_at(baked=BAKE, limit_at=NOW))
    assert (late.state.phase, late.state.because) == (Phase.PAUSED, Because.TIME_LIMIT)
    assert late.state.message == "it took longer than its plan lets it"


# --- what people ask


def test_promote_skips_the_rest_of_the_bake_it_was_meant_for():
    decision = look(asked=asks(Verb.PROMOTE, 0), findings=UNDECIDED)
    assert decision.action == Action(Operation.RAISE, weight=50_000)
    assert told(decision) == [("promoted", True)]
    late = look(state_at(step=1), at_step(BEFORE, CANARY, 1), asked=asks(Verb.PROMOTE, 0))
    assert late.refused
    assert late.done[7] == "it was meant for step 1, and the rollout is at step 2"


def test_promote_ends_a_pause_too():
    paused = state_at(phase=Phase.PAUSED, because=Because.UNDECIDED)
    decision = look(paused, asked=asks(Verb.PROMOTE), findings=UNDECIDED)
    assert decision.action == Action(Operation.RAISE, weight=50_000)


@pytest.mark.rule("R3", "R5")
@pytest.mark.parametrize(
    "seen, why",
    [
        ({"findings": None, "metrics_error": "no answer"}, "does not answer (no answer)"),
        ({"findings": NO_DATA}, "nothing is raised without data"),
        ({"findings": SIGNAL}, "is bad: 700 ms"),
        ({"findings": REGRESSED}, "is bad: 10 % errors"),
        ({"unreachable": "it timed out"}, "the backend does not answer"),
        ({"flag": None}, "the flag is gone"),
        ({"flag": with_rollout(RUNNING, "on", 20_000)}, "somebody raised it"),
        ({"flag": with_rollout(RUNNING, "on", 5_000)}, "somebody changed it by hand meanwhile"),
        ({"flag": with_on(RUNNING, False)}, "a rollout turns nothing on"),
    ],
)
def test_promote_is_refused_where_nothing_may_rise(seen, why):
    decision = look(**{"flag": RUNNING, "asked": asks(Verb.PROMOTE), **seen})
    assert why in decision.done[7]
    assert decision.refused
    assert decision.action is None or decision.action.operation not in RISES


@pytest.mark.rule("R3", "R7")
@pytest.mark.parametrize(
    "flag, why",
    [
        (with_rollout(RUNNING, "on", 20_000), "somebody raised it by hand"),
        (with_on(RUNNING, False), "the flag is off"),
        (None, "the flag is gone"),
        (with_rollout(RUNNING, "on", 5_000), "look at what, and ask again"),
        (with_targets(RUNNING, "on", ["eve"]), "look at what, and ask again"),
    ],
)
def test_resume_is_refused_over_what_somebody_did(flag, why):
    paused = state_at(phase=Phase.PAUSED, because=Because.BY_HAND)
    decision = look(paused, flag, asked=asks(Verb.RESUME))
    assert why in decision.done[7]
    assert (decision.action, decision.state.phase) == (None, Phase.PAUSED)


def test_resume_bakes_the_step_anew():
    paused = state_at(phase=Phase.PAUSED, because=Because.UNDECIDED, baked=BAKE, waited=3 * BAKE)
    decision = look(paused, asked=asks(Verb.RESUME))
    assert decision.state.phase is Phase.PROGRESSING
    assert (decision.state.baked, decision.state.entered) == (TICK, True)
    assert decision.fresh
    assert decision.action is None


@pytest.mark.rule("R7")
def test_what_was_lowered_is_raised_to_its_step_by_who_resumes_and_never_promoted():
    lower = with_rollout(RUNNING, "on", 5_000)
    paused = look(flag=lower).state
    assert paused.because == Because.DRIFT_LOWERED
    assert flag_from_data(paused.desired) == lower
    promoted = look(paused, lower, asked=asks(Verb.PROMOTE))
    assert promoted.done[7] == "its step is not at the backend any more: resume it first"
    resumed = look(paused, lower, asked=asks(Verb.RESUME))
    assert resumed.action == Action(Operation.RAISE, weight=10_000)
    lost = look(paused, lower, asked=asks(Verb.RESUME), findings=None, metrics_error="no answer")
    assert (lost.action, lost.state.hold) == (None, Because.METRICS_LOST)


@pytest.mark.rule("R7")
def test_what_was_changed_and_lowered_together_is_seen_to_be_lower():
    changed = with_targets(with_rollout(RUNNING, "on", 5_000), "on", ["eve"])
    paused = look(flag=changed).state
    assert paused.because == Because.DRIFT_OTHER
    resumed = look(paused, changed, asked=asks(Verb.RESUME))
    assert resumed.action == Action(Operation.RAISE, weight=10_000)
    assert paused.message == f"somebody changed it by hand: {'; '.join(resumed.then.accepted)}"


@pytest.mark.rule("R7")
def test_what_was_raised_by_hand_waits_until_it_is_lowered_again():
    paused = look(flag=with_rollout(RUNNING, "on", 20_000)).state
    assert paused.because == Because.DRIFT_RAISED
    assert "10 % -> 20 %" in paused.message
    assert told(look(paused, with_rollout(RUNNING, "on", 20_000))) == []
    resumed = look(paused, asked=asks(Verb.RESUME))
    assert resumed.state.phase is Phase.PROGRESSING


@pytest.mark.rule("R7")
def test_a_flag_that_is_gone_pauses_and_is_told_once():
    gone = look(flag=None)
    assert gone.state.because == Because.FLAG_GONE
    assert told(gone) == [("paused", True)]
    assert told(look(gone.state, None)) == []


@pytest.mark.rule("K5")
def test_a_kill_wins_over_all_that_is_asked_but_the_way_back():
    for verb in (Verb.PAUSE, Verb.RESUME, Verb.PROMOTE):
        paused = state_at(phase=Phase.PAUSED)
        decision = look(paused, asked=asks(verb), kill="flag:agent by ben: no")
        assert (decision.action, decision.state.phase) == (None, Phase.STOPPED)
        assert decision.state.message == "killed: flag:agent by ben: no"
    assert look(asked=asks(Verb.ROLLBACK), kill="all").action == Action(Operation.OFF)


def test_cancel_leaves_the_flag_as_it_is():
    decision = look(asked=asks(Verb.CANCEL, reason="enough"))
    assert (decision.action, decision.state.phase) == (None, Phase.STOPPED)
    assert decision.state.message == "enough"
    assert [one.step for one in decision.state.history] == [0]


# --- the way back


def way_back(state, flag, plan=CANARY, before=BEFORE, most=10):
    """Decide and do until nothing is left to do; return the decisions and the flag."""
    decisions = []
    for _ in range(most):
        decision = decide(plan, state, seen_with(flag, before, findings=()))
        decisions.append(decision)
        if decision.action is None:
            return decisions, flag
        flag = carried_out(decision.action, flag, before, plan)
        state = decision.then
        if not state.live:
            return decisions, flag
    raise AssertionError(decisions)


@pytest.mark.rule("R8")
@pytest.mark.parametrize(
    "phase, ended",
    [
        (Phase.ROLLING_BACK, Phase.ROLLED_BACK),
        (Phase.REVERTING, Phase.REVERTED),
    ],
)
def test_the_way_back_is_off_then_as_it_was(phase, ended):
    decisions, flag = way_back(state_at(phase=phase), RUNNING)
    done = [one.action.operation for one in decisions]
    assert done == [Operation.OFF, Operation.RESTORE]
    assert [one.then.act for one in decisions] == [Act.OFF, Act.RESTORED]
    assert decisions[-1].then.phase is ended
    assert decisions[-1].then.ended_at == NOW
    assert flag == BEFORE


@pytest.mark.rule("R8")
def test_what_is_as_before_already_needs_no_way_back():
    decision = look(state_at(phase=Phase.ROLLING_BACK), BEFORE, findings=())
    assert (decision.action, decision.state.phase) == (None, Phase.ROLLED_BACK)
    gone = look(state_at(phase=Phase.ROLLING_BACK), None, findings=())
    assert gone.state.phase is Phase.ROLLED_BACK
    assert "serves nobody" in gone.state.hold_message


@pytest.mark.rule("R8")
def test_what_somebody_changed_since_latches_and_is_named():
    changed = with_targets(RUNNING, "on", ["eve"])
    decisions, flag = way_back(state_at(phase=Phase.ROLLING_BACK), changed)
    assert not flag.on
    latched = decisions[-1]
    assert latched.state.phase is Phase.LATCHED
    assert told(latched) == [("latched", True)]
    assert any("targets" in one for one in latched.state.foreign)
    assert all(one in latched.state.hold_message for one in latched.state.foreign)
    over = look(latched.state, flag, asked=asks(Verb.ROLLBACK, overwrite=True), findings=())
    assert over.action == Action(Operation.RESTORE)
    assert over.then.phase is Phase.ROLLED_BACK
    assert over.afterwards[0].detail["overwritten"] == list(latched.state.foreign)


@pytest.mark.rule("R8")
def test_a_latch_without_a_word_to_overwrite_stays_unless_the_change_is_gone():
    latched = state_at(phase=Phase.LATCHED, act=Act.OFF, foreign=("x",))
    still = with_on(with_targets(RUNNING, "on", ["eve"]), False)
    assert look(latched, still, asked=asks(Verb.ROLLBACK)).state.phase is Phase.LATCHED
    undone = look(latched, with_on(RUNNING, False), asked=asks(Verb.ROLLBACK))
    assert undone.action == Action(Operation.RESTORE)


@pytest.mark.rule("R8")
def test_what_a_person_accepted_is_not_undone_unasked():
    accepted = state_at(phase=Phase.ROLLING_BACK, accepted=("targets: +eve",))
    decisions, _ = way_back(accepted, RUNNING)
    assert decisions[-1].state.foreign == ("targets: +eve",)
    assert decisions[-1].state.phase is Phase.LATCHED


@pytest.mark.rule("R8")
@pytest.mark.parametrize("lower", [0, 2_000, None])
def test_what_a_person_took_away_below_the_start_is_not_given_back_unasked(lower):
    before = Flag.boolean("agent", percent=5)
    running = at_step(before, CANARY, 0)
    less = with_on(running, False) if lower is None else with_rollout(running, "on", lower)
    paused = look(state_at(before=before), less, before=before).state
    assert paused.because == Because.DRIFT_LOWERED
    asked = look(paused, less, before=before, asked=asks(Verb.ROLLBACK))
    back = asked.then or asked.state
    decisions, flag = way_back(back, with_on(less, False), before=before)
    assert decisions[-1].state.phase is Phase.LATCHED
    assert exposure_of(flag, "on") == 0
    assert decisions[-1].state.foreign


@pytest.mark.rule("R8")
def test_what_a_person_lowered_no_further_than_the_start_is_restored():
    less = with_rollout(RUNNING, "on", 2_000)
    paused = look(flag=less).state
    decision = look(paused, less, asked=asks(Verb.ROLLBACK))
    assert decision.action == Action(Operation.OFF)
    decisions, flag = way_back(decision.then, with_on(less, False))
    assert flag == BEFORE
    assert decisions[-1].then.phase is Phase.ROLLED_BACK


@pytest.mark.rule("R7")
@pytest.mark.parametrize("phase", [Phase.ROLLING_BACK, Phase.LATCHED])
def test_who_turns_it_on_again_is_answered_three_times_then_people_are_called(phase):
    state = state_at(phase=phase, act=Act.OFF, foreign=("x",))
    for count in range(1, REASSERTIONS + 1):
        decision = look(state, RUNNING, findings=())
        assert decision.action == Action(Operation.OFF)
        state = decision.then
        assert state.reasserted == count
    called = look(state, RUNNING, findings=())
    assert called.action is None
    assert told(called) == [("drift", True)]
    assert told(look(called.state, RUNNING, findings=())) == []
    again = look(called.state, RUNNING, findings=(), asked=asks(Verb.ROLLBACK))
    assert again.action == Action(Operation.OFF)
    assert again.then.hold == ""


@pytest.mark.rule("R8")
def test_a_reverted_rollout_that_latched_ends_as_reverted():
    completed = look(state_at(step=2, baked=BAKE), FULL).state
    reverting = replace(completed, phase=Phase.REVERTING, act=Act.EXPOSED)
    decisions, flag = way_back(reverting, with_targets(FULL, "on", ["eve"]))
    latched = decisions[-1].state
    assert latched.phase is Phase.LATCHED
    over = look(latched, flag, asked=asks(Verb.ROLLBACK, overwrite=True))
    assert over.then.phase is Phase.REVERTED


def test_each_step_stands_in_the_history_once_whatever_follows():
    back = look(asked=asks(Verb.ROLLBACK)).state
    latched = replace(back, phase=Phase.LATCHED, act=Act.OFF)
    ended = look(latched, with_on(RUNNING, False), asked=asks(Verb.CANCEL)).state
    assert ended.phase is Phase.STOPPED
    assert [one.step for one in ended.history] == [0]


# --- blue-green

GREEN = at_step(BEFORE, BLUE_GREEN, 0)


@pytest.mark.rule("R9")
def test_green_is_taken_back_in_one_write_and_then_restored():
    decisions, flag = way_back(state_at(BLUE_GREEN, phase=Phase.ROLLING_BACK), GREEN, BLUE_GREEN)
    assert decisions[0].action == Action(Operation.LOWER, weight=0)
    assert flag.on
    assert drift_of(BEFORE, flag, "on") is Drift.NONE
    assert decisions[-1].state.phase is Phase.ROLLED_BACK


@pytest.mark.rule("R9")
def test_blue_that_was_off_goes_off_again():
    before = with_on(BEFORE, False)
    state = state_at(BLUE_GREEN, phase=Phase.ROLLING_BACK, before=before)
    decisions, flag = way_back(state, GREEN, BLUE_GREEN, before)
    assert decisions[0].action == Action(Operation.OFF)
    assert flag == before


@pytest.mark.rule("R7", "R9")
def test_green_that_is_raised_again_under_the_latch_is_lowered_again():
    latched = state_at(BLUE_GREEN, phase=Phase.LATCHED, act=Act.OFF, foreign=("x",))
    lowered = with_targets(with_rollout(GREEN, "on", 0), "on", ["eve"])
    assert look(latched, lowered, BLUE_GREEN).action is None
    decision = look(latched, with_rollout(lowered, "on", 50_000), BLUE_GREEN)
    assert decision.action == Action(Operation.LOWER, weight=0)


@pytest.mark.rule("R9")
def test_the_preview_serves_its_audience_alone_then_the_switch_is_one_write():
    preview = Step(0, BAKE, 3 * BAKE, preview=True)
    plan = replace(BLUE_GREEN, steps=(preview, *BLUE_GREEN.steps), audience=("qa",))
    started = look(new_state(), BEFORE, plan, findings=())
    assert started.action == Action(Operation.START, weight=0, targets=("qa",))
    shown = with_targets(BEFORE, "on", ["qa"])
    state = replace(started.then, desired=flag_to_data(shown), baked=BAKE)
    switched = look(state, shown, plan)
    assert switched.action == Action(Operation.RAISE, weight=100_000)
    back = look(state, shown, plan, findings=REGRESSED)
    assert back.action == Action(Operation.RESTORE)


# --- failures of the backend


def test_a_backend_that_stays_away_is_told_once_and_counted_anew_next_time():
    state = state_at()
    announced = []
    for _ in range(ALERT_AFTER + 2):
        decision = look(state, None, unreachable="it timed out")
        announced += [one.action for one in decision.happened if one.announce]
        state = replace(decision.state, looked_at=NOW - SECOND)
    assert announced == ["stuck"]
    assert state.hold == Because.PROVIDER
    assert (state.baked, state.waited) == (25.0, 25.0)  # nobody knows what it served meanwhile
    assert look(state).state.failures == 0
    assert look(replace(state, phase=Phase.PAUSED)).state.hold == ""


def test_tries_come_less_and_less_often_but_always_come():
    waits = [retry_in(State(failures=count)) for count in range(1, 9)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


# --- named users, ring by ring


@pytest.mark.rule("R2", "R3")
def test_each_ring_is_one_write_that_names_its_own():
    started = look(new_state(), BEFORE, RINGS, findings=())
    assert started.action == Action(Operation.START, targets=("qa",), segments=())
    assert started.afterwards[0].reason == "step 1 of 5: ring us (qa)"
    baked = {"baked": BAKE, "waited": BAKE}
    second = look(state_at(RINGS, 0, **baked), at_step(BEFORE, RINGS, 0), RINGS)
    assert second.action == Action(Operation.RAISE, segments=("staff",))
    third = look(state_at(RINGS, 1, **baked), at_step(BEFORE, RINGS, 1), RINGS)
    assert third.action == Action(Operation.RAISE, targets=("zoe",), segments=("beta",))
    half = look(state_at(RINGS, 2, **baked), at_step(BEFORE, RINGS, 2), RINGS)
    assert half.action == Action(Operation.RAISE, weight=50_000, segments=())
    whole = look(state_at(RINGS, 3, **baked), at_step(BEFORE, RINGS, 3), RINGS)
    rules = ("staff", "beta")
    assert whole.action == Action(Operation.RAISE, 100_000, segments=(), obsolete=rules)


def test_a_rule_that_was_there_before_is_not_taken_for_ours():
    before = with_segments(BEFORE, "on", ["beta"])
    flag = at_step(before, RINGS, 3)
    baked = state_at(RINGS, 3, before=before, baked=BAKE, waited=BAKE)
    decision = look(baked, flag, RINGS, snapshot=before)
    assert decision.action.obsolete == ("staff",)
    assert carried_out(decision.action, flag, before, RINGS).rules == before.rules


@pytest.mark.rule("R3", "R5")
def test_a_ring_without_data_is_the_last_one():
    baked = state_at(RINGS, 1, baked=BAKE, waited=3 * BAKE)
    flag = at_step(BEFORE, RINGS, 1)
    assert look(replace(baked, waited=BAKE), flag, RINGS, findings=NO_DATA).action is None
    paused = look(baked, flag, RINGS, findings=NO_DATA).state
    assert (paused.phase, paused.because) == (Phase.PAUSED, Because.NO_DATA)


@pytest.mark.rule("R4", "R8")
@pytest.mark.parametrize("step", range(5))
def test_every_ring_is_left_by_the_switch_and_the_snapshot(step):
    before = with_targets(BEFORE, "on", ["ana"])
    flag = at_step(before, RINGS, step)
    state = state_at(RINGS, step, Phase.ROLLING_BACK, before=before)
    decisions, after = way_back(state, flag, RINGS, before)
    assert [one.action.operation for one in decisions] == [Operation.OFF, Operation.RESTORE]
    assert after == before


@pytest.mark.rule("R7")
def test_a_ring_that_was_lowered_and_resumed_names_its_own_again_and_no_other():
    before = with_rollout(BEFORE, "on", 5_000)
    plan = replace(
        RINGS, steps=tuple(replace(one, weight=max(one.weight, 5_000)) for one in RINGS.steps)
    )
    flag = at_step(before, plan, 1)
    lower = with_targets(with_rollout(flag, "on", 2_000), "on", [])
    paused = look(state_at(plan, 1, before=before), lower, plan, snapshot=before).state
    assert paused.because == Because.DRIFT_OTHER
    resumed = look(paused, lower, plan, snapshot=before, asked=asks(Verb.RESUME))
    assert resumed.action == Action(Operation.RAISE, weight=5_000, segments=("staff",))


# --- blue-green, where somebody changed the flag meanwhile

SHOWN = replace(NAMED, segments=("staff",), targets=())
PREVIEWED = replace(BLUE_GREEN, steps=(SHOWN, *BLUE_GREEN.steps), audience=("qa",))


@pytest.mark.rule("R8", "R9")
@pytest.mark.parametrize("step", [0, 1])
def test_the_audience_of_a_preview_is_not_left_with_green_under_a_latch(step):
    before = with_targets(BEFORE, "on", ["ana"])
    changed = with_targets(at_step(before, PREVIEWED, step), "off", ["eve"])
    state = state_at(PREVIEWED, step, Phase.ROLLING_BACK, before=before)
    decisions, flag = way_back(state, changed, PREVIEWED, before)
    assert {one.action.operation for one in decisions[:-1]} == {Operation.LOWER}
    assert len(decisions) == 2 + step  # the percentage, the names, the latch
    latched = decisions[-1].state
    assert (latched.phase, flag.on) == (Phase.LATCHED, True)
    assert exposure_of(flag, "on") == 0
    assert named(flag) == {"ana"}
    assert any("eve" in one for one in latched.foreign)
    over = look(
        latched, flag, PREVIEWED, snapshot=before, asked=asks(Verb.ROLLBACK, overwrite=True)
    )
    assert over.action == Action(Operation.RESTORE)


@pytest.mark.rule("R7", "R9")
def test_a_name_that_comes_back_under_the_latch_goes_again_a_few_times():
    flag = with_targets(at_step(BEFORE, PREVIEWED, 0), "off", ["eve"])
    state = state_at(PREVIEWED, 0, Phase.LATCHED, act=Act.OFF, foreign=("x",))
    for _ in range(REASSERTIONS):
        decision = look(state, flag, PREVIEWED)
        assert decision.action == Action(Operation.LOWER, leaving=("qa",), obsolete=("staff",))
        state = decision.then
    called = look(state, flag, PREVIEWED)
    assert called.action is None
    assert told(called) == [("drift", True)]


@pytest.mark.rule("R8", "R9")
def test_names_go_by_themselves_where_the_restore_fails():
    flag = at_step(BEFORE, PREVIEWED, 0)
    state = state_at(PREVIEWED, 0, Phase.ROLLING_BACK)
    restoring = look(state, flag, PREVIEWED, findings=())
    assert restoring.action == Action(Operation.RESTORE)  # one write takes all of it back
    kept = failed(restoring.state, "it refuses", NOW)
    lowering = look(kept, flag, PREVIEWED, findings=())
    assert lowering.action == Action(Operation.LOWER, leaving=("qa",), obsolete=("staff",))
    refused = look(kept, flag, PREVIEWED, findings=(), asked=asks(Verb.CANCEL))
    assert refused.refused  # green is served still
    bare = carried_out(lowering.action, flag, BEFORE, PREVIEWED)
    assert drift_of(BEFORE, bare, "on") is Drift.NONE
    some = with_targets(bare, "on", ["zoe"])
    cancelled = look(lowering.then, some, PREVIEWED, findings=(), asked=asks(Verb.CANCEL))
    assert cancelled.state.phase is Phase.STOPPED


# --- gates: the last condition of a raise, and of nothing else

ITEMS = (
    Item("on-call", "Somebody is on call"),
    Item("feedback", "Nobody complains", When.DURING),
    Item("lessons", "What was learned is written down", When.AFTER),
    Item("told", "Somebody is told", auto=Auto.ALERTS, required=False),
)
HOOKS = tuple(Hook(one.value, TextAt("text", "https://gate.test"), one) for one in HookWhen)
CLOSED = {
    Because.CHECKLIST: Gates(checklist=ITEMS),
    Because.APPROVAL: Gates(approvals=(Approval(("ana", "ben"), count=2),)),
    Because.FREEZE: Gates(freezes=(Window(NOW - SECOND, NOW + 90 * SECOND, reason="weekend"),)),
    Because.HOOK: Gates(hooks=HOOKS),
    Because.START_TIME: Gates(starts_at=NOW + 90 * SECOND),
}
EVERYTHING = Gates(
    ITEMS,
    CLOSED[Because.APPROVAL].approvals,
    CLOSED[Because.FREEZE].freezes,
    HOOKS,
    CLOSED[Because.START_TIME].starts_at,
)
LOST = Facts(error="the store did not answer")


def closes(gates, one):
    """Whether these gates, with nothing signed and nobody answering, hold what a moment does."""
    if not one.rises:
        return bool(gates.hooks)
    started = bool(one.state.started_at)
    return bool(
        gates.approvals
        or gates.freezes
        or gates.hooks
        or (gates.checklist and (not started or one.after.step > 0))
        or (gates.starts_at and not started)
    )


def gated(one, gates, facts=NOTHING):
    """What becomes of a moment with these gates."""
    return decide(replace(one.plan, gates=gates), one.state, replace(one.seen, gates=facts))


def check_closed(one, gates, facts=NOTHING):
    """See that closed gates hold what would go on, and change nothing of anything else."""
    decision = gated(one, gates, facts)
    if not (one.goes_on and (facts.error or closes(gates, one))):
        assert decision == one.decision, one
        return None
    state = decision.state
    assert decision.action is None, one
    assert state.phase in (Phase.STARTING, Phase.PROGRESSING), one
    assert (state.step, state.entered, state.history) == (
        one.state.step,
        one.state.entered,
        one.state.history,
    ), one
    assert state.hold in GATED, one
    assert state.hold_message, one
    assert 0 < decision.due_in <= one.plan.interval, one
    assert set(decision.done) == set(one.decision.done), one
    return decision


@whole_table
@pytest.mark.rule("R4")
def test_closed_gates_delay_no_way_back_no_pause_no_kill_and_no_lowering():
    held = [one for one in table() if check_closed(one, EVERYTHING)]
    assert len(held) > 20
    assert {one.state.phase for one in held} == {Phase.STARTING, Phase.PROGRESSING, Phase.PAUSED}
    assert all(check_closed(one, EVERYTHING, LOST) for one in held)


@whole_table
@pytest.mark.rule("R4")
@pytest.mark.parametrize("because", CLOSED, ids=str)
def test_each_gate_alone_holds_what_rises_and_nothing_else(because):
    rising = [one for one in table() if one.goes_on]
    held = [found for one in rising if (found := check_closed(one, CLOSED[because])) is not None]
    assert len(held) > 5
    assert {one.state.hold for one in held} == {because}
    for one in table()[::17]:
        check_closed(one, CLOSED[because])


@whole_table
@pytest.mark.rule("R4")
def test_guardrails_are_looked_at_first_while_a_gate_is_closed():
    """A step that waits at a gate is taken back as any other is (Flagger's issue 1801 is not)."""
    waiting = state_at(baked=BAKE, waited=BAKE, hold=Because.APPROVAL, hold_message="ana")
    flag = at_step(BEFORE, CANARY, 0)
    plan = replace(CANARY, gates=EVERYTHING)
    decision = decide(plan, waiting, seen_with(flag, findings=REGRESSED))
    assert decision.state.phase is Phase.ROLLING_BACK
    assert decision.action.operation is Operation.OFF
    assert decision == decide(CANARY, waiting, seen_with(flag, findings=REGRESSED))


def waits_at(gates, state, /, **seen):
    plan = replace(CANARY, gates=gates)
    return decide(plan, state, seen_with(at_step(BEFORE, CANARY, state.step), **seen))


@pytest.mark.rule("R5")
def test_a_step_whose_gate_opens_late_moves_on_at_the_next_look():
    gates, state = CLOSED[Because.APPROVAL], state_at(baked=BAKE - TICK, waited=BAKE - TICK)
    now = NOW
    for _ in range(500):  # far longer than its longest bake
        decision = waits_at(gates, state, now=now)
        assert decision.state.hold == Because.APPROVAL
        assert decision.state.baked == decision.state.waited == BAKE
        state, now = decision.state, now + int(TICK * SECOND)
    door = Door(1, state.entered_at)
    signed = tuple(
        Signoff(SignKind.APPROVAL, "", door, True, who, (who,)) for who in ("ana", "ben")
    )
    opened = waits_at(gates, state, now=now, gates=Facts(signoffs=signed))
    assert opened.action == Action(Operation.RAISE, weight=50_000)
    for findings, because in ((NO_DATA, Because.NO_DATA), (SIGNAL, Because.SIGNAL)):
        not_clean = waits_at(gates, state, now=now, gates=Facts(signoffs=signed), findings=findings)
        assert (not_clean.action, not_clean.state.hold) == (None, because)
    lost = waits_at(gates, state, now=now, gates=Facts(signoffs=signed), findings=None)
    assert (lost.action, lost.state.hold) == (None, Because.METRICS_LOST)


def test_a_gate_is_told_once_and_people_hear_where_they_are_needed():
    state = state_at(baked=BAKE, waited=BAKE)
    for because, gates in CLOSED.items():
        if because is Because.START_TIME:
            continue
        first = waits_at(gates, replace(state, step=0))
        if because is Because.CHECKLIST:
            assert "feedback (Nobody complains) is not ticked" in first.state.hold_message
        (told,) = first.happened
        assert (told.action, told.detail["because"]) == ("held", because)
        assert told.announce is (because in (Because.CHECKLIST, Because.APPROVAL))
        assert waits_at(gates, first.state).happened == ()


@pytest.mark.rule("R5")
def test_a_promotion_outlasts_a_gate_and_not_the_step():
    state = state_at(baked=10.0, waited=10.0)
    asked = asks(Verb.PROMOTE)
    held = waits_at(CLOSED[Because.FREEZE], state, asked=asked, findings=UNDECIDED)
    assert (held.state.hold, held.state.promoted) == (Because.FREEZE, True)
    again = waits_at(CLOSED[Because.FREEZE], held.state, findings=UNDECIDED)
    assert again.state.hold == Because.FREEZE
    thawed = waits_at(
        CLOSED[Because.FREEZE], again.state, findings=UNDECIDED, now=NOW + 91 * SECOND
    )
    assert thawed.state.promoted is False  # nobody looked for too long: the step bakes anew
    raised = waits_at(Gates(starts_at=1), again.state, findings=UNDECIDED)
    assert raised.action.operation is Operation.RAISE
    assert raised.then.promoted is False
    without = waits_at(Gates(starts_at=1), again.state, findings=NO_DATA)
    assert (without.action, without.state.hold) == (None, Because.NO_DATA)
    worse = waits_at(Gates(starts_at=1), again.state, findings=REGRESSED)
    assert worse.state.phase is Phase.ROLLING_BACK


def test_services_are_asked_once_all_else_is_in_order():
    state = state_at(baked=BAKE, waited=BAKE)
    door = Door(1, state.entered_at)
    both = Gates(approvals=(Approval(("ana",)),), hooks=HOOKS)
    assert waits_at(both, state).calls == ()
    signed = (Signoff(SignKind.APPROVAL, "", door, True, "ana", ("ana",)),)
    asked = waits_at(both, state, gates=Facts(signoffs=signed))
    assert asked.calls == (Call("step", door),)
    assert asked.state.hold == Because.HOOK
    waiting = (Answer("step", door, False, 2, "it answered 503"),)
    again = waits_at(both, asked.state, gates=Facts(signoffs=signed, answers=waiting))
    assert again.calls == ()
    assert "it answered 503 (asked 2 times)" in again.state.hold_message
    said = (Answer("step", door, True, 3),)
    opened = waits_at(both, again.state, gates=Facts(signoffs=signed, answers=said))
    assert opened.action.operation is Operation.RAISE


@pytest.mark.rule("R1")
@pytest.mark.parametrize("door", [Door(2, 0), Door(1, 1), Door(0, 0)], ids=str)
def test_what_was_signed_at_another_door_opens_none(door):
    state = state_at(baked=BAKE, waited=BAKE)
    signed = (Signoff(SignKind.APPROVAL, "", door, True, "ana", ("ana",)),)
    gates = Gates(approvals=(Approval(("ana",)),))
    assert waits_at(gates, state, gates=Facts(signoffs=signed)).state.hold == Because.APPROVAL
