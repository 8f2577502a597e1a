"""The contract of providers, on Downhaul flags that are reached through OpenFeature."""

from typing import ClassVar

import pytest
from downhaul_contract_tests import Backend, Feature, ProviderContract, write_all
from downhaul_openfeature.provider import OpenFeatureProvider

from downhaul import Change, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.integrations.openfeature import DownhaulProvider

ANA = Change("ana", "to see whether it is heard")


class OpenFeatureBackend(Backend):
    """Flags of this process, behind OpenFeature's interface of a provider."""

    def __init__(self):
        self._near = None
        self._kinds = {}
        self.reset()

    def provider(self):
        near = self._near
        return OpenFeatureProvider(lambda: DownhaulProvider(near), watch=True, kinds=self._kinds)

    def seed(self, flags):
        write_all(self._kept, flags)

    def reset(self):
        if self._near is not None:
            self._near.close()
        self._kept = MemoryProvider()
        self._near = Flags.over(self._kept)
        self._kinds = {}

    def change(self, flag):
        self._kept.put(flag, ANA)

    def declare(self, declarations):
        self._kinds = {key: one.kind for key, one in declarations.items()}


class TestOpenFeature(ProviderContract):
    lacks: ClassVar = {
        Feature.PROCESSES: "it lives in one process",
        Feature.TELLS_KIND: "OpenFeature has no word for it",
        Feature.TELLS_OFF: "OpenFeature has no word for it",
        Feature.TELLS_TAGS: "OpenFeature has no word for it",
    }
    known_gaps: ClassVar = {
        "test_a_killed_prerequisite_holds_a_flag_back": "prerequisites are decided behind "
        "OpenFeature, which can be told of no kill",
    }

    @pytest.fixture
    def backend(self):
        return OpenFeatureBackend()
