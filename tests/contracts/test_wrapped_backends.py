"""The contract of providers, on what is wrapped around a provider."""

import pytest
from contract_backends import IN_ONE_PROCESS, MemoryBackend
from downhaul_contract_tests import ProviderContract
from downhaul_contract_tests.bindings import (
    SqliteBackend,
    TestDualWrite,
    TestFailover,
    TestReadOnly,
    TestRecording,
    TestShadow,
)
from resolving import ResolvingBackend, ResolvingProvider

from downhaul.backends.memory import MemoryProvider
from downhaul.wrappers.dual_write import DualWrite
from downhaul.wrappers.failover import Failover
from downhaul.wrappers.recording import RecordingProvider
from downhaul.wrappers.shadow import Shadow

__all__ = [
    "TestDualWrite",
    "TestDualWriteOfAStore",
    "TestDualWriteToRules",
    "TestFailover",
    "TestFailoverOfAsked",
    "TestReadOnly",
    "TestRecording",
    "TestShadow",
    "TestShadowOfAStore",
    "TestShadowOfWhatDecides",
    "TestStack",
]


class FailingOver(Failover):
    """Two backends that decide by themselves. The second is empty, and never gets its turn."""

    def __init__(self):
        super().__init__(ResolvingProvider(), ResolvingProvider(), after=3600)

    @property
    def declarations(self):
        return self.inner.declarations

    @declarations.setter
    def declarations(self, declarations):
        self.inner.declarations = declarations


class TestFailoverOfAsked(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return ResolvingBackend(FailingOver)


class TestStack(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return MemoryBackend(
            lambda: RecordingProvider(
                Failover(RecordingProvider(MemoryProvider()), MemoryProvider())
            )
        )


class TestDualWriteOfAStore(ProviderContract):
    """Where the second one is no store of this process: it decides by itself."""

    @pytest.fixture
    def backend(self, tmp_path):
        return DualWrittenStore(tmp_path)


class DualWrittenStore(SqliteBackend):
    def provider(self):
        return DualWrite(super().provider(), ResolvingProvider())


class DualWritten(DualWrite):
    """One that decides by itself is followed by one that publishes its rules."""

    def __init__(self):
        super().__init__(ResolvingProvider(), MemoryProvider())

    @property
    def declarations(self):
        return self.inner.declarations

    @declarations.setter
    def declarations(self, declarations):
        self.inner.declarations = declarations


class TestDualWriteToRules(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return ResolvingBackend(DualWritten)


class TestShadowOfAStore(ProviderContract):
    """A store that publishes its rules, compared with what decides by itself."""

    @pytest.fixture
    def backend(self, tmp_path):
        return ShadowedStore(tmp_path)


class ShadowedStore(SqliteBackend):
    def provider(self):
        return Shadow(super().provider(), ResolvingProvider(), sample=1)


class Shadowed(Shadow):
    """What decides by itself, compared with what publishes its rules."""

    def __init__(self):
        super().__init__(ResolvingProvider(), MemoryProvider(), sample=1)

    @property
    def declarations(self):
        return self.inner.declarations

    @declarations.setter
    def declarations(self, declarations):
        self.inner.declarations = declarations


class TestShadowOfWhatDecides(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return ResolvingBackend(Shadowed)
