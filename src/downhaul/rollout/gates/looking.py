"""The gates of rollouts for whoever looks: as a controller sees them, as far as is known here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from downhaul.control.operator import Operator
from downhaul.encoding import flag_from_data
from downhaul.flag import Flag
from downhaul.rollout.gates import observing
from downhaul.rollout.gates.checks import Scene
from downhaul.rollout.gates.facts import NOTHING, Facts, door_of
from downhaul.rollout.gates.model import Auto
from downhaul.rollout.gates.standing import checklist_at, gates_at
from downhaul.rollout.plan import Plan
from downhaul.rollout.results import Rollout
from downhaul.rollout.state import State
from downhaul.store.rollouts import RolloutRow, RolloutStore


@dataclass(frozen=True, slots=True)
class Looking:
    """What the store has of the gates of some rollouts."""

    operator: Operator
    store: RolloutStore
    kept: observing.Kept

    def facts(self, row: RolloutRow, plan: Plan, state: State) -> Facts:
        """Return what a rollout's gates are looked at with."""
        if not plan.gates:
            return NOTHING
        looked = {one.auto for one in plan.gates.checklist}
        control = self.operator.control
        kills = control.kills() if control is not None and Auto.KILL_SWITCH in looked else ()
        around = observing.Around(
            kills, lambda: _answers(state), observing.anybody_told(self.operator.alerts)
        )
        return observing.facts_of(self.store, row, plan, _flag(state), self.kept, around)

    def shown(self, rollout: Rollout, row: RolloutRow) -> Rollout:
        """Return a rollout with its gates and its checklist."""
        plan, state, now = rollout.plan, rollout.state, rollout.now
        if not plan.gates:
            return rollout
        facts, door = self.facts(row, plan, state), door_of(state)
        gates = () if door is None else gates_at(plan, state, door, facts, now)
        return replace(
            rollout, gates=gates, checklist=checklist_at(Scene(plan, state, facts, now), door)
        )


def at_rows(operator: Operator, store: RolloutStore, rows: Iterable[RolloutRow]) -> Looking:
    """Read what the store has of the gates of these rollouts."""
    return Looking(operator, store, observing.kept_of(store, rows))


def _answers(state: State) -> bool | None:
    """Return whether the metric source answered a controller last; None before the start."""
    return not state.metrics_lost_at if state.started_at else None


def _flag(state: State) -> Flag | None:
    try:
        return None if state.desired is None else flag_from_data(state.desired)
    except (KeyError, TypeError, ValueError):  # a row that somebody broke by hand
        return None
