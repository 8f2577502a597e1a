"""What is looked at before anything may rise: kills, guardrails, drift, metrics and time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from downhaul.analysis.model import Finding, Verdict
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.flag import Flag
from downhaul.rollout.deciding.case import SECOND, Case, Decision, Seen
from downhaul.rollout.deciding.moves import accept, ended_as, paused
from downhaul.rollout.deciding.wayback import begin_return
from downhaul.rollout.drift import (
    Drift,
    differences_of,
    drift_of,
    foreign_changes,
    with_late,
)
from downhaul.rollout.plan import OnMetricsLost, Plan
from downhaul.rollout.state import Because, Phase, State


def stop_killed(case: Case) -> Decision:
    """End the rollout of a flag that was killed; the kill keeps it off (rule K5)."""
    case.state = ended_as(
        case.state, Phase.STOPPED, Because.KILLED, f"killed: {case.seen.kill}", case.seen.now
    )
    case.tell("stopped", case.state.message)
    return case.end(0.0)


def regression(plan: Plan, state: State, seen: Seen) -> str:
    """Return what a guardrail found, where that takes the rollout back."""
    if state.phase not in (Phase.PROGRESSING, Phase.PAUSED) or not state.started_at:
        return ""
    names = {one.name for one in plan.guardrails if not one.dry_run}
    for one in seen.findings or ():
        if one.verdict is Verdict.REGRESSED and one.check in names and not one.dry_run:
            return f"{one.check}: {one.message}"
    return ""


def look_for_drift(case: Case) -> Decision | None:
    """Compare the flag with what is wanted; return the decision where that ends it (R7)."""
    state, seen, plan = case.state, case.seen, case.plan
    if seen.flag is None:
        message = "the flag is gone"
        if state.phase is not Phase.PAUSED or state.because != Because.FLAG_GONE:
            case.state = paused(state, Because.FLAG_GONE, message)
            case.tell("paused", message)
        return case.end(plan.interval)
    if state.desired is None:
        return None
    desired = flag_from_data(state.desired)
    drift = drift_of(desired, seen.flag, plan.variant)
    if drift is Drift.NONE:
        return None
    if not seen.flag.on and _is_ours(case, seen.flag):
        case.state = replace(state, desired=flag_to_data(seen.flag))  # and it serves nobody
        return None
    because, message = drift_words(case, drift, seen.flag)
    if is_told(state, because, message):
        return None
    changed = foreign_changes(desired, seen.flag, plan.variant)
    if drift is Drift.LOWERED:
        # A lower exposure is accepted: it is what is wanted from now on, and nobody raises it but a
        # person who resumes.
        accept(case, seen.flag)
    case.state = paused(case.state, because, message)
    case.tell("drift", message, drift=drift.value, changed=list(changed))
    return case.end(plan.interval)


def drift_words(case: Case, drift: Drift, flag: Flag) -> tuple[Because, str]:
    """Return why a drift pauses, for programs and for people."""
    late = _is_ours(case, flag)
    who = "a late write of this rollout" if late else "somebody"
    how = "" if late else " by hand"
    if drift is Drift.LOWERED:
        return Because.DRIFT_LOWERED, f"{who} lowered it{how}"
    because = Because.DRIFT_RAISED if drift is Drift.RAISED else Because.DRIFT_OTHER
    what = "raised it" if drift is Drift.RAISED else "changed it"
    desired = flag_from_data(case.state.desired or {})
    changed = differences_of(desired, flag)
    return because, f"{who} {what}{how}: {'; '.join(changed)}"


def _is_ours(case: Case, flag: Flag) -> bool:
    """Return whether all that differs was written by this rollout, and arrived late."""
    if case.state.desired is None or not case.seen.missing:
        return False
    desired = with_late(flag_from_data(case.state.desired), case.seen.missing, flag)
    return drift_of(desired, flag, case.plan.variant) is Drift.NONE


def is_told(state: State, because: Because, message: str) -> bool:
    """Return whether it is paused for exactly this. What is lower is accepted once it is told."""
    if because is Because.DRIFT_LOWERED or state.phase is not Phase.PAUSED:
        return False
    return state.because == because and state.message == message


def are_metrics_lost(case: Case) -> bool:
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
    begin_return(case, Because.METRICS_LOST, message)
    return True


def is_out_of_time(case: Case) -> bool:
    """Pause a rollout that took longer than its plan lets it; return whether."""
    state = case.state
    if not state.limit_at or case.seen.now < state.limit_at:
        return False
    most = case.plan.max_duration
    message = f"it took longer than {'its plan lets it' if most is None else f'its {most:g} s'}"
    case.state = paused(state, Because.TIME_LIMIT, message)
    case.tell("paused", message)
    return True


def as_data(findings: tuple[Finding, ...] | None) -> list[dict[str, Any]]:
    """Return findings as JSON data."""
    return [one.as_mapping() for one in findings or ()]
