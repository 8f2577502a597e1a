"""The way back: the exposure off, then what was, each act seen to have happened (rule R8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from downhaul.backends.edits import names_segment, targeted
from downhaul.encoding import flag_from_data
from downhaul.flag import Flag
from downhaul.rollout.deciding.case import Action, Case, Decision, Happening, Operation
from downhaul.rollout.deciding.moves import (
    ALERT_AFTER,
    accept,
    failed,
    left_behind,
    retry_in,
)
from downhaul.rollout.deciding.overdue import remind
from downhaul.rollout.drift import (
    Drift,
    drift_of,
    exposure_of,
    foreign_changes,
    lowered_below,
    with_late,
)
from downhaul.rollout.plan import Strategy
from downhaul.rollout.state import Act, Because, Phase, State

REASSERTIONS: Final = 3
"""How often a flag that somebody turned on again is put off, before people are called (R7)."""


def begin_return(
    case: Case, because: Because, message: str, *, actor: str = "", **detail: Any
) -> None:
    """Begin the way back, for this reason."""
    state = case.state
    if state.phase is Phase.LATCHED:  # the exposure is off already; only the restore is left
        # Only what had completed has an end while it is live: it was on its way to be reverted.
        phase = Phase.REVERTING if state.ended_at else Phase.ROLLING_BACK
        case.state = replace(state, phase=phase, failures=0, failed_at=0, told_at=0, reasserted=0)
    else:
        _accept_less(case)
        case.state = replace(
            left_behind(case.state, case.seen.now),
            phase=Phase.ROLLING_BACK,
            because=because.value,
            message=message,
            act=Act.EXPOSED,
            hold="",
            hold_message="",
            failures=0,
            failed_at=0,
            told_at=0,
        )
    case.tell("rolling_back", message, actor=actor, because=because.value, **detail)


def go_back(case: Case) -> Decision:
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
    waits = bool(case.state.foreign) and not case.state.overwrite
    if (waits or case.state.failures) and _named(case, seen.flag):
        return _take_names_off(case, seen.flag)
    return _latch(case) if waits else _restore(case)


def is_off(case: Case) -> bool:
    """Return whether the exposure was taken off, and is seen to be off now."""
    seen = case.seen
    if seen.unreachable or case.state.act is not Act.OFF:
        return False
    return seen.flag is None or not _serves_more(case, seen.flag)


def _accept_less(case: Case) -> None:
    """Take in what somebody lowered since the last look: nothing of the way back was sent yet.

    Later it can't be told from what the way back takes off, and a restore would give it back.
    """
    seen, desired = case.seen, case.state.desired
    if seen.unreachable or seen.put_off or seen.flag is None or desired is None:
        return
    if drift_of(flag_from_data(desired), seen.flag, case.plan.variant) is Drift.LOWERED:
        accept(case, seen.flag)


def _is_exposed(case: Case, flag: Flag) -> bool:
    if _is_lowered_back(case):
        return exposure_of(flag, case.plan.variant) > exposure_of(
            case.seen.snapshot, case.plan.variant
        )
    return flag.on


def _serves_more(case: Case, flag: Flag) -> bool:
    """Return whether anybody gets what the rollout let out, by percentage or by name."""
    return _is_exposed(case, flag) or bool(_named(case, flag))


def _named(case: Case, flag: Flag) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the targets and the segments that the rollout named and that are served still.

    Only a flag that is not switched off on the way back goes on serving them.
    """
    plan, before = case.plan, case.seen.snapshot
    if not (_is_lowered_back(case) and flag.on):
        return None
    targets = (targeted(flag, plan.variant) - targeted(before, plan.variant)) & {*plan.targets}
    segments = [
        one
        for one in plan.segments
        if names_segment(flag, plan.variant, one) and not names_segment(before, plan.variant, one)
    ]
    return (tuple(sorted(targets)), tuple(segments)) if targets or segments else None


def _is_lowered_back(case: Case) -> bool:
    """Return whether the first act is a lower weight: blue is armed, and takes over (rule R9)."""
    return case.plan.strategy is Strategy.BLUE_GREEN and case.seen.snapshot.on


def _take_off(case: Case, flag: Flag) -> Decision:
    state = case.state
    if state.act is Act.OFF:
        if state.reasserted >= REASSERTIONS:
            return _called(case)
        state = replace(state, reasserted=state.reasserted + 1)
        case.tell("drift", "somebody turned it on again during the way back; it goes off again")
    case.state = state = replace(state, act=Act.EXPOSED, foreign=_foreign(case, flag))
    told = exposure_off(state)
    then = replace(state, act=Act.OFF, failures=0, failed_at=0, told_at=0, hold="", hold_message="")
    return case.end(case.plan.interval, _off(case), then, (told,))


def exposure_off(state: State) -> Happening:
    """Return that it is off; people hear of it who heard that it was not."""
    detail = {"step": state.step}
    return Happening("exposure_off", state.message, detail=detail, announce=state.told_at > 0)


def _off(case: Case) -> Action:
    if not _is_lowered_back(case):
        return Action(Operation.OFF)
    before = exposure_of(case.seen.snapshot, case.plan.variant)
    return Action(Operation.LOWER, weight=int(before))


def _off_with_names(case: Case, flag: Flag) -> Action:
    action, named = _off(case), _named(case, flag)
    return action if named is None else replace(action, leaving=named[0], obsolete=named[1])


def _take_names_off(case: Case, flag: Flag) -> Decision:
    """Take the variant from who was named, where the restore that does it has to wait (R8, R9)."""
    state = case.state
    told = Happening("exposure_off", "nobody gets it by name", detail={"step": state.step})
    then = replace(state, failures=0, hold="", hold_message="")
    return case.end(case.plan.interval, _off_with_names(case, flag), then, (told,))


def _restore(case: Case) -> Decision:
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


def _foreign(case: Case, flag: Flag) -> tuple[str, ...]:
    state = case.state
    if state.desired is None:
        return state.accepted
    # What a write of ours changed that came late is nobody else's work.
    desired = with_late(flag_from_data(state.desired), case.seen.missing, flag)
    found = foreign_changes(desired, flag, case.plan.variant)
    less = lowered_below(case.seen.snapshot, desired, case.plan.variant)
    return tuple(dict.fromkeys((*state.accepted, *found, *less)))


def _latch(case: Case) -> Decision:
    state = case.state
    changed = "; ".join(state.foreign)
    message = f"off, and not restored: somebody changed the flag since ({changed})"
    if state.phase is not Phase.LATCHED:
        case.state = replace(state, phase=Phase.LATCHED, hold="", hold_message=message)
        case.tell("latched", message, changed=list(state.foreign))
    return case.end(case.plan.interval)


def keep_latched(case: Case) -> Decision:
    """Watch that what is off stays off until a person decides (rule R7)."""
    state, seen = case.state, case.seen
    if seen.unreachable or seen.flag is None or not _serves_more(case, seen.flag):
        return case.end(case.plan.interval)
    if state.reasserted >= REASSERTIONS:
        return _called(case)
    then = replace(state, reasserted=state.reasserted + 1)
    told = Happening("drift", "somebody turned it on; it is off again", announce=True)
    return case.end(case.plan.interval, _off_with_names(case, seen.flag), then, (told,))


def _called(case: Case) -> Decision:
    """Say once that somebody turns the flag on as often as it is put off."""
    if case.state.hold != Because.DRIFT_RAISED:
        message = (
            "somebody keeps turning it on; it is not put off again: kill it, or ask for the "
            "rollback again"
        )
        case.state = replace(case.state, hold=Because.DRIFT_RAISED.value, hold_message=message)
        case.tell("drift", message)
    return case.end(case.plan.interval)


def _returned(case: Case, message: str) -> Decision:
    ended = Phase.REVERTED if case.state.phase is Phase.REVERTING else Phase.ROLLED_BACK
    case.state = replace(
        case.state, phase=ended, hold="", hold_message=message, ended_at=case.seen.now
    )
    case.tell(ended.value, message)
    return case.end(0.0)


def _returning_fails(case: Case, why: str) -> Decision:
    case.state = failed(case.state, why, case.seen.now)
    if case.state.failures == ALERT_AFTER:
        case.tell("stuck", f"the way back can't reach the backend: {why}")
    case.state, told = remind(case.plan, case.state, why, case.seen.now)
    case.happened += told
    return case.end(retry_in(case.state))
