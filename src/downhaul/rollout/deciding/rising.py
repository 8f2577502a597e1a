"""How exposure rises: a step is entered, bakes, and is left for the next one."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from downhaul.analysis.model import Finding, Verdict
from downhaul.backends.edits import names_segment
from downhaul.flag import WHOLE, Flag
from downhaul.rollout.deciding.case import SECOND, Action, Case, Decision, Happening, Operation
from downhaul.rollout.deciding.gating import held_at_gate
from downhaul.rollout.deciding.moves import (
    ended_as,
    freed,
    hold,
    left_behind,
    paused,
    time_limit,
)
from downhaul.rollout.deciding.wayback import begin_return, go_back
from downhaul.rollout.plan import OnUndecided, Plan
from downhaul.rollout.spoken import step_text
from downhaul.rollout.state import GATED, Act, Because, Phase, State

ABSENT_AFTER: Final = 60.0
"""Seconds without a look after which a step bakes anew, or twelve looks if those take longer."""


def begin_step(case: Case) -> Decision:
    """Enter the first step, or one that was lowered by hand once a person resumed (rule R3)."""
    if case.plan.checks and case.seen.findings is None:
        return hold(case, Because.METRICS_LOST, case.seen.metrics_error)
    return _enter(case, case.state)


def _enter(case: Case, state: State, *told_before: Happening) -> Decision:
    """Put a step's exposure at the provider, if every gate is open.

    Until it is seen there, the step before is the step.
    """
    if (held := held_at_gate(case, state.step)) is not None:
        return held
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
        promoted=False,
        because="",
        message="",
        hold="",
        hold_message="",
        failures=0,
        failed_at=0,
        started_at=state.started_at or now,
        limit_at=state.limit_at or time_limit(plan, now),
        act=Act.EXPOSED,
    )
    told = Happening(
        "started" if first else "raised",
        f"step {state.step + 1} of {len(plan.steps)}: {step_text(plan, state.step)}",
        detail={"step": state.step, "percent": step.percent},
        announce=True,
    )
    action = exposing(plan, state.step, case.seen.snapshot, first=first)
    return case.end(plan.interval, action, then, (*told_before, told))


def exposing(plan: Plan, number: int, before: Flag, *, first: bool) -> Action:
    """Return the write that puts a step's exposure at the provider; ``before`` is the snapshot.

    Each step names its own users and segments, and leaves those of earlier steps as they are: whom
    a person took out by hand, and then resumed, stays out. Rules for segments that were there
    before the rollout stay, too.
    """
    step = plan.steps[number]
    obsolete: tuple[str, ...] = ()
    if step.weight == WHOLE:
        obsolete = tuple(
            one for one in plan.segments if not names_segment(before, plan.variant, one)
        )
    return Action(
        Operation.START if first else Operation.RAISE,
        weight=step.weight,
        targets=plan.targets_at(number) or None,
        segments=step.segments if plan.segments else None,
        obsolete=obsolete,
    )


def bake_on(case: Case) -> Decision:
    """Let time count for the step, and move on when it is up and the checks say so (rule R5)."""
    plan, seen = case.plan, case.seen
    if seen.findings is None:
        _passed(case, counts=False)
        return hold(case, Because.METRICS_LOST, seen.metrics_error)
    _passed(case, counts=True)
    state = case.state
    if plan.ends_holdback(state.step):
        return _advance(case)  # its bake is over already
    step = plan.steps[state.step]
    promoted = bool(case.promoted) or state.promoted
    left = step.bake - state.baked
    if left > 0 and not promoted:
        case.state = freed(state)
        return case.end(max(0.05, min(plan.interval, left)))
    waiting = _waits_for(plan, state.step, seen.findings, promoted=promoted)
    if waiting is None:
        return _advance(case)
    because, message = waiting
    if state.waited < step.max_bake:
        return hold(case, because, message)
    return _undecided(case, because, message)


def _passed(case: Case, *, counts: bool) -> None:
    """Add the time since the last look. After a long absence the step bakes anew."""
    state, plan = case.state, case.plan
    elapsed = max(0.0, (case.seen.now - max(state.looked_at, state.entered_at)) / SECOND)
    if elapsed > max(ABSENT_AFTER, 12 * plan.interval):
        case.state = replace(state, baked=0.0, waited=0.0, promoted=False)
        case.fresh = True
        case.tell(
            "held",
            f"nobody looked for {elapsed:.0f} s: the step bakes anew",
            announce=False,
            because=Because.ABSENCE.value,
        )
        return
    if state.hold in GATED:
        return  # the bake is over: what a gate takes is no time of the step's
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


def _undecided(case: Case, because: Because, message: str) -> Decision:
    plan, state = case.plan, case.state
    if plan.on_undecided is OnUndecided.PROMOTE and because is Because.UNDECIDED:
        words = f"undecided, and the plan goes on then: {message}"
        detail = {"step": state.step}
        return _advance(case, Happening("promoted", words, detail=detail, announce=True))
    if plan.on_undecided is OnUndecided.ROLLBACK and because is not Because.SIGNAL:
        begin_return(case, because, message)
        return go_back(case)
    case.state = paused(state, because, message)
    case.tell("paused", message, because=because.value)
    return case.end(plan.interval)


def _advance(case: Case, *told: Happening) -> Decision:
    plan, seen = case.plan, case.seen
    state = left_behind(case.state, seen.now)
    if state.step + 1 < len(plan.steps):
        return _enter(case, replace(state, step=state.step + 1), *told)
    if (held := held_at_gate(case, len(plan.steps))) is not None:
        return held
    case.happened += told
    case.state = ended_as(state, Phase.COMPLETED, None, "", seen.now)
    case.tell("completed", f"{plan.variant} is at {plan.steps[-1].percent:g} %")
    return case.end(0.0)
