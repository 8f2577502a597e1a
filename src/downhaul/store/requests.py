"""The request log: outcomes under the variant that was served (rule R10).

A row's time is the database's when the row arrived. A row that comes late, because an application
could not reach the store for a while, falls into a later window and still counts exactly once; a
batch that is sent again after a lost answer is recognised by its rows' ids.

A window is counted once, some moments after its end. A row that is stamped in time and committed
later than that would be in no count, so a batch that takes long is taken back: see ``PROMPT``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal_column,
    not_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from downhaul.analysis.model import Counts, Window
from downhaul.errors import Unreachable
from downhaul.store.database import Database

PROMPT: Final = 0.5
"""Seconds from a batch's stamp to its commit, at most: half of what counting stays behind."""

KEPT: Final = 14 * 86_400.0
"""Seconds that rows are kept unless said otherwise: two weeks."""

_PIECE: Final = 5000  # rows that one statement deletes
_SECOND: Final = 1_000_000


class SlowWrite(Unreachable):
    """A batch took so long that a count could have passed it by. Nothing was written."""


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request. ``subject`` is a hash, never an identity; ``latency_ms`` may be unknown.

    ``served_by`` is ``split``, ``target`` or ``rule``: only the split forms arms.
    """

    id: str
    flag: str
    variant: str
    served_by: str
    success: bool
    error: bool
    latency_ms: float | None
    subject: str = ""
    flag_version: str = ""


class RequestLog:
    """Requests of one environment."""

    def __init__(
        self, database: Database, environment: str, identity: Callable[[], str] = str
    ) -> None:
        self._database = database
        self._environment = environment
        self._identity = identity
        self._requests = database.tables.requests
        self._queries: dict[tuple[float, ...], Select[Any]] = {}
        self._of_users: dict[tuple[float, ...], Select[Any]] = {}

    @property
    def identity(self) -> str:
        """The store's identity, as far as it is known; empty until it was reached."""
        return self._identity()

    def write(self, rows: Sequence[RequestRow]) -> None:
        """Append rows in one statement; those whose id is there already are left out.

        Raises Unreachable; SlowWrite for many rows that took long: fewer may not.
        """
        if not rows:
            return
        insert = postgresql.insert if self._database.dialect.name == "postgresql" else sqlite.insert
        # It names no column, as that would take the right to read the table.
        statement = insert(self._requests).on_conflict_do_nothing()
        values = [
            {
                "id": one.id,
                "environment": self._environment,
                "flag": one.flag,
                "variant": one.variant,
                "served_by": one.served_by,
                "success": one.success,
                "error": one.error,
                "latency_ms": one.latency_ms,
                "subject": one.subject,
                "flag_version": one.flag_version,
            }
            for one in rows
        ]
        with self._database.writing() as connection:
            # One clock for all of a batch, which is read once.
            begun = time.monotonic()
            now = connection.execute(select(self._clock)).scalar_one()
            connection.execute(statement, [{**one, "logged_at": now} for one in values])
            took = time.monotonic() - begun
            if took > PROMPT and len(rows) > 1:
                raise SlowWrite(f"{len(rows)} requests took {took:.1f} s to write")

    def counts(
        self,
        flag: str,
        window: Window,
        thresholds: Iterable[float],
        served_by: Iterable[str] = ("split",),
        *,
        users_since: int | None = None,
    ) -> dict[str, Counts]:
        """Return the counts of a window by variant. Raises Unreachable.

        ``users_since``, in microseconds, also counts by subject, whose firsts are those from then
        on. A subject that is served another variant later is one of each.
        """
        limits = tuple(thresholds)
        asked = {
            "flag": flag,
            "since": window.since,
            "until": window.until,
            "served_by": list(served_by),
        }
        with self._database.reading() as connection:
            found = {
                str(row["variant"]): _counts(row, limits)
                for row in connection.execute(self._counting(limits), asked).mappings()
            }
            if users_since is not None:
                asked["users_since"] = users_since
                for row in connection.execute(self._counting_users(limits), asked).mappings():
                    variant = str(row["variant"])
                    found[variant] = _with_users(found[variant], row, limits)
        return found

    def _counting(self, limits: tuple[float, ...]) -> Select[Any]:
        """Return the query of :meth:`counts`, which takes longer to put together than to answer."""
        if limits in self._queries:
            return self._queries[limits]
        requests = self._requests
        known = requests.c.latency_ms.is_not(None)
        columns: list[ColumnElement[Any]] = [
            func.count().label("requests"),
            _number(requests.c.error).label("errors"),
            _number(requests.c.success).label("successes"),
            _number(known).label("timed"),
            func.coalesce(func.sum(requests.c.latency_ms), 0.0).label("latency_ms"),
            *(
                _number(requests.c.latency_ms > limit).label(f"slow_{at}")
                for at, limit in enumerate(limits)
            ),
        ]
        query = (
            select(requests.c.variant, *columns)
            .where(*self._within(bindparam("since"), bindparam("until")))
            .group_by(requests.c.variant)
        )
        self._queries[limits] = query
        return query

    def _counting_users(self, limits: tuple[float, ...]) -> Select[Any]:
        """Return the query for people: those of the window, beside what they did before it.

        Only who is in the window is looked up in the time before, by the index on subjects.
        """
        if limits in self._of_users:
            return self._of_users[limits]
        requests = self._requests
        recent = requests.c.logged_at >= bindparam("users_since")
        what = {
            "error": requests.c.error,
            "failed": not_(requests.c.success),
            **{f"slow_{at}": requests.c.latency_ms > limit for at, limit in enumerate(limits)},
        }

        def by_subject(*conditions: ColumnElement[bool]) -> Select[Any]:
            return (
                select(
                    requests.c.variant,
                    requests.c.subject,
                    _any(recent).label("recent"),
                    *(_any(and_(recent, one)).label(name) for name, one in what.items()),
                )
                .where(*conditions)
                .group_by(requests.c.variant, requests.c.subject)
            )

        window = self._within(bindparam("since"), bindparam("until"))
        now = by_subject(*window, requests.c.subject != "").cte("people")
        before = by_subject(
            *self._within(bindparam("users_since"), bindparam("since")),
            requests.c.subject.in_(select(now.c.subject)),
        ).cte("before_it")
        first = {
            name: _number(and_(now.c[name] == 1, func.coalesce(before.c[name], 0) == 0))
            for name in ("recent", *what)
        }
        both = and_(now.c.variant == before.c.variant, now.c.subject == before.c.subject)
        people = (
            select(
                now.c.variant,
                func.count().label("users"),
                *(one.label(name) for name, one in first.items()),
            )
            .select_from(now.outerjoin(before, both))
            .group_by(now.c.variant)
            .cte("firsts")
        )
        nobody = (
            select(requests.c.variant, _number(requests.c.subject == "").label("anonymous"))
            .where(*window)
            .group_by(requests.c.variant)
            .cte("nobody")
        )
        query = select(nobody, people).select_from(
            nobody.outerjoin(people, nobody.c.variant == people.c.variant)
        )
        self._of_users[limits] = query
        return query

    def _within(
        self, since: ColumnElement[int], until: ColumnElement[int]
    ) -> tuple[ColumnElement[bool], ...]:
        requests = self._requests
        return (
            requests.c.environment == self._environment,
            requests.c.flag == bindparam("flag"),
            requests.c.logged_at >= since,
            requests.c.logged_at < until,
            requests.c.served_by.in_(bindparam("served_by", expanding=True)),
        )

    def now(self) -> int:
        """Return the database's time in microseconds since 1970. Raises Unreachable."""
        return int(self._database.scalar(self._database.dialect.microseconds))

    def delete_before(self, at: int, *, limit: int = _PIECE) -> int:
        """Delete the oldest rows from before ``at``, at most ``limit``; return how many.

        Of all environments: the oldest rows are found by their number, however long the log is.
        """
        requests = self._requests
        oldest = select(requests.c.number).order_by(requests.c.number).limit(limit).subquery()
        statement = delete(requests).where(
            requests.c.number.in_(select(oldest.c.number)), requests.c.logged_at < at
        )
        with self._database.writing() as connection:
            return int(connection.execute(statement).rowcount)

    def sweep(self, *, keep: float = KEPT, limit: int = _PIECE) -> int:
        """Delete one piece of what is older than ``keep`` seconds; return how many rows went."""
        return self.delete_before(self.now() - round(keep * _SECOND), limit=limit)

    @property
    def _clock(self) -> ColumnElement[int]:
        clock: ColumnElement[int] = literal_column(self._database.dialect.microseconds, BigInteger)
        return clock


def _number(condition: ColumnElement[Any]) -> ColumnElement[int]:
    """Return how many rows a condition holds for."""
    return func.coalesce(func.sum(cast(case((condition, 1), else_=0), Integer)), 0)


def _any(condition: ColumnElement[Any]) -> ColumnElement[int]:
    """Return 1 if a condition holds for a row, else 0."""
    return func.max(cast(case((condition, 1), else_=0), Integer))


def _counts(row: Mapping[Any, Any], limits: Sequence[float]) -> Counts:
    return Counts(
        requests=int(row["requests"]),
        errors=int(row["errors"]),
        successes=int(row["successes"]),
        timed=int(row["timed"]),
        latency_ms=float(row["latency_ms"]),
        slow={float(limit): int(row[f"slow_{at}"]) for at, limit in enumerate(limits)},
    )


def _with_users(counts: Counts, row: Mapping[Any, Any], limits: Sequence[float]) -> Counts:
    return replace(
        counts,
        users=int(row["users"] or 0),
        new_users=int(row["recent"] or 0),
        error_users=int(row["error"] or 0),
        failed_users=int(row["failed"] or 0),
        slow_users={float(limit): int(row[f"slow_{at}"] or 0) for at, limit in enumerate(limits)},
        anonymous=int(row["anonymous"]),
    )
