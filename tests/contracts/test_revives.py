"""A revive of a flag whose backend is polled: nobody serves the percentage from before the kill."""

import dataclasses
import os
import threading
import time
import warnings

import pytest
from resolving import LaggingProvider

from downhaul import Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.memory_control import MemoryControl
from downhaul.backends.sqlite import SqliteProvider
from downhaul.control import Operator
from downhaul.flag import Flag
from downhaul.overlay import Scope
from downhaul.provider import Capability, Change
from downhaul.result import ErrorCode
from downhaul.store import schema

USERS = [f"user-{number}" for number in range(400)]
FEW = 12  # of 400 users, where one percent is served
ANA = Change("ana", "because")

pytestmark = pytest.mark.rule("K5")


def served(flags):
    return sum(flags.is_enabled("agent", user) for user in USERS)


def eventually(holds, what):
    until = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < until, f"it never came to be that {what}"
        threading.Event().wait(0.005)


@pytest.fixture
def store():
    """Where the flag is kept, at half of all users."""
    kept = MemoryProvider()
    kept.put(Flag.boolean("agent", percent=50), ANA)
    return kept


@pytest.fixture
def control():
    return MemoryControl()


@pytest.fixture
def operator(store, control):
    with Operator(LaggingProvider(store), control, actor="ana") as one:
        yield one


@pytest.fixture
def killed(store, control, operator):
    """An application that polled when half of its users were served, and heard of the kill."""
    provider = LaggingProvider(store)
    with Flags.over(provider, control=control) as flags:
        assert 150 < served(flags) < 250
        operator.kill("agent", reason="it is wrong")
        store.switch_on("agent", ANA)  # so that what the application polls next is served
        assert served(flags) == 0
        yield flags, provider


def test_no_old_percentage_is_served_by_who_has_not_polled_since_the_revive(killed, operator):
    flags, provider = killed
    operator.revive("agent", reason="it is well")
    assert served(flags) == 0
    assert flags.status().kills == ("agent",)
    assert flags.evaluate("agent", "user-1").metadata["kill"]["reason"] == "it is wrong"
    provider.poll()
    eventually(lambda: 0 < served(flags) < FEW, "the first step is served")
    assert flags.status().kills == ()


def test_what_was_polled_before_the_backend_must_have_published_is_not_trusted(killed, operator):
    flags, provider = killed
    provider.publishes_within = 0.3
    stale, provider.kept = provider.kept, MemoryProvider()
    provider.kept.put(Flag.boolean("agent", percent=50), ANA)  # what a cache still hands out
    operator.revive("agent", reason="it is well")
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        provider.poll()
        assert served(flags) == 0
    provider.kept = stale
    eventually(
        lambda: (provider.poll(), served(flags) > 0)[1], "what it published by then is served"
    )
    assert served(flags) < FEW


def test_a_revive_as_was_waits_for_nothing(killed, operator):
    flags, _provider = killed
    operator.revive("agent", reason="it is well", as_was=True)
    assert served(flags) > 150


def test_a_revive_as_was_lifts_what_waits(killed, operator):
    flags, _provider = killed
    operator.revive("agent", reason="it is well")
    assert served(flags) == 0
    operator.revive("agent", reason="at once", as_was=True)
    assert served(flags) > 150


def test_a_backend_that_is_away_keeps_the_flag_killed_until_it_is_back(killed, operator, store):
    flags, provider = killed
    provider.cut()
    operator.revive("agent", reason="it is well")
    provider.poll()
    pause = threading.Event()
    for _ in range(4):
        pause.wait(0.05)
        assert served(flags) == 0
    provider.mend()
    eventually(lambda: 0 < served(flags) < FEW, "the first step is served")


def test_what_is_killed_again_while_it_waits_stays_killed_until_its_own_revive(killed, operator):
    flags, provider = killed
    operator.revive("agent", reason="it is well")
    operator.kill("agent", reason="it is not")
    provider.kept.switch_on("agent", ANA)
    provider.poll()
    pause = threading.Event()
    for _ in range(4):
        pause.wait(0.05)
        result = flags.evaluate("agent", "user-1")
        assert result.metadata["kill"]["reason"] == "it is not"
    operator.revive("agent", reason="now it is")
    assert served(flags) == 0
    provider.poll()
    eventually(lambda: 0 < served(flags) < FEW, "the first step is served")


def test_who_starts_between_the_first_step_and_the_lift_serves_no_old_percentage(
    store, control, operator
):
    operator.kill("agent", reason="it is wrong")
    store.switch_on("agent", ANA)
    operator.revive("agent", reason="it is well")
    late = LaggingProvider(store)
    late.publishes_within = 0.3
    stale = MemoryProvider()
    stale.put(Flag.boolean("agent", percent=50), ANA)
    fresh, late.kept = late.kept, stale
    with Flags.over(late, control=control) as flags:
        assert served(flags) == 0
        late.kept = fresh
        eventually(lambda: (late.poll(), served(flags) > 0)[1], "the first step is served")
        assert served(flags) < FEW


def test_who_starts_long_after_a_revive_waits_for_nothing(store):
    hour_ago = MemoryControl(clock=lambda: time.time() - 3600)
    hour_ago.record_kill(Scope.parse("agent"), ANA, killed=False, lift_others=True, waits=True)
    slow = LaggingProvider(store)
    slow.publishes_within = 60.0  # far less than what has passed
    with Flags.over(slow, control=hour_ago) as flags:
        assert served(flags) > 150


class OldProvider(LaggingProvider):
    """Has data of hours ago when it starts, as from a copy on disk."""

    hours = 2.0

    def publish(self):
        self.polled -= self.hours * 3600
        super().publish()


@pytest.mark.parametrize("hours, held", [(2.0, True), (0.5, False)])
def test_data_from_before_a_revive_of_long_ago_serve_no_old_percentage(store, hours, held):
    hour_ago = MemoryControl(clock=lambda: time.time() - 3600)
    hour_ago.record_kill(Scope.parse("agent"), ANA, killed=False, lift_others=True, waits=True)
    old = OldProvider(store)
    old.hours = hours
    with Flags.over(old, control=hour_ago) as flags:
        assert (served(flags) == 0) is held
        old.hours = 0.0
        old.poll()
        eventually(lambda: served(flags) > 150, "what is new is served")


def test_before_there_are_data_an_old_revive_is_no_kill():
    hour_ago = MemoryControl(clock=lambda: time.time() - 3600)
    hour_ago.record_kill(Scope.parse("agent"), ANA, killed=False, lift_others=True, waits=True)
    away = LaggingProvider()
    away.cut()
    with Flags.over(away, control=hour_ago, ready_within=0.0) as flags:
        result = flags.evaluate("agent", "user-1", default=True)
        assert (result.value, result.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)
        assert flags.status().kills == ()


def test_other_flags_and_other_kills_wait_for_nothing(killed, operator, store):
    flags, provider = killed
    store.put(Flag.boolean("other", percent=50), ANA)
    provider.poll()
    for scope in ("tag:agents", "switch:agents", "*"):
        operator.kill(scope, reason="it is wrong")
        operator.revive(scope, reason="it is well")
    assert flags.status().kills == ("agent",)
    assert sum(flags.is_enabled("other", user) for user in USERS) > 150


def test_a_backend_that_tells_of_no_change_is_not_waited_for(store, control, operator):
    """It would be for good: what such a process was started with is what it has."""
    provider = LaggingProvider(store)
    provider.capabilities = provider.capabilities - {Capability.WATCH}
    with Flags.over(provider, control=control) as flags:
        operator.kill("agent", reason="it is wrong")
        operator.revive("agent", reason="it is well")
        assert served(flags) > 150


@pytest.fixture
def database(tmp_path):
    made = SqliteProvider(tmp_path / "flags.db")
    schema.upgrade(made.database)
    made.put(Flag.boolean("agent", percent=50), ANA)
    yield made
    made.close()


def test_flags_and_kills_of_one_database_come_in_order_and_nothing_waits(database, tmp_path):
    with (
        Flags.over(SqliteProvider(tmp_path / "flags.db"), ready_within=15) as flags,
        Operator(database, database.control, actor="ana") as one,
    ):
        one.kill("agent", reason="it is wrong")
        eventually(lambda: served(flags) == 0, "the kill is heard")
        one.revive("agent", reason="it is well")
        eventually(lambda: served(flags) > 0, "the revive is heard")
        assert served(flags) < FEW
        assert flags._engine.revives._known == {}


def test_flags_of_a_database_and_kills_of_elsewhere_are_put_in_order(database, tmp_path, control):
    with (
        Flags.over(
            SqliteProvider(tmp_path / "flags.db"), control=control, ready_within=15
        ) as flags,
        Operator(database, control, actor="ana") as one,
    ):
        assert served(flags) > 150
        one.kill("agent", reason="it is wrong")
        database.switch_on("agent", ANA)
        one.revive("agent", reason="it is well")
        assert served(flags) == 0
        eventually(lambda: served(flags) > 0, "the revive is obeyed")
        assert served(flags) < FEW


def test_a_provider_that_cannot_say_how_it_stands_stops_no_kill(killed, operator, monkeypatch):
    flags, provider = killed
    operator.revive("agent", reason="it is well")

    def broken():
        raise RuntimeError("out of order")

    monkeypatch.setattr(provider, "status", broken)
    operator.kill("other", reason="it is wrong")
    assert flags.evaluate("other", "user-1", default=True).value is False
    assert served(flags) == 0
    monkeypatch.undo()
    provider.poll()
    eventually(lambda: 0 < served(flags) < FEW, "the first step is served")


def test_a_provider_may_hold_a_lock_while_it_talks_and_when_it_is_asked_how_it_stands(
    killed, operator
):
    flags, provider = killed
    lock = threading.Lock()
    status, publish, talks = provider.status, provider.publish, threading.Event()

    def locked_status():
        with lock:
            return status()

    def locked_publish():
        with lock:
            talks.set()
            threading.Event().wait(0.2)  # for the other thread to ask meanwhile
            publish()

    provider.status, provider.publish = locked_status, locked_publish
    poll = threading.Thread(target=provider.poll, daemon=True)
    poll.start()
    assert talks.wait(15)
    operator.revive("agent", reason="it is well")
    poll.join(15)
    assert not poll.is_alive()
    assert served(flags) == 0  # it asked before the revive
    provider.poll()
    eventually(lambda: 0 < served(flags) < FEW, "the first step is served")


def test_on_change_tells_of_a_flag_when_it_is_lifted_here(killed, operator):
    flags, provider = killed
    told = []
    flags.on_change(told.append)
    operator.revive("agent", reason="it is well")
    assert not any("agent" in keys for keys in told)
    del told[:]
    provider.kept.put(Flag.boolean("more"), ANA)
    provider.poll()
    eventually(lambda: any("agent" in keys for keys in told), "the revive is told")


def test_no_thread_is_left_of_what_waits(killed, operator):
    flags, provider = killed

    def looking():
        return [one for one in threading.enumerate() if one.name == "downhaul-revives"]

    operator.revive("agent", reason="it is well")
    assert len(looking()) == 1
    provider.poll()
    eventually(lambda: not looking(), "the thread is gone")
    operator.kill("agent", reason="it is wrong")
    operator.revive("agent", reason="it is well")
    assert len(looking()) == 1
    flags.close()
    assert not looking()


def test_a_forked_child_goes_on_waiting(killed, operator):
    flags, provider = killed
    operator.revive("agent", reason="it is well")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if not child:
        code = 1
        try:
            assert served(flags) == 0
            provider.poll()
            eventually(lambda: 0 < served(flags) < FEW, "the first step is served")
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert served(flags) == 0


def test_a_revive_says_that_it_waits_and_a_kill_never_does(control):
    scope = Scope.parse("agent")
    assert not control.record_kill(scope, ANA, killed=True, waits=True).waits
    revive = control.record_kill(scope, ANA, killed=False, waits=True)
    assert revive.waits
    assert type(revive).from_mapping(revive.as_mapping()) == revive
    old = {name: value for name, value in revive.as_mapping().items() if name != "waits"}
    assert type(revive).from_mapping(old) == dataclasses.replace(revive, waits=False)
