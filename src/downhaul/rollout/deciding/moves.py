"""Small changes of a rollout's state that several parts of a decision make."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.flag import Flag
from downhaul.rollout.deciding.case import SECOND, Case, Decision
from downhaul.rollout.drift import foreign_changes, with_late
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import Baked, Because, Phase, State

ALERT_AFTER: Final = 3
"""Failures in a row after which people hear that the backend stands in the way."""


def accept(case: Case, flag: Flag | None) -> None:
    """Take the flag as it is for what is wanted, and remember what somebody else changed in it."""
    if flag is None or case.state.desired is None:
        return
    desired = with_late(flag_from_data(case.state.desired), case.seen.missing, flag)
    found = foreign_changes(desired, flag, case.plan.variant)
    case.state = replace(
        case.state,
        desired=flag_to_data(flag),
        accepted=(*case.state.accepted, *(one for one in found if one not in case.state.accepted)),
    )


def resumed(state: State, plan: Plan, now: int) -> State:
    """Return the state after a pause. The step bakes anew."""
    begun = state.started_at > 0
    return replace(
        state,
        phase=Phase.PROGRESSING if begun else Phase.STARTING,
        baked=0.0,
        waited=0.0,
        promoted=False,
        because="",
        message="",
        hold="",
        hold_message="",
        limit_at=time_limit(plan, now) if state.because == Because.TIME_LIMIT else state.limit_at,
    )


def time_limit(plan: Plan, now: int) -> int:
    """Return when the plan's ``max_duration`` is over, 0 for never."""
    return 0 if plan.max_duration is None else now + int(plan.max_duration * SECOND)


def left_behind(state: State, now: int) -> State:
    """Put the step that is left behind into the history."""
    if not state.entered or any(one.entered_at == state.entered_at for one in state.history):
        return state
    baked = Baked(state.step, state.entered_at, now, state.baked, state.findings)
    return replace(state, history=(*state.history, baked))


def hold(
    case: Case,
    because: Because,
    message: str,
    *,
    announce: bool = False,
    due_in: float | None = None,
) -> Decision:
    """Stay where it is, and say why. A backend that does not answer counts as a failure."""
    state = case.state
    if state.hold != because:
        case.tell("held", message, announce=announce, because=because.value)
    case.state = replace(state, hold=because.value, hold_message=message)
    if because is not Because.PROVIDER:
        case.state = replace(case.state, failures=0, failed_at=0)
    else:
        case.state = failed(case.state, message, case.seen.now)
        if case.state.failures == ALERT_AFTER:
            case.tell("stuck", f"the backend does not answer: {message}")
    return case.end(case.plan.interval if due_in is None else due_in)


def freed(state: State) -> State:
    """Return the state without what held it: the backend answered, and nothing is to be written."""
    return replace(state, hold="", hold_message="", failures=0, failed_at=0)


def paused(state: State, because: Because, message: str) -> State:
    """Return the state as paused."""
    return replace(
        state,
        phase=Phase.PAUSED,
        because=because.value,
        message=message,
        hold="",
        hold_message="",
    )


def ended_as(state: State, phase: Phase, because: Because | None, message: str, now: int) -> State:
    """Return the state as ended in this phase."""
    return replace(
        left_behind(state, now) if phase is Phase.STOPPED else state,
        phase=phase,
        because="" if because is None else because.value,
        message=message,
        hold="",
        hold_message="",
        ended_at=now,
        entered=False,
    )


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


def spoken(phase: Phase) -> str:
    """Return the phase as people say it."""
    return phase.value.replace("_", " ")
