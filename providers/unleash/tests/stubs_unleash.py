"""Providers on the real server, and what tests wait for."""

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

from downhaul_unleash.admin import Admin
from downhaul_unleash.api import Api
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection
from fixtures_unleash import ADMIN_TOKEN, BACKEND_TOKEN

from downhaul import Flags
from downhaul.config import Secret
from downhaul.provider import Change


def connection(server, token=BACKEND_TOKEN, **fields):
    """How the server is asked often enough for a test."""
    made = Connection(
        server.url, Secret(token), environment="development", refresh=0.2, request_timeout=1.0
    )
    return replace(made, **fields)


def provider(server, **fields):
    return UnleashProvider(connection(server, **fields))


@contextmanager
def client(made, *on, **options):
    """A client that has heard that these flags are on."""
    options.setdefault("ready_within", 10.0)
    with Flags.over(made, **options) as flags:
        for name in on:
            eventually(lambda name=name: _is_on(made, name), f"{name} is heard to be on")
        yield flags


def _is_on(made, name):
    serving = made._session.serving
    return serving is not None and name in serving.known and serving.known[name].flag.on


def eventually(holds, what, within=15.0):
    until = time.monotonic() + within
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < until, f"it never came to be that {what}"
        pause.wait(0.02)


ANA = Change("ana", "because")


def managing(server, *, token=ADMIN_TOKEN, deadline=10.0, portable=(), declared=None, **fields):
    """A provider with an admin token."""
    api = Api(server.url, Secret(token), deadline=deadline)
    admin = Admin(api, "default", "development", portable=frozenset(portable), declared=declared)
    return UnleashProvider(connection(server, **fields), admin=admin, declared=declared)
