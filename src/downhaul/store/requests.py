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
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    literal_column,
    not_,
    select,
    true,
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
            .where(*self._within(requests, bindparam("since"), bindparam("until")))
            .group_by(requests.c.variant)
        )
        self._queries[limits] = query
        return query

    def _counting_users(self, limits: tuple[float, ...]) -> Select[Any]:
        """Return the query for people: those of the window, and whether they were so before.

        Before is looked up by the index on subjects, and only for who is so now: all that a user
        ever did would be too much to read at each look.
        """
        if limits in self._of_users:
            return self._of_users[limits]
        requests, earlier = self._requests, self._requests.alias("earlier")
        what: dict[str, _Is] = {"recent": _anything, "error": _error, "failed": _failure}
        what |= {f"slow_{at}": _slower_than(limit) for at, limit in enumerate(limits)}
        recent = requests.c.logged_at >= bindparam("users_since")
        window = self._within(requests, bindparam("since"), bindparam("until"))
        now = (
            select(
                requests.c.variant,
                requests.c.subject,
                *(_any(and_(recent, is_so(requests))).label(name) for name, is_so in what.items()),
            )
            .where(*window, requests.c.subject != "")
            .group_by(requests.c.variant, requests.c.subject)
            .cte("people")
        )
        before = self._within(earlier, bindparam("users_since"), bindparam("since"))
        same = (earlier.c.subject == now.c.subject, earlier.c.variant == now.c.variant)
        firsts = {}
        for name, is_so in what.items():
            was_so = exists().where(*before, *same, is_so(earlier))
            first = case((was_so, 0), else_=1)
            firsts[name] = case((now.c[name] == 1, first), else_=0)
        people = (
            select(
                now.c.variant,
                func.count().label("users"),
                *(func.sum(one).label(name) for name, one in firsts.items()),
            )
            .group_by(now.c.variant)
            .cte("firsts")
        )
        nobody = (
            select(requests.c.variant, _number(requests.c.subject == "").label("anonymous"))
            .where(*window)
            .group_by(requests.c.variant)
            .cte("nobody")
        )
        query = select(nobody, *(one for one in people.c if one.name != "variant")).select_from(
            nobody.outerjoin(people, nobody.c.variant == people.c.variant)
        )
        self._of_users[limits] = query
        return query

    def _within(
        self, requests: FromClause, since: ColumnElement[int], until: ColumnElement[int]
    ) -> tuple[ColumnElement[bool], ...]:
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


_Is = Callable[[FromClause], ColumnElement[bool]]
"""What is asked of a request, of the table or of an alias of it."""


def _anything(_requests: FromClause) -> ColumnElement[bool]:
    return true()


def _error(requests: FromClause) -> ColumnElement[bool]:
    return requests.c.error


def _failure(requests: FromClause) -> ColumnElement[bool]:
    return not_(requests.c.success)


def _slower_than(limit: float) -> _Is:
    return lambda requests: requests.c.latency_ms > limit


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
