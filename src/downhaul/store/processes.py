"""Who follows the kills of a store, and which word each obeys: what receipts are made of (rule K6).

Each process writes a row of its own, in passing, and only what it knows of itself: that it is
there, until when it will have said so again, and up to which sequence it obeys. All times are the
database's. How long ago something came into force a process says by its own monotonic clock, so
that what is written late is still dated rightly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, case, delete, func, literal_column, select
from sqlalchemy.dialects import postgresql, sqlite

from downhaul.store.database import Database
from downhaul.store.reading import ALL_ENVIRONMENTS

_SECOND: Final = 1_000_000
_ABANDONED: Final = 24 * 3600  # seconds of silence after which a row is swept away


@dataclass(frozen=True, slots=True)
class Follower:
    """Who tells: ``id`` is one client's, ``process`` is shared by all clients of a process."""

    id: str
    process: str
    host: str
    pid: int
    application: str
    version: str


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A follower as it is kept. Times are microseconds since 1970.

    ``due_at`` is when it will have told of itself again; ``obeyed_at`` when ``sequence`` came into
    force there; ``forks`` how many children it has that obey and can't tell.
    """

    id: str
    environment: str
    process: str
    host: str
    pid: int
    application: str
    started_at: int
    seen_at: int
    due_at: int
    sequence: int
    obeyed_at: int
    forks: int


class Processes:
    """The followers of one environment. All may raise Unreachable, NoRight, SchemaMissing."""

    def __init__(self, database: Database, environment: str) -> None:
        self._database = database
        self._environment = environment
        self._table = database.tables.processes

    @property
    def writes_after_fork(self) -> bool:
        """Whether a forked child may tell of itself, beside a parent that follows as well."""
        return self._database.dialect.writes_after_fork

    def acknowledge(
        self, who: Follower, sequence: int, *, ago: float, again_in: float, forks: int = 0
    ) -> int:
        """Say that ``who`` obeys everything up to ``sequence``, and since ``ago`` seconds.

        ``again_in`` is in how many seconds it will have told again, at the latest. Returns how many
        followers there are, for whoever wants not to write all at once.
        """
        table, now = self._table, self._clock
        insert = postgresql.insert if self._database.dialect.name == "postgresql" else sqlite.insert
        said = {
            "environment": self._environment,
            "seen_at": now,
            "due_at": now + round(again_in * _SECOND),
            "sequence": sequence,
            "obeyed_at": now - round(max(0.0, ago) * _SECOND),
            "forks": forks,
        }
        statement = insert(table).values(
            id=who.id,
            process=who.process,
            host=who.host,
            pid=who.pid,
            application=who.application,
            version=who.version,
            started_at=now,
            **said,
        )
        new = statement.excluded
        since = case((table.c.sequence == new.sequence, table.c.obeyed_at), else_=new.obeyed_at)
        statement = statement.on_conflict_do_update(
            index_elements=[table.c.id],
            set_={**{name: new[name] for name in said}, "obeyed_at": since},
        )
        count = select(func.count()).where(table.c.environment == self._environment)
        with self._database.in_passing() as connection:
            connection.execute(statement)
            return int(connection.execute(count).scalar_one())

    def leave(self, who: Follower) -> None:
        """Say that ``who`` has ended."""
        with self._database.in_passing() as connection:
            connection.execute(delete(self._table).where(self._table.c.id == who.id))

    def sweep(self) -> None:
        """Forget those of all environments that were silent for a day."""
        long_ago = self._clock - _ABANDONED * _SECOND
        with self._database.in_passing() as connection:
            connection.execute(delete(self._table).where(self._table.c.seen_at < long_ago))

    def rows(self, environment: str = "") -> tuple[int, list[ProcessRow]]:
        """Return the database's time, and who follows: this environment, or another, or all."""
        wanted = environment or self._environment
        table = self._table
        query = select(table, self._clock.label("now")).order_by(table.c.host, table.c.pid)
        if wanted != ALL_ENVIRONMENTS:
            query = query.where(table.c.environment == wanted)
        with self._database.reading() as connection:
            found = connection.execute(query).mappings().all()
        return max((int(one["now"]) for one in found), default=0), [_row(one) for one in found]

    @property
    def _clock(self) -> ColumnElement[int]:
        return literal_column(f"({self._database.dialect.microseconds})", BigInteger)


def _row(row: Mapping[Any, Any]) -> ProcessRow:
    return ProcessRow(
        id=row["id"],
        environment=row["environment"],
        process=row["process"],
        host=row["host"],
        pid=int(row["pid"]),
        application=row["application"],
        started_at=int(row["started_at"]),
        seen_at=int(row["seen_at"]),
        due_at=int(row["due_at"]),
        sequence=int(row["sequence"]),
        obeyed_at=int(row["obeyed_at"]),
        forks=int(row["forks"]),
    )
