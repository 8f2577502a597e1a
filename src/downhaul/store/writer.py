"""The verbs that change flags and segments: read, check, edit and write in one transaction.

Each takes its turn under the environment's lock, so nobody comes between reading and writing: a
narrow verb loses nobody's change, and two writers can't make a cycle together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sqlalchemy import Connection

from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import (
    DocumentError,
    FlagNotFound,
    Problem,
    ProviderError,
    Refused,
    VersionConflict,
)
from downhaul.flag import Flag, FlagSet, Segment
from downhaul.provider import ABSENT, Change
from downhaul.references import Node, find_cycles, named_by, segment_users
from downhaul.store import reading
from downhaul.store.database import Database
from downhaul.store.reading import Kept
from downhaul.store.writing import Turn, Write, dumps, take_turn, write_document

_T = TypeVar("_T", Flag, Segment)


@dataclass(frozen=True, slots=True)
class _Known:
    """Everything as it was at a revision, so that a check only has to read what is newer."""

    revision: int = -1
    token: str = ""
    flag_set: FlagSet = field(default_factory=FlagSet)


class Writer:
    """Changes flags and segments of one environment. ``name`` is the provider's, for errors."""

    def __init__(self, database: Database, environment: str, name: str) -> None:
        self._database = database
        self._tables = database.tables
        self._environment = environment
        self._name = name
        self._known = _Known()

    def put(
        self, flag: Flag, change: Change, expected: str | None, *, restored: bool = False
    ) -> Flag:
        """Write a whole flag. One that is ``restored`` is only held to making no cycle."""
        import downhaul.documents  # noqa: F401, PLC0415  (pydantic: only who writes pays, and not under the lock)

        with self._database.writing() as connection:
            turn = take_turn(connection, self._database, self._environment)
            before = self._kept(connection, "flag", flag.key)
            self._expect(flag.key, before, expected)
            if restored:
                self._refuse_cycles(connection, turn, flag)
            else:
                self._refuse_bad(connection, turn, flag, before)
            action = "restore" if restored else "put" if before else "create"
            return self._write_flag(connection, turn, flag, before, action, change)

    def edit(self, key: str, action: str, change: Change, edit: Callable[[Flag], Flag]) -> Flag:
        """Change a flag that is there; nothing is checked, so that a bad one can still go off."""
        with self._database.writing() as connection:
            turn = take_turn(connection, self._database, self._environment)
            before = self._kept(connection, "flag", key)
            flag = edit(self.decoded(key, before))
            return self._write_flag(connection, turn, flag, before, action, change)

    def delete(self, key: str, change: Change, expected: str | None) -> None:
        """Remove a flag; its row stays without a document."""
        with self._database.writing() as connection:
            turn = take_turn(connection, self._database, self._environment)
            before = self._kept(connection, "flag", key)
            if before is None:
                raise self.no_flag(key)
            self._expect(key, before, expected)
            self._write(connection, turn, Write("flag", key, "delete", _data(before), None), change)

    def put_segment(self, segment: Segment, change: Change, expected: str | None) -> Segment:
        """Write a whole segment."""
        import downhaul.documents  # noqa: F401, PLC0415  (as above)

        with self._database.writing() as connection:
            turn = take_turn(connection, self._database, self._environment)
            before = self._kept(connection, "segment", segment.key)
            self._expect(segment.key, before, expected)
            self._refuse_bad(connection, turn, segment, before)
            document = segment_to_data(replace(segment, version=""))
            action = "put" if before else "create"
            write = Write("segment", segment.key, action, _data(before), document)
            self._write(connection, turn, write, change)
            now = self._kept(connection, "segment", segment.key)
            written = reading.read_segment(
                segment.key, now.document if now else None, turn.revision
            )
            return self._as_meant(written, replace(segment, version=str(turn.revision)))

    def delete_segment(self, key: str, change: Change, expected: str | None) -> None:
        """Remove a segment that nothing names."""
        with self._database.writing() as connection:
            turn = take_turn(connection, self._database, self._environment)
            before = self._kept(connection, "segment", key)
            if before is None:
                message = f'no segment "{key}" in {self._database.safe_url} ({self._environment})'
                raise FlagNotFound(message, provider=self._name)
            self._expect(key, before, expected)
            if users := segment_users(self._current(connection, turn), key):
                raise Refused(
                    f'segment "{key}" is named by {", ".join(users)}',
                    provider=self._name,
                    hint="take it out of their clauses first",
                )
            write = Write("segment", key, "delete", _data(before), None)
            self._write(connection, turn, write, change)

    def decoded(self, key: str, row: Kept | None) -> Flag:
        """Return the flag of a row. Raises FlagNotFound, and ProviderError for a broken row."""
        try:
            flag = None if row is None else reading.read_flag(key, row.document, row.version)
        except reading.BROKEN as error:
            raise ProviderError(
                f'the row of flag "{key}" can\'t be read: {type(error).__name__}: {error}',
                hint=f"bring an earlier version back: downhaul flags restore {key} --to VERSION",
                flag=key,
                provider=self._name,
            ) from error
        if flag is None:
            raise self.no_flag(key)
        return flag

    def no_flag(self, key: str) -> FlagNotFound:
        """Return the error for a flag that isn't there."""
        return FlagNotFound(
            f'no flag "{key}" in {self._database.safe_url} ({self._environment})',
            flag=key,
            provider=self._name,
        )

    # Inside

    def _kept(self, connection: Connection, entity: str, key: str) -> Kept | None:
        return reading.kept(connection, self._tables, entity, self._environment, key)

    def _write_flag(
        self,
        connection: Connection,
        turn: Turn,
        flag: Flag,
        before: Kept | None,
        action: str,
        change: Change,
    ) -> Flag:
        document = flag_to_data(replace(flag, version=""))
        write = Write("flag", flag.key, action, _data(before), document)
        self._write(connection, turn, write, change)
        written = self.decoded(flag.key, self._kept(connection, "flag", flag.key))
        return self._as_meant(written, replace(flag, version=str(turn.revision)))

    def _write(self, connection: Connection, turn: Turn, write: Write, change: Change) -> None:
        write_document(connection, self._database, self._environment, turn, write, change)

    def _as_meant(self, written: _T | None, meant: _T) -> _T:
        """Return what was read back (rule P6), if it is what was meant to be written."""
        if written is None or _encoded(written) != _encoded(meant):
            raise ProviderError(
                f'"{meant.key}" was not kept as it was written, so nothing was',
                hint="does something else change rows of this database (a trigger)?",
                flag=meant.key,
                provider=self._name,
            )
        return written

    def _expect(self, key: str, found: Kept | None, expected: str | None) -> None:
        version = ABSENT if found is None else found.version
        if expected is not None and version != expected:
            raise VersionConflict(
                f'"{key}" is not at the version that was expected',
                expected=expected,
                found=version,
                flag=key,
                provider=self._name,
            )

    def _refuse_bad(
        self, connection: Connection, turn: Turn, one: Flag | Segment, before: Kept | None
    ) -> None:
        from downhaul.documents import check_flag, check_segment  # noqa: PLC0415  (as above)

        # What names nothing, and takes away nothing that others may name, is checked by itself.
        alone = not any(True for _ in named_by(one)) and not _takes_away(one, before)
        others = FlagSet() if alone else self._current(connection, turn)
        if isinstance(one, Flag):
            what, problems = "flag", check_flag(one, others)
        else:
            what, problems = "segment", check_segment(one, others)
        if problems:
            raise DocumentError(f'{what} "{one.key}" is refused', problems)

    def _refuse_cycles(self, connection: Connection, turn: Turn, flag: Flag) -> None:
        if not any(True for _ in named_by(flag)):
            return
        there = self._current(connection, turn)
        around = FlagSet({**there.flags, flag.key: flag}, there.segments)
        if cycles := find_cycles(around, [Node("flag", flag.key)]):
            path = " -> ".join(str(node) for node in cycles[0])
            hint = "nothing may depend on itself: take one of these out first"
            problem = Problem("", f"a cycle: {path}", hint=hint)
            raise DocumentError(f'flag "{flag.key}" is refused', [problem])

    def _current(self, connection: Connection, turn: Turn) -> FlagSet:
        """Return everything as it is before this turn's write."""
        known, before = self._known, turn.revision - 1
        if known.revision > before or not reading.remembers(connection, self._tables, known.token):
            known = _Known()
        rows = reading.rows_since(connection, self._tables, self._environment, known.revision)
        flag_set = FlagSet(
            _merged(known.flag_set.flags, rows.flags),
            _merged(known.flag_set.segments, rows.segments),
            str(before),
        )
        self._known = _Known(before, turn.previous, flag_set)
        return flag_set


def _merged(known: Mapping[str, _T], changes: Mapping[str, _T | None]) -> dict[str, _T]:
    both = {**known, **changes}
    return {key: one for key, one in both.items() if one is not None}


def _encoded(one: Flag | Segment) -> str:
    return dumps(flag_to_data(one) if isinstance(one, Flag) else segment_to_data(one))


def _data(row: Kept | None) -> Mapping[str, Any] | None:
    """Return a row's document for the history; of one that is no JSON, its text."""
    if row is None:
        return None
    try:
        document = json.loads(row.document)
    except ValueError:
        return {"unreadable": row.document}
    return document if isinstance(document, dict) else {"unreadable": row.document}


def _takes_away(one: Flag | Segment, before: Kept | None) -> bool:
    """Return whether a flag had variants that it has no more, and that others may name."""
    if before is None or not isinstance(one, Flag):
        return False
    document = _data(before) or {}
    return bool(set(document.get("variants", ("on", "off"))) - set(one.variants))
