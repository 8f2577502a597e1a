"""Connections to an emulated service, for several modules of tests."""

import time

from downhaul_split.admin import Admin
from downhaul_split.api import Place, api_of
from downhaul_split.feed import Feed
from downhaul_split.provider import SplitProvider
from downhaul_split.session import Connection

from downhaul.config import Secret


def connection(service, key=None, **more):
    """Return a connection to an emulated service that asks every second."""
    places = {
        "sdk_url": service.sdk_url,
        "events_url": service.events_url,
        "auth_url": service.auth_url,
        "streaming_url": service.streaming_url,
        "telemetry_url": service.telemetry_url,
        "refresh": 1,
    }
    return Connection(Secret(key or service.sdk_key), **{**places, **more})


def provider_of(
    service,
    *,
    portable=(),
    declared=None,
    deadline=10.0,
    token=None,
    workspace=None,
    refresh=5.0,
):
    """Return a provider that manages an emulated service."""
    api = api_of(service.admin_url, Secret(token or service.admin_token), deadline)
    place = Place(workspace, service.environment, "user")
    seeds = Feed(Secret(service.sdk_key), service.sdk_url).seeds
    admin = Admin(api, place, portable=frozenset(portable), declared=declared, seeds=seeds)
    return SplitProvider(connection(service, refresh=refresh), admin)


def wait_for(holds, timeout=20.0):
    """Wait until something holds."""
    until = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)
