"""Holding on to a claim while a backend takes its time, and letting go in the end."""

import logging
import threading
import time

import pytest
from rollout_world import plan_for, provider_at

from downhaul import Flag
from downhaul.backends.memory import MemoryProvider
from downhaul.control import Operator
from downhaul.errors import Unreachable
from downhaul.flag import FlagSet
from downhaul.rollout import leases
from downhaul.rollout.controller import Controller
from downhaul.rollout.leases import Held
from downhaul.rollout.service import Rollouts
from downhaul.store import schema

LEASE = 0.3
LONG = 1.2  # for who does much between a claim and a look: on a busy machine that takes a while


@pytest.fixture
def place(tmp_path):
    """A store by the clock as it is, with one rollout of a flag that is elsewhere."""
    store = provider_at(f"sqlite:///{tmp_path / 'control.db'}")
    schema.upgrade(store.database)
    store.vendor = MemoryProvider(FlagSet.of([Flag.boolean("agent", percent=0)]))
    Rollouts(Operator(store.vendor, store.control, actor="ana")).start(plan_for("agent", 10, 50))
    yield store
    store.close()


@pytest.fixture
def rollouts(place):
    return place.control.rollouts


def claim(rollouts, owner):
    return rollouts.claim(owner, lease=LEASE, limit=1, provider="memory")


@pytest.mark.rule("R2")
def test_what_is_held_is_nobody_elses_however_long_the_lease_is(rollouts):
    [mine] = claim(rollouts, "one")
    with Held(rollouts, mine, LEASE) as held:
        begun = held.renewed
        until = time.monotonic() + 2.5 * LEASE
        while time.monotonic() < until:
            assert claim(rollouts, "two") == ()
            time.sleep(0.02)
        assert held.renewed > begun
    time.sleep(2 * LEASE)  # nobody renews it any more
    assert len(claim(rollouts, "two")) == 1


@pytest.mark.rule("R2")
def test_what_hangs_beyond_all_deadlines_is_let_go_and_the_log_says_so(rollouts, caplog):
    [mine] = claim(rollouts, "one")
    with caplog.at_level(logging.ERROR, "downhaul.controller"), Held(rollouts, mine, LEASE):
        until = time.monotonic() + (leases.LONGEST + 4) * LEASE
        while not (taken := claim(rollouts, "two")):
            assert time.monotonic() < until
            time.sleep(0.02)
    assert taken[0].epoch > mine.epoch
    assert "its lease is let go: others may take it" in caplog.text


def test_a_claim_that_was_lost_is_renewed_no_more(rollouts):
    [mine] = claim(rollouts, "one")
    with Held(rollouts, mine, LEASE) as held:
        rollouts.release([mine])
        [other] = claim(rollouts, "two")
        renewed = held.renewed
        time.sleep(2 * LEASE)
        assert held.renewed == renewed
    rollouts.renew(other, LEASE)  # and it is the other's still


def test_a_store_that_is_away_for_a_moment_is_tried_again(rollouts, monkeypatch):
    [mine] = claim(rollouts, "one")
    fails = [Unreachable("the store is away")]
    renew = rollouts.renew

    def once(*words):
        if fails:
            raise fails.pop()
        renew(*words)

    monkeypatch.setattr(rollouts, "renew", once)
    with Held(rollouts, mine, 3 * LEASE) as held:
        begun = held.renewed
        until = time.monotonic() + 6 * LEASE
        while held.renewed == begun:
            assert time.monotonic() < until
            time.sleep(0.02)
    assert not fails


class Hanging(MemoryProvider):
    """A backend whose answer takes as long as a test says."""

    def __init__(self, flags):
        super().__init__(flags)
        self.asked, self.answers = threading.Event(), threading.Event()

    def get(self, key):
        self.asked.set()
        assert self.answers.wait(20)
        return super().get(key)


@pytest.mark.rule("R2")
def test_a_look_that_takes_longer_than_its_lease_keeps_it_and_is_saved(place):
    slow = Hanging(place.vendor.list())
    one = Controller(slow, place.control, None, owner="one", lease=LONG)
    two = Controller(place.vendor, place.control, None, owner="two", lease=LONG)
    reports = []
    looks = threading.Thread(target=lambda: reports.append(one.tick()))
    looks.start()
    assert slow.asked.wait(10)
    until = time.monotonic() + 2.5 * LONG
    while time.monotonic() < until:
        assert two.tick().claimed == 0
        time.sleep(0.02)
    slow.answers.set()
    looks.join(20)
    assert [(one.claimed, one.acted, one.lost) for one in reports] == [(1, 1, 0)]
    assert place.control.rollouts.latest_of("agent").phase == "progressing"


@pytest.mark.parametrize("named", [None, "mine"])
def test_a_controller_is_another_one_in_a_forked_child(place, monkeypatch, named):
    made = Controller(place.vendor, place.control, None, owner=named)
    before = made.owner
    assert made.owner == before
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: 4242)
        child = made.owner
        assert child != before
        assert "4242" in child
        assert made.owner == child
