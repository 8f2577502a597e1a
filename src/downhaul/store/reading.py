"""Reading flags, segments, kills and the history out of the tables."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
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
BROKEN: Final = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)
"""What decoding a row may raise that somebody edited by hand."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has come: the store, its environment's revision, its kills' sequence.

    ``token`` is that of the write that made the revision.
    """

    identity: str = ""
    revision: int = -1
    token: str = ""
    kills: int = -1


@dataclass(frozen=True, slots=True)
class Rows:
    """What changed since a revision; None stands for removed. ``broken`` rows could not be read."""

    revision: int
    token: str
    flags: Mapping[str, Flag | None]
    segments: Mapping[str, Segment | None]
    broken: Mapping[str, str]


def position(connection: Connection, tables: Tables, environment: str) -> Position:
    """Return where the store stands, in one statement."""
    environments, store = tables.environments, tables.store
    kills = (
        select(func.max(tables.kills.c.sequence))
        .where(tables.kills.c.environment.in_([environment, ALL_ENVIRONMENTS]))
        .scalar_subquery()
    )
    joined = store.outerjoin(environments, environments.c.name == environment)
    row = connection.execute(
        select(store.c.identity, environments.c.revision, environments.c.token, kills)
        .select_from(joined)
        .limit(1)
    ).first()
    if row is None:
        return Position()
    identity, revision, token, sequence = row
    return Position(identity, revision or 0, token or "", sequence or 0)


def remembers(connection: Connection, tables: Tables, token: str) -> bool:
    """Return whether the history of the store holds the write of a token."""
    if not token:
        return True  # nothing was known, and every store holds that
    found = select(tables.changes.c.id).where(tables.changes.c.token == token)
    return connection.execute(found).first() is not None


def rows_since(connection: Connection, tables: Tables, environment: str, revision: int) -> Rows:
    """Return flags and segments written after ``revision``, in one statement: one snapshot."""
    found = connection.execute(
        union_all(
            _written(tables.flags, "flag", environment, revision),
            _written(tables.segments, "segment", environment, revision),
            select(
                literal("revision"),
                tables.environments.c.token,
                tables.environments.c.revision,
                null(),
            ).where(tables.environments.c.name == environment),
        )
    )
    flags: dict[str, Flag | None] = {}
    segments: dict[str, Segment | None] = {}
    broken: dict[str, str] = {}
    newest, token = 0, ""
    for what, key, version, document in found:
        if what == "revision":
            newest, token = version, key
            continue
        try:
            if what == "flag":
                flags[key] = read_flag(key, document, version)
            else:
                segments[key] = read_segment(key, document, version)
        except BROKEN as error:
            # A row edited by hand must not take the others with it.
            broken[f"{what} {key}"] = f"{type(error).__name__}: {error}"
            _log.error("the row of %s %r can't be read: %s", what, key, error)
    return Rows(newest, token, flags, segments, broken)


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


@dataclass(frozen=True, slots=True)
class Kept:
    """A row as it is kept, not decoded: its version, and its document."""

    version: str
    document: str


def kept_flags(
    connection: Connection, tables: Tables, environment: str, keys: tuple[str, ...]
) -> dict[str, Kept]:
    """Return the rows of those of the flags that are there, in one statement."""
    flags = tables.flags
    found = connection.execute(
        select(flags.c.key, flags.c.version, flags.c.document).where(
            flags.c.environment == environment,
            flags.c.key.in_(keys),
            flags.c.document.is_not(None),
        )
    )
    return {key: Kept(str(version), document) for key, version, document in found}


def kept(
    connection: Connection, tables: Tables, entity: str, environment: str, key: str
) -> Kept | None:
    """Return the row of a flag or segment that is there now, or None."""
    table = tables.flags if entity == "flag" else tables.segments
    row = connection.execute(
        select(table.c.version, table.c.document).where(
            table.c.environment == environment, table.c.key == key, table.c.document.is_not(None)
        )
    ).first()
    return None if row is None else Kept(str(row.version), row.document)


def read_flag(key: str, document: str | None, version: int | str) -> Flag | None:
    """Decode a flag's row. It was checked when it was written, and is not checked again."""
    if document is None:
        return None
    return flag_from_data({**json.loads(document), "key": key, "version": str(version)})


def read_segment(key: str, document: str | None, version: int | str) -> Segment | None:
    """Decode a segment's row."""
    if document is None:
        return None
    return segment_from_data({**json.loads(document), "key": key, "version": str(version)})


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
        waits=bool(row["waits"]),
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
    return [_change(row) for row in connection.execute(query)]


def audit(
    connection: Connection,
    tables: Tables,
    environment: str,
    entities: tuple[str, ...],
    *,
    key: str | None,
    limit: int,
    after: int | None,
) -> ChangeRecords:
    """Return records of the history oldest first: the newest ones, or the first above an id.

    ``key`` is a flag's; what happened to its rollouts is found by the flag that they name.
    """
    changes = tables.changes
    query = select(changes).where(
        or_(changes.c.environment == environment, changes.c.environment == ALL_ENVIRONMENTS),
        changes.c.entity.in_(entities),
    )
    if key is not None:
        rollouts = select(tables.rollouts.c.id).where(
            tables.rollouts.c.environment == environment, tables.rollouts.c.flag == key
        )
        query = query.where(or_(changes.c.key == key, changes.c.key.in_(rollouts)))
    if after is not None:
        query = query.where(changes.c.id > after).order_by(changes.c.id)
        return [_change(row) for row in connection.execute(query.limit(limit))]
    newest = connection.execute(query.order_by(changes.c.id.desc()).limit(limit))
    return [_change(row) for row in newest][::-1]


def _change(row: Any) -> ChangeRecord:
    return ChangeRecord(
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


def _document(text: str | None) -> Mapping[str, Any] | None:
    return None if text is None else json.loads(text)
