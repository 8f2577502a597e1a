"""What happens next to a rollout: one pure function of plan, state and what was seen (rule R2).

Nothing here reads a clock, a flag or a row. The same plan, state and observation give the same
decision, so it can be tested over the whole table, replayed from history, and used for a plan.

The order is the rules': first what a person asked, then kills (K5), then guardrails in every phase
that is not final (R4), then drift (R7), and only then whatever may raise the exposure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from downhaul.analysis.model import Finding, Verdict
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.flag import Flag
from downhaul.rollout.drift import (
    Drift,
    differences_of,
    drift_of,
    exposure_of,
    foreign_changes,
    lowered_below,
)
from downhaul.rollout.plan import OnMetricsLost, OnUndecided, Plan, Strategy
from downhaul.rollout.state import RETURNING, Act, Baked, Because, Phase, State, Verb

SECOND: Final = 1_000_000  # microseconds
ABSENT_AFTER: Final = 60.0
"""Seconds without a look after which a step bakes anew, or twelve looks if those take longer."""

ALERT_AFTER: Final = 3
"""Failures in a row after which people hear that the backend stands in the way."""

REASSERTIONS: Final = 3
"""How often a flag that somebody turned on again is put off, before people are called (R7)."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Operation(StrEnum):
    """What is written at the provider. Targets are absolute, so that twice is as good as once."""

    START = "start"
    """The first step's exposure, and ``on``: the only write of it (rule R3)."""
    RAISE = "raise"
    OFF = "off"
    LOWER = "lower"
    """Blue-green: the variant's part as it was before, in one write (rule R9)."""
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Action:
    """One write at the provider: the variant's ``weight`` and named ``targets``, or a restore."""

    operation: Operation
    weight: int = 0
    targets: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that nobody has taken yet."""

    id: int
    verb: Verb
    step: int
    actor: str
    reason: str
    overwrite: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Happening:
    """Something for the history; ``announce`` tells people. No actor means the controller."""

    action: str
    reason: str = ""
    actor: str = ""
    detail: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    announce: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a controller sees. ``now`` is the control store's clock, in microseconds since 1970.

    ``flag`` is None where it is not there; ``unreachable`` says why it could not be asked for, and
    then ``flag`` means nothing. ``kill`` is a kill of the flag that stands, or that stood at any
    time since the rollout began. ``findings`` is None where the metric source did not answer;
    ``metrics_error`` says why. ``snapshot`` is the flag as it was before the rollout. ``put_off``
    says that a controller put it off on the way back, and ended before it could keep that.
    """

    now: int
    flag: Flag | None
    snapshot: Flag
    unreachable: str = ""
    kill: str = ""
    findings: tuple[Finding, ...] | None = ()
    metrics_error: str = ""
    asked: tuple[Asked, ...] = ()
    put_off: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The state to keep, and what to do.

    With an ``action``, ``state`` is kept if it fails, and ``then`` once it was seen to be done:
    with ``afterwards`` for the history. ``done`` maps commands to what became of them. ``fresh``
    asks for a new count of evidence. ``due_in`` is in seconds.
    """

    state: State
    due_in: float
    action: Action | None = None
    then: State | None = None
    happened: tuple[Happening, ...] = ()
    afterwards: tuple[Happening, ...] = ()
    done: Mapping[int, str] = field(default_factory=dict)
    refused: frozenset[int] = frozenset()
    fresh: bool = False

    @property
    def step(self) -> int:
        """The step that the action is about."""
        return (self.then or self.state).step


class _Case:
    """One decision in the making: what has been settled so far."""

    def __init__(self, plan: Plan, state: State, seen: Seen) -> None:
        self.plan = plan
        self.state = state
        self.seen = seen
        self.happened: list[Happening] = []
        self.done: dict[int, str] = {}
        self.refused: set[int] = set()
        self.fresh = False
        self.promoted = ""  # who asked to skip the rest of this bake

    def end(
        self,
        due_in: float,
        action: Action | None = None,
        then: State | None = None,
        afterwards: tuple[Happening, ...] = (),
    ) -> Decision:
        return Decision(
            replace(self.state, looked_at=self.seen.now),
            due_in,
            action,
            None if then is None else replace(then, looked_at=self.seen.now),
            tuple(self.happened),
            afterwards,
            self.done,
            frozenset(self.refused),
            self.fresh,
        )

    def tell(
        self,
        action: str,
        reason: str = "",
        *,
        actor: str = "",
        announce: bool = True,
        **detail: Any,
    ) -> None:
        self.happened.append(
            Happening(action, reason, actor, {"step": self.state.step, **detail}, announce=announce)
        )


def decide(plan: Plan, state: State, seen: Seen) -> Decision:  # noqa: C901, PLR0911  (the rules, in their order)
    """Return what becomes of a rollout. See the module for the order of its rules."""
    case = _Case(plan, state, seen)
    _obey(case)
    if not case.state.live:
        return case.end(0.0)
    if case.state.phase in RETURNING:
        return _return(case)
    if seen.kill and case.state.phase is not Phase.LATCHED:
        return _stop_killed(case)
    if seen.findings is not None:
        case.state = replace(case.state, findings=seen.findings)
    if regressed := _regressed(plan, case.state, seen):
        _begin_return(case, Because.REGRESSED, regressed, findings=_data(seen.findings))
        return _return(case)
    if case.state.phase is Phase.LATCHED:
        return _keep_latched(case)
    if seen.unreachable:
        return _hold(case, Because.PROVIDER, seen.unreachable)
    if (drifted := _drift(case)) is not None:
        return drifted
    if _metrics_lost(case):
        return _return(case)
    if case.state.phase is Phase.PAUSED:
        case.state = _freed(case.state)
        return case.end(plan.interval)
    if _out_of_time(case):
        return case.end(plan.interval)
    return _bake(case) if case.state.entered else _begin_step(case)


# What people ask


def _obey(case: _Case) -> None:
    for asked in case.seen.asked:
        refusal = _refusal(case, asked)
        if refusal:
            case.done[asked.id] = refusal
            case.refused.add(asked.id)
            continue
        case.done[asked.id] = _carry_out(case, asked)


def _refusal(case: _Case, asked: Asked) -> str:
    """Return why a command can't be carried out now, or nothing."""
    phase, step = case.state.phase, case.state.step
    allowed: Mapping[Verb, tuple[Phase, ...]] = {
        Verb.PAUSE: (Phase.STARTING, Phase.PROGRESSING, Phase.PAUSED),
        Verb.RESUME: (Phase.PAUSED,),
        Verb.PROMOTE: (Phase.PROGRESSING, Phase.PAUSED),
        Verb.ROLLBACK: (
            Phase.STARTING, Phase.PROGRESSING, Phase.PAUSED, Phase.LATCHED, Phase.ROLLING_BACK,
            Phase.REVERTING,
        ),
        Verb.REVERT: (),
        Verb.CANCEL: (Phase.STARTING, Phase.PROGRESSING, Phase.PAUSED, Phase.LATCHED),
    }  # fmt: skip
    if asked.verb is Verb.CANCEL and phase in RETURNING and _is_off(case):
        return ""  # what is left is a restore, which the backend may refuse for good
    if phase not in allowed[asked.verb]:
        return f"{asked.verb} means nothing to a rollout that is {_spoken(phase)}"
    if asked.verb is Verb.PROMOTE and asked.step != step:
        return f"it was meant for step {asked.step + 1}, and the rollout is at step {step + 1}"
    if asked.verb is Verb.PROMOTE:
        return _no_promotion(case)
    if asked.verb is Verb.RESUME:
        return _no_resumption(case)
    return ""


def _no_promotion(case: _Case) -> str:
    state, findings = case.state, case.seen.findings
    if not state.entered:
        return "its step is not at the backend yet"
    if case.plan.checks and findings is None:
        return f"the metric source does not answer ({case.seen.metrics_error})"
    bad = [one for one in findings or () if one.verdict is Verdict.NO_DATA and not one.dry_run]
    if bad:
        return f"nothing is raised without data ({bad[0].check}: no requests)"
    worse = [one for one in findings or () if one.verdict is Verdict.REGRESSED and not one.dry_run]
    if worse:
        return f"{worse[0].check} is bad: {worse[0].message}"
    if state.phase is Phase.PAUSED and _is_below(case):
        return "its step is not at the backend any more: resume it first"
    return _no_resumption(case)


def _no_resumption(case: _Case) -> str:  # noqa: PLR0911  (a reason each)
    """Return why a rollout can't go on from how the flag is now (rules R3, R7)."""
    seen, state = case.seen, case.state
    if seen.unreachable:
        return f"the backend does not answer ({seen.unreachable})"
    if seen.flag is None:
        return "the flag is gone: cancel, or create it again"
    if state.desired is None:
        return ""
    desired = flag_from_data(state.desired)
    if exposure_of(seen.flag, case.plan.variant) > exposure_of(desired, case.plan.variant):
        return "somebody raised it by hand: lower it again, cancel, or roll back"
    if state.started_at and not seen.flag.on:
        return "the flag is off, and a rollout turns nothing on: cancel it and start another"
    drift = drift_of(desired, seen.flag, case.plan.variant)
    if drift is Drift.NONE or _is_told(state, *_words(case, drift, seen.flag)):
        return ""
    return "somebody changed it by hand meanwhile: look at what, and ask again"


def _is_below(case: _Case) -> bool:
    """Return whether the flag serves less than the step that was entered: it was lowered."""
    state, flag = case.state, case.seen.flag
    if flag is None or not state.entered:
        return False
    return exposure_of(flag, case.plan.variant) < case.plan.steps[state.step].weight


def _carry_out(case: _Case, asked: Asked) -> str:  # noqa: PLR0911  (a verb each)
    state, seen = case.state, case.seen
    match asked.verb:
        case Verb.PAUSE:
            if state.phase is Phase.PAUSED:
                return "it is paused already"
            case.state = _paused(state, Because.BY_HAND, asked.reason or "paused by hand")
            case.tell("paused", asked.reason, actor=asked.actor)
            return "paused"
        case Verb.RESUME:
            below = _is_below(case)
            _accept(case, seen.flag)
            case.state = _resumed(case.state, case.plan, seen.now)
            if below:
                case.state = replace(case.state, entered=False)
            case.fresh = True
            case.tell("resumed", asked.reason, actor=asked.actor)
            return "resumed; the step bakes anew"
        case Verb.PROMOTE:
            if state.phase is Phase.PAUSED:
                _accept(case, seen.flag)
                case.state = _resumed(case.state, case.plan, seen.now)
            bake = case.plan.steps[state.step].bake
            case.state = replace(case.state, baked=max(case.state.baked, bake))
            case.promoted = asked.actor
            case.tell("promoted", asked.reason, actor=asked.actor)
            return "promoted: the rest of this bake is skipped"
        case Verb.CANCEL:
            case.state = _ended(state, Phase.STOPPED, Because.BY_HAND, asked.reason, seen.now)
            case.tell("cancelled", asked.reason, actor=asked.actor)
            return "cancelled; the flag stays as it is"
        case _:
            if state.phase in RETURNING:
                overwrite = state.overwrite or asked.overwrite
                case.state = replace(state, overwrite=overwrite, reasserted=0)
                return "it is on its way back already"
            _begin_return(
                case, Because.BY_HAND, asked.reason or "rolled back by hand", actor=asked.actor
            )
            case.state = replace(case.state, overwrite=asked.overwrite)
            return "rolling back"


def _accept(case: _Case, flag: Flag | None) -> None:
    """Take the flag as it is for what is wanted, and remember what somebody else changed in it."""
    if flag is None or case.state.desired is None:
        return
    found = foreign_changes(flag_from_data(case.state.desired), flag, case.plan.variant)
    case.state = replace(
        case.state,
        desired=flag_to_data(flag),
        accepted=(*case.state.accepted, *(one for one in found if one not in case.state.accepted)),
    )


def _resumed(state: State, plan: Plan, now: int) -> State:
    begun = state.started_at > 0
    return replace(
        state,
        phase=Phase.PROGRESSING if begun else Phase.STARTING,
        baked=0.0,
        waited=0.0,
        because="",
        message="",
        hold="",
        hold_message="",
        limit_at=_limit(plan, now) if state.because == Because.TIME_LIMIT else state.limit_at,
    )


# Kills, regressions, and the way back


def _stop_killed(case: _Case) -> Decision:
    case.state = _ended(
        case.state, Phase.STOPPED, Because.KILLED, f"killed: {case.seen.kill}", case.seen.now
    )
    case.tell("stopped", case.state.message)
    return case.end(0.0)


def _regressed(plan: Plan, state: State, seen: Seen) -> str:
    """Return what a guardrail found, where that takes the rollout back."""
    if state.phase not in (Phase.PROGRESSING, Phase.PAUSED) or not state.started_at:
        return ""
    names = {one.name for one in plan.guardrails if not one.dry_run}
    for one in seen.findings or ():
        if one.verdict is Verdict.REGRESSED and one.check in names and not one.dry_run:
            return f"{one.check}: {one.message}"
    return ""


def _begin_return(
    case: _Case, because: Because, message: str, *, actor: str = "", **detail: Any
) -> None:
    state = case.state
    if state.phase is Phase.LATCHED:  # the exposure is off already; only the restore is left
        # Only what had completed has an end while it is live: it was on its way to be reverted.
        phase = Phase.REVERTING if state.ended_at else Phase.ROLLING_BACK
        case.state = replace(state, phase=phase, failures=0, reasserted=0)
    else:
        _accept_less(case)
        case.state = replace(
            _left(case.state, case.seen.now),
            phase=Phase.ROLLING_BACK,
            because=because.value,
            message=message,
            act=Act.EXPOSED,
            hold="",
            hold_message="",
            failures=0,
        )
    case.tell("rolling_back", message, actor=actor, because=because.value, **detail)


def _accept_less(case: _Case) -> None:
    """Take in what somebody lowered since the last look: nothing of the way back was sent yet.

    Later it can't be told from what the way back takes off, and a restore would give it back.
    """
    seen, desired = case.seen, case.state.desired
    if seen.unreachable or seen.put_off or seen.flag is None or desired is None:
        return
    if drift_of(flag_from_data(desired), seen.flag, case.plan.variant) is Drift.LOWERED:
        _accept(case, seen.flag)


def _return(case: _Case) -> Decision:
    """Take the exposure off, then restore what was; each act seen to have happened (rule R8)."""
    plan, seen = case.plan, case.seen
    if seen.unreachable:
        return _returning_fails(case, seen.unreachable)
    if seen.flag is None:
        return _returned(case, "the flag is gone, and what is gone serves nobody")
    if drift_of(seen.snapshot, seen.flag, plan.variant) is Drift.NONE:
        return _returned(case, case.state.message)
    if _is_exposed(case, seen.flag):
        return _take_off(case, seen.flag)
    case.state = replace(case.state, act=Act.OFF, foreign=_foreign(case, seen.flag))
    if case.state.foreign and not case.state.overwrite:
        return _latch(case)
    return _restore(case)


def _is_off(case: _Case) -> bool:
    """Return whether the exposure was taken off, and is seen to be off now."""
    seen = case.seen
    if seen.unreachable or case.state.act is not Act.OFF:
        return False
    return seen.flag is None or not _is_exposed(case, seen.flag)


def _is_exposed(case: _Case, flag: Flag) -> bool:
    if _is_lowered_back(case):
        return exposure_of(flag, case.plan.variant) > exposure_of(
            case.seen.snapshot, case.plan.variant
        )
    return flag.on


def _is_lowered_back(case: _Case) -> bool:
    """Return whether the first act is a lower weight: blue is armed, and takes over (rule R9)."""
    return case.plan.strategy is Strategy.BLUE_GREEN and case.seen.snapshot.on


def _take_off(case: _Case, flag: Flag) -> Decision:
    state = case.state
    if state.act is Act.OFF:
        if state.reasserted >= REASSERTIONS:
            return _called(case)
        state = replace(state, reasserted=state.reasserted + 1)
        case.tell("drift", "somebody turned it on again during the way back; it goes off again")
    case.state = state = replace(state, act=Act.EXPOSED, foreign=_foreign(case, flag))
    told = Happening("exposure_off", state.message, detail={"step": state.step})
    then = replace(state, act=Act.OFF, failures=0, hold="", hold_message="")
    return case.end(case.plan.interval, _off(case), then, (told,))


def _off(case: _Case) -> Action:
    if not _is_lowered_back(case):
        return Action(Operation.OFF)
    before = exposure_of(case.seen.snapshot, case.plan.variant)
    return Action(Operation.LOWER, weight=int(before))


def _restore(case: _Case) -> Decision:
    state = case.state
    ended = Phase.REVERTED if state.phase is Phase.REVERTING else Phase.ROLLED_BACK
    then = replace(
        state,
        phase=ended,
        act=Act.RESTORED,
        ended_at=case.seen.now,
        failures=0,
        hold="",
        hold_message="",
    )
    told = Happening(
        ended.value,
        state.message,
        detail={"step": state.step, "because": state.because, "overwritten": list(state.foreign)},
        announce=True,
    )
    return case.end(case.plan.interval, Action(Operation.RESTORE), then, (told,))


def _foreign(case: _Case, flag: Flag) -> tuple[str, ...]:
    state = case.state
    if state.desired is None:
        return state.accepted
    desired = flag_from_data(state.desired)
    found = foreign_changes(desired, flag, case.plan.variant)
    less = lowered_below(case.seen.snapshot, desired, case.plan.variant)
    return tuple(dict.fromkeys((*state.accepted, *found, *less)))


def _latch(case: _Case) -> Decision:
    state = case.state
    changed = "; ".join(state.foreign)
    message = f"off, and not restored: somebody changed the flag since ({changed})"
    if state.phase is not Phase.LATCHED:
        case.state = replace(state, phase=Phase.LATCHED, hold="", hold_message=message)
        case.tell("latched", message, changed=list(state.foreign))
    return case.end(case.plan.interval)


def _keep_latched(case: _Case) -> Decision:
    """Watch that what is off stays off until a person decides (rule R7)."""
    state, seen = case.state, case.seen
    if seen.unreachable or seen.flag is None or not _is_exposed(case, seen.flag):
        return case.end(case.plan.interval)
    if state.reasserted >= REASSERTIONS:
        return _called(case)
    then = replace(state, reasserted=state.reasserted + 1)
    told = Happening("drift", "somebody turned it on; it is off again", announce=True)
    return case.end(case.plan.interval, _off(case), then, (told,))


def _called(case: _Case) -> Decision:
    """Say once that somebody turns the flag on as often as it is put off."""
    if case.state.hold != Because.DRIFT_RAISED:
        message = (
            "somebody keeps turning it on; it is not put off again: kill it, or ask for the "
            "rollback again"
        )
        case.state = replace(case.state, hold=Because.DRIFT_RAISED.value, hold_message=message)
        case.tell("drift", message)
    return case.end(case.plan.interval)


def _returned(case: _Case, message: str) -> Decision:
    ended = Phase.REVERTED if case.state.phase is Phase.REVERTING else Phase.ROLLED_BACK
    case.state = replace(
        case.state, phase=ended, hold="", hold_message=message, ended_at=case.seen.now
    )
    case.tell(ended.value, message)
    return case.end(0.0)


def _returning_fails(case: _Case, why: str) -> Decision:
    case.state = failed(case.state, why, case.seen.now)
    if case.state.failures == ALERT_AFTER:
        case.tell("stuck", f"the way back can't reach the backend: {why}")
    return case.end(retry_in(case.state))


def failed(state: State, why: str, now: int) -> State:
    """Return the state after the backend did not do what it was asked."""
    return replace(
        state,
        failures=state.failures + 1,
        failed_at=state.failed_at or now,
        hold=Because.PROVIDER.value,
        hold_message=why,
    )


def retry_in(state: State) -> float:
    """Return the seconds until the next try after a failure: 1, 2, 4 … 30."""
    return float(min(30, 2 ** min(5, max(0, state.failures - 1))))


# Drift, time and metrics


def _drift(case: _Case) -> Decision | None:
    state, seen, plan = case.state, case.seen, case.plan
    if seen.flag is None:
        message = "the flag is gone"
        if state.phase is not Phase.PAUSED or state.because != Because.FLAG_GONE:
            case.state = _paused(state, Because.FLAG_GONE, message)
            case.tell("paused", message)
        return case.end(plan.interval)
    if state.desired is None:
        return None
    desired = flag_from_data(state.desired)
    drift = drift_of(desired, seen.flag, plan.variant)
    if drift is Drift.NONE:
        return None
    because, message = _words(case, drift, seen.flag)
    if _is_told(state, because, message):
        return None
    changed = foreign_changes(desired, seen.flag, plan.variant)
    if drift is Drift.LOWERED:
        # A lower exposure is accepted: it is what is wanted from now on, and nobody raises it but a
        # person who resumes.
        _accept(case, seen.flag)
    case.state = _paused(case.state, because, message)
    case.tell("drift", message, drift=drift.value, changed=list(changed))
    return case.end(plan.interval)


def _words(case: _Case, drift: Drift, flag: Flag) -> tuple[Because, str]:
    """Return why a drift pauses, for programs and for people."""
    if drift is Drift.LOWERED:
        return Because.DRIFT_LOWERED, "somebody lowered it by hand"
    because = Because.DRIFT_RAISED if drift is Drift.RAISED else Because.DRIFT_OTHER
    what = "raised it" if drift is Drift.RAISED else "changed it"
    desired = flag_from_data(case.state.desired or {})
    changed = differences_of(desired, flag)
    return because, f"somebody {what} by hand: {'; '.join(changed)}"


def _is_told(state: State, because: Because, message: str) -> bool:
    """Return whether it is paused for exactly this. What is lower is accepted once it is told."""
    if because is Because.DRIFT_LOWERED or state.phase is not Phase.PAUSED:
        return False
    return state.because == because and state.message == message


def _metrics_lost(case: _Case) -> bool:
    """Keep account of a metric source that is away; return whether that takes the rollout back."""
    state, seen, plan = case.state, case.seen, case.plan
    if seen.findings is not None or not plan.checks:
        if state.metrics_lost_at:
            case.state = replace(state, metrics_lost_at=0)
            case.tell("metrics_found", "the metric source answers again", announce=False)
        return False
    if not state.metrics_lost_at:
        case.state = state = replace(state, metrics_lost_at=seen.now)
        case.tell("metrics_lost", seen.metrics_error)
    if plan.on_metrics_lost is not OnMetricsLost.ROLLBACK or not state.started_at:
        return False
    away = (seen.now - state.metrics_lost_at) / SECOND
    if away < plan.metrics_lost_after:
        return False
    message = f"no metrics for {away:.0f} s: {seen.metrics_error}"
    _begin_return(case, Because.METRICS_LOST, message)
    return True


def _out_of_time(case: _Case) -> bool:
    state = case.state
    if not state.limit_at or case.seen.now < state.limit_at:
        return False
    message = f"it took longer than its {case.plan.max_duration:g} s"
    case.state = _paused(state, Because.TIME_LIMIT, message)
    case.tell("paused", message)
    return True


def _limit(plan: Plan, now: int) -> int:
    return 0 if plan.max_duration is None else now + int(plan.max_duration * SECOND)


# Rising


def _begin_step(case: _Case) -> Decision:
    """Enter the first step, or one that was lowered by hand once a person resumed (rule R3)."""
    if case.plan.checks and case.seen.findings is None:
        return _hold(case, Because.METRICS_LOST, case.seen.metrics_error)
    return _enter(case, case.state)


def _enter(case: _Case, state: State, *told_before: Happening) -> Decision:
    """Put a step's exposure at the provider. Until that is seen, the step before is the step."""
    plan, now = case.plan, case.seen.now
    step = plan.steps[state.step]
    first = not state.started_at
    then = replace(
        state,
        phase=Phase.PROGRESSING,
        entered=True,
        entered_at=now,
        baked=0.0,
        waited=0.0,
        because="",
        message="",
        hold="",
        hold_message="",
        failures=0,
        failed_at=0,
        started_at=state.started_at or now,
        limit_at=state.limit_at or _limit(plan, now),
        act=Act.EXPOSED,
    )
    percent = f"{step.percent:g} %"
    told = Happening(
        "started" if first else "raised",
        f"step {state.step + 1} of {len(plan.steps)}: "
        + ("the preview audience" if step.preview else percent),
        detail={"step": state.step, "percent": step.percent},
        announce=True,
    )
    operation = Operation.START if first else Operation.RAISE
    targets = plan.audience if step.preview else None
    return case.end(
        plan.interval,
        Action(operation, weight=step.weight, targets=targets),
        then,
        (*told_before, told),
    )


def _bake(case: _Case) -> Decision:
    """Let time count for the step, and move on when it is up and the checks say so (rule R5)."""
    plan, seen = case.plan, case.seen
    if seen.findings is None:
        _passed(case, counts=False)
        return _hold(case, Because.METRICS_LOST, seen.metrics_error)
    _passed(case, counts=True)
    state = case.state
    step = plan.steps[state.step]
    left = step.bake - state.baked
    if left > 0 and not case.promoted:
        case.state = _freed(state)
        return case.end(max(0.05, min(plan.interval, left)))
    waiting = _waits_for(plan, state.step, seen.findings, promoted=bool(case.promoted))
    if waiting is None:
        return _advance(case)
    because, message = waiting
    if state.waited < step.max_bake:
        return _hold(case, because, message)
    return _undecided(case, because, message)


def _passed(case: _Case, *, counts: bool) -> None:
    """Add the time since the last look. After a long absence the step bakes anew."""
    state, plan = case.state, case.plan
    elapsed = max(0.0, (case.seen.now - max(state.looked_at, state.entered_at)) / SECOND)
    if elapsed > max(ABSENT_AFTER, 12 * plan.interval):
        case.state = replace(state, baked=0.0, waited=0.0)
        case.fresh = True
        case.tell(
            "held",
            f"nobody looked for {elapsed:.0f} s: the step bakes anew",
            announce=False,
            because=Because.ABSENCE.value,
        )
        return
    # What lies between two looks counts as far as a look would have been made: not the time that
    # another controller needed to notice that the first one was gone.
    good = min(elapsed, 2 * plan.interval) if counts else 0.0
    case.state = replace(state, baked=state.baked + good, waited=state.waited + elapsed)


def _waits_for(
    plan: Plan, step: int, findings: tuple[Finding, ...], *, promoted: bool
) -> tuple[Because, str] | None:
    """Return what keeps a baked step from moving on, or None. No data is never good news (R5)."""
    signals = {one.name for one in plan.signals}
    deciding = [one for one in findings if not one.dry_run]
    for one in deciding:
        if one.verdict is Verdict.NO_DATA:
            return Because.NO_DATA, f"{one.check}: no requests were seen"
    for one in deciding:
        if one.verdict is Verdict.REGRESSED and one.check in signals:
            return Because.SIGNAL, f"{one.check}: {one.message}"
    made = {one.check for one in deciding}
    missing = {one.name for one in plan.checks_at(step) if not one.dry_run} - made
    if missing:
        return Because.NO_DATA, f"not looked at yet: {', '.join(sorted(missing))}"
    for one in deciding:
        if one.verdict is Verdict.UNDECIDED and not promoted:
            return Because.UNDECIDED, f"{one.check}: {one.message}"
    return None


def _undecided(case: _Case, because: Because, message: str) -> Decision:
    plan, state = case.plan, case.state
    if plan.on_undecided is OnUndecided.PROMOTE and because is Because.UNDECIDED:
        words = f"undecided, and the plan goes on then: {message}"
        detail = {"step": state.step}
        return _advance(case, Happening("promoted", words, detail=detail, announce=True))
    if plan.on_undecided is OnUndecided.ROLLBACK and because is not Because.SIGNAL:
        _begin_return(case, because, message)
        return _return(case)
    case.state = _paused(state, because, message)
    case.tell("paused", message, because=because.value)
    return case.end(plan.interval)


def _advance(case: _Case, *told: Happening) -> Decision:
    plan, seen = case.plan, case.seen
    state = _left(case.state, seen.now)
    if state.step + 1 < len(plan.steps):
        return _enter(case, replace(state, step=state.step + 1), *told)
    case.happened += told
    case.state = _ended(state, Phase.COMPLETED, None, "", seen.now)
    case.tell("completed", f"{plan.variant} is at {plan.steps[-1].percent:g} %")
    return case.end(0.0)


# Small changes of a state


def _left(state: State, now: int) -> State:
    """Put the step that is left behind into the history."""
    if not state.entered or any(one.entered_at == state.entered_at for one in state.history):
        return state
    baked = Baked(state.step, state.entered_at, now, state.baked, state.findings)
    return replace(state, history=(*state.history, baked))


def _hold(case: _Case, because: Because, message: str) -> Decision:
    state = case.state
    if state.hold != because:
        case.tell("held", message, announce=False, because=because.value)
    case.state = replace(state, hold=because.value, hold_message=message)
    if because is not Because.PROVIDER:
        case.state = replace(case.state, failures=0, failed_at=0)
    else:
        case.state = failed(case.state, message, case.seen.now)
        if case.state.failures == ALERT_AFTER:
            case.tell("stuck", f"the backend does not answer: {message}")
    return case.end(case.plan.interval)


def _freed(state: State) -> State:
    """Return the state without what held it: the backend answered, and nothing is to be written."""
    return replace(state, hold="", hold_message="", failures=0, failed_at=0)


def _paused(state: State, because: Because, message: str) -> State:
    return replace(
        state,
        phase=Phase.PAUSED,
        because=because.value,
        message=message,
        hold="",
        hold_message="",
    )


def _ended(state: State, phase: Phase, because: Because | None, message: str, now: int) -> State:
    return replace(
        _left(state, now) if phase is Phase.STOPPED else state,
        phase=phase,
        because="" if because is None else because.value,
        message=message,
        hold="",
        hold_message="",
        ended_at=now,
        entered=False,
    )


def _spoken(phase: Phase) -> str:
    return phase.value.replace("_", " ")


def _data(findings: tuple[Finding, ...] | None) -> list[dict[str, Any]]:
    return [one.as_mapping() for one in findings or ()]
