"""The contract of providers, on what is wrapped around a provider."""

from types import MappingProxyType

import pytest
from contract_backends import IN_ONE_PROCESS, MemoryBackend
from downhaul_contract_tests import ProviderContract, bindings, write_all
from downhaul_contract_tests.bindings import (
    SqliteBackend,
    TestDualWrite,
    TestReadOnly,
    TestShadow,
    TestStaged,
)
from resolving import ResolvingBackend, ResolvingProvider

from downhaul.backends.memory import MemoryProvider
from downhaul.staging import Stage, Standing
from downhaul.wrappers.dual_write import DualWrite
from downhaul.wrappers.failover import Failover
from downhaul.wrappers.recording import RecordingProvider
from downhaul.wrappers.shadow import Shadow
from downhaul.wrappers.staged import Staged

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
    "TestStaged",
    "TestStagedBetweenUsers",
    "TestStagedToAStore",
    "TestStagedToWhatDecides",
]


class StoreBackend(SqliteBackend):
    """A store within a wrapper, filled from aside: another process has none of its wrappers."""

    def seed(self, flags):
        plain = super().provider()
        write_all(plain, flags)
        plain.close()


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


@pytest.mark.slow
class TestFailover(bindings.TestFailover):
    """``failover`` from memory to memory."""


@pytest.mark.slow
class TestRecording(bindings.TestRecording):
    """``recording`` around memory."""


@pytest.mark.slow
class TestFailoverOfAsked(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return ResolvingBackend(FailingOver)


@pytest.mark.slow
class TestStack(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return MemoryBackend(
            lambda: RecordingProvider(
                Failover(RecordingProvider(MemoryProvider()), MemoryProvider())
            )
        )


@pytest.mark.slow
class TestDualWriteOfAStore(ProviderContract):
    """Where the second one is no store of this process: it decides by itself."""

    @pytest.fixture
    def backend(self, tmp_path):
        return DualWrittenStore(tmp_path)


class DualWrittenStore(StoreBackend):
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


@pytest.mark.slow
class TestDualWriteToRules(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return ResolvingBackend(DualWritten)


@pytest.mark.slow
class TestShadowOfAStore(ProviderContract):
    """A store that publishes its rules, compared with what decides by itself."""

    @pytest.fixture
    def backend(self, tmp_path):
        return ShadowedStore(tmp_path)


class ShadowedStore(StoreBackend):
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


@pytest.mark.slow
class TestShadowOfWhatDecides(ProviderContract):
    lacks = IN_ONE_PROCESS

    @pytest.fixture
    def backend(self):
        return ResolvingBackend(Shadowed)


A_SNAPSHOT = "test_a_snapshot_can_be_kept_as_text"
THE_SIDE = "it names the side that it comes from, and the wrapper is called as the old one"


@pytest.mark.slow
class TestStagedToAStore(ProviderContract):
    """From what decides by itself to a store that publishes its rules; the old one follows."""

    known_gaps = MappingProxyType(
        {A_SNAPSHOT: THE_SIDE, "test_a_boolean_flag_serves_its_value": THE_SIDE}
    )

    @pytest.fixture
    def backend(self, tmp_path):
        return StagedStore(tmp_path)


class StagedStore(StoreBackend):
    def provider(self):
        ramp_down = Standing(Stage.RAMP_DOWN)
        return Staged(ResolvingProvider(), super().provider(), standing=ramp_down)


@pytest.mark.slow
class TestStagedBetweenUsers(ProviderContract):
    """Half of the users are served by each of two sides in step, which are of two sorts."""

    lacks = IN_ONE_PROCESS
    known_gaps = MappingProxyType({A_SNAPSHOT: THE_SIDE})

    @pytest.fixture
    def backend(self):
        half = Standing(Stage.LIVE, 50_000, in_step=True)
        return MemoryBackend(lambda: Staged(MemoryProvider(), ResolvingProvider(), standing=half))


class StagedToTheEnd(Staged):
    """From a store to what decides by itself, which alone is left."""

    def __init__(self):
        complete = Standing(Stage.COMPLETE)
        super().__init__(MemoryProvider(), ResolvingProvider(), standing=complete)

    @property
    def declarations(self):
        return self.second.declarations

    @declarations.setter
    def declarations(self, declarations):
        self.second.declarations = declarations

    def cut(self):
        self.second.cut()

    def mend(self):
        self.second.mend()


@pytest.mark.slow
class TestStagedToWhatDecides(ProviderContract):
    lacks = IN_ONE_PROCESS
    known_gaps = MappingProxyType(
        {A_SNAPSHOT: THE_SIDE, "test_a_boolean_flag_serves_its_value": THE_SIDE}
    )

    @pytest.fixture
    def backend(self):
        return ResolvingBackend(StagedToTheEnd)
