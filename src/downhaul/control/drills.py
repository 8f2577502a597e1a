"""Exercising the kill switch before it is needed: a real kill, its receipts, and its end.

A drill kills a switch of its own, ``switch:drill:NAME``, that guards no code. The store, the way to
each process and each process's obedience are the real ones, and nobody's feature goes down. A
``real`` drill kills a flag, and gives it back as it was: for an environment where that may be.
"""

from __future__ import annotations

import dataclasses
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from downhaul.control import receipts
from downhaul.control.alerts import AlertEvent
from downhaul.control.desk import Desk
from downhaul.control.policy import need_a_name
from downhaul.control.receipts import Receipts
from downhaul.errors import DownhaulError, Refused
from downhaul.flag import Flag
from downhaul.overlay import DRILL, KillRecord, KillRegister, Scope, ScopeKind
from downhaul.provider import Change, ControlStore, utc_now

if TYPE_CHECKING:
    from downhaul.store.drills import DrillRow  # SQLAlchemy stands behind it

PREFIX: Final = DRILL
"""What the names of drills' switches begin with. No code should be guarded by such a one."""

DEFAULT: Final = "fleet"
"""The name of a drill that was given none."""

OLD: Final = 90
"""Days after which a kill switch should be exercised again."""

_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class DrillResult:
    """A drill. ``killed`` is who obeyed, ``lifted`` who heard that it was over, if it is."""

    scope: Scope
    environment: str
    actor: str
    reason: str
    killed: Receipts
    lifted: Receipts | None
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there was somebody to obey, and everybody did, and heard of the end."""
        whole = self.lifted is not None and not self.lifted.behind
        obeyed = self.killed.obeyed == self.killed.known > 0
        return obeyed and whole

    def as_mapping(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "scope": str(self.scope),
            "environment": self.environment,
            "actor": self.actor,
            "reason": self.reason,
            "killed": self.killed.as_mapping(),
            "lifted": None if self.lifted is None else self.lifted.as_mapping(),
            "warnings": list(self.warnings),
        }


def drill(
    desk: Desk, name: str, reason: str, *, real: bool = False, wait: float = 5.0
) -> DrillResult:
    """Kill, wait up to ``wait`` seconds for receipts, give back, and record how long it took.

    ``name`` is the drill's; of a ``real`` one the flag's key. Raises Refused without a control
    store that keeps receipts, and for a flag that is killed or rolled out right now; FlagNotFound;
    Unreachable. Whatever happens after the kill, it is taken back.
    """
    need_a_name(desk, "drill")
    store: Any = desk.store("drill")
    if not all(hasattr(store, one) for one in ("processes", "drills", "lift_kill")):
        raise Refused(
            "this control store keeps no receipts, so a drill would show nothing",
            hint="set [control] url to sqlite:/// or postgresql://",
        )
    scope = Scope(ScopeKind.FLAG, name) if real else Scope(ScopeKind.SWITCH, f"{PREFIX}{name}")
    if real:
        _need_peace(store, desk.flag(name))
    mark = f"drill {uuid.uuid4().hex[:8]}"
    change = desk.change(f"{mark}: {reason}" if reason.strip() else mark)
    record: KillRecord = store.record_kill(scope, change, killed=True)
    if real and record.reason != change.reason:
        # Somebody was quicker, and means it.
        raise Refused(
            f'"{name}" was killed meanwhile by {record.actor}: "{record.reason}"',
            hint="it stays killed; drill another time",
            flag=name,
        )
    if real:
        _announce(desk, "killed", record, change)
    over: KillRecord | None = None
    try:
        killed = receipts.look(desk, record, wait) or Receipts()
    finally:
        lifting = desk.change(f"{mark} is over")
        over = store.lift_kill(record, lifting)
    result = DrillResult(scope, desk.environment, desk.actor, change.reason, killed, None)
    if over is None:
        warning = f'"{scope}" was killed by somebody else during the drill, and stays killed'
        result = dataclasses.replace(result, warnings=(warning,))
    else:
        if real:
            _announce(desk, "revived", over, lifting)
        result = dataclasses.replace(result, lifted=receipts.look(desk, over, wait))
    return _recorded(store, result, change.id, desk)


def last(desk: Desk) -> DrillRow | None:
    """Return the last drill of this environment; None where there was none, or none can be seen."""
    kept = getattr(desk.control, "drills", None)
    if kept is None:
        return None
    try:
        row: DrillRow | None = kept.last()
    except DownhaulError:
        return None
    return row


def words(row: DrillRow | None) -> str:
    """Return when the kill switch was last exercised, and how that went."""
    if row is None:
        return "never exercised"
    days = int(row.age // _DAY)
    when = "today" if not days else "1 day ago" if days == 1 else f"{days} days ago"
    many = "1 process" if row.processes == 1 else f"{row.processes} processes"
    took = "" if row.max_ms is None else f"{row.max_ms / 1000:.2g} s, "
    return f"last exercised {when} ({took}{row.confirmed} of {many})"


def is_old(row: DrillRow | None) -> bool:
    """Return whether it is time for a drill: none that reached anybody was for long."""
    return row is None or not row.confirmed or row.age > OLD * _DAY


def data(row: DrillRow | None) -> dict[str, Any] | None:
    """Return a drill as JSON data. ``days_ago`` is a whole number."""
    if row is None:
        return None
    return {
        "scope": row.scope,
        "actor": row.actor,
        "reason": row.reason,
        "days_ago": int(row.age // _DAY),
        "processes": row.processes,
        "confirmed": row.confirmed,
        "lifted": row.lifted,
        "p50_ms": row.p50_ms,
        "max_ms": row.max_ms,
    }


def _need_peace(store: ControlStore, flag: Flag) -> None:
    """Raise Refused where a drill would take part in something that is going on."""
    kill = KillRegister().hear(store.kills()).overlay().kill_of(flag.key, flag.tags)
    if kill is not None:
        raise Refused(
            f'"{flag.key}" is killed ({kill.scope}) by {kill.actor}: "{kill.reason}"',
            hint="a drill gives back what it took, and this is not its own",
            flag=flag.key,
        )
    rollouts: Any = getattr(store, "rollouts", None)
    live = None if rollouts is None else rollouts.live_of(flag.key)
    if live is not None:
        raise Refused(
            f'"{flag.key}" has a live rollout, {live.id}, which a kill would end',
            hint="drill another flag, or without --real: that touches no flag",
            flag=flag.key,
        )


def _announce(desk: Desk, what: str, record: KillRecord, change: Change) -> None:
    """Tell people that a flag is gone, and why it is no emergency (rule K6).

    An outbox holds the same event, under the id of the change.
    """
    desk.alerts.send(
        AlertEvent(
            what=what,
            subject=str(record.scope),
            actor=desk.actor,
            reason=record.reason,
            environment=record.environment,
            at=record.at or utc_now(),
            after=record.as_mapping(),
            id=change.id,
        )
    )


def _recorded(store: Any, result: DrillResult, change: str, desk: Desk) -> DrillResult:
    from downhaul.store.drills import DrillRow  # noqa: PLC0415  (SQLAlchemy)

    found = result.killed
    row = DrillRow(
        environment=result.environment,
        scope=str(result.scope),
        actor=result.actor,
        reason=result.reason,
        processes=found.known,
        confirmed=found.obeyed,
        lifted=0 if result.lifted is None else result.lifted.obeyed,
        p50_ms=None if found.median is None else round(found.median * 1000, 3),
        max_ms=None if found.within is None else round(found.within * 1000, 3),
    )
    try:
        store.drills.record(row, dataclasses.replace(desk.change(result.reason), id=change))
    except DownhaulError as error:
        warning = f"that it was exercised could not be recorded: {error}"
        return dataclasses.replace(result, warnings=(*result.warnings, warning))
    return result
