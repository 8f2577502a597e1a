"""The contract of providers, on the backends that the core brings."""

from types import MappingProxyType

import pytest
from contract_backends import IN_ONE_PROCESS, FileBackend, MemoryBackend, SqliteBackend
from downhaul_contract_tests import Feature, ProviderContract
from resolving import ResolvingBackend


class TestMemory(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return MemoryBackend()


class TestSqlite(ProviderContract):
    @pytest.fixture
    def backend(self, tmp_path):
        return SqliteBackend(tmp_path)


class TestFile(ProviderContract):
    lacks = MappingProxyType({Feature.TELLS_VERSION: "a flag in a file has no version"})

    @pytest.fixture
    def backend(self, tmp_path):
        return FileBackend(tmp_path)


class TestResolving(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return ResolvingBackend()
