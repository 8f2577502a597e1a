"""The contract of providers, on the backends that the core brings."""

import pytest
from contract_backends import IN_ONE_PROCESS
from downhaul_contract_tests import ProviderContract
from downhaul_contract_tests.bindings import TestFile, TestMemory, TestSqlite
from resolving import ResolvingBackend

__all__ = ["TestFile", "TestMemory", "TestResolving", "TestSqlite"]


class TestResolving(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return ResolvingBackend()
