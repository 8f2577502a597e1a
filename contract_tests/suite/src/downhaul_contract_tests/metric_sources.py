"""What every metric source must hold, as one class of tests to inherit from.

A third party binds it in a test module of its own::

    from downhaul_contract_tests import MetricsPlace, MetricSourceContract

    class AcmeMetrics(MetricsPlace):
        def source(self): ...             # a new source on the place that is under test
        def happen(self, flag, requests): ...  # let these requests be counted there
        def edge(self): ...               # a moment after them, and before all others
        def settle(self): ...             # return when all of them are below the watermark
        def wrong(self): ...              # sources of configurations that can't work

    class TestAcme(MetricSourceContract):
        @pytest.fixture
        def place(self):
            return AcmeMetrics()
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import pytest

from downhaul.analysis.model import Counts, MetricSource, Window
from downhaul.errors import DownhaulError

FLAG: Final = "contract"
LONGEST: Final = 10.0
"""Seconds that a call may last, whatever becomes of the place: a lease is of fifteen."""

_BACK: Final = 60.0  # seconds for a source to ask again
_STEPS: Final = 200  # looks at a source that answers for less than it was asked for
_DECLINED: Final = "declined: "


@dataclass(frozen=True, slots=True)
class Request:
    """One request that is to be counted. ``user`` is empty where nobody is known."""

    variant: str
    error: bool = False
    latency_ms: float | None = None
    user: str = ""


class MetricsPlace:
    """A place where requests are counted, under test. ``secrets`` must not be seen anywhere.

    ``thresholds`` are the latencies that it can count slow requests by: give two, or none where it
    has no latencies. ``knows_flags`` says whether it can tell one flag's requests from another's.
    Users of requests matter where the source says that it counts them.
    """

    secrets: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = (100.0, 500.0)
    knows_flags: bool = True

    def source(self) -> MetricSource:
        """Return a new source, as another controller would make it of the same plan."""
        raise NotImplementedError

    def happen(self, flag: str, requests: Sequence[Request]) -> None:
        """Let these requests happen now, in this order."""
        raise NotImplementedError

    def edge(self) -> int:
        """Return a moment after all that happened and before all that will, in microseconds.

        What happened has to lie in a window that ends there. Wait for that, if need be.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """Return when the watermark is above all edges so far."""
        raise NotImplementedError

    def wrong(self) -> Iterable[tuple[str, MetricSource]]:
        """Yield sources that a probe must refuse, each with a word that its error has to hold."""
        raise NotImplementedError

    def silence(self) -> AbstractContextManager[None] | None:
        """Return a context in which the place takes questions and never answers; None if it can't.

        For a source that asks over a network, this is the one fault that stops controllers.
        """
        return None


class MetricSourceContract:
    """What every metric source must hold. Inherit, and override the fixture ``place``."""

    @pytest.fixture
    def place(self) -> MetricsPlace:
        """Return the place under test, new for each test. Override this one."""
        message = "override the fixture `place`, and return a MetricsPlace from it"
        raise NotImplementedError(message)

    # Windows

    @pytest.mark.rule("R10")
    def test_a_window_holds_what_happened_in_it(self, place: MetricsPlace) -> None:
        """A window is half-open, and has what happened between its edges and nothing else.

        If this fails, check the comparisons with both edges, and their unit: microseconds.
        """
        first, one, second, two, third = _scene(place)
        source = place.source()
        limits = place.thresholds
        assert _plain(counted(source, Window(first, second), limits)) == _expected(one, limits)
        assert _plain(counted(source, Window(second, third), limits)) == _expected(two, limits)

    @pytest.mark.rule("R10")
    def test_windows_that_follow_each_other_add_up(self, place: MetricsPlace) -> None:
        """However the time is cut, each request is in one window.

        If this fails, check for rates, for interpolation, and for edges that are in both windows.
        """
        first, one, second, two, third = _scene(place)
        source = place.source()
        expected = _expected([*one, *two], place.thresholds)
        for seed, pieces in ((1, 2), (2, 5), (3, 13)):
            cuts = random.Random(seed).sample(range(first + 1, third), pieces - 1)  # noqa: S311
            total: dict[str, Counts] = {}
            for since, until in pairwise(sorted([first, second, *cuts, third])):
                _add(total, counted(source, Window(since, until), place.thresholds))
            assert _plain(total) == expected, pieces

    @pytest.mark.rule("R10")
    def test_what_is_asked_again_is_answered_the_same(self, place: MetricsPlace) -> None:
        """A controller that ended before it saved asks again, and so does its successor.

        If this fails, check whether the source remembers what it answered, or counts what is new.
        """
        first, one, second, _, third = _scene(place)
        source, another = place.source(), place.source()
        expected = _expected(one, place.thresholds)
        whole = counted(source, Window(first, third), place.thresholds)
        for asked in (source, another, source):
            again = counted(asked, Window(first, second), place.thresholds)
            assert _plain(again) == expected
        assert counted(source, Window(first, third), place.thresholds) == whole

    @pytest.mark.rule("R5")
    def test_a_window_of_nothing_has_no_counts(self, place: MetricsPlace) -> None:
        """No data are no counts: neither an error, nor what was counted before.

        If this fails, check whether an empty answer is taken for a failure, or the last value.
        """
        begun = place.edge()
        place.happen(FLAG, [Request("on"), Request("off")])
        first = place.edge()
        second = place.edge()
        place.settle()
        source = place.source()
        assert counted(source, Window(begun, first), place.thresholds)
        for window in (Window(first, second), Window(first, first)):
            assert _plain(counted(source, window, place.thresholds)) == {}

    @pytest.mark.rule("R10")
    def test_an_answer_begins_where_it_was_asked_to(self, place: MetricsPlace) -> None:
        """The window of a sample is the one asked for, or the beginning of it.

        If this fails, check what the sample says of its window: evidence refuses a gap.
        """
        first, _, _, _, third = _scene(place)
        sample = place.source().sample(FLAG, Window(first, third), place.thresholds)
        assert sample.window.since == first
        assert first < sample.window.until <= third
        assert isinstance(sample.query, str)
        assert sample.query

    # Time

    @pytest.mark.rule("R3")
    def test_the_watermark_never_falls_and_is_never_ahead(self, place: MetricsPlace) -> None:
        """What is below it is complete; it can't be in what is still to come.

        If this fails, check whether it is a moment, in microseconds since 1970, and behind now.
        """
        source = place.source()
        marks = [source.watermark()]
        for _ in range(5):
            place.happen(FLAG, [Request("on")])
            marks.append(source.watermark())
            assert marks[-1] <= place.edge()
        place.settle()
        edge = place.edge()
        place.settle()
        marks.append(source.watermark())
        assert marks == sorted(marks)
        assert marks[-1] >= edge

    @pytest.mark.rule("R10")
    def test_what_goes_on_while_it_is_counted_is_counted_once(self, place: MetricsPlace) -> None:
        """Windows up to the watermark miss nothing that arrives a little later.

        If this fails, check the lag: below the watermark nothing may come in any more.
        """
        source = place.source()
        happened: list[Request] = []
        cursor = place.edge()
        total: dict[str, Counts] = {}
        for number in range(6):
            requests = [Request("on", error=number % 2 == 0), Request("off")] * (number + 1)
            place.happen(FLAG, requests)
            happened += requests
            until = source.watermark()
            if until > cursor:
                _add(total, counted(source, Window(cursor, until), place.thresholds))
                cursor = until
        edge = place.edge()
        place.settle()
        if edge > cursor:
            _add(total, counted(source, Window(cursor, edge), place.thresholds))
        assert _plain(total) == _expected(happened, place.thresholds)

    # What is counted

    @pytest.mark.rule("R5")
    def test_counts_are_whole_and_fit_each_other(self, place: MetricsPlace) -> None:
        """Counts, never rates: whole numbers, and no part is more than its whole.

        If this fails, check whether the place answers per second, or by an average.
        """
        first, one, _, two, third = _scene(place)
        arms = counted(place.source(), Window(first, third), place.thresholds)
        assert sum(counts.requests for counts in arms.values()) == len(one) + len(two)
        for counts in arms.values():
            numbers = [counts.requests, counts.errors, counts.successes, counts.timed]
            assert all(type(number) is int for number in [*numbers, *counts.slow.values()])
            assert 0 <= counts.errors <= counts.requests
            assert 0 <= counts.successes <= counts.requests
            assert 0 <= counts.timed <= counts.requests
            assert all(0 <= slow <= counts.timed for slow in counts.slow.values())
            assert set(place.thresholds) <= counts.slow.keys()

    @pytest.mark.rule("R10")
    def test_a_flag_that_nobody_asked_for_has_no_arms(self, place: MetricsPlace) -> None:
        """Requests of another flag are not this one's.

        If this fails, check whether the flag is part of the question.
        """
        if not place.knows_flags:
            pytest.skip(f"{_DECLINED}the place doesn't tell flags apart")
        first, _, _, _, third = _scene(place)
        source, window = place.source(), Window(first, third)
        assert counted(source, window, place.thresholds)
        assert _plain(counted(source, window, place.thresholds, "nobody")) == {}

    @pytest.mark.rule("R6")
    def test_each_user_is_bad_once_at_most(self, place: MetricsPlace) -> None:
        """Errors cluster in users, and a test that counts them one by one sees too many.

        If this fails, check what is remembered of a user from before the window.
        """
        source = place.source()
        if not source.counts_users:
            with pytest.raises(DownhaulError):
                source.probe(FLAG, place.thresholds, users=True)
            return
        begun = place.edge()
        people = ["ada", "bob", "cy"]
        for turn in range(3):  # ada errs each time, bob the second time, cy never
            erring = {"ada", "bob"} if turn == 1 else {"ada"}
            requests = [Request("on", one in erring, 900.0, one) for one in people]
            place.happen(FLAG, [*requests, Request("on", latency_ms=1.0)])
            place.edge()
        until = place.edge()
        place.settle()
        source.probe(FLAG, place.thresholds, users=True)
        total: dict[str, Counts] = {}
        for since, end in pairwise([begun, *_thirds(begun, until), until]):
            window = Window(since, end)
            _add(total, counted(source, window, place.thresholds, users_since=begun))
        on = total.get("on", Counts())
        assert (on.requests, on.errors) == (12, 4)
        assert (on.new_users, on.error_users, on.failed_users) == (3, 2, 2)
        assert all(on.slow_users.get(one) == 3 for one in place.thresholds)
        assert on.anonymous == 3
        without = counted(source, Window(begun, until), place.thresholds)
        assert [(one.users, one.error_users) for one in without.values()] == [(0, 0)]

    # Before a rollout starts, and when it fails

    @pytest.mark.rule("X1")
    def test_a_probe_takes_what_is_right(self, place: MetricsPlace) -> None:
        """What can be counted by is not refused, and what is odd is told in words.

        If this fails, check what the probe says.
        """
        place.happen(FLAG, [Request("on", error=True, latency_ms=900.0), Request("on")])
        place.edge()
        place.settle()
        odd = place.source().probe(FLAG, place.thresholds)
        assert all(isinstance(one, str) for one in odd)

    @pytest.mark.rule("X1")
    def test_a_probe_tells_what_is_wrong(self, place: MetricsPlace) -> None:
        """A wrong name or secret is told before anybody is exposed, with what to do.

        If this fails, check that the probe asks for what counting needs, and swallows no error.
        """
        place.happen(FLAG, [Request("on"), Request("off")])
        place.edge()
        place.settle()
        seen = 0
        for word, source in place.wrong():
            with pytest.raises(DownhaulError) as caught:
                source.probe(FLAG, place.thresholds)
            assert word in str(caught.value)
            problems = getattr(caught.value, "problems", None)
            assert caught.value.hint or problems, "it doesn't say what to do"
            _see_no_secret(place, str(caught.value), repr(caught.value))
            seen += 1
        assert seen, "place.wrong() yields no source"

    @pytest.mark.rule("P7")
    def test_no_secret_is_shown(self, place: MetricsPlace) -> None:
        """The query is for people, and so is what a repr shows.

        If this fails, check what the source puts into its query and warnings.
        """
        if not place.secrets:
            pytest.skip(f"{_DECLINED}the place has no secrets")
        first, _, _, _, third = _scene(place)
        source = place.source()
        sample = source.sample(FLAG, Window(first, third), place.thresholds)
        _see_no_secret(place, repr(source), repr(sample), *source.probe(FLAG, place.thresholds))

    @pytest.mark.rule("R5")
    def test_a_place_that_never_answers_ends_in_time_and_in_an_error(
        self, place: MetricsPlace
    ) -> None:
        """A controller that waits past its lease has lost it. A failure holds the rollout.

        If this fails, check the timeout of the whole call, and that no failure becomes no counts.
        """
        first, one, second, _, _ = _scene(place)
        quiet = place.silence()
        if quiet is None:
            pytest.skip(f"{_DECLINED}the place can't be silenced")
        source = place.source()
        with quiet:
            begun = time.monotonic()
            with pytest.raises(DownhaulError) as caught:
                source.sample(FLAG, Window(first, second), place.thresholds)
            assert time.monotonic() - begun < LONGEST
            _see_no_secret(place, str(caught.value), repr(caught.value))
        again = _once_it_is_back(source, Window(first, second), place.thresholds)
        assert _plain(again) == _expected(one, place.thresholds)


def counted(
    source: MetricSource,
    window: Window,
    thresholds: tuple[float, ...],
    flag: str = FLAG,
    *,
    users_since: int | None = None,
) -> dict[str, Counts]:
    """Return the counts of a window, asked for in as many looks as the source needs."""
    total: dict[str, Counts] = {}
    cursor = window.since
    for _ in range(_STEPS):
        asked = Window(cursor, window.until)
        sample = source.sample(flag, asked, thresholds, users_since=users_since)
        assert sample.window.since == cursor, "it answers for another window"
        assert cursor <= sample.window.until <= window.until, "it answers for more than was asked"
        _add(total, sample.arms)
        if sample.window.until == window.until:
            return total
        assert sample.window.until > cursor, "it does not get on"
        cursor = sample.window.until
    message = f"it does not come to the end of a window within {_STEPS} looks"
    raise AssertionError(message)


def _once_it_is_back(
    source: MetricSource, window: Window, thresholds: tuple[float, ...]
) -> dict[str, Counts]:
    limit = time.monotonic() + _BACK
    while True:
        try:
            return counted(source, window, thresholds)
        except DownhaulError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.2)  # nothing tells of it; what waits is this loop, with its limit


def _scene(place: MetricsPlace) -> tuple[int, list[Request], int, list[Request], int]:
    """Let two groups of requests happen, and return them with the edges around them."""
    one = [
        *[Request("on", latency_ms=50.0, user="ada")] * 4,
        Request("on", error=True, latency_ms=900.0, user="bob"),
        Request("off", latency_ms=300.0, user="cy"),
    ]
    two = [
        *[Request("off", latency_ms=50.0)] * 3,
        *[Request("on", error=True, latency_ms=300.0, user="ada")] * 2,
    ]
    first = place.edge()
    place.happen(FLAG, one)
    second = place.edge()
    place.happen(FLAG, two)
    if place.knows_flags:
        place.happen("another", one)
    third = place.edge()
    place.settle()
    return first, one, second, two, third


Row = tuple[int, int, int, int, float, dict[float, int]]


def _expected(requests: Iterable[Request], thresholds: Sequence[float]) -> dict[str, Row]:
    arms: dict[str, list[Request]] = {}
    for one in requests:
        arms.setdefault(one.variant, []).append(one)
    return {name: _row(own, thresholds) for name, own in arms.items()}


def _row(requests: Sequence[Request], thresholds: Sequence[float]) -> Row:
    errors = sum(one.error for one in requests)
    known = [one.latency_ms for one in requests if one.latency_ms is not None and thresholds]
    slow = {limit: sum(one > limit for one in known) for limit in thresholds}
    return len(requests), errors, len(requests) - errors, len(known), sum(known), slow


def _plain(arms: dict[str, Counts]) -> dict[str, Row]:
    """Return what is compared of arms, without those that have no requests."""
    return {
        name: (
            one.requests,
            one.errors,
            one.successes,
            one.timed,
            round(one.latency_ms, 3),
            dict(one.slow),
        )
        for name, one in arms.items()
        if one.requests or one.errors or one.timed
    }


def _add(total: dict[str, Counts], arms: object) -> None:
    assert hasattr(arms, "items"), "arms are a mapping by variant"
    for name, counts in arms.items():
        assert isinstance(counts, Counts)
        total[name] = total[name] + counts if name in total else counts


def _thirds(since: int, until: int) -> tuple[int, int]:
    third = (until - since) // 3
    return since + third, since + 2 * third


def _see_no_secret(place: MetricsPlace, *texts: str) -> None:
    for text in texts:
        for secret in place.secrets:
            assert secret not in text, "a secret is shown"
