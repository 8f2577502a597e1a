"""The contract of metric sources bites: a broken one is caught by the tests that name its fault."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from downhaul_contract_tests import MetricSourceContract, MetricsPlace, metric_sources

from downhaul.analysis.model import Counts, Sample, Window
from downhaul.errors import ConfigError, DownhaulError, Unreachable

SECRET = "secret-of-the-place"
TESTS = {
    name: test for name, test in vars(MetricSourceContract).items() if name.startswith("test_")
}


class Whole:
    """A source in memory without a fault. ``lag`` keeps it behind what comes in late."""

    counts_users = True

    def __init__(self, place, *, wrong=False):
        self.place = place
        self.broken = wrong

    def __repr__(self):
        return "Whole()"

    def probe(self, flag, thresholds, *, users=False):
        if self.broken:
            raise ConfigError("there is no such thing", hint="name another")
        return ()

    def watermark(self):
        return self.place.now - self.place.lag

    def sample(self, flag, window, thresholds, *, preview=False, users_since=None):
        self.see_that_it_answers()
        arms = {}
        for at, of, one in self.place.known():
            if of == flag and window.since <= at < window.until:
                arms[one.variant] = arms.get(one.variant, Counts()) + self.count(one, thresholds)
        if users_since is not None:
            arms = {
                name: self.with_users(counts, name, flag, window, thresholds, users_since)
                for name, counts in arms.items()
            }
        return Sample(window, arms, f"requests of {flag}")

    def see_that_it_answers(self):
        if self.place.silent:
            raise Unreachable("it does not answer", hint="see whether it is well")

    def count(self, one, thresholds):
        known = one.latency_ms is not None
        slow = {limit: int(known and one.latency_ms > limit) for limit in thresholds}
        return Counts(
            1, int(one.error), int(not one.error), int(known), one.latency_ms or 0.0, slow
        )

    def with_users(self, counts, variant, flag, window, thresholds, since):
        own = [
            (at, one)
            for at, of, one in self.place.known()
            if (of, one.variant) == (flag, variant) and since <= at < window.until
        ]

        def firsts(is_so):
            first = {}
            for at, one in own:
                if one.user and is_so(one):
                    first.setdefault(one.user, at)
            return sum(window.since <= at for at in first.values())

        now = [one for at, one in own if at >= window.since]
        return replace(
            counts,
            users=len({one.user for one in now if one.user}),
            new_users=firsts(lambda _: True),
            error_users=firsts(lambda one: one.error),
            failed_users=firsts(lambda one: one.error),
            slow_users={limit: firsts(self.slower_than(limit)) for limit in thresholds},
            anonymous=sum(not one.user for one in now),
        )

    def slower_than(self, limit):
        return lambda one: (one.latency_ms or 0) > limit


class Memory(MetricsPlace):
    """A place with a clock of its own. What happens is known a moment after it bears its time."""

    secrets = (SECRET,)
    lag = 2_000

    def __init__(self, kind):
        self.kind = kind
        self.now = 1_000_000
        self.silent = False
        self._kept = []

    def known(self):
        return [(at, flag, one) for at, flag, one in self._kept if at <= self.now - self.lag // 2]

    def source(self):
        return self.kind(self)

    def happen(self, flag, requests):
        self._kept += [(self.now, flag, one) for one in requests]
        self.now += 10

    def edge(self):
        self.now += 1
        at = self.now
        self.now += 10
        return at

    def settle(self):
        self.now += 2 * self.lag

    def wrong(self):
        source = self.kind(self)
        source.broken = True
        yield "no such thing", source

    @contextmanager
    def silence(self):
        self.silent = True
        try:
            yield
        finally:
            self.silent = False


# --- what can be wrong


class BothEnds(Whole):
    def sample(self, flag, window, thresholds, **more):
        wider = Window(window.since, window.until + 12)
        return replace(super().sample(flag, wider, thresholds, **more), window=window)


class OpenAtTheBeginning(Whole):
    def sample(self, flag, window, thresholds, **more):
        inner = Window(min(window.since + 13, window.until), window.until)
        return replace(super().sample(flag, inner, thresholds, **more), window=window)


class Milliseconds(Whole):
    def sample(self, flag, window, thresholds, **more):
        coarse = Window(window.since // 1000 * 1000, window.until // 1000 * 1000)
        return replace(super().sample(flag, coarse, thresholds, **more), window=window)


class Rates(Whole):
    def count(self, one, thresholds):
        counts = super().count(one, thresholds)
        return replace(counts, requests=0.5, errors=counts.errors / 2)


class OnlyWhatIsNew(Whole):
    def sample(self, flag, window, thresholds, **more):
        seen = self.place.__dict__.setdefault("seen", 0)
        begin = max(window.since, seen)
        self.place.seen = max(seen, window.until)
        inner = Window(min(begin, window.until), window.until)
        return replace(super().sample(flag, inner, thresholds, **more), window=window)


class AnotherWindow(Whole):
    def sample(self, flag, window, thresholds, **more):
        found = super().sample(flag, window, thresholds, **more)
        return replace(found, window=Window(window.since - 5, window.until))


class TheLastValue(Whole):
    def sample(self, flag, window, thresholds, **more):
        found = super().sample(flag, window, thresholds, **more)
        if found.arms:
            self.place.last = found.arms
        return replace(found, arms=found.arms or getattr(self.place, "last", {}))


class NoQuery(Whole):
    def sample(self, flag, window, thresholds, **more):
        return replace(super().sample(flag, window, thresholds, **more), query="")


class NoLag(Whole):
    def watermark(self):
        return self.place.now


class Seconds(Whole):
    def watermark(self):
        return super().watermark() // 1_000_000


class Ahead(Whole):
    def watermark(self):
        return self.place.now + 60_000_000


class GoesBack(Whole):
    def watermark(self):
        self.place.turn = getattr(self.place, "turn", 0) + 1
        return super().watermark() - (500 if self.place.turn % 2 else 0)


class AnyFlag(Whole):
    def sample(self, flag, window, thresholds, **more):
        arms = {}
        for at, _, one in self.place.known():
            if window.since <= at < window.until:
                arms[one.variant] = arms.get(one.variant, Counts()) + self.count(one, thresholds)
        return Sample(window, arms, "everything")


class EachError(Whole):
    def with_users(self, counts, *about):
        return replace(super().with_users(counts, *about), error_users=counts.errors)


class ForgetsUsers(Whole):
    def with_users(self, counts, variant, flag, window, thresholds, since):
        return super().with_users(counts, variant, flag, window, thresholds, window.since)


class Nobody(Whole):
    def with_users(self, counts, *about):
        found = super().with_users(counts, *about)
        many = found.anonymous
        return replace(found, users=found.users + 1, new_users=found.new_users + bool(many))


class ClaimsNothing(Whole):
    counts_users = False  # and doesn't refuse to


class ErrorsThatFit(Whole):
    def count(self, one, thresholds):
        counts = super().count(one, thresholds)
        return replace(counts, errors=counts.errors * 3, successes=1 - counts.errors * 3)


class FasterIsSlow(Whole):
    def count(self, one, thresholds):
        counts = super().count(one, thresholds)
        return replace(counts, slow=dict.fromkeys(thresholds, 1))


class NoThresholds(Whole):
    def count(self, one, thresholds):
        return replace(super().count(one, thresholds), slow={})


class ProbesNothing(Whole):
    def probe(self, flag, thresholds, *, users=False):
        return ()


class ProbesWithoutAHint(Whole):
    def probe(self, flag, thresholds, *, users=False):
        if self.broken:
            raise ConfigError("there is no such thing")
        return ()


class ProbesAll(Whole):
    def probe(self, flag, thresholds, *, users=False):
        raise ConfigError("there is no such thing", hint="name another")


class Chatty(Whole):
    def sample(self, flag, window, thresholds, **more):
        found = super().sample(flag, window, thresholds, **more)
        return replace(found, query=f"https://{SECRET}@place/")


class SecretInErrors(Whole):
    def probe(self, flag, thresholds, *, users=False):
        if self.broken:
            raise ConfigError(f"no such thing at https://{SECRET}@place/", hint="name another")
        return ()

    def see_that_it_answers(self):
        if self.place.silent:
            raise Unreachable(f"https://{SECRET}@place/ does not answer", hint="wait")


class FailsAsNothing(Whole):
    def see_that_it_answers(self):
        """Answer with what there is, and while the place is silent with nothing."""

    def sample(self, flag, window, thresholds, **more):
        if self.place.silent:
            return Sample(window, {}, "nothing")
        return super().sample(flag, window, thresholds, **more)


class Waits(Whole):
    def see_that_it_answers(self):
        if self.place.silent:
            threading.Event().wait(0.3)
            raise Unreachable("it does not answer", hint="wait")


class NeverGetsOn(Whole):
    def sample(self, flag, window, thresholds, **more):
        return Sample(Window(window.since, window.since), {}, "later")


WINDOW = "test_a_window_holds_what_happened_in_it"
ADD_UP = "test_windows_that_follow_each_other_add_up"
AGAIN = "test_what_is_asked_again_is_answered_the_same"
NOTHING = "test_a_window_of_nothing_has_no_counts"
BEGINS = "test_an_answer_begins_where_it_was_asked_to"
MARK = "test_the_watermark_never_falls_and_is_never_ahead"
GOES_ON = "test_what_goes_on_while_it_is_counted_is_counted_once"
FIT = "test_counts_are_whole_and_fit_each_other"
FLAGS = "test_a_flag_that_nobody_asked_for_has_no_arms"
USERS = "test_each_user_is_bad_once_at_most"
RIGHT = "test_a_probe_takes_what_is_right"
WRONG = "test_a_probe_tells_what_is_wrong"
SECRETS = "test_no_secret_is_shown"
SILENT = "test_a_place_that_never_answers_ends_in_time_and_in_an_error"

MISCOUNT = {
    BothEnds: {WINDOW, ADD_UP, AGAIN},
    OpenAtTheBeginning: {WINDOW, ADD_UP},
    Milliseconds: {WINDOW, ADD_UP},
    Rates: {WINDOW, FIT},
    OnlyWhatIsNew: {AGAIN, ADD_UP},
    AnotherWindow: {BEGINS, ADD_UP},
    AnyFlag: {FLAGS, WINDOW},
    ErrorsThatFit: {WINDOW, FIT},
    FasterIsSlow: {WINDOW, ADD_UP},
    NoThresholds: {WINDOW, FIT},
    NeverGetsOn: {WINDOW, ADD_UP},
}
"""What counts wrong, with tests that name the fault; many others see it too."""

MUTANTS = {
    TheLastValue: {NOTHING, FLAGS, ADD_UP},
    NoQuery: {BEGINS},
    NoLag: {GOES_ON},
    Seconds: {MARK},
    Ahead: {MARK, GOES_ON},
    GoesBack: {MARK},
    EachError: {USERS},
    ForgetsUsers: {USERS},
    Nobody: {USERS},
    ClaimsNothing: {USERS},
    ProbesNothing: {WRONG},
    ProbesWithoutAHint: {WRONG},
    ProbesAll: {RIGHT, USERS, SECRETS},
    Chatty: {SECRETS},
    SecretInErrors: {WRONG, SILENT},
    FailsAsNothing: {SILENT},
    Waits: {SILENT},
}
"""What is caught by these tests, and no others."""


def caught(kind, monkeypatch):
    """Return which tests of the contract fail for a source."""
    monkeypatch.setattr(metric_sources, "LONGEST", 0.2)
    monkeypatch.setattr(metric_sources, "_BACK", 0.0)
    failed = set()
    for name, test in TESTS.items():
        try:
            test(MetricSourceContract(), Memory(kind))
        except (AssertionError, pytest.fail.Exception, DownhaulError):
            failed.add(name)
    return failed


def test_one_without_a_fault_is_let_through(monkeypatch):
    assert caught(Whole, monkeypatch) == set()


@pytest.mark.rule("R5", "R10")
@pytest.mark.parametrize("kind", [*MISCOUNT, *MUTANTS], ids=lambda kind: kind.__name__)
def test_each_broken_source_is_caught_by_the_tests_that_name_its_fault(kind, monkeypatch):
    found = caught(kind, monkeypatch)
    if kind in MISCOUNT:
        assert MISCOUNT[kind] <= found
    else:
        assert MUTANTS[kind] == found


def test_every_test_of_the_contract_catches_something_and_says_what_to_check():
    named = set().union(*MISCOUNT.values(), *MUTANTS.values())
    assert named == TESTS.keys()
    for name, test in TESTS.items():
        assert "rule" in [mark.name for mark in test.pytestmark], name
        assert "If this fails, check" in test.__doc__, name
