"""What happens next to a rollout: one pure function of plan, state and what was seen (rule R2).

Nothing here reads a clock, a flag or a row. The same plan, state and observation give the same
decision, so it can be tested over the whole table, replayed from history, and used for a plan.

The order is the rules': first what a person asked, then kills (K5), then guardrails in every phase
that is not final (R4), then drift (R7), and only then whatever may raise the exposure.
"""

from __future__ import annotations

from dataclasses import replace

from downhaul.rollout.deciding.asked import obey
from downhaul.rollout.deciding.case import Case, Decision, Seen
from downhaul.rollout.deciding.moves import freed, hold
from downhaul.rollout.deciding.rising import bake_on, begin_step
from downhaul.rollout.deciding.watching import (
    are_metrics_lost,
    as_data,
    is_out_of_time,
    look_for_drift,
    regression,
    stop_killed,
)
from downhaul.rollout.deciding.wayback import begin_return, go_back, keep_latched
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import RETURNING, Because, Phase, State


def decide(plan: Plan, state: State, seen: Seen) -> Decision:  # noqa: C901, PLR0911  (the rules, in their order)
    """Return what becomes of a rollout. See the module for the order of its rules."""
    case = Case(plan, state, seen)
    obey(case)
    if not case.state.live:
        return case.end(0.0)
    if case.state.phase in RETURNING:
        return go_back(case)
    if seen.kill and case.state.phase is not Phase.LATCHED:
        return stop_killed(case)
    if seen.findings is not None:
        case.state = replace(case.state, findings=seen.findings)
    if regressed := regression(plan, case.state, seen):
        begin_return(case, Because.REGRESSED, regressed, findings=as_data(seen.findings))
        return go_back(case)
    if case.state.phase is Phase.LATCHED:
        return keep_latched(case)
    if seen.unreachable:
        return hold(case, Because.PROVIDER, seen.unreachable)
    if (drifted := look_for_drift(case)) is not None:
        return drifted
    if are_metrics_lost(case):
        return go_back(case)
    if case.state.phase is Phase.PAUSED:
        case.state = freed(case.state)
        return case.end(plan.interval)
    if is_out_of_time(case):
        return case.end(plan.interval)
    return bake_on(case) if case.state.entered else begin_step(case)
