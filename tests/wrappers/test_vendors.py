"""Failover between two services of a vendor, each asked through the vendor's own SDK."""

import threading
import time

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean

from downhaul import Flags
from downhaul.provider import State

FILE = """
[provider]
url = "launchdarkly+{first}"
sdk_key = {{ env = "FIRST_KEY" }}
wrap = ["failover"]

[provider.failover]
after = 0.3
back = 0.3

[provider.failover.to]
url = "launchdarkly+{second}"
sdk_key = {{ env = "SECOND_KEY" }}
"""


def wait_for(holds):
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        threading.Event().wait(0.01)


@pytest.fixture
def services():
    with (
        LaunchDarklyEmulator(sdk_key="sdk-first") as first,
        LaunchDarklyEmulator(sdk_key="sdk-second") as second,
    ):
        for key in ("a", "b", "c"):
            first.put(boolean(key))
            second.put(boolean(key, percent=0))
        second.put(boolean("d", percent=0))
        yield first, second


@pytest.mark.slow
@pytest.mark.rule("P2", "K1")
def test_another_service_answers_while_the_first_is_away(services, tmp_path, monkeypatch):
    first, second = services
    path = tmp_path / "downhaul.toml"
    path.write_text(FILE.format(first=first.url, second=second.url))
    monkeypatch.setenv("FIRST_KEY", "sdk-first")
    monkeypatch.setenv("SECOND_KEY", "sdk-second")
    done, seen = threading.Event(), set()

    def ask(flags):
        while not done.is_set():
            results = flags.evaluate_all("ada")
            seen.add(tuple(sorted((key, one.value) for key, one in results.items())))

    with Flags.connect(file=path, cache_dir=str(tmp_path / "cache"), ready_within=20) as flags:
        assert flags.is_enabled("a", "ada")
        asking = threading.Thread(target=ask, args=(flags,))
        asking.start()
        try:
            first.stop()
            wait_for(lambda: not flags.is_enabled("a", "ada", default=True))
            assert flags.status().state is State.STALE
            assert "launchdarkly answers" in flags.status().provider.message
            first.start()
            wait_for(lambda: flags.is_enabled("a", "ada"))
            assert flags.status().state is State.READY
        finally:
            done.set()
            asking.join(15)
    assert seen == {
        (("a", True), ("b", True), ("c", True)),
        (("a", False), ("b", False), ("c", False), ("d", False)),
    }
