"""Wrappers around a vendor's services, each asked through the vendor's own SDK."""

import threading
import time

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean
from downhaul_launchdarkly.provider import LaunchDarklyProvider
from downhaul_launchdarkly.session import Connection

from downhaul import Flag, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.config import Secret
from downhaul.flag import FlagSet
from downhaul.provider import Change, State
from downhaul.staging import Stage, Standing
from downhaul.wrappers.comparisons import Outcome
from downhaul.wrappers.staged import Staged

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


def staged_to(service, standing_of, **options):
    """From flags of our own to those of an emulated service."""
    provider = LaunchDarklyProvider(
        Connection(Secret(service.sdk_key), service.url, service.url, events_url=service.url)
    )
    old = MemoryProvider(FlagSet.of([Flag.boolean("agent", percent=50), Flag.boolean("same")]))
    return old, Staged(old, provider, standing_of, **options)


@pytest.mark.slow
@pytest.mark.rule("M4")
def test_a_flag_moves_to_another_service_and_back_and_an_off_there_counts():
    users = [f"user-{number}" for number in range(100)]
    with LaunchDarklyEmulator(sdk_key="sdk-new") as service:
        service.put(boolean("agent", percent=0))
        service.put(boolean("same"))
        stands = {"agent": Standing(Stage.SHADOW), "same": Standing(Stage.SHADOW, in_step=True)}
        old, staged = staged_to(service, lambda key: stands.get(key, Standing()), sample=1)
        with Flags.over(staged) as flags:
            assert staged.second.wait_ready(20)

            def on(key="agent"):
                return {user for user in users if flags.is_enabled(key, user)}

            half = on()
            assert 20 < len(half) < 80
            on("same")
            wait_for(lambda: staged.report().total(*Outcome) >= 100)
            on()
            on("same")
            wait_for(lambda: staged.report().parity("same") == 1)
            wait_for(lambda: (staged.report().parity("agent") or 1) < 0.8)

            stands["agent"] = Standing(Stage.LIVE, 30_000)
            staged.moved(["agent"])
            moved = {user for user in users if flags.evaluate("agent", user).provider != old.name}
            assert on() == half - moved
            stands["agent"] = Standing(Stage.RAMP_DOWN)
            assert on() == set()
            stands["agent"] = Standing(Stage.SHADOW)
            assert on() == half

            stands["same"] = Standing(Stage.RAMP_DOWN, in_step=True)
            service.put(boolean("same", on=False))
            wait_for(lambda: on("same") == set())
            service.put(boolean("same"))
            wait_for(lambda: on("same") == set(users))
            stands["same"] = Standing(Stage.DUAL_WRITE, in_step=True)
            service.put(boolean("same", on=False))
            wait_for(lambda: on("same") == set())
            result = flags.evaluate("same", "ada")
            assert result.metadata["off_at"] == "new launchdarkly"
            service.put(boolean("same"))
            wait_for(lambda: on("same") == set(users))
            old.switch_off("same", Change("ana", "because"))
            stands["same"] = Standing(Stage.LIVE, in_step=True)
            assert on("same") == set()
            assert service.events == []


@pytest.mark.slow
@pytest.mark.rule("P2")
def test_while_the_new_service_is_away_the_old_side_answers_for_what_is_in_step():
    with LaunchDarklyEmulator(sdk_key="sdk-new") as service:
        service.put(boolean("same"))
        service.stop()
        _, staged = staged_to(service, lambda _key: Standing(Stage.LIVE, in_step=True), sample=0)
        with Flags.over(staged, ready_within=0.1) as flags:
            result = flags.evaluate("same", "ada")
            assert (result.value, result.provider) == (True, "memory")
            assert result.metadata["instead_of"] == "new launchdarkly: PROVIDER_NOT_READY"
            assert flags.status().state is State.STALE
            service.start()
            wait_for(lambda: flags.evaluate("same", "ada").provider == "launchdarkly")
            wait_for(lambda: flags.status().state is State.READY)
