"""What people sign at the gates of rollouts, and what services answer there: rows, never changed.

A signature names the rollout, the plan's digest and the door that it is for: the step (an index)
and when the step before it was entered. All times are the database's own (rule X3).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import BigInteger, ColumnElement, Connection, insert, literal_column, select, update

from downhaul.errors import VersionConflict
from downhaul.provider import Change
from downhaul.store.database import Database

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SignoffRow:
    """What somebody signed. ``given`` is False for a rejection, and for an item taken back."""

    id: int
    rollout: str
    digest: str
    kind: str
    name: str
    step: int
    since: int
    given: bool
    actor: str
    marked: bool
    under: tuple[str, ...]
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class NewSignoff:
    """What is signed now."""

    kind: str
    name: str
    step: int
    since: int
    given: bool
    under: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallRow:
    """A service that is asked. ``now`` is the clock when the row was read."""

    id: str
    rollout: str
    digest: str
    hook: str
    step: int
    since: int
    attempts: int
    outcome: str
    confirmed: bool
    asked_at: int
    due_at: int
    settled_at: int | None
    now: int


@dataclass(frozen=True, slots=True)
class NewCall:
    """A service to be asked at a door."""

    hook: str
    step: int
    since: int


class Rolled(Protocol):
    """What is needed of a rollout's row."""

    @property
    def id(self) -> str:
        """The rollout's id."""

    @property
    def flag(self) -> str:
        """The flag's key."""

    @property
    def digest(self) -> str:
        """The plan's digest."""

    @property
    def revision(self) -> int:
        """Which state of it this is."""


Record = Callable[[Connection, str, str, Sequence[Any], Change | None], None]
"""Appends events of a rollout (id, flag) to the history, within a transaction."""


class GateStore:
    """Signatures and calls of one environment's rollouts."""

    def __init__(self, database: Database, environment: str, record: Record) -> None:
        self.database = database
        self.environment = environment
        self._record = record
        self._signoffs = database.tables.signoffs
        self._calls = database.tables.hook_calls
        self._rollouts = database.tables.rollouts

    # Signatures

    def signoffs(self, ids: Iterable[str]) -> dict[str, list[SignoffRow]]:
        """Return what was signed for each of these rollouts, the oldest first."""
        wanted = list(ids)
        query = select(self._signoffs).where(self._signoffs.c.rollout.in_(wanted))
        found: dict[str, list[SignoffRow]] = {one: [] for one in wanted}
        with self.database.reading() as connection:
            for one in connection.execute(query.order_by(self._signoffs.c.id)):
                found[one.rollout].append(_signoff(one))
        return found

    def sign(self, row: Rolled, new: NewSignoff, event: Any, change: Change) -> None:
        """Append what somebody signs, with its event, and let a controller look at once.

        Only while the rollout is as it was read: whoever signs has seen what they sign. Raises
        VersionConflict where it moved on meanwhile; then nothing was written.
        """
        rollouts = self._rollouts
        with self.database.writing() as connection:
            same = connection.execute(
                update(rollouts)
                .where(rollouts.c.id == row.id, rollouts.c.revision == row.revision)
                .values(due_at=self._clock)
            )
            if not same.rowcount:
                message = f"rollout {row.id} moved on meanwhile"
                raise VersionConflict(message, hint="look again: `rollout status`", flag=row.flag)
            connection.execute(
                insert(self._signoffs).values(
                    rollout=row.id,
                    digest=row.digest,
                    kind=new.kind,
                    name=new.name,
                    step=new.step,
                    since=new.since,
                    given=new.given,
                    actor=change.actor,
                    marked=change.marked,
                    under=json.dumps(list(new.under)),
                    reason=change.reason,
                    at=self._clock,
                )
            )
            self._record(connection, row.id, row.flag, [event], change)

    # Calls

    def calls(self, ids: Iterable[str]) -> dict[str, list[CallRow]]:
        """Return the services that each of these rollouts asked or asks."""
        wanted = list(ids)
        found: dict[str, list[CallRow]] = {one: [] for one in wanted}
        with self.database.reading() as connection:
            for one in connection.execute(self._reading.where(self._calls.c.rollout.in_(wanted))):
                found[one.rollout].append(_call(one))
        return found

    def ask(self, connection: Connection, row: Rolled, new: Sequence[NewCall]) -> None:
        """Let services be asked, within the transaction that saves why. Twice is as once."""
        calls = self._calls
        for one in new:
            call = f"{row.id}-{one.hook}-{one.step + 1}-{one.since}"
            if connection.execute(select(calls.c.id).where(calls.c.id == call)).first():
                continue
            connection.execute(
                insert(calls).values(
                    id=call,
                    environment=self.environment,
                    rollout=row.id,
                    digest=row.digest,
                    hook=one.hook,
                    step=one.step,
                    since=one.since,
                    attempts=0,
                    outcome="",
                    confirmed=False,
                    asked_at=self._clock,
                    due_at=self._clock,
                )
            )

    def due(self, limit: int = 50) -> list[CallRow]:
        """Return the services that are to be asked now, the longest waiting first."""
        calls = self._calls
        query = (
            self._reading.where(calls.c.environment == self.environment)
            .where(calls.c.settled_at.is_(None), calls.c.due_at <= self._clock)
            .order_by(calls.c.due_at)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return [_call(one) for one in connection.execute(query)]

    def take(self, call: CallRow, hold: float) -> bool:
        """Leave a call to nobody else for ``hold`` seconds; return whether it is ours."""
        calls = self._calls
        with self.database.writing() as connection:
            taken = connection.execute(
                update(calls)
                .where(
                    calls.c.id == call.id,
                    calls.c.settled_at.is_(None),
                    calls.c.due_at == call.due_at,
                )
                .values(due_at=self._clock + int(hold * _SECOND), attempts=calls.c.attempts + 1)
            )
        return bool(taken.rowcount)

    def confirmed(self, call: CallRow, flag: str, outcome: str, event: Any) -> None:
        """Keep that a service confirmed, with the event, and let a controller look at once."""
        calls, rollouts = self._calls, self._rollouts
        with self.database.writing() as connection:
            done = connection.execute(
                update(calls)
                .where(calls.c.id == call.id, calls.c.settled_at.is_(None))
                .values(confirmed=True, outcome=outcome, settled_at=self._clock)
            )
            if not done.rowcount:
                return  # somebody else asked too, and kept it
            self._record(connection, call.rollout, flag, [event], None)
            connection.execute(
                update(rollouts)
                .where(rollouts.c.id == call.rollout, rollouts.c.live)
                .values(due_at=self._clock)
            )

    def refused(
        self, call: CallRow, flag: str, outcome: str, retry_in: float, event: Any | None
    ) -> None:
        """Keep why a service did not confirm, and ask it again later."""
        calls = self._calls
        with self.database.writing() as connection:
            kept = connection.execute(
                update(calls)
                .where(calls.c.id == call.id, calls.c.settled_at.is_(None))
                .values(outcome=outcome, due_at=self._clock + int(retry_in * _SECOND))
            )
            if kept.rowcount and event is not None:
                self._record(connection, call.rollout, flag, [event], None)

    def drop(self, call: CallRow) -> None:
        """Ask a service no more: its rollout does not stand at that door any longer."""
        calls = self._calls
        with self.database.writing() as connection:
            connection.execute(
                update(calls)
                .where(calls.c.id == call.id, calls.c.settled_at.is_(None))
                .values(settled_at=self._clock)
            )

    def put_off(self, call: CallRow, seconds: float) -> None:
        """Look at a call again later: its rollout is held by something else for now."""
        calls = self._calls
        with self.database.writing() as connection:
            connection.execute(
                update(calls)
                .where(calls.c.id == call.id, calls.c.settled_at.is_(None))
                .values(due_at=self._clock + int(seconds * _SECOND))
            )

    # Inside

    @property
    def _clock(self) -> ColumnElement[int]:
        return literal_column(f"({self.database.dialect.microseconds})", BigInteger)

    @property
    def _reading(self) -> Any:
        return select(self._calls, self._clock.label("now"))


def _signoff(row: Any) -> SignoffRow:
    return SignoffRow(
        id=row.id,
        rollout=row.rollout,
        digest=row.digest,
        kind=row.kind,
        name=row.name,
        step=row.step,
        since=row.since,
        given=bool(row.given),
        actor=row.actor,
        marked=bool(row.marked),
        under=tuple(json.loads(row.under)),
        reason=row.reason,
        at=row.at,
    )


def _call(row: Any) -> CallRow:
    return CallRow(
        id=row.id,
        rollout=row.rollout,
        digest=row.digest,
        hook=row.hook,
        step=row.step,
        since=row.since,
        attempts=row.attempts,
        outcome=row.outcome,
        confirmed=bool(row.confirmed),
        asked_at=row.asked_at,
        due_at=row.due_at,
        settled_at=row.settled_at,
        now=int(row.now),
    )
