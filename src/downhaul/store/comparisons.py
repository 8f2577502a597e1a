"""What two backends answered to the same questions, added up over all processes (rule M3).

Counts stand by the hour in which they arrived, by the database's clock. A batch has a name, and
the last one of each writer is remembered in the transaction that adds it: one that comes again,
because its answer was lost or never came, adds nothing.

Of who asked there is what an example shows: a hash, and the names of attributes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    delete,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from downhaul.store.database import Database

HOUR: Final = 3600 * 1_000_000
"""Microseconds that one row counts."""

KEPT: Final = 30 * 86_400.0
"""Seconds that counts, examples and the names of batches are kept: 30 days."""

_SECOND: Final = 1_000_000
_PIECE: Final = 1000  # rows of each table that one look for old ones deletes
_SWEEPS: Final = 0.05  # of all batches are followed by such a look
_NAMED: Final = 500  # flags that a query names; of more, all are read
_LONGEST: Final = 256  # characters of a key: anybody may ask for any, and an index has a limit


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest comparison of one flag and outcome that was no match.

    ``age`` is in seconds; ``example`` is JSON, fit to be shown.
    """

    flag: str
    outcome: str
    age: float
    example: str


@dataclass(frozen=True, slots=True)
class Count:
    """How often what came of comparing a flag between the two backends of a pair."""

    pair: str
    flag: str
    outcome: str
    count: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept from ``since`` until ``now``, both in microseconds since 1970.

    ``examples`` are those of 30 days, by pair, flag and outcome: when, and what.
    """

    since: int
    now: int
    counts: tuple[Count, ...]
    examples: Mapping[tuple[str, str, str], tuple[int, str]]


class Comparisons:
    """The comparisons of one environment. All may raise Unreachable, NoRight, SchemaMissing."""

    def __init__(
        self,
        database: Database,
        environment: str,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._environment = environment
        self._draw = draw

    @property
    def writes_after_fork(self) -> bool:
        """Whether a forked child may add what it counted, beside a parent that has the store."""
        return self._database.dialect.writes_after_fork

    def add(
        self,
        writer: str,
        number: int,
        pair: str,
        counts: Mapping[str, Mapping[str, int]],
        seen: Iterable[Seen] = (),
    ) -> bool:
        """Add a batch in one transaction; return False where it was added before.

        Numbers of one writer rise, and a batch comes again before the next one comes.
        """
        mine = {"environment": self._environment, "pair": _text(pair)}
        # In one order everywhere: two processes that add to the same rows must not wait in a ring.
        rows = sorted(_summed(counts).items())
        # The newest last: keys that differ beyond what is kept of them are one.
        examples = sorted(seen, key=lambda one: (_text(one.flag), one.outcome, -one.age))
        with self._database.writing_apart() as connection:
            now = self._now(connection)
            if not self._take(connection, writer, number, now):
                return False
            hour = now // HOUR * HOUR
            self._add_counts(
                connection,
                [
                    {**mine, "hour": hour, "flag": flag, "outcome": outcome, "count": count}
                    for (flag, outcome), count in rows
                ],
            )
            self._add_examples(
                connection,
                [
                    {
                        **mine,
                        "flag": _text(one.flag),
                        "outcome": one.outcome,
                        "at": now - round(one.age * _SECOND),
                        "example": one.example,
                    }
                    for one in examples
                ],
            )
        return True

    def _take(self, connection: Connection, writer: str, number: int, now: int) -> bool:
        """Note that a batch is added; return False where that was noted before."""
        table = self._database.tables.comparison_writers
        statement = self._insert(table).values(id=writer, number=number, at=now)
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=[table.c.id],
            set_={"number": new.number, "at": new.at},
            where=table.c.number < new.number,
        ).returning(table.c.number)
        return connection.execute(statement).first() is not None

    def _add_counts(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        table = self._database.tables.comparisons
        statement = self._insert(table)
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={"count": table.c.count + statement.excluded["count"]},
        )
        connection.execute(statement, rows)

    def _add_examples(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        table = self._database.tables.comparison_examples
        statement = self._insert(table)
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={"at": new.at, "example": new.example},
            where=table.c.at <= new.at,
        )
        connection.execute(statement, rows)

    def _insert(self, table: Table) -> Any:
        name = self._database.dialect.name
        return postgresql.insert(table) if name == "postgresql" else sqlite.insert(table)

    def sweep_sometimes(self) -> int:
        """Do :meth:`sweep` one time in twenty, so that a fleet does it all the time, by turns."""
        return self.sweep() if self._draw() < _SWEEPS else 0

    def sweep(self, *, keep: float = KEPT, limit: int = _PIECE) -> int:
        """Delete a piece of what is older than ``keep`` seconds; return how many rows went.

        Of all environments, ``limit`` rows of each table at most.
        """
        tables = self._database.tables
        gone = 0
        with self._database.writing_apart() as connection:
            old = self._now(connection) - round(keep * _SECOND)
            for table, at, until in (
                (tables.comparisons, tables.comparisons.c.hour, old - HOUR),
                (tables.comparison_examples, tables.comparison_examples.c.at, old),
                (tables.comparison_writers, tables.comparison_writers.c.at, old),
            ):
                key = tuple(table.primary_key)
                oldest = select(*key).where(at < until).order_by(at).limit(limit)
                statement = delete(table).where(tuple_(*key).in_(oldest))
                gone += int(connection.execute(statement).rowcount)
        return gone

    def kept(self, seconds: float, flags: Iterable[str] = ()) -> Kept:
        """Return what was counted in the last ``seconds``, of these flags or of all.

        Whole hours: the window begins with the hour in which it would.
        """
        wanted = {_text(flag) for flag in flags}
        counts, examples = (
            self._database.tables.comparisons,
            self._database.tables.comparison_examples,
        )
        total = func.sum(counts.c.count).label("total")
        with self._database.reading() as connection, self._database.at_one_moment(connection):
            now = self._now(connection)
            since = (now - round(seconds * _SECOND)) // HOUR * HOUR
            counted = (
                select(counts.c.pair, counts.c.flag, counts.c.outcome, total)
                .where(counts.c.environment == self._environment, counts.c.hour >= since)
                .group_by(counts.c.pair, counts.c.flag, counts.c.outcome)
                .order_by(counts.c.flag, counts.c.pair, counts.c.outcome)
            )
            last = select(examples).where(examples.c.environment == self._environment)
            if 0 < len(wanted) <= _NAMED:
                counted = counted.where(counts.c.flag.in_(wanted))
                last = last.where(examples.c.flag.in_(wanted))
            return Kept(
                since,
                now,
                tuple(
                    Count(row.pair, row.flag, row.outcome, int(row.total))
                    for row in connection.execute(counted)
                    if not wanted or row.flag in wanted
                ),
                {
                    (row.pair, row.flag, row.outcome): (int(row.at), row.example)
                    for row in connection.execute(last)
                    if not wanted or row.flag in wanted
                },
            )

    def _now(self, connection: Connection) -> int:
        clock: ColumnElement[int] = literal_column(self._database.dialect.microseconds, BigInteger)
        return int(connection.execute(select(clock)).scalar_one())


def _summed(counts: Mapping[str, Mapping[str, int]]) -> dict[tuple[str, str], int]:
    """Return counts by flag and outcome: a row is written once in a batch."""
    found: dict[tuple[str, str], int] = {}
    for flag, outcomes in counts.items():
        for outcome, count in outcomes.items():
            row = _text(flag), str(outcome)
            found[row] = found.get(row, 0) + count
    return found


def _text(text: str) -> str:
    """Return text that every database takes: no NUL, no half of a surrogate pair, not too long."""
    plain = text.replace("\0", "").encode(errors="replace").decode()
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
