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


def _threads(before=frozenset()):
    """The names of the threads that came since ``before``."""
    return {one.name for one in threading.enumerate() if one not in before}


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
    before = frozenset(threading.enumerate())
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
        # destroyed before its start is through, the SDK goes on for good: trying, then polling
        service.heal()
        _wait_for(lambda: "SDKInitializer" not in _threads(before))
        ended = threading.Event()
        factory.destroy(ended)
        assert ended.wait(LIMIT)
        _wait_for(lambda: "PushFeatureFlagWorker" not in _threads(before))


@contextlib.contextmanager
def _following(service, *, streaming=True, **config):
    """A client of the vendor's SDK that is ready, and listens where it streams."""
    before = frozenset(threading.enumerate())
    with _sdk(service, streaming=streaming, **config) as factory:
        factory.block_until_ready(LIMIT)
        if streaming:
            _wait_until_it_streams(before)
        yield factory.client()


def _wait_until_it_streams(before=frozenset()):
    """Wait until the SDK has caught up after it connected, and goes by what the stream says."""
    _wait_for(lambda: "PushFeatureFlagWorker" in _threads(before))


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

    def delete(self, name):
        return self.call("DELETE", f"splits/ws/{self._service.workspace}/{name}")

    def new_segment(self, name, keys=()):
        workspace, environment = self._service.workspace, self._service.environment
        about = {"name": name}
        made = self.call("POST", f"segments/ws/{workspace}/trafficTypes/user", json=about)
        assert made.status_code == 200, made.text
        assert self.call("POST", f"segments/{environment}/{name}").status_code == 200
        return self.keys(name, "uploadKeys", list(keys)) if keys else made

    def keys(self, segment, verb, keys, query=""):
        path = f"segments/{self._service.environment}/{segment}/{verb}{query}"
        return self.call("PUT", path, json={"keys": keys, "comment": "why"})

    def new_rule_segment(self, name):
        workspace, environment = self._service.workspace, self._service.environment
        path = f"rule-based-segments/ws/{workspace}/trafficTypes/user"
        assert self.call("POST", path, json={"name": name}).status_code == 200
        assert self.call("POST", f"rule-based-segments/{environment}/{name}").status_code == 200

    def rules(self, name, **definition):
        workspace, environment = self._service.workspace, self._service.environment
        path = f"rule-based-segments/ws/{workspace}/{name}/environments/{environment}"
        return self.call("PUT", path, json=definition)

    def flag_set(self, name):
        workspace = {"id": self._service.workspace, "type": "workspace"}
        url = f"{self._service.url}/internal/api/v3/flag-sets"
        body = {"name": name, "workspace": workspace}
        return requests.post(url, json=body, headers=self.headers, timeout=LIMIT)


def _refused(answer, status, words):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"code", "message", "details", "transactionId"}
    assert body["code"] == status
    assert words in body["message"]


@pytest.fixture
def refused():
    """Returns what checks that an answer is a refusal in Split's shape, with words in it."""
    return _refused


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
def wait_until_it_streams():
    """Returns what waits until the SDK goes by what the stream says, again."""
    return _wait_until_it_streams


@pytest.fixture
def wait_for():
    """Returns what waits until something holds."""
    return _wait_for
