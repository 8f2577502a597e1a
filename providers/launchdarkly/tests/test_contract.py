"""The contract of providers, on LaunchDarkly's own SDK and the emulated service."""

from types import MappingProxyType

import pytest
import requests
from as_launchdarkly import document_of
from downhaul_contract_tests import Backend, Feature, ProviderContract
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_launchdarkly.provider import LaunchDarklyProvider
from downhaul_launchdarkly.session import Connection

from downhaul.config import Secret


class Service(Backend):
    """The emulated service; each provider is a client of its own."""

    def __init__(self, emulator):
        self._emulator = emulator
        self.secrets = (emulator.sdk_key,)

    def provider(self):
        url = self._emulator.url
        key = Secret(self._emulator.sdk_key)
        return LaunchDarklyProvider(Connection(key, url, url, url))

    def seed(self, flags):
        self._emulator.replace({key: document_of(one) for key, one in flags.flags.items()})

    def change(self, flag):
        # By HTTP, because a forked child's copy of the emulator serves nobody.
        url = f"{self._emulator.url}/emulator/flags/{flag.key}"
        requests.put(url, json=document_of(flag), timeout=10).raise_for_status()

    def outage(self):
        self._emulator.stop()

    def restore(self):
        if not self._emulator.running:
            self._emulator.start()

    def reset(self):
        self.restore()
        self._emulator.replace({})


@pytest.fixture(scope="module")
def emulator():
    with LaunchDarklyEmulator(sdk_key="sdk-5ecret-of-the-contract") as emulator:
        yield emulator


class TestLaunchDarkly(ProviderContract):
    lacks = MappingProxyType(
        {
            Feature.TELLS_TAGS: "the SDK's payload has no tags",
            Feature.VALUES: "the SDK's payload has no names of variations",
        }
    )

    @pytest.fixture
    def backend(self, emulator):
        return Service(emulator)
