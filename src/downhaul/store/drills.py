"""When the kill switch was exercised, on what, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, insert, literal_column, select

from downhaul.provider import Change
from downhaul.store.database import Database

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class DrillRow:
    """A drill as it is kept.

    ``confirmed`` of ``processes`` obeyed the kill, half of them within ``p50_ms`` and all within
    ``max_ms`` (None where none did), and ``lifted`` heard that it was over. ``age`` is in seconds.
    """

    environment: str
    scope: str
    actor: str
    reason: str
    processes: int
    confirmed: int
    lifted: int
    p50_ms: float | None
    max_ms: float | None
    at: int = 0
    age: float = 0.0


class Drills:
    """The drills of one environment. All may raise Unreachable, SchemaMissing."""

    def __init__(self, database: Database, environment: str) -> None:
        self._database = database
        self._environment = environment

    def record(self, row: DrillRow, change: Change) -> None:
        """Append a drill, at the database's time."""
        with self._database.writing() as connection:
            connection.execute(
                insert(self._database.tables.drills).values(
                    environment=self._environment,
                    scope=row.scope,
                    at=self._clock,
                    actor=change.actor,
                    marked=change.marked,
                    reason=change.reason,
                    processes=row.processes,
                    confirmed=row.confirmed,
                    lifted=row.lifted,
                    p50_ms=row.p50_ms,
                    max_ms=row.max_ms,
                )
            )

    def last(self) -> DrillRow | None:
        """Return the latest drill, of whatever it was."""
        drills = self._database.tables.drills
        query = (
            select(drills, self._clock.label("now"))
            .where(drills.c.environment == self._environment)
            .order_by(drills.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _row(row)

    @property
    def _clock(self) -> ColumnElement[int]:
        return literal_column(f"({self._database.dialect.microseconds})", BigInteger)


def _row(row: Mapping[Any, Any]) -> DrillRow:
    return DrillRow(
        environment=row["environment"],
        scope=row["scope"],
        actor=row["actor"],
        reason=row["reason"],
        processes=int(row["processes"]),
        confirmed=int(row["confirmed"]),
        lifted=int(row["lifted"]),
        p50_ms=row["p50_ms"],
        max_ms=row["max_ms"],
        at=int(row["at"]),
        age=max(0.0, (int(row["now"]) - int(row["at"])) / _SECOND),
    )
