"""Who talks to the emulated service in these tests: the vendor's SDK, and an operator."""

import contextlib
import threading
import time

import pytest
import requests
from downhaul_emulators import SplitEmulator
from splitio import get_factory

LIMIT = 15.0


def _wait_for(holds):
    until = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < until, "it does not hold in time"
        time.sleep(0.005)


@contextlib.contextmanager
def _sdk(service, *, streaming=True, **config):
    """A factory of the vendor's SDK, started and not awaited."""
    settings = {
        "streamingEnabled": streaming,
        "featuresRefreshRate": 1 if not streaming else 60,
        "segmentsRefreshRate": 1 if not streaming else 60,
        "impressionsMode": "DEBUG",
        **config,
    }
    factory = get_factory(
        settings.pop("key", service.sdk_key),
        config=settings,
        sdk_api_base_url=service.sdk_url,
        events_api_base_url=service.events_url,
        auth_api_base_url=service.auth_url,
        telemetry_api_base_url=service.telemetry_url,
        streaming_api_base_url=service.streaming_url,
    )
    try:
        yield factory
    finally:
        ended = threading.Event()
        factory.destroy(ended)
        assert ended.wait(LIMIT)


@contextlib.contextmanager
def _following(service, *, streaming=True, **config):
    """A client of the vendor's SDK that is ready, and listens where it streams."""
    with _sdk(service, streaming=streaming, **config) as factory:
        factory.block_until_ready(LIMIT)
        if streaming:
            _wait_for(service.listening)
        yield factory.client()


class _Admin:
    """An operator with the admin API: each call returns the answer, whatever it is."""

    def __init__(self, service, token=None):
        self._service = service
        self.headers = {"Authorization": f"Bearer {token or service.admin_token}"}

    def call(self, method, path, **options):
        url = f"{self._service.admin_url}/{path}"
        return requests.request(method, url, headers=self.headers, timeout=LIMIT, **options)

    def of(self, name, verb=""):
        service = self._service
        return f"splits/ws/{service.workspace}/{name}/environments/{service.environment}{verb}"

    def new_flag(self, name, **about):
        path = f"splits/ws/{self._service.workspace}/trafficTypes/user"
        return self.call("POST", path, json={"name": name, **about})

    def create(self, name, definition):
        answer = self.new_flag(name)
        assert answer.status_code == 200, answer.text
        return self.call("POST", self.of(name), json=definition)

    def read(self, name):
        return self.call("GET", self.of(name))

    def put(self, name, definition):
        return self.call("PUT", self.of(name), json=definition)

    def patch(self, name, *operations):
        body = [
            {"op": op, "path": path, **({"value": rest[0]} if rest else {})}
            for op, path, *rest in operations
        ]
        return self.call("PATCH", self.of(name), json=body)

    def kill(self, name):
        return self.call("PUT", self.of(name, "/kill"))

    def restore(self, name):
        return self.call("PUT", self.of(name, "/restore"))

    def remove(self, name):
        return self.call("DELETE", self.of(name))


@pytest.fixture
def split():
    """Split's service, with nothing in it."""
    with SplitEmulator() as emulator:
        yield emulator


@pytest.fixture
def admin(split):
    """An operator with every right."""
    return _Admin(split)


@pytest.fixture
def operator(split):
    """Returns an operator with the token that is given."""
    return lambda token: _Admin(split, token)


@pytest.fixture
def sdk(split):
    """Returns a context manager: a factory of the vendor's SDK, started and not awaited."""
    return lambda **config: _sdk(split, **config)


@pytest.fixture
def following(split):
    """Returns a context manager: a client of the vendor's SDK that is ready and listens."""
    return lambda **config: _following(split, **config)


@pytest.fixture
def wait_for():
    """Returns what waits until something holds."""
    return _wait_for
