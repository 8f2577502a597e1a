"""The contract of providers, on LaunchDarkly's own SDK and the emulated service."""

from types import MappingProxyType

import pytest
import requests
from as_launchdarkly import about_of, document_of, segment_of
from downhaul_contract_tests import Backend, Feature, ProviderContract
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_launchdarkly.admin import Admin
from downhaul_launchdarkly.api import Api
from downhaul_launchdarkly.provider import LaunchDarklyProvider
from downhaul_launchdarkly.session import Connection

from downhaul.config import RolloutMode, Secret


class Service(Backend):
    """The emulated service as applications have it; each provider is a client of its own."""

    def __init__(self, emulator):
        self._emulator = emulator
        self.secrets = (emulator.sdk_key, emulator.admin_token)

    def connection(self):
        url = self._emulator.url
        return Connection(Secret(self._emulator.sdk_key), url, url, url)

    def provider(self):
        return LaunchDarklyProvider(self.connection())

    def seed(self, flags):
        self._emulator.replace(
            {key: document_of(one) for key, one in flags.flags.items()},
            {key: segment_of(one) for key, one in flags.segments.items()},
        )
        self._emulator.about.update({key: about_of(one) for key, one in flags.flags.items()})

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


class ManagedService(Service):
    """The same with an admin token. What is declared says whose rollouts are portable."""

    def __init__(self, emulator):
        super().__init__(emulator)
        self._declared = {}

    def declare(self, declarations):
        self._declared = dict(declarations)

    def provider(self):
        one = self._emulator
        portable = frozenset(
            key for key, said in self._declared.items() if said.rollout is RolloutMode.PORTABLE
        )
        api = Api(one.url, Secret(one.admin_token), one.project, DEADLINE)
        admin = Admin(api, one.environment, portable=portable, declared=self._declared)
        return LaunchDarklyProvider(self.connection(), admin)


DEADLINE = 5.0  # seconds of a verb in an outage
LACKS = MappingProxyType(
    {
        Feature.TELLS_TAGS: "the SDK's payload has no tags",
        Feature.VALUES: "the SDK's payload has no names of variations",
        Feature.ANY_KEYS: "LaunchDarkly's keys are letters, digits, '.', '_' and '-'",
    }
)


@pytest.fixture(scope="module")
def emulator():
    with LaunchDarklyEmulator(
        sdk_key="sdk-5ecret-of-the-contract", admin_token="api-5ecret-of-the-contract"
    ) as emulator:
        yield emulator


class TestLaunchDarkly(ProviderContract):
    lacks = LACKS

    @pytest.fixture
    def backend(self, emulator):
        return Service(emulator)


@pytest.mark.slow
class TestManagedLaunchDarkly(ProviderContract):
    lacks = MappingProxyType(
        {
            **LACKS,
            Feature.EVERY_FIELD: "an object's variants have no names of their own in LaunchDarkly, "
            "and a rule gets its id there",
        }
    )

    @pytest.fixture
    def backend(self, emulator):
        return ManagedService(emulator)
