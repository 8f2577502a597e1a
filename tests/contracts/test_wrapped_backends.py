"""The contract of providers, on what is wrapped around a provider."""

from types import MappingProxyType

import pytest
from contract_backends import MemoryBackend
from downhaul_contract_tests import Backend, Feature, ProviderContract, write_all

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
