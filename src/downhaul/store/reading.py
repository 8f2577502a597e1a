"""Reading flags, segments, kills and the history out of the tables."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, func, literal, null, or_, select, union_all
from sqlalchemy.sql import Select

from downhaul.encoding import flag_from_data, segment_from_data
from downhaul.flag import Flag, Segment
from downhaul.overlay import KillRecord, Scope
from downhaul.provider import ChangeRecord, ChangeRecords, FlagSet
from downhaul.store.tables import Tables

_log: Final = logging.getLogger("downhaul.store")
ALL_ENVIRONMENTS: Final = "*"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has come: the store, its environment's revision, its kills' sequence."""

    identity: str = ""
    revision: int = -1
    kills: int = -1


@dataclass(frozen=True, slots=True)
class Rows:
    """What changed since a revision; None stands for removed. ``broken`` rows could not be read."""

    revision: int
    flags: Mapping[str, Flag | None]
    segments: Mapping[str, Segment | None]
    broken: Mapping[str, str]


def position(connection: Connection, tables: Tables, environment: str) -> Position:
    """Return where the store stands, in one statement."""
    revision = (
        select(tables.environments.c.revision)
        .where(tables.environments.c.name == environment)
        .scalar_subquery()
    )
    kills = (
        select(func.max(tables.kills.c.sequence))
        .where(tables.kills.c.environment.in_([environment, ALL_ENVIRONMENTS]))
        .scalar_subquery()
    )
    row = connection.execute(select(tables.store.c.identity, revision, kills).limit(1)).first()
    if row is None:
        return Position()
    identity, at, sequence = row
    return Position(identity, 0 if at is None else at, 0 if sequence is None else sequence)


def rows_since(connection: Connection, tables: Tables, environment: str, revision: int) -> Rows:
    """Return flags and segments written after ``revision``, in one statement: one snapshot."""
    found = connection.execute(
        union_all(
            _written(tables.flags, "flag", environment, revision),
            _written(tables.segments, "segment", environment, revision),
            select(
                literal("revision"),
                literal(""),
                tables.environments.c.revision,
                null(),
            ).where(tables.environments.c.name == environment),
        )
    )
    flags: dict[str, Flag | None] = {}
    segments: dict[str, Segment | None] = {}
    broken: dict[str, str] = {}
    newest = 0
    for what, key, version, document in found:
        if what == "revision":
            newest = version
            continue
        try:
            if what == "flag":
                flags[key] = read_flag(document, version)
            else:
                segments[key] = read_segment(document, version)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # A row edited by hand must not take the others with it.
            broken[f"{what} {key}"] = f"{type(error).__name__}: {error}"
            _log.error("the row of %s %r can't be read: %s", what, key, error)
    return Rows(newest, flags, segments, broken)


def _written(table: Any, what: str, environment: str, revision: int) -> Select[Any]:
    return select(literal(what), table.c.key, table.c.version, table.c.document).where(
        table.c.environment == environment, table.c.revision > revision
    )


def flag_set(connection: Connection, tables: Tables, environment: str) -> FlagSet:
    """Return all flags and segments that are there now."""
    rows = rows_since(connection, tables, environment, -1)
    return FlagSet(
        {key: one for key, one in rows.flags.items() if one is not None},
        {key: one for key, one in rows.segments.items() if one is not None},
        str(rows.revision),
    )


def flag_of(connection: Connection, tables: Tables, environment: str, key: str) -> Flag | None:
    """Return one flag as it is kept now, or None."""
    row = _row(connection, tables.flags, environment, key)
    return None if row is None else read_flag(row.document, row.version)


def segment_of(
    connection: Connection, tables: Tables, environment: str, key: str
) -> Segment | None:
    """Return one segment as it is kept now, or None."""
    row = _row(connection, tables.segments, environment, key)
    return None if row is None else read_segment(row.document, row.version)


def _row(connection: Connection, table: Any, environment: str, key: str) -> Any:
    return connection.execute(
        select(table.c.document, table.c.version).where(
            table.c.environment == environment, table.c.key == key
        )
    ).first()


def read_flag(document: str | None, version: int) -> Flag | None:
    """Decode a flag's row. It was checked when it was written, and is not checked again."""
    if document is None:
        return None
    return replace(flag_from_data(json.loads(document)), version=str(version))


def read_segment(document: str | None, version: int) -> Segment | None:
    """Decode a segment's row."""
    if document is None:
        return None
    return replace(segment_from_data(json.loads(document)), version=str(version))


def kill_records(
    connection: Connection, tables: Tables, environment: str, identity: str, after: int = -1
) -> list[KillRecord]:
    """Return the words of the register for an environment, and for all, above a sequence."""
    kills = tables.kills
    found = connection.execute(
        select(kills).where(
            kills.c.environment.in_([environment, ALL_ENVIRONMENTS]), kills.c.sequence > after
        )
    )
    return [kill_record(row._mapping, identity) for row in found]  # noqa: SLF001  (SQLAlchemy's API)


def kill_record(row: Mapping[Any, Any], identity: str) -> KillRecord:
    """Decode a row of the register."""
    return KillRecord(
        scope=Scope.parse(row["scope"]),
        sequence=row["sequence"],
        killed=bool(row["killed"]),
        actor=row["actor"],
        reason=row["reason"],
        at=row["at"],
        environment=row["environment"],
        store=identity,
        lifts=row["lifts"],
    )


def history(
    connection: Connection,
    tables: Tables,
    environment: str,
    entities: tuple[str, ...],
    key: str | None,
    limit: int,
    before: int | None,
) -> ChangeRecords:
    """Return the newest changes first; ``before`` is an id to page from."""
    changes = tables.changes
    query = (
        select(changes)
        .where(
            or_(changes.c.environment == environment, changes.c.environment == ALL_ENVIRONMENTS),
            changes.c.entity.in_(entities),
        )
        .order_by(changes.c.id.desc())
        .limit(limit)
    )
    if key is not None:
        query = query.where(changes.c.key == key)
    if before is not None:
        query = query.where(changes.c.id < before)
    return [
        ChangeRecord(
            id=row.id,
            change_id=row.change_id,
            at=row.at,
            environment=row.environment,
            entity=row.entity,
            key=row.key,
            action=row.action,
            actor=row.actor,
            marked=bool(row.marked),
            reason=row.reason,
            before=_document(row.before),
            after=_document(row.after),
            version=row.version,
        )
        for row in connection.execute(query)
    ]


def _document(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else json.loads(text)
