"""The contract of providers, on what is wrapped around a provider."""

from types import MappingProxyType

import pytest
from contract_backends import MemoryBackend
from downhaul_contract_tests import Backend, Feature, ProviderContract, write_all
from resolving import ResolvingBackend, ResolvingProvider

from downhaul.backends.memory import MemoryProvider
from downhaul.provider import Change
from downhaul.wrappers.failover import Failover
from downhaul.wrappers.read_only import ReadOnlyProvider
from downhaul.wrappers.recording import RecordingProvider

IN_ONE_PROCESS = MappingProxyType({Feature.PROCESSES: "it lives in one process"})


class ReadOnlyBackend(Backend):
    """Flags that somebody else writes."""

    def __init__(self):
        self.reset()

    def provider(self):
        return self._provider

    def seed(self, flags):
        write_all(self._provider.inner, flags)

    def change(self, flag):
        self._provider.inner.put(flag, Change("somebody else"))

    def reset(self):
        self._provider = ReadOnlyProvider(MemoryProvider())


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


class TestRecording(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return MemoryBackend(lambda: RecordingProvider(MemoryProvider()))


class TestFailover(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return MemoryBackend(lambda: Failover(MemoryProvider(), MemoryProvider()))


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


class TestReadOnly(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return ReadOnlyBackend()
