"""The last condition of a raise: every gate before it is open."""

from __future__ import annotations

from dataclasses import replace

from downhaul.rollout.deciding.case import SECOND, Call, Case, Decision
from downhaul.rollout.deciding.moves import hold
from downhaul.rollout.gates.facts import Door
from downhaul.rollout.gates.standing import PEOPLE, closed, gates_at
from downhaul.rollout.state import Because


def held_at_gate(case: Case, step: int) -> Decision | None:
    """Hold what is about to enter a step, or with the number of steps to end, before a closed gate.

    Returns None where all are open. Nothing but what raises or completes asks this: guardrails were
    looked at before, and a way back never comes by.
    """
    if not case.plan.gates:
        return None
    state, now = case.state, case.seen.now
    door = Door(step, state.entered_at)
    gates = closed(gates_at(case.plan, state, door, case.seen.gates, now))
    if not gates:
        return None
    case.calls += [Call(one.name, door) for one in gates if one.ask]
    if case.promoted:
        case.state = replace(state, promoted=True)  # its checks need not be decided any more
    first = gates[0]
    times = [one.until for one in gates if one.until]
    opens = (min(times) - now) / SECOND if times else case.plan.interval
    return hold(
        case,
        Because(first.kind.value),
        "; ".join(one.message for one in gates),
        announce=first.kind in PEOPLE,
        due_in=max(0.05, min(case.plan.interval, opens)),
    )
