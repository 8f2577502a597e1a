"""The backends that the core brings, as the contract wants them."""

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from downhaul_contract_tests import Backend, Feature, write_all

from downhaul.backends.file import FileProvider
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider
from downhaul.documents import render_document
from downhaul.flag import FlagSet
from downhaul.store import schema

IN_ONE_PROCESS = MappingProxyType({Feature.PROCESSES: "it lives in one process"})


class MemoryBackend(Backend):
    """Flags of this process: every provider is one object. ``make`` makes another than memory's."""

    def __init__(self, make=MemoryProvider, patience=Backend.patience):
        self._make, self.patience = make, patience
        self._provider = make()

    def provider(self):
        return self._provider

    def seed(self, flags):
        write_all(self._provider, flags)

    def reset(self):
        self._provider = self._make()


class SqliteBackend(Backend):
    """One file, in a folder that can go away."""

    def __init__(self, folder):
        self._folder, self._away = folder / "here", folder / "away"
        self._path = self._folder / "flags.db"

    def provider(self):
        return SqliteProvider(self._path, poll=0.02)

    def seed(self, flags):
        provider = self.provider()
        write_all(provider, flags)
        provider.close()

    def reset(self):
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        self._path.write_bytes(_empty_store())

    def outage(self):
        self._folder.rename(self._away)

    def restore(self):
        if self._away.exists():
            self._away.rename(self._folder)


class FileBackend(Backend):
    """A document that somebody edits."""

    def __init__(self, folder):
        self._path, self._away = folder / "flags.json", folder / "away.json"
        self._flags = FlagSet()

    def provider(self):
        return FileProvider(self._path, poll=0.02)

    def seed(self, flags):
        self._flags = flags
        text = render_document(flags, "json")
        new = self._path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self._path)

    def reset(self):
        self._away.unlink(missing_ok=True)
        self.seed(FlagSet())

    def change(self, flag):
        flags = {**self._flags.flags, flag.key: replace(flag, version="")}
        self.seed(FlagSet(flags, self._flags.segments))

    def outage(self):
        self._path.rename(self._away)

    def restore(self):
        if self._away.exists():
            self._away.rename(self._path)


@cache
def _empty_store():
    with TemporaryDirectory() as folder:
        path = Path(folder) / "flags.db"
        provider = SqliteProvider(path)
        schema.upgrade(provider.database)
        provider.close()
        return path.read_bytes()
