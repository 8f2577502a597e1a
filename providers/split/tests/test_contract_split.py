"""The contract of providers, on Split's own SDK and the emulated service."""

from types import MappingProxyType

import pytest
from downhaul_contract_tests import Backend, Feature, ProviderContract
from downhaul_emulators.split import SplitEmulator
from downhaul_split.admin import Admin
from downhaul_split.api import Place, api_of
from downhaul_split.provider import SplitProvider
from downhaul_split.session import Connection
from downhaul_split.writing import definition_of

from downhaul.config import RolloutMode, Secret
from downhaul.provider import Change

SEEDING = Change("contract", "to see whether it holds")


class Service(Backend):
    """The emulated service; each provider is a client of its own."""

    def __init__(self, emulator, *, managing):
        self._emulator = emulator
        self._managing = managing
        self._portable = frozenset()
        self.secrets = (emulator.sdk_key, emulator.admin_token)

    def provider(self):
        service = self._emulator
        connection = Connection(
            Secret(service.sdk_key),
            service.sdk_url,
            service.events_url,
            service.auth_url,
            service.streaming_url,
            service.telemetry_url,
            refresh=1,
        )
        return SplitProvider(connection, self._admin() if self._managing else None)

    def seed(self, flags):
        self._emulator.replace(
            {
                key: definition_of(flag, portable=key in self._portable)
                for key, flag in flags.flags.items()
            }
        )

    def change(self, flag):
        self._admin().put(flag, SEEDING, None)

    def declare(self, declarations):
        self._portable = frozenset(
            key for key, one in declarations.items() if one.rollout is RolloutMode.PORTABLE
        )

    def outage(self):
        self._emulator.stop()

    def restore(self):
        if not self._emulator.running:
            self._emulator.start()

    def reset(self):
        self.restore()
        self._emulator.replace({})

    def _admin(self):
        service = self._emulator
        api = api_of(service.admin_url, Secret(service.admin_token), 5.0)
        place = Place(service.workspace, service.environment, "user")
        return Admin(api, place, portable=self._portable)


LACKS = {
    Feature.TELLS_TAGS: "the SDK is told of no tags",
    Feature.FINE_PERCENTAGES: "Split's percentages are whole ones",
    Feature.PREREQUISITES: "the admin API has no prerequisites",
    Feature.SEVERAL_KINDS: "Split has traffic types, and a key of one of them",
    Feature.ANY_KEYS: "Split's names are letters, digits, - and _",
    Feature.EVERY_FIELD: "Split keeps no owner and no type",
}


_LONG = "Split's SDK takes no targeting key of over 250 characters"
GAPS = {"test_any_text_is_a_targeting_key": _LONG, "test_a_split_takes_any_targeting_key": _LONG}


@pytest.fixture(scope="module")
def emulator():
    with SplitEmulator(
        sdk_key="sdk-5ecret-of-the-contract", admin_token="admin-5ecret-of-the-contract"
    ) as emulator:
        yield emulator


@pytest.mark.slow
class TestSplit(ProviderContract):
    lacks = MappingProxyType(LACKS)
    known_gaps = MappingProxyType(GAPS)

    @pytest.fixture
    def backend(self, emulator):
        return Service(emulator, managing=True)
