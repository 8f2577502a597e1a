"""The contract that every provider holds, on a real Unleash server."""

from types import MappingProxyType

import pytest
from downhaul_contract_tests import Backend, Feature, ProviderContract, write_all
from fixtures_unleash import ADMIN_TOKEN, BACKEND_TOKEN
from stubs_unleash import managing, provider

from downhaul.config import RolloutMode

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unleash")]


REFRESH = 1.0  # seconds
MANY = 1_000  # flags that are alike, and put into the database


class UnleashBackend(Backend):
    """The run's server, emptied before every test."""

    secrets = (ADMIN_TOKEN.partition(".")[2], BACKEND_TOKEN.partition(".")[2])

    def __init__(self, server):
        self.server = server
        self.declared = {}
        self.away = False

    def provider(self, deadline=13.0):
        if not self.away:
            self.server.settle()  # a new process is asked for what the server has published
        portable = [
            key for key, one in self.declared.items() if one.rollout is RolloutMode.PORTABLE
        ]
        return managing(
            self.server,
            declared=self.declared,
            portable=portable,
            deadline=deadline,
            refresh=REFRESH,
        )

    def declare(self, declarations):
        self.declared = dict(declarations)

    def seed(self, flags):
        if len(flags.flags) > MANY:
            self.server.plant({key: one.on for key, one in flags.flags.items()})
        else:
            write_all(UnleashBackend.provider(self, deadline=60.0), flags)
        self.server.settle()

    def reset(self):
        self.declared = {}
        self.server.clear()
        self.server.settle()

    def outage(self):
        self.away = True
        self.server.pause()

    def restore(self):
        self.server.go_on()
        self.away = False


GAPS = {
    "test_an_empty_string_is_a_value": "Unleash takes no empty payload",
    "test_any_text_is_a_targeting_key": "Unleash takes no targeting key of over 100 characters",
}
LACKS = {
    Feature.SEVERAL_KINDS: "a context of Unleash is one user with properties",
    Feature.FINE_PERCENTAGES: "Unleash's hash has a hundred buckets",
    Feature.ANY_KEYS: "Unleash's names are letters, digits and -._~",
    Feature.EVERY_FIELD: "Unleash has no owner, and its tags are not served",
    Feature.TELLS_OFF: "Unleash serves nothing to who is not enabled",
    Feature.TELLS_TAGS: "Unleash's tags are not served to SDKs",
}


class ReadingBackend(UnleashBackend):
    """The same, as an application has it: without an admin token."""

    def provider(self):
        if not self.away:
            self.server.settle()
        made = provider(self.server, refresh=REFRESH)
        made._off = {key: one.off for key, one in self.declared.items() if one.off is not None}
        return made

    def change(self, flag):
        from downhaul_contract_tests.backend import CHANGE

        UnleashBackend.provider(self).put(flag, CHANGE)


class TestUnleashWithoutAnAdminToken(ProviderContract):
    lacks = LACKS
    known_gaps = GAPS

    @pytest.fixture
    def backend(self, unleash):
        return ReadingBackend(unleash)


@pytest.mark.xdist_group("unleash-managed")  # on a server of its own, beside the other one
class TestUnleash(ProviderContract):
    lacks = LACKS
    known_gaps = MappingProxyType(
        {
            **GAPS,
            "test_a_version_is_never_used_again": "Unleash numbers no versions: what is as it was "
            "has the version that it had",
        }
    )

    @pytest.fixture
    def backend(self, unleash):
        return UnleashBackend(unleash)
