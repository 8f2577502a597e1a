"""Flags in an SQLite file: the embedded default."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from downhaul.errors import ConfigError, SchemaMissing, Unreachable
from downhaul.store.database import SQLITE, Database
from downhaul.store.lastknown import FlagCopy, copies_of
from downhaul.store.provider import SqlProvider
from downhaul.store.watch import Moved, News

if TYPE_CHECKING:
    from downhaul.config import Settings

_POLL: Final = 0.05
_BUSY: Final = 5.0  # seconds that a writer waits for another one
_STALE: Final = 1.0
_LOOK: Final = 2.0  # seconds until the revision is read even if nothing seems to have moved
_PREFIX: Final = "downhaul_"


class SqliteProvider(SqlProvider):
    """Flags in one SQLite file, which may be an application's own. ``poll`` is in seconds."""

    name: str = "sqlite"

    def __init__(
        self,
        path: Path,
        environment: str = "default",
        *,
        poll: float = _POLL,
        copy: FlagCopy | None = None,
    ) -> None:
        self.path = path
        database = database_at(path)
        super().__init__(
            database,
            environment,
            lambda: FileSignal(database, path, poll),
            stale_after=max(_STALE, 4 * poll),
            copy=copy,
        )


class FileSignal:
    """Looks at the file: has anybody written, is it still the same file?

    ``PRAGMA data_version`` moves on any write, and not when the file is replaced; the file's
    identity moves when it is replaced, and not on a write. Together they say when to read.
    """

    def __init__(self, database: Database, path: Path, poll: float) -> None:
        self._database = database
        self._path = path
        self._poll = poll
        self._stop = threading.Event()
        self._connection: Connection | None = None
        self._file = (0, 0)
        self._version = 0
        self._due = 0.0

    def connect(self) -> Connection:
        """Open the file, which must be there already."""
        self._file = self._identity()
        self._connection = self._database.engine.connect()
        self._version = self._data_version()
        self._due = time.monotonic() + _LOOK
        return self._connection

    def wait(self) -> Sequence[News] | None:
        """Wait for one poll; say whether somebody wrote. Raises Moved for another file."""
        self._stop.wait(self._poll)
        if self._identity() != self._file:
            message = f"{self._path} was replaced by another file: read anew"
            raise Moved(message)
        version = self._data_version()
        if version == self._version and time.monotonic() < self._due:
            return None
        self._version, self._due = version, time.monotonic() + _LOOK
        return ()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def interrupt(self) -> None:
        """End the wait."""
        self._stop.set()

    def _identity(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            raise SchemaMissing(
                f"there is no file {self._path}",
                hint="create it with: downhaul db upgrade",
                provider=SqliteProvider.name,
            ) from None
        except OSError as error:
            raise Unreachable(f"{self._path} can't be looked at: {error.strerror}") from error
        if not found.st_size:
            raise SchemaMissing(
                f"{self._path} is empty",
                hint="create the tables with: downhaul db upgrade",
                provider=SqliteProvider.name,
            )
        return found.st_ino, found.st_dev

    def _data_version(self) -> int:
        assert self._connection is not None  # noqa: S101  (connect() comes first)
        version: Any = self._connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        return int(version)


def database_at(path: Path) -> Database:
    """Return the database in a file. Connecting never makes the file; ``db upgrade`` does."""

    def connect(mode: str = "rw") -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(os.fspath(path))}?mode={mode}",
            uri=True,
            timeout=_BUSY,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA synchronous = FULL")  # a kill that was committed stays killed
        return connection

    def create() -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = connect("rwc")
            try:
                connection.execute("PRAGMA journal_mode = WAL")  # readers never wait for writers
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise Unreachable(
                f"{path} can't be created: {error}",
                hint="see that the folder can be written, and is on a local disk",
                provider=SqliteProvider.name,
            ) from error

    return Database(
        create_engine("sqlite://", creator=connect, poolclass=NullPool),
        SQLITE,
        safe_url=f"sqlite:///{path}",
        provider=SqliteProvider.name,
        prefix=_PREFIX,
        create=create,
    )


def create(settings: Settings) -> SqliteProvider:
    """Return the provider for ``sqlite:///PATH``. Raises ConfigError where there is no path."""
    path = settings.provider.path
    if path is None:
        raise ConfigError(
            f'"{settings.provider.safe_url}" names no file',
            hint="write sqlite:///flags.db; for flags of one process there is memory:",
            origin=settings.origins.get("provider.url"),
        )
    poll = settings.provider.options.get("poll") or _POLL
    paths = copies_of(settings.cache_dir, f"sqlite:///{path}", settings.environment)
    copy = None if paths is None else FlagCopy(paths[0])
    return SqliteProvider(path, settings.environment, poll=poll, copy=copy)
