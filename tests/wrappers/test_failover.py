"""Failover: whose answers are served, when that changes, and that they are never mixed."""

import math
import os
import signal
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from downhaul import Flag, Flags
from downhaul.backends.sqlite import SqliteProvider
from downhaul.flag import FlagSet, FlagSetDelta
from downhaul.provider import Capability, FlagProvider, ProviderStatus, State
from downhaul.result import Reason, Result
from downhaul.store import schema
from downhaul.wrappers.failover import Failover
from downhaul.wrappers.recording import RecordingProvider


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


def after(clock, failover, seconds):
    """Time passes, with a look now and others on the way."""
    failover.look()
    steps = math.ceil(seconds * 2)
    for _ in range(steps):
        clock.now += seconds / steps
        failover.look()


# Whose turn it is


def test_the_second_takes_over_after_a_while_and_the_first_comes_back_after_a_while(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5, back=10)
    heard = []
    with Flags.over(failover) as flags:
        flags.on_change(heard.append)
        assert served(flags) == {"a"}
        first.state = State.STALE
        after(clock, failover, 4.9)
        assert served(flags) == {"a"}
        after(clock, failover, 0.2)
        assert served(flags) == {"b"}
        assert heard == [{"a", "b"}]
        status = flags.status().provider
        assert status.state is State.STALE
        assert status.message == "first is STALE: away; second answers"
        first.back()
        assert served(flags) == {"b"}  # what the first says now is heard, and reaches nobody
        after(clock, failover, 9.9)
        assert served(flags) == {"b"}
        after(clock, failover, 0.2)
        assert served(flags) == {"a"}
        assert flags.status().state is State.READY


def test_a_first_that_comes_and_goes_does_not_take_the_application_with_it(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5, back=10)
    with Flags.over(failover) as flags:
        for _ in range(20):  # never away for long enough
            first.state = State.STALE
            after(clock, failover, 4)
            first.state = State.READY
            after(clock, failover, 1)
            assert served(flags) == {"a"}
        first.state = State.STALE
        after(clock, failover, 6)
        for _ in range(20):  # never back for long enough
            first.state = State.READY
            after(clock, failover, 9)
            first.state = State.STALE
            after(clock, failover, 1)
            assert served(flags) == {"b"}


def test_a_first_that_never_answers_is_given_its_time(clock):
    first, second = Side("first", ["a"], State.NOT_READY), Side("second", ["b"])
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover, ready_within=0) as flags:
        after(clock, failover, 4.9)
        assert not failover.wait_ready(0.01)
        assert served(flags) == set()
        after(clock, failover, 0.2)
        assert failover.wait_ready(0.01)
        assert served(flags) == {"b"}


def test_a_process_that_slept_gives_the_first_its_time_again(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5, back=10)
    with Flags.over(failover) as flags:
        for patient in (0, 4):  # asleep while all was well, and while the first had been away
            first.state = State.STALE if patient else State.READY
            after(clock, failover, patient)
            clock.now += 3600
            first.state = State.STALE  # as everything is that was not heard for an hour
            failover.look()
            assert served(flags) == {"a"}
            after(clock, failover, 4.9)
            assert served(flags) == {"a"}
            first.state = State.READY
            after(clock, failover, 1)
        first.state = State.STALE
        after(clock, failover, 5)
        assert served(flags) == {"b"}
        first.state = State.READY
        after(clock, failover, 9)
        clock.now += 3600  # nobody saw that it was well all the time
        failover.look()
        assert served(flags) == {"b"}
        after(clock, failover, 10)
        assert served(flags) == {"a"}


def test_one_look_is_never_enough(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=0.05)
    with Flags.over(failover) as flags:
        failover.look()
        clock.now += 1
        first.state = State.ERROR
        failover.look()
        assert served(flags) == {"a"}
        clock.now += 0.1
        failover.look()
        assert served(flags) == {"b"}


@pytest.mark.rule("P2")
@pytest.mark.parametrize("unwell", [State.NOT_READY, State.STALE, State.ERROR, State.FATAL])
def test_a_second_that_is_unwell_itself_does_not_take_over(clock, unwell):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover) as flags:
        second.state = unwell
        first.state = State.ERROR
        after(clock, failover, 60)
        assert served(flags) == {"a"}  # what is known goes on serving
        status = flags.status().provider
        assert status.state is State.ERROR
        assert status.message == f"away; second can't take over, it is {unwell}: away"
        second.back()
        failover.look()
        assert served(flags) == {"b"}


def test_there_is_nobody_to_hand_to_while_the_second_has_nothing(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"], State.NOT_READY)
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover) as flags:
        second.state = State.READY  # and yet no flags of it came
        first.state = State.ERROR
        after(clock, failover, 60)
        assert served(flags) == {"a"}
        second.publish()
        failover.look()
        assert served(flags) == {"b"}


def test_old_flags_of_the_second_are_better_than_none(clock):
    first, second = Side("first", ["a"], State.NOT_READY), Side("second", ["b"])
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover, ready_within=0) as flags:
        second.state = State.STALE
        after(clock, failover, 5)
        assert served(flags) == {"b"}
        assert flags.status().provider.message == "first is NOT_READY: away; second answers"


def test_nobody_waits_for_a_first_that_is_well_while_the_second_is_not(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5, back=10)
    with Flags.over(failover) as flags:
        first.state = State.STALE
        after(clock, failover, 5)
        second.state = State.ERROR
        after(clock, failover, 60)
        assert served(flags) == {"b"}
        first.back()
        failover.look()
        assert served(flags) == {"a"}


# What is served


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
        after(clock, failover, 5)
        assert served(flags) == {"c"}
        first.change("d", None)
        second.change("e", Flag.boolean("e"))
        assert served(flags) == {"c", "e"}
        first.back()
        after(clock, failover, 10)
        assert served(flags) == {"a"}


def test_results_name_the_backend_that_answers(clock):
    first, second = Side("first", ["a"]), Side("second", ["a"])
    failover = pair(clock, first, second, after=5, back=10)
    with Flags.over(failover) as flags:
        for answers in ("first", "second", "first"):
            assert failover.in_charge.name == answers
            assert flags.evaluate("a", "ada").provider == answers
            assert flags.evaluate("nobody", "ada").provider == answers
            assert flags.evaluate_many("a", ["ada", "bob"])[1].provider == answers
            first.state = State.STALE if answers == "first" else State.READY
            after(clock, failover, 10)


@pytest.mark.rule("K1")
def test_a_kill_holds_whoever_answers(clock):
    first, second = Side("first", ["a"]), Side("second", ["a"])
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover) as flags:
        flags.operator("ana").kill("a", reason="it burns")
        assert not flags.is_enabled("a", "ada")
        first.state = State.STALE
        after(clock, failover, 5)
        assert failover.in_charge is second
        assert not flags.is_enabled("a", "ada")


class Asked(Side):
    """A backend that decides by itself, by its name."""

    capabilities = frozenset({Capability.RESOLVE})

    def __init__(self, name, flags=(), state=State.READY, on_asked=lambda: None):
        super().__init__(name, flags, state)
        self.on_asked = on_asked

    def resolve(self, key, context, kind):
        self.on_asked()
        return Result(self.name, self.name, Reason.SPLIT, provider=self.name)


def test_backends_that_decide_by_themselves_are_asked_in_turn(clock):
    first, second = Asked("first", ["a"]), Asked("second", ["a"])
    failover = pair(clock, first, second, after=5)
    heard = []
    with Flags.over(failover) as flags:
        assert flags.evaluate("a", "ada").provider == "first"
        flags.on_change(heard.append)
        first.state = State.STALE
        after(clock, failover, 5)
        assert heard == [{"a"}]  # what is known of it is the same, what is decided may not be
        assert flags.evaluate("a", "ada").provider == "second"
        assert flags.evaluate("unheard", "ada").provider == "second"


def test_one_moment_is_answered_by_one_backend(clock):
    first, second = Asked("first", "abcd"), Asked("second", "abxy")
    failover = pair(clock, first, second, after=5, back=5)
    recorded = RecordingProvider(failover)
    for one in (first, second):
        one.on_asked = lambda: after(clock, failover, 6)  # each question finds another in charge
    with Flags.over(recorded) as flags:
        for state in (State.STALE, State.READY, State.STALE):
            charge = failover.in_charge
            first.state = state
            results = flags.evaluate_all("ada")
            assert {one.provider for one in results.values()} == {charge.name}
            assert results.keys() == charge.flags.keys()
            assert failover.in_charge is not charge
            charge = failover.in_charge
            many = flags.evaluate_many("a", ["ada", "bob", "cyd"])
            assert {one.provider for one in many} == {charge.name}
        assert recorded.count("resolve") == 3 * (4 + 3)  # a wrapper outside is asked, too


@pytest.mark.parametrize("sort", [Side, Asked])
def test_threads_never_see_a_mixture_while_they_change_places(clock, sort):
    sides = {"first": sort("first", "abcd"), "second": sort("second", "abxy")}
    failover = pair(clock, *sides.values(), after=1, back=1)
    done, seen = threading.Event(), []

    def ask(flags):
        while not done.is_set():
            results = flags.evaluate_all("ada")
            seen.append((frozenset(one.provider for one in results.values()), frozenset(results)))

    with Flags.over(failover) as flags:
        asking = [threading.Thread(target=ask, args=(flags,)) for _ in range(3)]
        for one in asking:
            one.start()
        try:
            for number in range(40):
                sides["first"].state = State.READY if number % 2 else State.STALE
                after(clock, failover, 1)
                began, until = len(seen), time.monotonic() + 15
                while len(seen) < began + 3 and time.monotonic() < until:
                    threading.Event().wait(0.001)
        finally:
            done.set()
            for one in asking:
                one.join(15)
    assert set(seen) == {
        (frozenset({"first"}), frozenset("abcd")),
        (frozenset({"second"}), frozenset("abxy")),
    }


def test_a_failover_within_a_failover_says_who_answers(clock):
    sides = [Asked(name, "ab") for name in ("first", "second", "third")]
    inner = pair(clock, sides[1], sides[2], after=5)
    outer = pair(clock, sides[0], inner, after=5)
    with Flags.over(outer) as flags:
        for side, answers in zip(sides, ("first", "second", "third"), strict=True):
            results = flags.evaluate_all("ada").values()
            assert [one.provider for one in results] == [answers, answers]
            if side is not sides[2]:
                side.state = State.ERROR
                for _ in range(12):
                    clock.now += 0.5
                    inner.look()
                    outer.look()


def test_who_tells_nothing_of_its_flags_takes_over_as_well(clock):
    first, second = Asked("first"), Asked("second")
    first.publish = second.publish = lambda: None
    failover = pair(clock, first, second, after=5)
    with Flags.over(failover) as flags:
        assert flags.wait_ready(0.01)
        assert flags.evaluate("a", "ada").provider == "first"
        first.state = State.STALE
        after(clock, failover, 5)
        assert flags.evaluate("a", "ada").provider == "second"


# Who is told


def test_a_slow_listener_holds_up_nobody_who_has_nothing_to_say_to_it(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5)
    slow, go_on = threading.Event(), threading.Event()

    def be_slow(_keys):
        slow.set()
        go_on.wait(15)

    with Flags.over(failover) as flags:
        flags.on_change(be_slow)
        changing = threading.Thread(target=first.change, args=("c", Flag.boolean("c")))
        changing.start()
        assert slow.wait(15)
        begun = time.monotonic()
        second.change("d", Flag.boolean("d"))
        failover.look()
        assert failover.wait_ready(5)
        assert flags.status().state is State.READY
        first.change("e", Flag.boolean("e"))  # in the queue, behind the slow one
        assert time.monotonic() - begun < 10
        assert changing.is_alive()
        go_on.set()
        changing.join(15)
        assert served(flags) == {"a", "c", "e"}


def test_a_listener_that_calls_back_hears_everything_in_order(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5)
    heard = []

    def call_back(keys):
        if keys == {"c"}:
            first.change("d", Flag.boolean("d"))
        heard.append(keys)

    with Flags.over(failover) as flags:
        flags.on_change(call_back)
        first.change("c", Flag.boolean("c"))
        assert heard == [{"c"}, {"d"}]
        assert served(flags) == {"a", "c", "d"}


# Beginning and ending


@pytest.mark.rule("P1")
@pytest.mark.parametrize("broken", [0, 1])
def test_nothing_is_left_of_a_start_that_failed(tmp_path, broken):
    store = SqliteProvider(tmp_path / "kills.db")
    schema.upgrade(store.database)
    sides = Side("first", ["a"]), Side("second", ["b"])

    def fail(_listener):
        message = "no such thing"
        raise OSError(message)

    sides[broken].start = fail
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no such thing"):
        Flags.over(Failover(*sides, interval=0.01), control=store.control)
    assert not set(threading.enumerate()) - before  # whoever looks, and whoever follows kills
    store.close()
    assert [one.closed for one in sides] == [2, 2]  # by who started them, and by who wanted that


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


def test_one_that_can_not_be_closed_is_told_and_the_other_is_closed(caplog):
    first, second = Side("first", ["a"]), Side("second", ["b"])

    def fail(timeout):
        message = "no such thing"
        raise OSError(message)

    first.close = fail
    Flags.over(Failover(first, second, interval=None)).close()
    assert second.closed == 1
    assert "first could not be closed" in caplog.text


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
                until = time.monotonic() + 15
                while served(flags) != {"b"} and time.monotonic() < until:
                    time.sleep(0.01)
                code = 0 if served(flags) == {"b"} else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert served(flags) == {"a"}


@pytest.mark.rule("P3")
def test_a_fork_while_a_listener_is_told_leaves_the_child_whole(clock):
    first, second = Side("first", ["a"]), Side("second", ["b"])
    failover = pair(clock, first, second, after=5)
    slow, go_on = threading.Event(), threading.Event()

    def be_slow(_keys):
        slow.set()
        go_on.wait(15)

    with Flags.over(failover) as flags:
        unsubscribe = flags.on_change(be_slow)
        telling = threading.Thread(target=first.change, args=("c", Flag.boolean("c")))
        telling.start()
        assert slow.wait(15)
        waiting = threading.Thread(target=first.change, args=("d", Flag.boolean("d")))
        waiting.start()
        waiting.join(15)  # it is in the queue, which the child has nobody to work off
        unsubscribe()
        pid = os.fork()
        if pid == 0:
            signal.alarm(15)
            code = 1
            try:
                first.change("e", Flag.boolean("e"))
                code = 0 if served(flags) == {"a", "c", "d", "e"} else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        go_on.set()
        telling.join(15)


STATES = st.sampled_from([State.READY, State.STALE, State.ERROR, State.FATAL])


class Life(RuleBasedStateMachine):
    """Whatever happens to both sides: what is served is all of one of them, as it last said."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.first, self.second = Side("first", ["a"]), Side("second", ["b"])
        self.failover = pair(self.clock, self.first, self.second, after=5, back=10)
        self.flags = Flags.over(self.failover)

    def teardown(self):
        self.flags.close()

    @rule(state=STATES)
    def first_is(self, state):
        self.first.state = state
        self.failover.look()

    @rule(state=STATES)
    def second_is(self, state):
        self.second.state = state
        self.failover.look()

    @rule(seconds=st.sampled_from([0.1, 1, 4, 6, 11]))
    def time_passes(self, seconds):
        before = self.failover.in_charge
        after(self.clock, self.failover, seconds)
        if self.failover.in_charge is not before:
            assert self.failover.in_charge.state is State.READY
            well = self.first.state is State.READY
            assert (self.failover.in_charge is self.first) is well

    @rule(seconds=st.sampled_from([5, 3600]))
    def it_sleeps(self, seconds):
        before = self.failover.in_charge
        self.clock.now += seconds
        self.failover.look()
        # Whoever slept has seen nothing yet; only one who can't serve goes at once.
        assert self.failover.in_charge is before or self.second.state is not State.READY

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
