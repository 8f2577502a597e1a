"""Kills that were given an end, and what becomes of each when it comes.

A term is of one word of the register: the kill of its sequence. Who kills again says it under a new
sequence, and the term before it means nothing any more. Nothing ends by itself: a controller looks
at the terms that are due, by the database's clock.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    exists,
    insert,
    literal_column,
    select,
)
from sqlalchemy import update as updating

from downhaul.overlay import KillRecord, Scope
from downhaul.provider import Change
from downhaul.store import reading, writing
from downhaul.store.database import Database
from downhaul.store.writing import Write, dumps

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Term:
    """The end of one kill. Times are microseconds of the store's clock.

    ``flag`` is the flag's document from before the kill, where one could be read; ``at_most`` the
    percentage up to which it is lifted at the end. ``told_at`` is when people heard that the end is
    near (0: not yet), ``settled_at`` when it was dealt with, ``outcome`` how: ``lifted`` or
    ``asked``.
    """

    scope: Scope
    environment: str
    sequence: int
    begun_at: int
    ends_at: int
    at_most: float
    provider: str
    flag: Mapping[str, Any] | None
    actor: str
    reason: str
    told_at: int = 0
    settled_at: int | None = None
    outcome: str = ""
    now: int = 0

    @property
    def seconds_left(self) -> float:
        """Seconds until the end, below 0 after it."""
        return (self.ends_at - self.now) / _SECOND

    @property
    def lasts(self) -> float:
        """Seconds from its beginning to its end."""
        return (self.ends_at - self.begun_at) / _SECOND


class Terms:
    """The terms of one environment, and of kills in all. All may raise Unreachable."""

    def __init__(self, database: Database, environment: str) -> None:
        self._database = database
        self._environment = environment
        self._table = database.tables.terms

    def begin(
        self,
        kill: KillRecord,
        change: Change,
        seconds: float,
        *,
        at_most: float,
        provider: str,
        flag: Mapping[str, Any] | None,
    ) -> Term:
        """Give a kill its end, ``seconds`` from now; the one it had is forgotten."""
        terms = self._table
        where = (terms.c.environment == kill.environment, terms.c.scope == str(kill.scope))
        values = {
            "sequence": kill.sequence,
            "begun_at": self._clock,
            "ends_at": self._clock + round(seconds * _SECOND),
            "at_most": at_most,
            "provider": provider,
            "flag": None if flag is None else dumps(flag),
            "actor": change.actor,
            "reason": change.reason,
            "told_at": 0,
            "settled_at": None,
            "outcome": "",
        }
        with self._database.writing() as connection:
            writing.lock_kills(connection, self._database)
            if not connection.execute(updating(terms).where(*where).values(**values)).rowcount:
                connection.execute(
                    insert(terms).values(
                        environment=kill.environment, scope=str(kill.scope), **values
                    )
                )
            begun = connection.execute(select(terms, self._now).where(*where)).mappings().one()
            made = _term(begun)
            after = {"sequence": kill.sequence, "seconds": seconds, "at_most": at_most}
            write = Write("kill", str(kill.scope), "end", None, after)
            writing.record_change(
                connection,
                self._database,
                kill.environment,
                write,
                change,
                str(kill.sequence),
                uuid.uuid4().hex,
            )
        return made

    def standing(self) -> list[Term]:
        """Return the terms of kills that stand, dealt with or not."""
        with self._database.reading() as connection:
            return [_term(row) for row in connection.execute(self._standing()).mappings()]

    def due(self, ahead: float) -> list[Term]:
        """Return the terms that wait for something and end within ``ahead`` seconds."""
        terms = self._table
        query = self._standing().where(
            terms.c.settled_at.is_(None), terms.c.ends_at <= self._clock + round(ahead * _SECOND)
        )
        with self._database.reading() as connection:
            return [_term(row) for row in connection.execute(query).mappings()]

    def tell(self, term: Term, event: Mapping[str, Any]) -> bool:
        """Leave the announcement that the end is near; False where somebody else did, or it went.

        ``event`` is what :class:`downhaul.control.alerts.AlertEvent` is made of.
        """
        terms = self._table
        with self._database.writing() as connection:
            mine = connection.execute(
                updating(terms)
                .where(
                    self._same(term),
                    self._stands(term),
                    terms.c.told_at == 0,
                    terms.c.settled_at.is_(None),
                )
                .values(told_at=self._clock)
            )
            if mine.rowcount:
                self._announce(connection, event)
        return bool(mine.rowcount)

    def ask(self, term: Term, event: Mapping[str, Any]) -> bool:
        """Settle a term whose kill stays, and leave the announcement; False as in :meth:`tell`."""
        with self._database.writing() as connection:
            writing.lock_kills(connection, self._database)
            if not self._is_open(connection, term):
                return False
            self._settle(connection, term, "asked")
            self._announce(connection, event)
        return True

    def lift(self, term: Term, change: Change) -> KillRecord | None:
        """Lift the kill of a term, if it still is that very kill; people hear of it as of any.

        One transaction, under the lock of all kills: one that was said again is not lifted.
        """
        kill = KillRecord(term.scope, term.sequence, killed=True, environment=term.environment)
        with self._database.writing() as connection:
            writing.lock_kills(connection, self._database)
            if not self._is_open(connection, term):
                return None
            # Who polls the backend may still have what it served before the kill (rule K5).
            lifted = writing.lift_kill(
                connection, self._database, kill, change, waits=True, told_in=self._environment
            )
            if lifted is not None:
                self._settle(connection, term, "lifted")
        return lifted

    def _is_open(self, connection: Connection, term: Term) -> bool:
        terms = self._table
        waits = select(terms.c.scope).where(
            self._same(term), self._stands(term), terms.c.settled_at.is_(None)
        )
        return connection.execute(waits).first() is not None

    def _settle(self, connection: Connection, term: Term, outcome: str) -> None:
        done = {"settled_at": self._clock, "outcome": outcome}
        connection.execute(updating(self._table).where(self._same(term)).values(**done))

    def _same(self, term: Term) -> ColumnElement[bool]:
        terms = self._table
        return and_(
            terms.c.environment == term.environment,
            terms.c.scope == str(term.scope),
            terms.c.sequence == term.sequence,
            terms.c.begun_at == term.begun_at,
        )

    def _stands(self, term: Term) -> ColumnElement[bool]:
        """Return whether the kill of a term still is the store's word."""
        kills = self._database.tables.kills
        return exists().where(
            kills.c.environment == term.environment,
            kills.c.scope == str(term.scope),
            kills.c.sequence == term.sequence,
            kills.c.killed,
        )

    def _standing(self) -> Any:
        terms, kills = self._table, self._database.tables.kills
        return (
            select(terms, self._now)
            .join(
                kills,
                and_(
                    kills.c.environment == terms.c.environment,
                    kills.c.scope == terms.c.scope,
                    kills.c.sequence == terms.c.sequence,
                    kills.c.killed,
                ),
            )
            .where(terms.c.environment.in_([self._environment, reading.ALL_ENVIRONMENTS]))
            .order_by(terms.c.ends_at)
        )

    def _announce(self, connection: Connection, event: Mapping[str, Any]) -> None:
        writing.announce(connection, self._database, self._environment, event)

    @property
    def _clock(self) -> ColumnElement[int]:
        return literal_column(f"({self._database.dialect.microseconds})", BigInteger)

    @property
    def _now(self) -> ColumnElement[int]:
        return self._clock.label("now")


def _term(row: Mapping[Any, Any]) -> Term:
    return Term(
        scope=Scope.parse(row["scope"]),
        environment=row["environment"],
        sequence=int(row["sequence"]),
        begun_at=int(row["begun_at"]),
        ends_at=int(row["ends_at"]),
        at_most=float(row["at_most"]),
        provider=row["provider"],
        flag=_document(row["flag"]),
        actor=row["actor"],
        reason=row["reason"],
        told_at=int(row["told_at"]),
        settled_at=None if row["settled_at"] is None else int(row["settled_at"]),
        outcome=row["outcome"],
        now=int(row["now"]),
    )


def _document(text: str | None) -> Mapping[str, Any] | None:
    """Decode the flag of a term. One that somebody broke by hand is one that isn't known."""
    if text is None:
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
