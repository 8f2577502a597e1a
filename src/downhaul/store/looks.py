"""What controllers saw of rollouts: the resolved query, the counts, the verdicts, what came of it.

A row is written in the transaction that keeps what was decided on it, so the history never tells of
a look that decided nothing, nor of a decision without its look. Not every look is worth a row: one
that changed something is, and one a minute beside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, delete, insert, literal_column, select

from downhaul.store.database import Database
from downhaul.store.writing import dumps

KEPT: Final = 90 * 86_400.0
"""Seconds that looks are kept."""

_PIECE: Final = 5000  # rows that one statement deletes
_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LookRow:
    """A look at a rollout. ``at`` is microseconds since 1970 by the store's clock.

    ``look`` is JSON data: ``step``, ``phase``, ``since`` and ``until`` (between which was counted),
    ``query``, ``warnings`` (of its source), ``arms`` (counts by variant over the step so far),
    ``findings``, ``error``, ``hold`` and ``action`` (what was decided upon, empty for nothing).
    """

    id: int
    at: int
    look: Mapping[str, Any]


class Looks:
    """The looks at rollouts of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, connection: Connection, rollout: str, look: Mapping[str, Any]) -> None:
        """Add a look within a transaction."""
        clock = literal_column(f"({self._database.dialect.microseconds})", BigInteger)
        values = {"rollout": rollout, "at": clock, "look": dumps(look)}
        connection.execute(insert(self._database.tables.looks).values(values))

    def of(self, rollout: str, *, until: int | None = None, limit: int = 1) -> list[LookRow]:
        """Return the newest looks at a rollout, up to a time; the newest first.

        Raises Unreachable. A row that somebody broke by hand is an empty look.
        """
        looks = self._database.tables.looks
        query = select(looks).where(looks.c.rollout == rollout)
        if until is not None:
            query = query.where(looks.c.at <= until)
        query = query.order_by(looks.c.at.desc(), looks.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return [
                LookRow(row.id, row.at, _document(row.look)) for row in connection.execute(query)
            ]

    def sweep(self, *, keep: float = KEPT, limit: int = _PIECE) -> int:
        """Delete one piece of what is older than ``keep`` seconds; return how many rows went."""
        looks = self._database.tables.looks
        now = int(self._database.scalar(self._database.dialect.microseconds))
        oldest = select(looks.c.id).order_by(looks.c.id).limit(limit).subquery()
        statement = delete(looks).where(
            looks.c.id.in_(select(oldest.c.id)), looks.c.at < now - round(keep * _SECOND)
        )
        with self._database.writing() as connection:
            return int(connection.execute(statement).rowcount)


def _document(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
