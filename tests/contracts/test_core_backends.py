"""The contracts of providers, on the backends that the core brings."""

import pytest
from downhaul_contract_tests import (
    CapabilitiesContract,
    FlagsContract,
    KillsContract,
    SegmentsContract,
    WatchingContract,
)

from downhaul.backends.file import FileProvider
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider
from downhaul.store import schema


class TestMemory(
    FlagsContract, SegmentsContract, WatchingContract, KillsContract, CapabilitiesContract
):
    @pytest.fixture
    def make_provider(self):
        provider = MemoryProvider()
        return lambda: provider


class TestSqlite(
    FlagsContract, SegmentsContract, WatchingContract, KillsContract, CapabilitiesContract
):
    @pytest.fixture
    def make_provider(self, tmp_path):
        path = tmp_path / "flags.db"
        schema.upgrade(SqliteProvider(path).database)
        return lambda: SqliteProvider(path)


class TestFile(CapabilitiesContract):
    @pytest.fixture
    def make_provider(self, tmp_path):
        path = tmp_path / "flags.json"
        path.write_text('{"downhaul": 1, "flags": [{"key": "one", "default": "on"}]}')
        return lambda: FileProvider(path)
