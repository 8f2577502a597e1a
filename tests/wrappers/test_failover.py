"""Failover: whose answers are served, when that changes, and that they are never mixed."""

import os
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from downhaul import Flag, Flags
from downhaul.flag import FlagSet, FlagSetDelta
from downhaul.provider import Capability, FlagProvider, ProviderStatus, State
from downhaul.result import Reason, Result
from downhaul.wrappers.failover import Failover


class Side(FlagProvider):
    """A backend of whom a test says how it stands and what it has."""

    capabilities = frozenset({Capability.FLAG_SET})

    def __init__(self, name, flags=(), state=State.READY):
        self.name = name
        self.flags = {one: Flag.boolean(one) for one in flags}
        self.state = state
        self.listener = None
        self.closed = 0
        self.hangs = threading.Event()
        self.hangs.set()

    def start(self, listener):
        self.listener = listener
        if self.state is State.READY:
            self.publish()

    def wait_ready(self, timeout):
        return self.state is State.READY

    def status(self):
        return ProviderStatus(self.state, "" if self.state is State.READY else "away", 1.0)

    def close(self, timeout=2.0):
        self.closed += 1
        self.hangs.wait()

    def publish(self):
        self.listener.replaced(FlagSet(dict(self.flags), {}, self.name))

    def change(self, key, flag):
        if flag is None:
            self.flags.pop(key, None)
        else:
            self.flags[key] = flag
        self.listener.changed(FlagSetDelta({key: flag}, {}, self.name))

    def back(self):
        self.state = State.READY
        self.publish()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def pair(clock, first, second, **options):
    return Failover(first, second, clock=clock, interval=None, **options)


def served(flags):
    return set(flags.evaluate_all("ada"))


def after(clock, failover, seconds, steps=1):
    for _ in range(steps):
        clock.now += seconds / steps
        failover.look()


def test_the_second_takes_over_after_a_while_and_the_first_comes_back_after_a_while(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5, back=10)
    heard = []
    with Flags.over(failover) as flags:
        flags.on_change(heard.append)
        assert served(flags) == {"a"}
        first.state = State.STALE
        after(clock, failover, 4.9, 49)
        assert served(flags) == {"a"}
        after(clock, failover, 0.2)
        assert served(flags) == {"b"}
        assert heard == [{"a", "b"}]
        status = flags.status().provider
        assert status.state is State.STALE
        assert status.message == "first is STALE: away; second answers"
        first.back()
        assert served(flags) == {"b"}  # what the first says now is heard, and reaches nobody
        after(clock, failover, 9.9, 99)
        assert served(flags) == {"b"}
        after(clock, failover, 0.2)
        assert served(flags) == {"a"}
        assert flags.status().state is State.READY


def test_a_first_that_comes_and_goes_does_not_take_the_application_with_it(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5, back=10)
    with Flags.over(failover) as flags:
        for _ in range(50):  # never away for long enough
            first.state = State.STALE
            after(clock, failover, 4)
            first.state = State.READY
            after(clock, failover, 1)
            assert served(flags) == {"a"}
        first.state = State.STALE
        after(clock, failover, 6, 6)
        for _ in range(50):  # never back for long enough
            first.state = State.READY
            after(clock, failover, 9)
            first.state = State.STALE
            after(clock, failover, 1)
            assert served(flags) == {"b"}


def test_a_first_that_never_answers_is_given_its_time(clock):
    first, second = Side("first", ["a"], State.NOT_READY), Side("second", ["b"])
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover, ready_within=0) as flags:
        assert not failover.wait_ready(0.01)
        assert served(flags) == set()
        after(clock, failover, 5)
        assert failover.wait_ready(0.01)
        assert served(flags) == {"b"}


def test_there_is_nobody_to_hand_to_while_the_second_has_nothing(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"], State.NOT_READY)
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover) as flags:
        first.state = State.ERROR
        after(clock, failover, 60, 60)
        assert served(flags) == {"a"}  # what is known goes on serving
        second.back()
        failover.look()
        assert served(flags) == {"b"}


def test_changes_of_the_one_in_charge_alone_reach_the_application(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5, back=10)
    heard = []
    with Flags.over(failover) as flags:
        flags.on_change(heard.append)
        second.change("b", None)
        second.change("c", Flag.boolean("c"))
        second.listener.keys_changed(["c"])
        assert (heard, served(flags)) == ([], {"a"})
        first.change("d", Flag.boolean("d"))
        assert (heard, served(flags)) == ([{"d"}], {"a", "d"})
        first.state = State.STALE
        failover.look()
        after(clock, failover, 5)
        assert served(flags) == {"c"}
        first.change("d", None)
        second.change("e", Flag.boolean("e"))
        assert served(flags) == {"c", "e"}
        first.back()
        failover.look()
        after(clock, failover, 10)
        assert served(flags) == {"a"}


@pytest.mark.rule("K1")
def test_a_kill_holds_whoever_answers(clock):
    first, second = Side("first", ["a"]), Side("second", ["a"])
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover) as flags:
        flags.operator("ana").kill("a", reason="it burns")
        assert not flags.is_enabled("a", "ada")
        first.state = State.STALE
        failover.look()
        after(clock, failover, 5)
        assert failover.in_charge is second
        assert not flags.is_enabled("a", "ada")


def test_backends_that_decide_by_themselves_are_asked_in_turn(clock):
    class Asked(Side):
        capabilities = frozenset({Capability.RESOLVE})

        def resolve(self, key, context, kind):
            return Result(self.name, self.name, Reason.SPLIT, provider=self.name)

    first, second = Asked("first", ["a"]), Asked("second", ["a"])
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover) as flags:
        assert flags.evaluate("a", "ada").provider == "first"
        first.state = State.STALE
        failover.look()
        after(clock, failover, 5)
        assert flags.evaluate("a", "ada").provider == "second"
        assert flags.evaluate("unheard", "ada").provider == "second"


@pytest.mark.rule("P1")
def test_closing_keeps_its_time_though_both_hang():
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = Failover(first, second, interval=0.01)
    flags = Flags.over(failover)
    first.hangs.clear()
    second.hangs.clear()
    begun = time.monotonic()
    flags.close(0.2)
    assert time.monotonic() - begun < 2
    assert (first.closed, second.closed) == (1, 1)
    first.hangs.set()
    second.hangs.set()
    assert not [one for one in threading.enumerate() if one.name == "downhaul-failover"]


@pytest.mark.rule("P3")
def test_a_forked_child_hands_over_too():
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = Failover(first, second, after=0.05, interval=0.01)
    with Flags.over(failover) as flags:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                first.state = State.STALE
                until = time.monotonic() + 10
                while served(flags) != {"b"} and time.monotonic() < until:
                    time.sleep(0.01)
                code = 0 if served(flags) == {"b"} else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert served(flags) == {"a"}


class Life(RuleBasedStateMachine):
    """Whatever happens to both sides: what is served is all of one of them, as it last said."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.first, self.second = Side("first", ["a"]), Side("second", ["b"])
        self.failover = pair(self.clock, self.first, self.second, after=5, back=10)
        self.flags = Flags.over(self.failover)
        self.well_since = self.ill_since = 0.0

    def teardown(self):
        self.flags.close()

    @rule(state=st.sampled_from([State.READY, State.STALE, State.ERROR, State.FATAL]))
    def first_is(self, state):
        self.first.state = state
        self.failover.look()

    @rule(seconds=st.sampled_from([0.1, 1, 4, 6, 11]))
    def time_passes(self, seconds):
        before = self.failover.in_charge
        self.clock.now += seconds
        self.failover.look()
        if self.failover.in_charge is not before:
            well = self.first.state is State.READY
            assert (self.failover.in_charge is self.first) is well

    @rule(
        side=st.sampled_from(["first", "second"]), key=st.sampled_from("abcd"), gone=st.booleans()
    )
    def it_changes(self, side, key, gone):
        getattr(self, side).change(key, None if gone else Flag.boolean(key))

    @rule(side=st.sampled_from(["first", "second"]))
    def it_says_all_again(self, side):
        getattr(self, side).publish()

    @invariant()
    def one_is_served_whole(self):
        charge = self.failover.in_charge
        assert served(self.flags) == set(charge.flags)
        assert self.flags.status().revision == charge.name


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
