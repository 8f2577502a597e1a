"""The contract bound to the core's own backends, and to each wrapper around memory.

``downhaul contract run --provider sqlite`` runs these. They are as a third party's: a backend that
can be filled and emptied, and a class that inherits the contract.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
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
from downhaul.documents import render_document
from downhaul.flag import Flag, FlagSet
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


class OneFile(Backend):
    """Flags in a file that others write, whole, and that can go away."""

    def __init__(self, path: Path) -> None:
        self.path, self._away = path, path.with_name("away")
        self._flags = FlagSet()

    def write(self, flags: FlagSet) -> None:
        """Put flags in place of those in the file."""
        raise NotImplementedError

    def seed(self, flags: FlagSet) -> None:
        """Write these."""
        self._flags = flags
        self.write(flags)

    def reset(self) -> None:
        """Write none."""
        self._away.unlink(missing_ok=True)
        self.seed(FlagSet())

    def change(self, flag: Flag) -> None:
        """Write one of them otherwise."""
        flags = {**self._flags.flags, flag.key: replace(flag, version="")}
        self.seed(FlagSet(flags, self._flags.segments))

    def outage(self) -> None:
        """Take the file away."""
        self.path.rename(self._away)

    def restore(self) -> None:
        """Bring it back."""
        if self._away.exists():
            self._away.rename(self.path)


class FileBackend(OneFile):
    """A document that somebody edits."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "flags.json")

    def provider(self) -> FlagProvider:
        """Return another process's view of the file."""
        return FileProvider(self.path, poll=0.02)

    def write(self, flags: FlagSet) -> None:
        """Replace the document, as an editor does."""
        new = self.path.with_suffix(".new")
        new.write_text(self.rendered(flags), encoding="utf-8")
        new.replace(self.path)

    def rendered(self, flags: FlagSet) -> str:
        """Return the document."""
        return render_document(flags, "json")


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
