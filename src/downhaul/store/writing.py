"""Writing into the tables: one transaction holds the row, the change, the revision and the news.

The environment's row is locked first, so the order of commits is the order of revisions, and a
reader that saw revision n has seen all before it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from downhaul.overlay import KillRecord, Scope
from downhaul.provider import Change
from downhaul.store.database import Database
from downhaul.store.reading import ALL_ENVIRONMENTS, kill_record

_FITS: Final = 7_900
"""Bytes of a NOTIFY payload that PostgreSQL takes (8000, less a little)."""


@dataclass(frozen=True, slots=True)
class Write:
    """One document to write: None deletes. ``before`` is what was there, for the history."""

    entity: str
    key: str
    action: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Turn:
    """A writer's turn in an environment: the revision it writes, its token, the one before it."""

    revision: int
    token: str
    previous: str


def take_turn(connection: Connection, database: Database, environment: str) -> Turn:
    """Lock the environment's row for this transaction, and raise its revision."""
    environments = database.tables.environments
    raised = (
        update(environments)
        .where(environments.c.name == environment)
        .values(
            revision=environments.c.revision + 1,
            previous=environments.c.token,
            token=uuid.uuid4().hex,
        )
        .returning(environments.c.revision, environments.c.token, environments.c.previous)
    )
    row = connection.execute(raised).first()
    if row is None:
        name = _name(environments)
        connection.execute(
            text(
                f"INSERT INTO {name} (name, revision, token, previous) VALUES (:name, 0, '', '') "  # noqa: S608  (our own table)
                "ON CONFLICT (name) DO NOTHING"
            ),
            {"name": environment},
        )
        row = connection.execute(raised).one()
    return Turn(*row)


def write_document(
    connection: Connection,
    database: Database,
    environment: str,
    turn: Turn,
    write: Write,
    change: Change,
) -> None:
    """Write a flag's or segment's row with its change, and tell the listeners at commit."""
    tables = database.tables
    table = tables.flags if write.entity == "flag" else tables.segments
    document = None if write.after is None else dumps(write.after)
    _upsert(
        connection,
        table,
        {"environment": environment, "key": write.key},
        {
            "version": turn.revision,
            "revision": turn.revision,
            "document": document,
            "updated_at": literal_column(database.dialect.now),
        },
    )
    record_change(connection, database, environment, write, change, str(turn.revision), turn.token)
    if database.dialect.notify:
        news = {
            "e": environment,
            "r": turn.revision,
            "n": turn.token,
            "p": turn.previous,
            "t": write.entity,
            "k": write.key,
        }
        _notify(connection, database, news, {"d": document})


def record_change(
    connection: Connection,
    database: Database,
    environment: str,
    write: Write,
    change: Change,
    version: str,
    token: str,
) -> None:
    """Append to the history (rule X4)."""
    connection.execute(
        insert(database.tables.changes).values(
            change_id=change.id,
            at=literal_column(database.dialect.now),
            environment=environment,
            entity=write.entity,
            key=write.key,
            action=write.action,
            actor=change.actor,
            marked=change.marked,
            reason=change.reason,
            before=None if write.before is None else dumps(write.before),
            after=None if write.after is None else dumps(write.after),
            version=version,
            token=token,
        )
    )


def write_kill(
    connection: Connection,
    database: Database,
    environment: str,
    scope: Scope,
    change: Change,
    *,
    killed: bool,
    lift_others: bool,
    waits: bool,
    told_in: str,
) -> KillRecord:
    """Write a word of the register; one that is the store's last word already is no change.

    A new word is announced in the same transaction, to the people of the environment ``told_in``;
    not that of a drill's switch, which takes nothing from anybody. A kill that stands is said
    again, though, under a new sequence: in a store restored from an old backup it stands without
    anybody following it who knows of a later revive.
    """
    kills = database.tables.kills
    identity = lock_kills(connection, database)
    last = connection.execute(
        select(kills).where(kills.c.environment == environment, kills.c.scope == str(scope))
    ).first()
    known = None if last is None else kill_record(last._mapping, identity)  # noqa: SLF001
    stands = known is not None and known.killed is killed and not lift_others
    if known is not None and stands and not killed:
        return known
    highest = select(func.coalesce(func.max(kills.c.sequence), 0) + 1).scalar_subquery()
    clock: ColumnElement[int] = literal_column(database.dialect.microseconds)
    stamp: ColumnElement[str] = literal_column(database.dialect.now)
    floor, now, at = connection.execute(select(highest, clock, stamp)).one()
    sequence = max(int(floor), int(now))
    if known is not None and stands:
        return _said_again(connection, database, environment, replace(known, sequence=sequence))
    lifts = sequence if lift_others and not killed else (0 if known is None else known.lifts)
    record = KillRecord(
        scope,
        sequence,
        killed,
        change.actor,
        change.reason,
        at,
        environment,
        identity,
        lifts,
        waits=waits and not killed,
    )
    _upsert(
        connection,
        kills,
        {"environment": environment, "scope": str(scope)},
        {
            "sequence": sequence,
            "killed": killed,
            "actor": change.actor,
            "reason": change.reason,
            "at": at,
            "lifts": lifts,
            "waits": record.waits,
        },
    )
    write = Write(
        "kill",
        str(scope),
        "kill" if killed else "revive",
        None if known is None else known.as_mapping(),
        record.as_mapping(),
    )
    record_change(connection, database, environment, write, change, str(sequence), uuid.uuid4().hex)
    if not scope.is_drill:
        announce(connection, database, told_in, _announcement(write, record, change))
    _tell_kill(connection, database, environment, record)
    return record


def _said_again(
    connection: Connection, database: Database, environment: str, record: KillRecord
) -> KillRecord:
    kills = database.tables.kills
    connection.execute(
        update(kills)
        .where(kills.c.environment == environment, kills.c.scope == str(record.scope))
        .values(sequence=record.sequence)
    )
    _tell_kill(connection, database, environment, record)
    return record


def lock_kills(connection: Connection, database: Database) -> str:
    """Take the turn of whoever writes kills, for this transaction; return the store's identity."""
    # The store's row is the lock of all kills: writers of flags never wait for it, nor it for them.
    lock = select(database.tables.store.c.identity)
    if database.dialect.notify:
        lock = lock.with_for_update()
    return str(connection.execute(lock).scalar_one())


def lift_kill(
    connection: Connection,
    database: Database,
    kill: KillRecord,
    change: Change,
    *,
    waits: bool,
    told_in: str,
) -> KillRecord | None:
    """Write the revive of ``kill``, if that very word is still the store's last on its scope.

    ``told_in`` is the environment whose people hear of it. None where it was lifted, or said again,
    meanwhile: then nothing is written.
    """
    kills = database.tables.kills
    lock_kills(connection, database)
    stands = select(kills.c.sequence).where(
        kills.c.environment == kill.environment,
        kills.c.scope == str(kill.scope),
        kills.c.sequence == kill.sequence,
        kills.c.killed,
    )
    if connection.execute(stands).first() is None:
        return None
    return write_kill(
        connection,
        database,
        kill.environment,
        kill.scope,
        change,
        killed=False,
        lift_others=False,
        waits=waits,
        told_in=told_in,
    )


def announce(
    connection: Connection, database: Database, environment: str, event: Mapping[str, Any]
) -> None:
    """Leave an event to be told to people, by whoever delivers for the environment.

    ``id`` tells twins; one is made up where the event has none.
    """
    now: ColumnElement[int] = literal_column(f"({database.dialect.microseconds})", BigInteger)
    connection.execute(
        insert(database.tables.outbox).values(
            environment=environment,
            event=dumps({"id": uuid.uuid4().hex, **event}),
            at=now,
            due_at=now,
            attempts=0,
        )
    )


def _announcement(write: Write, record: KillRecord, change: Change) -> dict[str, Any]:
    return {
        "id": change.id,
        "what": "killed" if record.killed else "revived",
        "subject": write.key,
        "actor": record.actor,
        "reason": record.reason,
        "environment": record.environment,
        "at": record.at,
        "before": write.before or {},
        "detail": write.after,
    }


def _tell_kill(
    connection: Connection, database: Database, environment: str, record: KillRecord
) -> None:
    if database.dialect.notify:
        _notify(connection, database, {"e": environment, "t": "kill"}, {"d": record.as_mapping()})


def environment_of_kill(environment: str, *, everywhere: bool) -> str:
    """Return the environment that a kill's row speaks for."""
    return ALL_ENVIRONMENTS if everywhere else environment


def dumps(document: Mapping[str, Any]) -> str:
    """Encode a document as it is kept. Infinity and NaN, which JSON lacks, raise ValueError."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _notify(
    connection: Connection, database: Database, news: dict[str, Any], whole: dict[str, Any]
) -> None:
    payload = json.dumps({**news, **whole}, separators=(",", ":"))
    if len(payload) > _FITS:  # ASCII: json escapes the rest
        payload = json.dumps(news, separators=(",", ":"))
    connection.execute(
        text("SELECT pg_notify(:channel, :payload)"),
        {"channel": database.channel, "payload": payload},
    )


def _upsert(
    connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]
) -> None:
    """Write a row by its primary key. The caller holds the lock under which nobody else does."""
    match = [table.c[name] == bindparam(f"k_{name}", value) for name, value in key.items()]
    done = connection.execute(update(table).where(*match).values(**values))
    if not done.rowcount:
        connection.execute(insert(table).values(**key, **values))


def _name(table: Table) -> str:
    return f'"{table.schema}"."{table.name}"' if table.schema else f'"{table.name}"'
