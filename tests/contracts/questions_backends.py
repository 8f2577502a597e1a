"""Every backend at hand, for the thirteen questions. One more is one more fixture, and its name.

A fixture ``NAME_asked`` gives a :class:`downhaul_contract_tests.Backend` and what it lacks.
"""

import pytest
from downhaul_contract_tests import Backend, Feature, write_all
from downhaul_contract_tests.bindings import (
    IN_ONE_PROCESS,
    NO_VERSIONS,
    FileBackend,
    MemoryBackend,
    SqliteBackend,
)
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.seeding import to_launchdarkly, to_split
from downhaul_emulators.split import SplitEmulator
from downhaul_launchdarkly.provider import LaunchDarklyProvider
from downhaul_launchdarkly.session import Connection
from downhaul_openfeature.provider import OpenFeatureProvider
from downhaul_postgres.contract import PostgresBackend, postgres_server, postgres_template
from downhaul_split.provider import SplitProvider
from downhaul_split.session import Connection as SplitConnection
from downhaul_unleash.admin import Admin as UnleashAdmin
from downhaul_unleash.api import Api as UnleashApi
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection as UnleashConnection
from fixtures_unleash import ADMIN_TOKEN, BACKEND_TOKEN

from downhaul import Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.config import Secret
from downhaul.flag import FlagSet
from downhaul.integrations.openfeature import DownhaulProvider

_OF_SPLITS_SDK = pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning")
ASKED = (
    "memory",
    "file",
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgres),
    "launchdarkly",
    pytest.param("split", marks=_OF_SPLITS_SDK),
    pytest.param("unleash", marks=[pytest.mark.slow, pytest.mark.xdist_group("unleash")]),
    "openfeature",
)

__all__ = [
    "ASKED",
    "contract_url",
    "file_asked",
    "launchdarkly_asked",
    "memory_asked",
    "openfeature_asked",
    "postgres_server",
    "postgres_template",
    "postgresql_asked",
    "split_asked",
    "sqlite_asked",
    "unleash_asked",
]


class LaunchDarklyBackend(Backend):
    """The emulated service, evaluated by the vendor's SDK."""

    def __init__(self, emulator):
        self._emulator = emulator

    def provider(self):
        url = self._emulator.url
        return LaunchDarklyProvider(Connection(Secret(self._emulator.sdk_key), url, url, url))

    def seed(self, flags):
        self._emulator.replace({key: to_launchdarkly(one) for key, one in flags.flags.items()})

    def reset(self):
        self._emulator.replace({})


class SplitBackend(Backend):
    """The emulated service, evaluated by the vendor's SDK."""

    def __init__(self, emulator):
        self._emulator = emulator

    def provider(self):
        one = self._emulator
        return SplitProvider(
            SplitConnection(
                Secret(one.sdk_key),
                sdk_url=one.sdk_url,
                events_url=one.events_url,
                auth_url=one.auth_url,
                streaming_url=one.streaming_url,
                telemetry_url=one.telemetry_url,
                streaming=False,  # closed while it opens its stream, the SDK fails in a thread
            )
        )

    def seed(self, flags):
        self._emulator.replace({key: to_split(one) for key, one in flags.flags.items()})

    def reset(self):
        self._emulator.replace({})


class UnleashBackend(Backend):
    """The real server, evaluated by the vendor's SDK, and filled through its admin API."""

    def __init__(self, server):
        self._server, self._declared = server, {}

    def provider(self):
        self._server.settle()  # a new process is asked for what the server has published
        place = UnleashConnection(
            self._server.url, Secret(BACKEND_TOKEN), environment="development", refresh=1.0
        )
        api = UnleashApi(self._server.url, Secret(ADMIN_TOKEN))
        admin = UnleashAdmin(api, "default", "development", declared=self._declared)
        return UnleashProvider(place, admin=admin, declared=self._declared)

    def declare(self, declarations):
        self._declared = dict(declarations)

    def seed(self, flags):
        write_all(self.provider(), flags)
        self._server.settle()

    def reset(self):
        self._declared = {}
        self._server.clear()
        self._server.settle()


class OpenFeatureBackend(Backend):
    """Flags of this process, behind OpenFeature's interface of a provider."""

    def __init__(self):
        self._kept, self._kinds = MemoryProvider(), {}
        self._near = Flags.over(self._kept)

    def provider(self):
        return OpenFeatureProvider(lambda: DownhaulProvider(self._near), kinds=self._kinds)

    def seed(self, flags):
        write_all(self._kept, flags)

    def reset(self):
        write_all(self._kept, FlagSet())

    def declare(self, declarations):
        self._kinds = {key: one.kind for key, one in declarations.items()}

    def close(self):
        self._near.close()


@pytest.fixture
def memory_asked():
    return MemoryBackend(), IN_ONE_PROCESS


@pytest.fixture
def file_asked(tmp_path):
    return FileBackend(tmp_path), NO_VERSIONS


@pytest.fixture
def sqlite_asked(tmp_path):
    return SqliteBackend(tmp_path), {}


@pytest.fixture(scope="module")
def contract_url(module_postgres):
    return module_postgres


@pytest.fixture
def postgresql_asked(postgres_server, postgres_template):
    made = PostgresBackend(postgres_server, postgres_template)
    yield made, {}
    made.drop()


@pytest.fixture
def launchdarkly_asked():
    with LaunchDarklyEmulator() as emulator:
        yield LaunchDarklyBackend(emulator), {Feature.TELLS_TAGS: "the payload has no tags"}


@pytest.fixture
def split_asked():
    with SplitEmulator() as emulator:
        yield (
            SplitBackend(emulator),
            {
                Feature.TELLS_KIND: "a treatment is a text",
                Feature.TELLS_OFF: "it is declared here",
                Feature.TELLS_TAGS: "the payload has no tags",
            },
        )


@pytest.fixture
def unleash_asked(unleash):
    not_served = dict.fromkeys(
        (Feature.TELLS_OFF, Feature.TELLS_TAGS), "Unleash serves neither to SDKs"
    )
    return UnleashBackend(unleash), not_served


@pytest.fixture
def openfeature_asked():
    made = OpenFeatureBackend()
    no_word = dict.fromkeys(
        (Feature.TELLS_KIND, Feature.TELLS_OFF, Feature.TELLS_TAGS),
        "OpenFeature has no word for it",
    )
    yield made, {**IN_ONE_PROCESS, **no_word}
    made.close()
