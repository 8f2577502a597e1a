"""The contract bound to what the core brings: three backends, and each wrapper around memory.

``downhaul contract run --provider sqlite`` runs these. They are as a third party's: a backend that
can be filled and emptied, and a class that inherits the contract.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

import pytest

from downhaul.backends.file import FileProvider
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider
from downhaul.config import resolve
from downhaul.documents import render_document
from downhaul.flag import WHOLE, Flag, FlagKind, FlagSet, Split
from downhaul.plugins import build_provider
from downhaul.provider import Change, FlagProvider
from downhaul.staging import Stage, Standing
from downhaul.store import schema
from downhaul.wrappers.dual_write import DualWrite
from downhaul.wrappers.failover import Failover
from downhaul.wrappers.read_only import ReadOnlyProvider
from downhaul.wrappers.recording import RecordingProvider
from downhaul.wrappers.shadow import Shadow
from downhaul.wrappers.staged import Staged
from downhaul_contract_tests.backend import Backend, Feature, write_all
from downhaul_contract_tests.contract import ProviderContract

IN_ONE_PROCESS: Final = MappingProxyType({Feature.PROCESSES: "it lives in one process"})
NO_VERSIONS: Final = MappingProxyType({Feature.TELLS_VERSION: "a flag in a file has no version"})
A_ROW: Final = MappingProxyType(
    {
        Feature.VALUES: "a row names no variants",
        Feature.RULES: "a row has no rules",
        Feature.PREREQUISITES: "a row names no other flag",
        Feature.SEVERAL_KINDS: "a row knows users only",
        Feature.EVERY_FIELD: "a row has the columns that it has",
    }
)
TABLE_COLUMNS: Final = (
    *("key", "enabled", "percentage", "whitelist", "blacklist", "value", "off_value", "kind"),
    *("description", "owner", "tags"),
)


class MemoryBackend(Backend):
    """Flags of this process: every provider is one object. ``make`` makes another than memory's."""

    def __init__(
        self,
        make: Callable[[], FlagProvider] = MemoryProvider,
        patience: float = Backend.patience,
    ) -> None:
        self._make, self.patience = make, patience
        self._provider = make()

    def provider(self) -> FlagProvider:
        """Return the one object."""
        return self._provider

    def seed(self, flags: FlagSet) -> None:
        """Write them through it: there is no other way in."""
        write_all(self._provider, flags)

    def reset(self) -> None:
        """Begin with another object."""
        self._provider = self._make()


class SqliteBackend(Backend):
    """One file, in a folder that can go away."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._away = folder / "here", folder / "away"
        self._path = self._folder / "flags.db"

    def provider(self) -> FlagProvider:
        """Return another process's view of the file."""
        return SqliteProvider(self._path, poll=0.02)

    def seed(self, flags: FlagSet) -> None:
        """Write them from aside."""
        provider = self.provider()
        write_all(provider, flags)
        provider.close()

    def reset(self) -> None:
        """Put an empty store in its place."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        self._path.write_bytes(_empty_store())

    def outage(self) -> None:
        """Take the folder away."""
        self._folder.rename(self._away)

    def restore(self) -> None:
        """Bring it back."""
        if self._away.exists():
            self._away.rename(self._folder)


class FileBackend(Backend):
    """A document that somebody edits."""

    def __init__(self, folder: Path) -> None:
        self._path, self._away = folder / "flags.json", folder / "away.json"
        self._flags = FlagSet()

    def provider(self) -> FlagProvider:
        """Return another process's view of the file."""
        return FileProvider(self._path, poll=0.02)

    def seed(self, flags: FlagSet) -> None:
        """Replace the document, as an editor does."""
        self._flags = flags
        text = render_document(flags, "json")
        new = self._path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self._path)

    def reset(self) -> None:
        """Write a document without flags."""
        self._away.unlink(missing_ok=True)
        self.seed(FlagSet())

    def change(self, flag: Flag) -> None:
        """Edit one flag."""
        flags = {**self._flags.flags, flag.key: replace(flag, version="")}
        self.seed(FlagSet(flags, self._flags.segments))

    def outage(self) -> None:
        """Take the file away."""
        self._path.rename(self._away)

    def restore(self) -> None:
        """Bring it back."""
        if self._away.exists():
            self._away.rename(self._path)


class TableBackend(Backend):
    """A table of a team's own in an SQLite file, which SQL writes."""

    def __init__(self, folder: Path) -> None:
        self._path, self._away = folder / "app.db", folder / "away.db"

    def provider(self) -> FlagProvider:
        """Return another process's view of the table."""
        options = {
            "url": f"table+sqlite:///{self._path}",
            "poll": 0.02,
            "enabled_means": "switch",
            "bucketing": "downhaul",
            "columns": {one: one for one in TABLE_COLUMNS},
        }
        return build_provider(resolve({"provider": options}, cache_dir=False, environ={}))

    def seed(self, flags: FlagSet) -> None:
        """Write the rows anew."""
        rows = [row_of(flag) for flag in flags.flags.values()]
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("DELETE FROM feature_flags")
            self._write(connection, rows)

    def reset(self) -> None:
        """Make an empty table."""
        for path in (self._path, self._away):
            path.unlink(missing_ok=True)
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(f"CREATE TABLE feature_flags ({', '.join(TABLE_COLUMNS)})")

    def change(self, flag: Flag) -> None:
        """Write one row."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("DELETE FROM feature_flags WHERE key = ?", (flag.key,))
            self._write(connection, [row_of(flag)])

    def outage(self) -> None:
        """Take the file away."""
        self._path.rename(self._away)

    def restore(self) -> None:
        """Bring it back."""
        if self._away.exists():
            self._away.rename(self._path)

    def _write(self, connection: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
        marks = ", ".join("?" * len(TABLE_COLUMNS))
        connection.executemany(f"INSERT INTO feature_flags VALUES ({marks})", rows)  # noqa: S608  (question marks)


class ReadOnlyBackend(Backend):
    """Flags that somebody else writes."""

    def __init__(self) -> None:
        self.reset()

    def provider(self) -> FlagProvider:
        """Return the one object."""
        return self._provider

    def seed(self, flags: FlagSet) -> None:
        """Write below the wrapper."""
        write_all(self._provider.inner, flags)

    def change(self, flag: Flag) -> None:
        """Write below the wrapper."""
        self._provider.inner.put(flag, Change("somebody else"))

    def reset(self) -> None:
        """Begin with another object."""
        self._provider = ReadOnlyProvider(MemoryProvider())


class TestMemory(ProviderContract):
    """``memory:``."""

    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self) -> Backend:
        """Flags of this process."""
        return MemoryBackend()


class TestSqlite(ProviderContract):
    """``sqlite:``."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        """One file."""
        return SqliteBackend(tmp_path)


class TestFile(ProviderContract):
    """``file:``."""

    lacks = NO_VERSIONS

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        """One document."""
        return FileBackend(tmp_path)


class TestTable(ProviderContract):
    """``table+sqlite:``."""

    lacks = A_ROW

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        """One table."""
        return TableBackend(tmp_path)


class TestReadOnly(ProviderContract):
    """``read_only`` around memory."""

    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self) -> Backend:
        """Flags that somebody else writes."""
        return ReadOnlyBackend()


class TestRecording(ProviderContract):
    """``recording`` around memory."""

    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self) -> Backend:
        """Memory, recorded."""
        return MemoryBackend(lambda: RecordingProvider(MemoryProvider()))


class TestFailover(ProviderContract):
    """``failover`` from memory to memory."""

    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self) -> Backend:
        """Two memories, of which the first answers."""
        return MemoryBackend(lambda: Failover(MemoryProvider(), MemoryProvider()))


class TestDualWrite(ProviderContract):
    """``dual_write`` from memory to memory."""

    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self) -> Backend:
        """Two memories, of which the first answers."""
        return MemoryBackend(lambda: DualWrite(MemoryProvider(), MemoryProvider()))


class TestShadow(ProviderContract):
    """``shadow`` of memory by memory."""

    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self) -> Backend:
        """Two memories, of which the second is asked too, and is empty."""
        return MemoryBackend(lambda: Shadow(MemoryProvider(), MemoryProvider(), sample=1))


class TestStaged(ProviderContract):
    """``staged`` from memory to memory."""

    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self) -> Backend:
        """Two memories in step, of which the new one answers and both are written and compared."""
        live = Standing(Stage.LIVE, in_step=True)
        return MemoryBackend(
            lambda: Staged(MemoryProvider(), MemoryProvider(), standing=live, sample=1)
        )


@cache
def _empty_store() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "flags.db"
        provider = SqliteProvider(path)
        schema.upgrade(provider.database)
        provider.close()
        return path.read_bytes()


def row_of(flag: Flag) -> tuple[object, ...]:
    """Return a flag as a row of the table: a percentage and two lists."""
    on = next(name for name in flag.variants if name != flag.off_variant)
    percent: float | None = 0.0 if flag.default == flag.off_variant else None
    if isinstance(flag.default, Split):
        weights = {one.variant: one.weight for one in flag.default.weights}
        percent = weights[on] * 100 / WHOLE
    lists = {target.variant: sorted(target.keys) for target in flag.targets}
    values = [json.dumps(flag.variants[one]) for one in (on, flag.off_variant or on)]
    if flag.kind is FlagKind.STRING:
        values = [str(flag.variants[one]) for one in (on, flag.off_variant or on)]
    plain = flag.kind is FlagKind.BOOLEAN
    return (
        flag.key,
        flag.on,
        percent,
        json.dumps(lists.get(on, [])),
        json.dumps(lists.get(flag.off_variant or "", [])),
        *((None, None) if plain else values),
        flag.kind.value,
        flag.description,
        flag.owner,
        json.dumps(flag.tags),
    )
