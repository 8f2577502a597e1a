"""Rollouts in a SQL database: rows, leases with a fencing token, commands, intents, announcements.

Every time is the database's own (rule X3). A controller claims due rows for a while (a lease) under
a number that only rises (the epoch). Whatever it saves names its epoch, so one that was stopped,
outlived its lease and woke up again changes nothing: its save meets no row.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from downhaul.errors import FlagNotFound, ProviderError, Refused, VersionConflict
from downhaul.provider import Change, ChangeRecord
from downhaul.store import reading
from downhaul.store.database import Database
from downhaul.store.gates import GateStore, NewCall
from downhaul.store.looks import Looks
from downhaul.store.outbox import Announcement, Outbox
from downhaul.store.writing import Write, announce, dumps, record_change

ENTITY: Final = "rollout"
"""What a rollout's events are called in the history."""

REHEARSAL: Final = "rehearsal"
"""What rehearsals of a flag's way back are called there."""

_SECOND: Final = 1_000_000
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_ASTRAY: Final = 60  # seconds ahead of the clock from which a row was written by another clock
_ABANDONED: Final = 24 * 3600  # seconds after which a controller's row is swept away


MISSING: Final = "missing"
"""The state of an intent that was sent, for all that is known, and was not seen to arrive.

A request may wait for minutes in a network after whoever sent it is gone: it may arrive yet.
"""


class LeaseLost(ProviderError):
    """Another controller holds the rollout by now. Nothing was written."""


ALIVE: Final = 20.0
"""Seconds for which a controller's heartbeat speaks."""


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """A rollout as it is kept. Documents are JSON data, times microseconds since 1970."""

    id: str
    environment: str
    provider: str
    flag: str
    variant: str
    plan: Mapping[str, Any]
    digest: str
    snapshot: Mapping[str, Any]
    state: Mapping[str, Any]
    evidence: Mapping[str, Any]
    phase: str
    live: bool
    revision: int
    due_at: int
    lease_owner: str
    lease_until: int
    epoch: int
    created_at: int
    updated_at: int
    actor: str
    marked: bool
    reason: str


@dataclass(frozen=True, slots=True)
class NewRollout:
    """What a new rollout's row holds."""

    provider: str
    flag: str
    variant: str
    plan: Mapping[str, Any]
    digest: str
    snapshot: Mapping[str, Any]
    state: Mapping[str, Any]
    phase: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A controller's right to move one rollout, until the lease ends or somebody claims it."""

    row: RolloutRow
    owner: str
    epoch: int
    now: int


@dataclass(frozen=True, slots=True)
class CommandRow:
    """What a person asked, and at which step they asked it."""

    id: int
    rollout: str
    verb: str
    step: int
    options: Mapping[str, Any]
    actor: str
    marked: bool
    reason: str
    at: int
    done_at: int | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened to a rollout, for the history; ``announce`` sends it to people."""

    action: str
    actor: str
    reason: str
    detail: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    announce: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class IntentRow:
    """What is about to be written at a provider."""

    id: str
    rollout: str
    epoch: int
    operation: str
    detail: Mapping[str, Any]
    state: str
    attempts: int
    at: int


@dataclass(frozen=True, slots=True)
class Save:
    """A rollout's next state, with all that is committed beside it.

    ``due_in`` is in seconds from the database's now. ``done`` maps commands to their outcome,
    ``settled`` intents to ``confirmed``, ``superseded`` (it was not sent) or ``missing``. ``keep``
    holds on to the lease. ``look`` is what it was decided on (:mod:`downhaul.store.looks`),
    ``calls`` are services that are to be asked from now on.
    """

    state: Mapping[str, Any]
    phase: str
    live: bool
    due_in: float
    evidence: Mapping[str, Any] | None = None
    events: Sequence[EventRow] = ()
    done: Mapping[int, str] = field(default_factory=dict)
    settled: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False
    look: Mapping[str, Any] | None = None
    calls: Sequence[NewCall] = ()


class RolloutStore:
    """Rollouts of one environment."""

    def __init__(self, database: Database, environment: str) -> None:
        self.database = database
        self.environment = environment
        self.looks = Looks(database)
        self._tables = database.tables
        self.outbox = Outbox(database, environment, lambda: self.controllers(ALIVE))
        """What waits to be told to people."""
        self.gates = GateStore(database, environment, self._record)

    def now(self) -> int:
        """Return the database's time in microseconds since 1970."""
        return int(self.database.scalar(self.database.dialect.microseconds))

    # Rollouts

    def create(self, new: NewRollout, change: Change, event: EventRow) -> RolloutRow:
        """Write a new rollout, due at once. Raises Refused where the flag has a live one."""
        rollout = uuid.uuid4().hex[:10]
        try:
            with self.database.writing() as connection:
                connection.execute(
                    insert(self._tables.rollouts).values(
                        id=rollout,
                        environment=self.environment,
                        provider=new.provider,
                        flag=new.flag,
                        variant=new.variant,
                        plan=dumps(new.plan),
                        digest=new.digest,
                        snapshot=dumps(new.snapshot),
                        state=dumps(new.state),
                        evidence=dumps({}),
                        phase=new.phase,
                        live=True,
                        revision=1,
                        due_at=self._clock,
                        lease_owner="",
                        lease_until=0,
                        epoch=0,
                        created_at=self._clock,
                        updated_at=self._clock,
                        actor=change.actor,
                        marked=change.marked,
                        reason=change.reason,
                    )
                )
                self._record(connection, rollout, new.flag, [event], change)
        except ProviderError as error:
            live = self.live_of(new.flag, new.provider)
            if live is None:
                raise
            raise _already_live(live) from error
        return self.existing(rollout)

    def reopen(
        self, rollout: str, revision: int, state: Mapping[str, Any], phase: str, event: EventRow
    ) -> None:
        """Make an ended rollout live again, to be taken back. Raises Refused, VersionConflict."""
        rollouts = self._tables.rollouts
        row = self.existing(rollout)
        try:
            with self.database.writing() as connection:
                done = connection.execute(
                    update(rollouts)
                    .where(rollouts.c.id == rollout, rollouts.c.revision == revision)
                    .where(~rollouts.c.live)
                    .values(
                        state=dumps(state),
                        phase=phase,
                        live=True,
                        revision=rollouts.c.revision + 1,
                        due_at=self._clock,
                        updated_at=self._clock,
                    )
                )
                if done.rowcount:
                    self._record(connection, rollout, row.flag, [event])
        except ProviderError as error:
            live = self.live_of(row.flag, row.provider)
            if live is None:
                raise
            raise _already_live(live) from error
        if not done.rowcount:
            message = f"rollout {rollout} moved on meanwhile"
            raise VersionConflict(message, hint="look again: `rollout status`", flag=row.flag)

    def get(self, rollout: str) -> RolloutRow | None:
        """Return a rollout, or None."""
        with self.database.reading() as connection:
            return self._first(connection, self._tables.rollouts.c.id == rollout)

    def existing(self, rollout: str) -> RolloutRow:
        """Return a rollout. Raises FlagNotFound."""
        row = self.get(rollout)
        if row is None:
            message = f'no rollout "{rollout}" in {self.database.safe_url} ({self.environment})'
            raise FlagNotFound(message, hint="`rollout list` shows what there is")
        return row

    def live_of(self, flag: str, provider: str | None = None) -> RolloutRow | None:
        """Return the flag's live rollout, or None."""
        rollouts = self._tables.rollouts
        with self.database.reading() as connection:
            query = and_(
                rollouts.c.environment == self.environment, rollouts.c.flag == flag, rollouts.c.live
            )
            if provider is not None:
                query = and_(query, rollouts.c.provider == provider)
            return self._first(connection, query)

    def latest_of(self, flag: str) -> RolloutRow | None:
        """Return the flag's newest rollout, live or not, or None."""
        rollouts = self._tables.rollouts
        with self.database.reading() as connection:
            return self._first(
                connection,
                and_(rollouts.c.environment == self.environment, rollouts.c.flag == flag),
            )

    def newest(self, *, live: bool = False, limit: int = 50) -> list[RolloutRow]:
        """Return the newest rollouts first."""
        rollouts = self._tables.rollouts
        query = select(rollouts).where(rollouts.c.environment == self.environment)
        if live:
            query = query.where(rollouts.c.live)
        query = query.order_by(rollouts.c.created_at.desc()).limit(limit)
        with self.database.reading() as connection:
            return [_row(one._mapping) for one in connection.execute(query)]  # noqa: SLF001

    # Leases

    def claim(
        self,
        owner: str,
        *,
        lease: float,
        limit: int,
        provider: str,
        only: str | None = None,
    ) -> tuple[Claim, ...]:
        """Take due rollouts that nobody holds, for ``lease`` seconds; ``only`` one, due or not.

        A lease that ran out is nobody's. Two controllers never claim the same one: rows that
        another is claiming right now are skipped.
        """
        rollouts = self._tables.rollouts
        # Written in the future: the database's clock went back (another server took over), and
        # leases and due times of then say nothing.
        astray = rollouts.c.updated_at > self._clock + _ASTRAY * _SECOND
        free = or_(
            rollouts.c.lease_owner.in_(("", owner)),
            rollouts.c.lease_until <= self._clock,
            astray,
        )
        candidates = select(rollouts.c.id).where(
            rollouts.c.live,
            rollouts.c.environment == self.environment,
            rollouts.c.provider == provider,
            free,
        )
        if only is None:
            candidates = candidates.where(or_(rollouts.c.due_at <= self._clock, astray))
        else:
            candidates = candidates.where(rollouts.c.id == only)
        candidates = candidates.order_by(rollouts.c.due_at).limit(limit)
        with self.database.reading() as connection:
            # Mostly nothing is due, and a look takes no lock and moves no file.
            if connection.execute(candidates).first() is None:
                return ()
        if self.database.dialect.notify:
            candidates = candidates.with_for_update(skip_locked=True)
        with self.database.writing() as connection:
            ids = [one.id for one in connection.execute(candidates)]
            if not ids:
                return ()
            taken = connection.execute(
                update(rollouts)
                .where(rollouts.c.id.in_(ids))
                .values(
                    lease_owner=owner,
                    lease_until=self._clock + int(lease * _SECOND),
                    epoch=rollouts.c.epoch + 1,
                )
                .returning(*rollouts.c, self._clock.label("now"))
            )
            return tuple(
                Claim(_row(one._mapping), owner, one.epoch, int(one.now))  # noqa: SLF001
                for one in taken
            )

    def renew(self, claim: Claim, lease: float) -> None:
        """Hold a claim for another ``lease`` seconds. Raises LeaseLost."""
        rollouts = self._tables.rollouts
        with self.database.writing() as connection:
            done = connection.execute(
                update(rollouts)
                .where(rollouts.c.id == claim.row.id, rollouts.c.epoch == claim.epoch)
                .values(lease_until=self._clock + int(lease * _SECOND))
            )
            if not done.rowcount:
                raise _lost(claim)

    def release(self, claims: Iterable[Claim], *, due_in: float | None = None) -> None:
        """Give claims back unchanged, so that another controller need not wait for the lease.

        With ``due_in``, nobody looks at them for so many seconds.
        """
        rollouts = self._tables.rollouts
        values: dict[str, Any] = {"lease_owner": "", "lease_until": 0}
        if due_in is not None:
            values["due_at"] = self._clock + int(due_in * _SECOND)
        with self.database.writing() as connection:
            for claim in sorted(claims, key=lambda one: one.row.id):
                connection.execute(
                    update(rollouts)
                    .where(rollouts.c.id == claim.row.id, rollouts.c.epoch == claim.epoch)
                    .values(**values)
                )

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[Connection]:
        """Give a transaction in which the claim is known to hold, and can't be taken away.

        What is written at a provider through :meth:`SqlProvider.within` and what :meth:`save_in`
        writes are one. Raises LeaseLost.
        """
        rollouts = self._tables.rollouts
        with self.database.writing() as connection:
            held = connection.execute(
                update(rollouts)
                .where(rollouts.c.id == claim.row.id, rollouts.c.epoch == claim.epoch)
                .values(revision=rollouts.c.revision + 1)
            )
            if not held.rowcount:
                raise _lost(claim)
            yield connection

    def save(self, claim: Claim, save: Save) -> None:
        """Commit a rollout's next state. Raises LeaseLost, and nothing is written."""
        with self.database.writing() as connection:
            self.save_in(connection, claim, save)

    def save_all(self, saves: Sequence[tuple[Claim, Save]]) -> frozenset[str]:
        """Commit several rollouts' next states at once; return the ids of those that were lost."""
        lost = set()
        with self.database.writing() as connection:
            for claim, save in sorted(saves, key=lambda one: one[0].row.id):
                try:
                    self.save_in(connection, claim, save)
                except LeaseLost:  # its update met no row, and nothing of it was written
                    lost.add(claim.row.id)
        return frozenset(lost)

    def save_in(self, connection: Connection, claim: Claim, save: Save) -> None:
        """Write a rollout's next state within a transaction. Raises LeaseLost."""
        rollouts = self._tables.rollouts
        # A command or a kill that came after the claim made it due, and was not looked at yet.
        hurried = and_(rollouts.c.due_at > claim.row.due_at, rollouts.c.due_at <= self._clock)
        values: dict[str, Any] = {
            "state": dumps(save.state),
            "phase": save.phase,
            "live": save.live,
            "revision": rollouts.c.revision + 1,
            "due_at": case(
                (hurried, rollouts.c.due_at), else_=self._clock + int(save.due_in * _SECOND)
            ),
            "updated_at": self._clock,
        }
        if save.evidence is not None:
            values["evidence"] = dumps(save.evidence)
        if not save.keep:
            values |= {"lease_owner": "", "lease_until": 0}
        done = connection.execute(
            update(rollouts)
            .where(rollouts.c.id == claim.row.id, rollouts.c.epoch == claim.epoch)
            .values(**values)
        )
        if not done.rowcount:
            raise _lost(claim)
        commands, intents = self._tables.commands, self._tables.intents
        for command, outcome in save.done.items():
            connection.execute(
                update(commands)
                .where(commands.c.id == command)
                .values(done_at=self._clock, outcome=outcome)
            )
        for intent, state in save.settled.items():
            connection.execute(
                update(intents)
                .where(intents.c.id == intent)
                .values(state=state, settled_at=self._clock)
            )
        if save.look is not None:
            self.looks.record(connection, claim.row.id, save.look)
        self.gates.ask(connection, claim.row, save.calls)
        self._record(connection, claim.row.id, claim.row.flag, save.events)

    # Commands and intents

    def hurry(self, flag: str | None = None) -> None:
        """Make live rollouts due at once: a flag's, or all of them."""
        rollouts = self._tables.rollouts
        wanted = and_(rollouts.c.live, rollouts.c.environment == self.environment)
        if flag is not None:
            wanted = and_(wanted, rollouts.c.flag == flag)
        with self.database.reading() as connection:
            if connection.execute(select(rollouts.c.id).where(wanted).limit(1)).first() is None:
                return
        with self.database.writing() as connection:
            if self.database.dialect.notify:
                # In the order in which controllers save theirs, so that neither waits in a circle.
                rows = select(rollouts.c.id).where(wanted).order_by(rollouts.c.id)
                connection.execute(rows.with_for_update()).all()
            connection.execute(update(rollouts).where(wanted).values(due_at=self._clock))

    def command(
        self, rollout: str, verb: str, step: int, options: Mapping[str, Any], change: Change
    ) -> int:
        """Append what a person asks, and make the rollout due at once. Returns its number."""
        commands, rollouts = self._tables.commands, self._tables.rollouts
        with self.database.writing() as connection:
            number = connection.execute(
                insert(commands)
                .values(
                    rollout=rollout,
                    verb=verb,
                    step=step,
                    options=dumps(options),
                    actor=change.actor,
                    marked=change.marked,
                    reason=change.reason,
                    at=self._clock,
                    outcome="",
                )
                .returning(commands.c.id)
            ).scalar_one()
            connection.execute(
                update(rollouts).where(rollouts.c.id == rollout).values(due_at=self._clock)
            )
            return int(number)

    def commands(self, ids: Iterable[str]) -> dict[str, list[CommandRow]]:
        """Return what was asked of these rollouts and nobody has taken yet, the oldest first."""
        commands = self._tables.commands
        wanted = list(ids)
        query = (
            select(commands)
            .where(commands.c.rollout.in_(wanted), commands.c.done_at.is_(None))
            .order_by(commands.c.id)
        )
        found: dict[str, list[CommandRow]] = {one: [] for one in wanted}
        with self.database.reading() as connection:
            for one in connection.execute(query):
                found[one.rollout].append(_command(one._mapping))  # noqa: SLF001
        return found

    def command_done(self, number: int) -> CommandRow | None:
        """Return a command as it stands, or None where there is none of this number."""
        commands = self._tables.commands
        with self.database.reading() as connection:
            found = connection.execute(select(commands).where(commands.c.id == number)).first()
        return None if found is None else _command(found._mapping)  # noqa: SLF001

    def dismiss(self, number: int, outcome: str) -> None:
        """Settle a command that no controller will take, because its rollout has ended."""
        commands = self._tables.commands
        with self.database.writing() as connection:
            connection.execute(
                update(commands)
                .where(commands.c.id == number, commands.c.done_at.is_(None))
                .values(done_at=self._clock, outcome=outcome)
            )

    def intend(self, claim: Claim, operation: str, detail: Mapping[str, Any]) -> str:
        """Write down what is about to be sent, and return the intent's id. Raises LeaseLost."""
        intents = self._tables.intents
        intent = uuid.uuid4().hex
        with self.holding(claim) as connection:
            connection.execute(
                insert(intents).values(
                    id=intent,
                    rollout=claim.row.id,
                    epoch=claim.epoch,
                    operation=operation,
                    detail=dumps(detail),
                    state="sent",
                    attempts=1,
                    at=self._clock,
                )
            )
        return intent

    def intents(
        self, rollout: str, *, unsettled: bool = False, missing: bool = False
    ) -> list[IntentRow]:
        """Return a rollout's intents, the oldest first; with ``missing``, those that may arrive."""
        intents = self._tables.intents
        query = select(intents).where(intents.c.rollout == rollout).order_by(intents.c.at)
        if missing:
            query = query.where(or_(intents.c.settled_at.is_(None), intents.c.state == MISSING))
        elif unsettled:
            query = query.where(intents.c.settled_at.is_(None))
        with self.database.reading() as connection:
            return [
                IntentRow(
                    one.id,
                    one.rollout,
                    one.epoch,
                    one.operation,
                    _document(one.detail),
                    one.state,
                    one.attempts,
                    one.at,
                )
                for one in connection.execute(query)
            ]

    def unsure(self, provider: str, within: float) -> list[str]:
        """Return rollouts that ended within so many seconds, and of which a write may yet arrive.

        What was about to be sent when a controller ended counts, whether it was sent or not.
        """
        rollouts, intents = self._tables.rollouts, self._tables.intents
        since = self._clock - int(within * _SECOND)
        late = or_(intents.c.settled_at.is_(None), intents.c.state == MISSING)
        query = select(rollouts.c.id).where(
            rollouts.c.environment == self.environment,
            rollouts.c.provider == provider,
            ~rollouts.c.live,
            rollouts.c.updated_at >= since,
            select(intents.c.id).where(intents.c.rollout == rollouts.c.id, late).exists(),
        )
        with self.database.reading() as connection:
            return [one.id for one in connection.execute(query)]

    def settle_late(self, row: RolloutRow, found: Iterable[str], event: EventRow) -> bool:
        """Note that writes of an ended rollout arrived, and what came of it.

        Returns False, and notes nothing, where another controller did so first.
        """
        intents = self._tables.intents
        with self.database.writing() as connection:
            settled = connection.execute(
                update(intents)
                .where(intents.c.id.in_(list(found)))
                .where(or_(intents.c.settled_at.is_(None), intents.c.state == MISSING))
                .values(state="confirmed", settled_at=self._clock)
            )
            if settled.rowcount:
                self._record(connection, row.id, row.flag, [event])
        return bool(settled.rowcount)

    def note_intent(
        self, connection: Connection, claim: Claim, intent: str, operation: str, detail: Any
    ) -> None:
        """Write an intent that is confirmed by the transaction that it is part of."""
        connection.execute(
            insert(self._tables.intents).values(
                id=intent,
                rollout=claim.row.id,
                epoch=claim.epoch,
                operation=operation,
                detail=dumps(detail),
                state="confirmed",
                attempts=1,
                at=self._clock,
                settled_at=self._clock,
            )
        )

    # Events and announcements

    def record_rehearsal(self, flag: str, detail: Mapping[str, Any], change: Change) -> None:
        """Append that the way back of a flag was rehearsed, and what was found."""
        with self.database.writing() as connection:
            write = Write(REHEARSAL, flag, "rehearsed", None, detail)
            record_change(
                connection, self.database, self.environment, write, change, "", uuid.uuid4().hex
            )

    def rehearsals(self, flag: str, *, limit: int = 20) -> list[ChangeRecord]:
        """Return the rehearsals of a flag, the newest first."""
        with self.database.reading() as connection:
            return reading.history(
                connection, self._tables, self.environment, (REHEARSAL,), flag, limit, None
            )

    def events(self, rollout: str, *, limit: int = 200) -> list[ChangeRecord]:
        """Return a rollout's newest events, the oldest of them first."""
        with self.database.reading() as connection:
            found = reading.history(
                connection, self._tables, self.environment, (ENTITY,), rollout, limit, None
            )
        return found[::-1]

    def announcements(self, limit: int = 50) -> list[Announcement]:
        """Return announcements that are not settled, the oldest first."""
        return self.outbox.waiting(limit)

    # Controllers

    def beat(self, owner: str, host: str, pid: int, version: str) -> None:
        """Say that a controller is alive."""
        controllers = self._tables.controllers
        with self.database.writing() as connection:
            seen = connection.execute(
                update(controllers)
                .where(controllers.c.owner == owner)
                .values(seen_at=self._clock, environment=self.environment)
            )
            if not seen.rowcount:
                connection.execute(
                    delete(controllers).where(
                        controllers.c.seen_at < self._clock - _ABANDONED * _SECOND
                    )
                )
                connection.execute(
                    insert(controllers).values(
                        owner=owner,
                        environment=self.environment,
                        host=host,
                        pid=pid,
                        version=version,
                        started_at=self._clock,
                        seen_at=self._clock,
                    )
                )

    def leave(self, owner: str) -> None:
        """Say that a controller has ended."""
        controllers = self._tables.controllers
        with self.database.writing() as connection:
            connection.execute(delete(controllers).where(controllers.c.owner == owner))

    def controllers(self, within: float) -> int:
        """Return how many controllers of this environment were seen within so many seconds."""
        controllers = self._tables.controllers
        query = (
            select(func.count())
            .select_from(controllers)
            .where(
                controllers.c.environment == self.environment,
                controllers.c.seen_at >= self._clock - int(within * _SECOND),
            )
        )
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    # Inside

    @property
    def _clock(self) -> ColumnElement[int]:
        clock: ColumnElement[int] = literal_column(
            f"({self.database.dialect.microseconds})", BigInteger
        )
        return clock

    def _first(self, connection: Connection, condition: ColumnElement[bool]) -> RolloutRow | None:
        rollouts = self._tables.rollouts
        query = select(rollouts).where(condition).order_by(rollouts.c.created_at.desc()).limit(1)
        found = connection.execute(query).first()
        return None if found is None else _row(found._mapping)  # noqa: SLF001

    def _record(
        self,
        connection: Connection,
        rollout: str,
        flag: str,
        events: Sequence[EventRow],
        change: Change | None = None,
    ) -> None:
        for event in events:
            detail = {"flag": flag, "rollout": rollout, **event.detail}
            by = change or Change(event.actor, event.reason, marked=event.marked)
            write = Write(ENTITY, rollout, event.action, None, detail)
            record_change(
                connection, self.database, self.environment, write, by, "", uuid.uuid4().hex
            )
            if event.announce:
                told = {
                    "what": event.action,
                    "subject": flag,
                    "actor": by.actor,
                    "reason": by.reason,
                    "environment": self.environment,
                    "detail": detail,
                }
                announce(connection, self.database, self.environment, told)


def _row(row: Mapping[Any, Any]) -> RolloutRow:
    return RolloutRow(
        id=row["id"],
        environment=row["environment"],
        provider=row["provider"],
        flag=row["flag"],
        variant=row["variant"],
        plan=_document(row["plan"]),
        digest=row["digest"],
        snapshot=_document(row["snapshot"]),
        state=_document(row["state"]),
        evidence=_document(row["evidence"]),
        phase=row["phase"],
        live=bool(row["live"]),
        revision=row["revision"],
        due_at=row["due_at"],
        lease_owner=row["lease_owner"],
        lease_until=row["lease_until"],
        epoch=row["epoch"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        actor=row["actor"],
        marked=bool(row["marked"]),
        reason=row["reason"],
    )


def _document(text: str) -> Mapping[str, Any]:
    """Decode a document. One that somebody broke by hand spoils its own rollout, and no other."""
    try:
        document = json.loads(text)
    except ValueError:
        return {"unreadable": text}
    return document if isinstance(document, dict) else {"unreadable": text}


def _command(row: Mapping[Any, Any]) -> CommandRow:
    return CommandRow(
        id=row["id"],
        rollout=row["rollout"],
        verb=row["verb"],
        step=row["step"],
        options=_document(row["options"]),
        actor=row["actor"],
        marked=bool(row["marked"]),
        reason=row["reason"],
        at=row["at"],
        done_at=row["done_at"],
        outcome=row["outcome"],
    )


def _lost(claim: Claim) -> LeaseLost:
    return LeaseLost(
        f"rollout {claim.row.id} is another controller's by now: epoch {claim.epoch} is over",
        hint="nothing to do: the other one goes on with it",
        flag=claim.row.flag,
    )


def _already_live(row: RolloutRow) -> Refused:
    return Refused(
        f'"{row.flag}" has a live rollout already: {row.id} ({row.phase})',
        hint=f"see `rollout status {row.id}`; roll it back or cancel it first",
        flag=row.flag,
    )
