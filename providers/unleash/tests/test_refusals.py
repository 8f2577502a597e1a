"""The admin API as the real server refuses: by token, by URL, by being away."""

import time

import pytest
from downhaul_unleash.admin import Admin
from downhaul_unleash.api import Api
from downhaul_unleash.provider import UnleashProvider
from fixtures_unleash import BACKEND_TOKEN
from stubs_unleash import ANA, managing, provider

from downhaul import Flag
from downhaul.config import Secret
from downhaul.errors import ProviderError, ReadOnly, Unreachable, UnsupportedCapability
from downhaul.provider import Capability

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unleash")]


@pytest.mark.rule("P7")
@pytest.mark.parametrize("token, said", [("*:*.wrong-admin-token", "401"), (BACKEND_TOKEN, "403")])
def test_a_token_that_may_not_manage_is_told_at_once_and_never_shown(unleash, token, said):
    began = time.monotonic()
    console = managing(unleash, token=token)
    with pytest.raises(ProviderError, match=said) as refused:
        console.switch_off("anything", ANA)
    assert time.monotonic() - began < 5
    assert not isinstance(refused.value, Unreachable)
    assert token.partition(".")[2] not in str(refused.value) + repr(console._admin)


def test_a_url_that_is_no_api_is_told(unleash):
    api = Api(unleash.url + "/nowhere/api", Secret("*:*.x"), deadline=3)
    console = UnleashProvider(
        provider(unleash)._connection, admin=Admin(api, "default", "development")
    )
    with pytest.raises(ProviderError) as refused:
        console.list()
    assert refused.value.hint


@pytest.mark.rule("P4")
def test_without_an_admin_token_nothing_is_managed(unleash):
    made = provider(unleash)
    assert made.capabilities == {Capability.RESOLVE, Capability.WATCH}
    for call in (lambda: made.get("f"), made.list, lambda: made.snapshot("f")):
        with pytest.raises((UnsupportedCapability, ReadOnly)):
            call()
    with pytest.raises((UnsupportedCapability, ReadOnly)):
        made.switch_off("f", ANA)


@pytest.mark.rule("P7")
@pytest.mark.fault
def test_a_verb_ends_at_its_deadline_when_the_server_hangs_or_is_away(own_unleash):
    console = managing(own_unleash, deadline=2.0)
    flag = console.put(Flag.boolean(own_unleash.fresh_name()), ANA)
    for fault in (own_unleash.pause, own_unleash.kill):
        fault()
        began = time.monotonic()
        with pytest.raises(Unreachable) as unreachable:
            console.switch_off(flag.key, ANA)
        assert time.monotonic() - began < 4
        assert unreachable.value.flag == flag.key
        assert unreachable.value.hint
