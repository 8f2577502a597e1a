"""Receipts: how many processes have confirmed that they obey a kill (rule K6).

A process confirms by telling up to which sequence it obeys. One that has not yet is *behind* while
it is known to be alive, and *silent* once it has missed the time at which it meant to tell of
itself again; silent for long it counts no more, for it may have ended without a word.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from downhaul.control.desk import Desk
from downhaul.errors import DownhaulError
from downhaul.overlay import KillRecord
from downhaul.spans import span_text

if TYPE_CHECKING:
    from downhaul.store.processes import ProcessRow  # SQLAlchemy stands behind it

GONE: Final = 600.0
"""Seconds of silence after which a process counts no more."""

_ASTRAY: Final = 60_000_000  # microseconds ahead of the clock: written before the clock went back
_LOOK: Final = 0.03  # seconds between two looks at the receipts ...
_LONGEST_LOOK: Final = 0.25  # ... at first, and after a while
_SHOWN: Final = 5  # processes by name in a line
_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Heard:
    """A process, and how many seconds ago it was last heard of."""

    host: str
    pid: int
    application: str
    environment: str
    seen: float

    def __str__(self) -> str:
        return f"{self.host}:{self.pid} {self.application} (last seen {_ago(self.seen)})"


@dataclass(frozen=True, slots=True)
class Receipts:
    """Who obeys a kill, as far as they have told.

    ``obeyed`` of ``known`` processes confirmed. ``behind`` are alive and have not yet, ``silent``
    have missed their time; both are among the known. ``gone`` processes were silent for long, and
    are not. ``took`` are the seconds from the kill to its being in force, one for each process that
    was there at the kill and has confirmed it, the shortest first. ``forked`` are processes with
    children that obey and can't tell.
    """

    known: int = 0
    obeyed: int = 0
    behind: tuple[Heard, ...] = ()
    silent: tuple[Heard, ...] = ()
    gone: int = 0
    took: tuple[float, ...] = ()
    forked: tuple[Heard, ...] = ()
    applications: tuple[tuple[str, int], ...] = ()

    @property
    def within(self) -> float | None:
        """Seconds within which all that confirmed obeyed; None where nobody's is known."""
        return self.took[-1] if self.took else None

    @property
    def median(self) -> float | None:
        """Seconds within which half of them did."""
        return statistics.median(self.took) if self.took else None

    def __str__(self) -> str:
        """Return it in words, for one line."""
        if not self.known:
            said = "no process has told that it follows this store"
            return f"{said}; {_gone(self.gone)}" if self.gone else said
        many = "1 process" if self.known == 1 else f"{self.known} processes"
        within = "" if self.within is None else f" within {_seconds(self.within)}"
        parts = [f"{self.obeyed} of {many} obeyed{within}"]
        if self.behind:
            parts.append(f"not heard from: {_names(self.behind)}")
        if self.silent:
            parts.append(f"silent: {_names(self.silent)}")
        if self.gone:
            parts.append(_gone(self.gone))
        if self.forked:
            parts.append(
                f"{_names(self.forked)} has forked, and its children obey and can't tell"
                if len(self.forked) == 1
                else f"{_names(self.forked)} have forked, and their children obey and can't tell"
            )
        return "; ".join(parts)

    def as_mapping(self) -> dict[str, Any]:
        """Return it as JSON data. Times are in milliseconds, ages in seconds."""
        return {
            "known": self.known,
            "obeyed": self.obeyed,
            "p50_ms": None if self.median is None else round(self.median * 1000, 3),
            "max_ms": None if self.within is None else round(self.within * 1000, 3),
            "behind": [_data(one) for one in self.behind],
            "silent": [_data(one) for one in self.silent],
            "gone": self.gone,
            "forked": [_data(one) for one in self.forked],
            "applications": dict(self.applications),
        }


def receipts_of(sequence: int, now: int, rows: Iterable[ProcessRow]) -> Receipts:
    """Return who obeys the word of a ``sequence``, by what processes told. Pure.

    ``now`` is in microseconds of the store's clock. All clients of a process have to obey.
    """
    processes: dict[str, list[ProcessRow]] = {}
    for row in rows:
        processes.setdefault(row.process, []).append(row)
    known = obeyed = gone = 0
    behind: list[Heard] = []
    silent: list[Heard] = []
    forked: list[Heard] = []
    took: list[float] = []
    applications: dict[str, int] = {}
    for clients in processes.values():
        late = max(clients, key=lambda one: now - one.due_at)
        last = min(_seen(now, one) for one in clients)
        if last > GONE:
            gone += 1
            continue
        known += 1
        applications[late.application] = applications.get(late.application, 0) + 1
        if any(one.forks for one in clients):
            forked.append(_heard(now, late))
        lagging = [one for one in clients if one.sequence < sequence]
        if not lagging:
            obeyed += 1
            # Of a later word nobody knows how long the one before it took.
            if all(one.started_at <= sequence == one.sequence for one in clients):
                in_force = max(one.obeyed_at for one in clients)
                took.append(max(0.0, (in_force - sequence) / _SECOND))
            continue
        is_silent = any(now > one.due_at or one.seen_at > now + _ASTRAY for one in lagging)
        (silent if is_silent else behind).append(_heard(now, lagging[0]))
    return Receipts(
        known,
        obeyed,
        tuple(behind),
        tuple(silent),
        gone,
        tuple(sorted(took)),
        tuple(forked),
        tuple(sorted(applications.items())),
    )


def look(desk: Desk, record: KillRecord, wait: float = 0.0) -> Receipts | None:
    """Return who obeys a word of the store, waiting up to ``wait`` seconds for those alive.

    None where the control store keeps no receipts. Raises Unreachable.
    """
    processes = getattr(desk.control, "processes", None)
    if processes is None:
        return None
    until, pause = time.monotonic() + wait, _LOOK
    while True:
        now, rows = processes.rows(record.environment)
        found = receipts_of(record.sequence, now, rows)
        left = until - time.monotonic()
        if not found.behind or left <= 0:
            return found
        time.sleep(min(pause, left))
        pause = min(_LONGEST_LOOK, pause * 1.5)


def followers(desk: Desk, environment: str) -> Receipts | None:
    """Return who would hear of a kill now; None where that can't be seen."""
    processes = getattr(desk.control, "processes", None)
    if processes is None:
        return None
    try:
        now, rows = processes.rows(environment)
    except DownhaulError:
        return None
    return receipts_of(0, now, rows)


def _seen(now: int, row: ProcessRow) -> float:
    return max(0.0, (now - row.seen_at) / _SECOND)


def _heard(now: int, row: ProcessRow) -> Heard:
    return Heard(row.host, row.pid, row.application, row.environment, _seen(now, row))


def _data(one: Heard) -> dict[str, Any]:
    return {
        "host": one.host,
        "pid": one.pid,
        "application": one.application,
        "environment": one.environment,
        "seen_seconds_ago": round(one.seen, 3),
    }


def _names(found: Sequence[Heard]) -> str:
    shown = ", ".join(str(one) for one in found[:_SHOWN])
    return f"{shown} and {len(found) - _SHOWN} more" if found[_SHOWN:] else shown


def _gone(many: int) -> str:
    about = "1 more is" if many == 1 else f"{many} more are"
    return f"{about} silent for over {span_text(GONE)}, and may be gone"


def _ago(seconds: float) -> str:
    return f"{span_text(round(seconds))} ago" if seconds >= 1 else "just now"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004  (seconds)
