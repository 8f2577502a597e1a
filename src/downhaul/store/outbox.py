"""Announcements that wait to be told, and what became of each at each sink.

An announcement is a row that was written with what happened, in one transaction. A *sink* is known
by its name. Who delivers takes an announcement for one sink at a time: the row of that pair is the
claim, so a sink that is down holds up no other, and of any number of processes one sends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from downhaul.store.database import Database

_SECOND: Final = 1_000_000
_ASTRAY: Final = 3600  # seconds ahead from which a due time was set by another clock
_NEWEST: Final = 100  # among which a row that was just written is looked for
_REMEMBERED: Final = 7 * 24 * 3600  # seconds for which one that was given up is told of


class Delivery(StrEnum):
    """What became of an announcement at a sink."""

    SENDING = "sending"
    """Somebody has it in hand, until its claim ends."""
    FAILED = "failed"
    """It is tried again when it is due."""
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    """The sink does not hear of such events."""
    GIVEN_UP = "given_up"


_OPEN: Final = (Delivery.SENDING.value, Delivery.FAILED.value)
_LONGEST_ERROR: Final = 500  # characters


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event that waits to be told. ``at`` and ``now`` are microseconds of the store's clock.

    ``attempts`` counts those that were made for the sink that was asked about, if one was.
    """

    id: int
    event: Mapping[str, Any]
    attempts: int
    at: int = 0
    now: int = 0

    @property
    def age(self) -> float:
        """Seconds since it happened."""
        return (self.now - self.at) / _SECOND


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a sink has not taken: ``waiting`` since ``oldest`` seconds, ``given_up`` this week."""

    sink: str
    waiting: int
    oldest: float
    given_up: int
    error: str


class Outbox:
    """The announcements of one environment. All may raise Unreachable."""

    def __init__(
        self, database: Database, environment: str, controllers: Callable[[], int]
    ) -> None:
        self.database = database
        self.environment = environment
        self.controllers = controllers
        """Returns how many controllers of this environment are alive, to deliver."""

    # What waits

    def waiting(self, limit: int = 50) -> list[Announcement]:
        """Return announcements that are not settled, the oldest first."""
        outbox = self.database.tables.outbox
        query = self._rows().where(outbox.c.delivered_at.is_(None)).order_by(*self._in_order())
        with self.database.reading() as connection:
            return [_announcement(one) for one in connection.execute(query.limit(limit))]

    def find(self, key: str) -> Announcement | None:
        """Return the announcement that bears this id, among those that were written lately."""
        outbox = self.database.tables.outbox
        query = self._rows().order_by(outbox.c.id.desc()).limit(_NEWEST)
        with self.database.reading() as connection:
            rows = connection.execute(query)
            found = (_announcement(one) for one in rows)
            return next((one for one in found if one.event.get("id") == key), None)

    def due(self, sink: str, limit: int = 500) -> list[Announcement]:
        """Return announcements that it is time to send to a sink, the oldest first."""
        outbox, deliveries = self.database.tables.outbox, self.database.tables.deliveries
        attempts = func.coalesce(deliveries.c.attempts, 0).label("attempts")
        query = (
            select(outbox.c.id, outbox.c.event, outbox.c.at, attempts, self._clock.label("now"))
            .select_from(
                outbox.outerjoin(
                    deliveries,
                    and_(deliveries.c.announcement == outbox.c.id, deliveries.c.sink == sink),
                )
            )
            .where(
                outbox.c.environment == self.environment,
                outbox.c.delivered_at.is_(None),
                or_(deliveries.c.sink.is_(None), self._takeable()),
            )
            .order_by(*self._in_order())
            .limit(limit)
        )
        with self.database.reading() as connection:
            return [_announcement(one) for one in connection.execute(query)]

    def done(self, announcements: Collection[int]) -> dict[int, dict[str, Delivery]]:
        """Return which sinks are done with these announcements, and how."""
        deliveries = self.database.tables.deliveries
        query = select(deliveries.c.announcement, deliveries.c.sink, deliveries.c.state).where(
            deliveries.c.announcement.in_(announcements), deliveries.c.state.not_in(_OPEN)
        )
        found: dict[int, dict[str, Delivery]] = {one: {} for one in announcements}
        with self.database.reading() as connection:
            for row in connection.execute(query):
                found[row.announcement][row.sink] = Delivery(row.state)
        return found

    def state(self, announcement: int, sink: str) -> Delivery | None:
        """Return what became of an announcement at a sink; None where nobody took it yet."""
        deliveries = self.database.tables.deliveries
        query = select(deliveries.c.state).where(
            deliveries.c.announcement == announcement, deliveries.c.sink == sink
        )
        with self.database.reading() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else Delivery(found)

    def backlogs(self) -> list[Backlog]:
        """Return what sinks have not taken, by sink."""
        outbox, deliveries = self.database.tables.outbox, self.database.tables.deliveries
        lately = self._clock - _REMEMBERED * _SECOND
        query = (
            select(
                deliveries.c.sink,
                deliveries.c.state,
                deliveries.c.error,
                ((self._clock - outbox.c.at) / literal(_SECOND)).label("age"),
            )
            .select_from(deliveries.join(outbox, outbox.c.id == deliveries.c.announcement))
            .where(
                outbox.c.environment == self.environment,
                or_(
                    deliveries.c.state.in_(_OPEN),
                    and_(deliveries.c.state == Delivery.GIVEN_UP.value, deliveries.c.at >= lately),
                ),
            )
            .order_by(deliveries.c.at)
        )
        with self.database.reading() as connection:
            rows = list(connection.execute(query))
        return [
            _backlog(sink, [one for one in rows if one.sink == sink])
            for sink in sorted({one.sink for one in rows})
        ]

    def untouched(self) -> tuple[int, float]:
        """Return how many announcements nobody took for any sink, and the oldest one's age."""
        outbox, deliveries = self.database.tables.outbox, self.database.tables.deliveries
        touched = select(literal(1)).where(deliveries.c.announcement == outbox.c.id).exists()
        query = select(func.count(), func.min(outbox.c.at), self._clock).where(
            outbox.c.environment == self.environment, outbox.c.delivered_at.is_(None), ~touched
        )
        with self.database.reading() as connection:
            count, oldest, now = connection.execute(query).one()
        return int(count), 0.0 if oldest is None else (int(now) - int(oldest)) / _SECOND

    # Delivering

    def claim(self, announcement: int, sink: str, hold: float) -> int | None:
        """Take an announcement for a sink, for ``hold`` seconds; return which attempt that is.

        None where somebody else has it in hand, or the sink is done with it.
        """
        deliveries = self.database.tables.deliveries
        until = self._clock + int(hold * _SECOND)
        again = (
            update(deliveries)
            .where(
                deliveries.c.announcement == announcement,
                deliveries.c.sink == sink,
                self._takeable(),
            )
            .values(
                state=Delivery.SENDING.value,
                attempts=deliveries.c.attempts + 1,
                due_at=until,
                at=self._clock,
            )
            .returning(deliveries.c.attempts)
        )
        with self.database.writing() as connection:
            attempts = connection.execute(again).scalar()
            if attempts is not None:
                return int(attempts)
            first = self._first(connection, announcement, sink, Delivery.SENDING, 1, until)
        return 1 if first else None

    def skip(self, announcement: int, sink: str) -> None:
        """Note that a sink is not to hear of an announcement."""
        with self.database.writing() as connection:
            self._first(connection, announcement, sink, Delivery.SKIPPED, 0, self._clock)

    def took(self, announcement: int, sink: str) -> None:
        """Note that a sink took an announcement."""
        self._settle(announcement, sink, Delivery.DELIVERED, 0.0, "")

    def failed(self, announcement: int, sink: str, error: str, retry_in: float) -> None:
        """Note that a sink did not take an announcement; it is due again in some seconds."""
        self._settle(announcement, sink, Delivery.FAILED, retry_in, error)

    def gave_up(self, announcement: int, sink: str, error: str) -> None:
        """Note that a sink will not get an announcement."""
        self._settle(announcement, sink, Delivery.GIVEN_UP, 0.0, error)

    def settle(self, announcement: int) -> bool:
        """Note that nothing of an announcement is left to do; return whether something was."""
        outbox = self.database.tables.outbox
        with self.database.writing() as connection:
            done = connection.execute(
                update(outbox)
                .where(outbox.c.id == announcement, outbox.c.delivered_at.is_(None))
                .values(delivered_at=self._clock)
            )
        return bool(done.rowcount)

    # Inside

    @property
    def _clock(self) -> ColumnElement[int]:
        return literal_column(f"({self.database.dialect.microseconds})", BigInteger)

    def _in_order(self) -> tuple[ColumnElement[int], ...]:
        """Return the order of writing, as the index of what is not settled has it."""
        outbox = self.database.tables.outbox
        return outbox.c.due_at, outbox.c.id

    def _rows(self) -> Any:
        outbox = self.database.tables.outbox
        return select(
            outbox.c.id, outbox.c.event, outbox.c.at, outbox.c.attempts, self._clock.label("now")
        ).where(outbox.c.environment == self.environment)

    def _takeable(self) -> ColumnElement[bool]:
        deliveries = self.database.tables.deliveries
        return and_(
            deliveries.c.state.in_(_OPEN),
            or_(
                deliveries.c.due_at <= self._clock,
                deliveries.c.due_at > self._clock + _ASTRAY * _SECOND,
            ),
        )

    def _first(
        self,
        connection: Connection,
        announcement: int,
        sink: str,
        state: Delivery,
        attempts: int,
        due_at: ColumnElement[int],
    ) -> bool:
        """Write the first row of an announcement and a sink; return whether nobody had."""
        deliveries = self.database.tables.deliveries
        # Two may be first at the same moment: the second one waits here, and is told.
        insert = postgresql.insert if self.database.dialect.notify else sqlite.insert
        done = connection.execute(
            insert(deliveries)
            .values(
                announcement=announcement,
                sink=sink,
                state=state.value,
                attempts=attempts,
                due_at=due_at,
                at=self._clock,
                error="",
            )
            .on_conflict_do_nothing()
            .returning(deliveries.c.sink)
        )
        return done.first() is not None

    def _settle(
        self, announcement: int, sink: str, state: Delivery, retry_in: float, error: str
    ) -> None:
        deliveries = self.database.tables.deliveries
        with self.database.writing() as connection:
            connection.execute(
                update(deliveries)
                .where(deliveries.c.announcement == announcement, deliveries.c.sink == sink)
                # What was sent was sent, whatever a second sender of it met.
                .where(deliveries.c.state != Delivery.DELIVERED.value)
                .values(
                    state=state.value,
                    due_at=self._clock + int(retry_in * _SECOND),
                    at=self._clock,
                    error=error[:_LONGEST_ERROR],
                )
            )


def _announcement(row: Any) -> Announcement:
    return Announcement(row.id, _document(row.event), row.attempts, int(row.at), int(row.now))


def _document(text: str) -> Mapping[str, Any]:
    """Decode an event. One that somebody broke by hand keeps no other from being told."""
    try:
        document = json.loads(text)
    except ValueError:
        return {"unreadable": text}
    return document if isinstance(document, dict) else {"unreadable": text}


def _backlog(sink: str, rows: list[Any]) -> Backlog:
    still = [one for one in rows if one.state in _OPEN]
    errors = [one.error for one in rows if one.error]
    return Backlog(
        sink,
        len(still),
        max((float(one.age) for one in still), default=0.0),
        len(rows) - len(still),
        errors[-1] if errors else "",
    )
