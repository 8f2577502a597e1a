"""Somebody else's database, to read and never to write: what is there, and whether it moved."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, column, func, inspect, select, table, text
from sqlalchemy.exc import NoSuchTableError

from downhaul.documents.faults import did_you_mean, quoted
from downhaul.errors import ConfigError, NoRight, SchemaMissing, Unreachable
from downhaul.plugins import build_provider
from downhaul.plugins.known import reached_by
from downhaul.store.database import Database

if TYPE_CHECKING:
    from downhaul.config import Settings

_TICK: Final = 2.0  # seconds; FAT has the coarsest clock

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A table to read: its name, maybe with a schema, its columns by our names, which must be."""

    name: str
    columns: Mapping[str, str]
    needed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """A table as it was read.

    ``columns`` are the wanted ones that are there; ``rows`` have what is in them, by our names, in
    no order. ``others`` are the names of columns that nobody wanted.
    """

    columns: Mapping[str, str]
    rows: tuple[Row, ...]
    others: tuple[str, ...]


class Theirs:
    """Tables in somebody's database. Nothing is opened before the first look."""

    def __init__(self, database: Database, path: Path | None) -> None:
        self._database = database
        self._path = path
        self._stamp: Any = None

    @property
    def where(self) -> str:
        """The URL, fit to be shown."""
        return self._database.safe_url

    def look(self, wanted: Sequence[Wanted]) -> tuple[Found, ...] | None:
        """Return the tables as they are at one moment, or None where nothing moved.

        Raises Unreachable, NoRight, and SchemaMissing for a table or a column that is not there.
        """
        stamp = self._stamp_of_file()
        if stamp is not None and stamp == self._stamp:
            return None
        with self._reading() as connection:
            if stamp is None:
                stamp = _sum_of(connection, wanted)
                if stamp is not None and stamp == self._stamp:
                    return None
            found = tuple(self._read(connection, one) for one in wanted)
        self._stamp = stamp
        return found

    def read(self, wanted: Sequence[Wanted]) -> tuple[Found, ...]:
        """Return the tables as they are now. Raises as :meth:`look`."""
        self._stamp_of_file()  # that there is no file is told better than SQLite does
        with self._reading() as connection:
            return tuple(self._read(connection, one) for one in wanted)

    def forget(self) -> None:
        """Read anew at the next look."""
        self._stamp = None

    def close(self) -> None:
        """Close what is open."""
        self._database.engine.dispose()

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        self._database.engine.dispose(close=False)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with (
                self._database.reading() as connection,
                self._database.at_one_moment(connection),
            ):
                yield connection
        except NoRight as error:
            error.hint = "its user needs the right to SELECT from these tables, and no other"
            raise

    def _read(self, connection: Connection, wanted: Wanted) -> Found:
        schema, _, name = wanted.name.rpartition(".")
        there = self._columns(connection, name, schema or None)
        known = {role: one for role, one in wanted.columns.items() if one in there}
        for role in sorted(wanted.needed - set(known)):
            raise SchemaMissing(
                f"{quoted(wanted.name)} has no column {quoted(wanted.columns[role])}",
                hint=did_you_mean(wanted.columns[role], there, all_of="its columns are"),
                provider=self._database.provider,
            )
        # Without types, so that a driver's own values come through, whatever the type is called.
        theirs = table(name, *(column(one) for one in known.values()), schema=schema or None)
        query = select(*(theirs.c[one].label(role) for role, one in known.items()))
        rows = tuple(dict(one) for one in connection.execute(query).mappings())
        others = tuple(one for one in there if one not in set(known.values()))
        return Found(known, rows, others)

    def _columns(self, connection: Connection, name: str, schema: str | None) -> list[str]:
        inspector = inspect(connection)
        try:
            return [str(one["name"]) for one in inspector.get_columns(name, schema)]
        except NoSuchTableError:
            known = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
            whole = f"{schema}.{name}" if schema else name
            raise SchemaMissing(
                f"{self.where} has no table {quoted(whole)}",
                hint=did_you_mean(name, known, all_of="its tables are"),
                provider=self._database.provider,
            ) from None

    def _stamp_of_file(self) -> Any:
        """Return what tells one content of an SQLite file from another, where it can be trusted.

        What was written within one tick of the clock may leave the same stamp.
        """
        if self._path is None:
            return None
        try:
            stamps = [_stamp(self._path), _stamp(Path(f"{self._path}-wal"))]
        except OSError as error:
            raise Unreachable(
                f"{self._path} can't be read: {error.strerror or type(error).__name__}",
                hint="it may be locked away, or be on a disk that is gone",
                provider=self._database.provider,
            ) from error
        if stamps[0] is None:
            raise Unreachable(
                f"there is no file {self._path}",
                hint="see whether the path is right",
                provider=self._database.provider,
            )
        young = any(one is not None and abs(time.time() - one[0] / 1e9) < _TICK for one in stamps)
        return object() if young else tuple(stamps)


def their_database(settings: Settings) -> Theirs:
    """Return the database of a URL such as ``table+postgresql://``. Contacts nothing.

    Raises ProviderNotFound, which says what to install, and ConfigError for what is no SQL.
    """
    provider = settings.provider
    url = provider.url.partition("+")[2]
    there = replace(provider, url=url, options={}, wrap=(), wrappers={})
    inside = replace(settings, provider=there, cache_dir=None)
    database = getattr(build_provider(inside), "database", None)
    if isinstance(database, Database):
        path = there.path if database.dialect.name == "sqlite" else None
        return Theirs(replace(database, provider=provider.name), path)
    raise ConfigError(
        f'"{reached_by(provider.scheme)}" is no SQL database',
        hint=f"{provider.name}+sqlite:/// and {provider.name}+postgresql:// are",
        origin=settings.origins.get("provider.url"),
    )


def _sum_of(connection: Connection, wanted: Sequence[Wanted]) -> Any:
    """Return a number that any change of a row moves, or None where the database has none.

    One answer instead of all rows. A time of the last change would be cheaper, but not all code
    that changes a flag keeps it.
    """
    if connection.dialect.name != "postgresql":
        return None
    sums = []
    for one in wanted:
        schema, _, name = one.name.rpartition(".")
        theirs = table(name, schema=schema or None).alias("theirs")
        row = func.hashtextextended(text("theirs::text"), 0)
        query = select(func.count(), func.sum(row)).select_from(theirs)
        sums.append(tuple(connection.execute(query).one()))
    return tuple(sums)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
