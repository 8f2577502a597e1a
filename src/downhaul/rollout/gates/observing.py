"""Gathering what gates are looked at with: out of rows for a controller, and for whoever looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from downhaul.control.alerts import Alert, LogAlert
from downhaul.errors import DownhaulError
from downhaul.flag import Flag
from downhaul.overlay import KillRecord, ScopeKind
from downhaul.rollout.gates.facts import NOTHING, Answer, Door, Facts, SignKind, Signoff
from downhaul.rollout.gates.model import Auto
from downhaul.rollout.gates.times import microseconds_of
from downhaul.rollout.plan import Plan, digest_of
from downhaul.store.gates import CallRow, SignoffRow
from downhaul.store.rollouts import RolloutRow, RolloutStore

_GATED: Final = 2  # no plan of an earlier schema has gates
_KINDS: Final = frozenset(one.value for one in SignKind)  # a later version may have others


@dataclass(frozen=True, slots=True)
class Kept:
    """What the store has of the gates of some rollouts, or why it could not be read."""

    signoffs: Mapping[str, Sequence[SignoffRow]] = field(default_factory=dict)
    calls: Mapping[str, Sequence[CallRow]] = field(default_factory=dict)
    error: str = ""


def kept_of(store: RolloutStore, rows: Iterable[RolloutRow]) -> Kept:
    """Read what the store has; nothing is asked for plans without gates. Raises nothing."""
    ids = [one.id for one in rows if _has_gates(one.plan)]
    if not ids:
        return Kept()
    try:
        return Kept(store.gates.signoffs(ids), store.gates.calls(ids))
    except DownhaulError as error:
        return Kept(error=f"what was signed can't be read: {error.message}")


def need_tables(store: RolloutStore) -> None:
    """See that there are tables to sign in. Raises SchemaMissing."""
    store.gates.signoffs(())
    store.gates.calls(())


def _has_gates(plan: Mapping[str, Any]) -> bool:
    schema = plan.get("schema")
    return isinstance(schema, int) and schema >= _GATED


@dataclass(frozen=True, slots=True)
class Around:
    """What is known beside the rows: the kills, whether metrics answer, whether people are told."""

    kills: Sequence[KillRecord] = ()
    metrics: Callable[[], bool | None] = lambda: None
    alerts: bool | None = None


def facts_of(
    store: RolloutStore, row: RolloutRow, plan: Plan, flag: Flag | None, kept: Kept, around: Around
) -> Facts:
    """Return what a plan's gates are looked at with. What was signed for another plan is left out.

    Only what some item looks at is asked for. Raises nothing: what can't be read closes the gates.
    """
    if not plan.gates:
        return NOTHING
    if kept.error:
        return Facts(error=kept.error)
    looked = {one.auto for one in plan.gates.checklist}
    try:
        rehearsed = _rehearsed_at(store, row.flag) if Auto.REHEARSAL in looked else 0
        metrics = around.metrics() if Auto.METRICS in looked else None
    except DownhaulError as error:
        return Facts(error=error.message)
    # Of the plan as it is kept: what a later version adds to a plan must void no signature.
    digest = digest_of(row.plan)
    return Facts(
        author=row.actor,
        signoffs=tuple(
            _signoff(one)
            for one in kept.signoffs.get(row.id, ())
            if one.digest == digest and one.kind in _KINDS
        ),
        answers=tuple(_answer(one) for one in kept.calls.get(row.id, ()) if one.digest == digest),
        rehearsed_at=rehearsed,
        killed_at=_killed_at(around.kills, row.flag, flag),
        metrics=metrics,
        alerts=around.alerts,
    )


def anybody_told(alerts: Iterable[Alert]) -> bool:
    """Return whether there is a sink that people read, beside the log."""
    return any(not isinstance(one, LogAlert) for one in alerts)


def _rehearsed_at(store: RolloutStore, flag: str) -> int:
    for one in store.rehearsals(flag):
        if (one.after or {}).get("held"):
            return microseconds_of(datetime.fromisoformat(one.at))
    return 0


def _killed_at(kills: Sequence[KillRecord], flag: str, kept: Flag | None) -> int:
    """Return when the kill switch of a flag was last used: its own, a tag's, or everything's.

    A drill counts: it takes the same way to every process, and harms nobody.
    """
    tags = () if kept is None else kept.tags
    covering = [
        one.sequence
        for one in kills
        if (one.scope.kind is ScopeKind.FLAG and one.scope.name == flag)
        or (one.scope.kind is ScopeKind.TAG and one.scope.name in tags)
        or one.scope.kind is ScopeKind.EVERYTHING
        or one.scope.is_drill
    ]
    return max(covering, default=0)


def _signoff(row: SignoffRow) -> Signoff:
    return Signoff(
        kind=SignKind(row.kind),
        name=row.name,
        door=Door(row.step, row.since),
        given=row.given,
        actor=row.actor,
        under=row.under,
        reason=row.reason,
        at=row.at,
        marked=row.marked,
    )


def _answer(row: CallRow) -> Answer:
    return Answer(
        hook=row.hook,
        door=Door(row.step, row.since),
        confirmed=row.confirmed,
        attempts=row.attempts,
        outcome=row.outcome,
        at=row.settled_at or 0,
    )
