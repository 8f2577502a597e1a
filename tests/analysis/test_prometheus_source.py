"""Counters of a real Prometheus, whatever its scrapes, its targets and it itself go through."""

import random
import time
from itertools import pairwise

import pytest
from fixtures_prometheus import SCRAPE, Exporter

from downhaul.analysis import patience, prometheus_source
from downhaul.analysis.model import Counts, Window
from downhaul.analysis.sources import source_for
from downhaul.backends.sqlite import database_at
from downhaul.errors import ConfigError, Unreachable
from downhaul.store import schema

SECOND = 1_000_000
pytestmark = pytest.mark.xdist_group("prometheus")
ERRORS = {"code": {"regex": "5.."}}
GOOD = 'web_requests_total{code="200",variant="on"}'
BAD = 'web_requests_total{code="503",variant="on"}'
OTHER = 'web_requests_total{code="200",variant="off"}'


@pytest.fixture
def store(tmp_path):
    database = database_at(tmp_path / "control.db")
    schema.upgrade(database)
    yield database
    database.engine.dispose()


@pytest.fixture
def make(store):
    def made(server, **more):
        metrics = {
            "source": "prometheus",
            "url": server.url,
            "requests": "web_requests_total",
            "errors": ERRORS,
            "lag": 1,
            **more,
        }
        return source_for(
            {name: one for name, one in metrics.items() if one is not None}, store, "production"
        )

    return made


@pytest.fixture
def at(keep_exporter):
    """A function that makes an exporter, whose process starts now unless said."""

    def made(server, **options):
        options.setdefault("start_time", time.time())
        return keep_exporter(server.exporter(**options))

    return made


def now():
    return time.time_ns() // 1000


def counted(source, since, until, thresholds=(), pieces=7, seed=1):
    """Add up windows that follow each other, cut anywhere."""
    cuts = random.Random(seed).sample(range(since + 1, until), pieces - 1)
    total, warnings = {}, []
    for edge, following in pairwise(sorted([since, *cuts, until])):
        at = edge
        while at < following:
            sample = source.sample("agent", Window(at, following), thresholds)
            assert sample.window.since == at
            at = sample.window.until
            warnings += sample.warnings
            for variant, counts in sample.arms.items():
                total[variant] = total.get(variant, Counts()) + counts
    return total, warnings


def plain(total):
    return {
        variant: (one.requests, one.errors, one.successes)
        for variant, one in total.items()
        if one.requests
    }


# --- what was counted is counted


def test_windows_add_up_to_what_two_instances_counted_while_they_went_on(prometheus, make, at):
    begun = now()
    source, one, two = make(prometheus), at(prometheus), at(prometheus)
    moves = random.Random(7)
    told = {GOOD: 0, BAD: 0, OTHER: 0}
    for _ in range(12):
        for instance in (one, two):
            for series, most in ((GOOD, 40), (BAD, 3), (OTHER, 200)):
                many = moves.randrange(most)
                instance.add(series, many)
                told[series] += many
        time.sleep(SCRAPE * moves.uniform(0.2, 1.5))
    until = max(one.edge(), two.edge())
    good, bad, other = told.values()
    expected = {"on": (good + bad, bad, good), "off": (other, 0, other)}
    for seed, pieces in ((1, 2), (2, 9), (3, 40)):
        total, warnings = counted(source, begun, until, pieces=pieces, seed=seed)
        assert plain(total) == expected
        assert warnings == []


def test_a_window_that_was_counted_is_counted_the_same_when_it_is_asked_again(prometheus, make, at):
    begun = now()
    source, one = make(prometheus), at(prometheus)
    one.add(GOOD, 5)
    window = Window(begun, one.edge())
    first = source.sample("agent", window, ())
    one.add(GOOD, 7)
    one.scraped()
    assert source.sample("agent", window, ()) == first
    assert first.arms["on"].requests == 5
    assert "web_requests_total" in first.query


def test_a_process_that_starts_anew_begins_at_zero(prometheus, make, at):
    begun = now()
    source, one = make(prometheus), at(prometheus)
    one.add(GOOD, 100)
    one.scraped()
    for many in (40, 3, 90):
        one.restart(start_time=time.time())
        one.add(GOOD, many)
        one.add(BAD, 2)
        one.scraped()
    total, _ = counted(source, begun, now(), pieces=20)
    # The last restart is behind more requests than the one before it had: it can't be seen.
    assert plain(total) == {"on": (100 + 40 + 3 + (90 - 3) + 2, 2, 230)}


def test_a_series_that_vanishes_and_comes_back_counts_what_is_new(prometheus, make, at):
    begun = now()
    source, one = make(prometheus), at(prometheus)
    one.add(GOOD, 10)
    one.add(BAD, 4)
    one.scraped()
    one.drop(BAD)
    one.add(GOOD, 1)
    one.scraped(3)
    one.add(BAD, 9)  # as if it had gone on meanwhile
    one.scraped()
    one.drop(BAD)
    one.scraped(3)
    one.add(BAD, 2)  # as if it had begun again
    one.scraped()
    total, warnings = counted(source, begun, now(), pieces=15)
    assert plain(total) == {"on": (11 + 4 + 5 + 2, 11, 11)}
    assert warnings == []


def test_a_target_that_can_not_be_scraped_for_a_while_loses_nothing(
    prometheus, make, at, monkeypatch
):
    monkeypatch.setattr(prometheus_source, "_RECENT", SCRAPE * 2)  # five minutes are a long test
    source, one = make(prometheus), at(prometheus, start_time=None)
    one.add(GOOD, 1_000_000)
    begun = one.edge()
    one.broken = True
    one.add(GOOD, 20)
    one.scraped(5)
    one.broken = False
    one.add(GOOD, 3)
    one.scraped()
    total, warnings = counted(source, begun, now(), pieces=12)
    assert plain(total) == {"on": (23, 0, 23)}
    assert warnings == []


def test_a_counter_that_appears_in_a_target_that_was_scraped_began_at_zero(prometheus, make, at):
    source, one = make(prometheus), at(prometheus, start_time=None)
    one.add(OTHER, 500)
    begun = one.edge()
    one.add(BAD, 3)  # the first errors there ever were
    one.scraped()
    total, warnings = counted(source, begun, now())
    assert plain(total) == {"on": (3, 3, 0)}
    assert warnings == []


def test_a_target_that_was_found_and_runs_for_long_has_its_past_left_out(
    prometheus, make, keep_exporter
):
    source = make(prometheus)
    old = keep_exporter(Exporter(prometheus.url, start_time=time.time() - 86_400))
    silent = keep_exporter(Exporter(prometheus.url))
    begun = now()
    for one in (old, silent):
        one.add(GOOD, 1_000_000)
    prometheus.find(old, silent)
    old.scraped()
    silent.scraped()
    for one in (old, silent):
        one.add(GOOD, 6)
        one.scraped()
    total, warnings = counted(source, begun, now())
    assert plain(total) == {"on": (12, 0, 12)}
    assert any("appeared without a sign of when it began" in one for one in warnings)
    for choice, many in (("zero", 2_000_012), ("skip", 12)):
        total, _ = counted(make(prometheus, new_series=choice), begun, now())
        assert plain(total)["on"][0] == many


def test_a_process_that_just_started_is_counted_from_its_start(prometheus, make, at):
    source, young = make(prometheus), at(prometheus, start_time=time.time() - 20)
    young.add(GOOD, 6)
    begun = now()
    young.scraped()
    total, warnings = counted(source, begun, now())
    assert plain(total) == {"on": (6, 0, 6)}
    assert warnings == []


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_a_prometheus_that_is_started_anew_loses_nothing(own_prometheus, make, at, way):
    begun = now()
    source, one = make(own_prometheus), at(own_prometheus)
    one.add(GOOD, 50)
    one.scraped()
    getattr(own_prometheus, way)()
    one.add(GOOD, 8)
    one.add(BAD, 1)
    with pytest.raises(Unreachable, match="no connection"):
        source.sample("agent", Window(begun, now()), ())
    own_prometheus.start()
    one.scraped()
    total, warnings = counted(source, begun, now(), pieces=10)
    assert plain(total) == {"on": (59, 1, 58)}
    assert warnings == []


# --- latencies


def observe(exporter, variant, seconds, ends=("0.1", "0.5", "1.0")):
    name = f'{{variant="{variant}"'
    for end in ends:
        exporter.add(f'web_seconds_bucket{name},le="{end}"}}', int(seconds <= float(end)))
    exporter.add(f'web_seconds_bucket{name},le="+Inf"}}')
    exporter.add(f"web_seconds_sum{name}}}", seconds)
    exporter.add(f"web_seconds_count{name}}}")


def test_latencies_are_a_sum_and_whole_buckets(prometheus, make, at):
    begun = now()
    source, one = make(prometheus, latency="web_seconds"), at(prometheus)
    for seconds in (0.05, 0.1, 0.3, 0.7, 2.0):
        one.add(GOOD)
        observe(one, "on", seconds)
        one.scraped(1)
    observe(one, "off", 0.2)
    one.add(OTHER)
    one.scraped()
    limits = (100.0, 500.0, 1000.0)
    assert source.probe("agent", limits) == []
    total, _ = counted(source, begun, now(), limits, pieces=12)
    on, off = total["on"], total["off"]
    assert (on.requests, on.timed, on.slow) == (5, 5, {100.0: 3, 500.0: 2, 1000.0: 1})
    assert on.latency_ms == pytest.approx(3150.0)
    assert (off.timed, off.slow) == (1, {100.0: 1, 500.0: 0, 1000.0: 0})


def test_requests_may_be_the_histograms_own_count(prometheus, make, at):
    source = make(
        prometheus, requests=None, latency="web_seconds", error_counter="web_errors", errors=None
    )
    begun = now()
    one = at(prometheus)
    observe(one, "on", 0.3)
    observe(one, "on", 0.3)
    one.add('web_errors{variant="on"}')
    one.scraped()
    total, _ = counted(source, begun, now())
    assert plain(total) == {"on": (2, 1, 1)}


@pytest.mark.rule("X1")
def test_a_threshold_that_is_no_boundary_is_told_and_nobody_seems_slow(prometheus, make, at):
    begun = now()
    source, one = make(prometheus, latency="web_seconds"), at(prometheus)
    one.add(GOOD)
    observe(one, "on", 0.3)
    one.scraped()
    with pytest.raises(ConfigError, match=r"ends at 0\.8 s \(slower_than has to be one of 0\.1, "):
        source.probe("agent", (800.0,))
    with pytest.raises(ConfigError, match=r"has no bucket that ends at 0\.8 s"):
        source.sample("agent", Window(begun, now()), (800.0,))
    without = make(prometheus)
    with pytest.raises(ConfigError, match=r"metrics\.latency is missing"):
        without.probe("agent", (800.0,))


# --- labels

ODD = ['a"b', "a\\b", "a\nb", "a|b", "a.b", ".*", "été ☃", "a,b}", "${x}", "%s"]


def written(value):
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'web_requests_total{{code="200",variant="on",path="{escaped}"}}'


def test_a_label_is_what_the_plan_says_to_the_letter(prometheus, make, at):
    begun = now()
    one = at(prometheus)
    for number, value in enumerate(ODD):
        one.add(written(value), 2**number)
    until = one.edge()

    def requests(where):
        total, _ = counted(make(prometheus, where=where), begun, until, pieces=2)
        return total.get("on", Counts()).requests

    for number, value in enumerate(ODD):
        assert requests({"path": value}) == 2**number
        assert requests({"path": {"not": value}}) == 2 ** len(ODD) - 1 - 2**number
    assert requests({"path": ODD[:4]}) == 0b1111
    assert requests({"path": {"regex": 'a["|.]b'}}) == 0b11001
    assert requests({"path": {"not_regex": 'a["|.]b'}}) == 2 ** len(ODD) - 1 - 0b11001
    assert requests({"path": "nobody's"}) == 0


def test_variants_and_the_flag_are_labels_of_any_name(prometheus, make, at):
    begun = now()
    one = at(prometheus)
    for flag, version, many in (
        ("agent", "2.0", 3),
        ("agent", "2.1", 4),
        ("agent", "1.0", 5),
        ("agent", "v2", 6),
        ("another", "2.0", 100),
    ):
        series = f'web_requests_total{{code="200",version="{version}",flag="{flag}"}}'
        one.add(series, many)
    until = one.edge()
    source = make(
        prometheus,
        labels={"variant": "version", "flag": "flag"},
        variants={"v2": ["2.0", "2.1"], "v1": 1.0},
    )
    assert source.probe("agent", ()) == []
    total, _ = counted(source, begun, until)
    assert {name: counts.requests for name, counts in total.items()} == {
        "v2": 7,
        "v1": 5,
        "v2 (unmapped)": 6,
    }
    assert source.sample("nobody's", Window(begun, until), ()).arms == {}
    (odd,) = source.probe("nobody's", ())
    assert 'flag="nobody\'s"' in odd


def test_successes_may_be_said_and_then_say_what_an_error_is(prometheus, make, at):
    begun = now()
    one = at(prometheus)
    for code, many in (("200", 7), ("404", 2), ("503", 1)):
        one.add(f'web_requests_total{{code="{code}",variant="on"}}', many)
    until = one.edge()
    only = make(prometheus, errors=None, successes={"code": "200"})
    both = make(prometheus, successes={"code": "200"})
    assert plain(counted(only, begun, until)[0]) == {"on": (10, 3, 7)}
    assert plain(counted(both, begun, until)[0]) == {"on": (10, 1, 7)}


# --- before a rollout starts


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "more,words",
    [
        ({"requests": "web_request_total"}, r'no metric "web_request_total".*"web_requests_total"'),
        ({"requests": "something_else"}, r'no metric "something_else" \(has nothing been counted'),
        ({"labels": {"variant": "varaint"}}, r'labels\.variant: .*no label "varaint".*"variant"'),
        (
            {"labels": {"flag": "feature"}},
            r'labels\.flag: .*has no label "feature".*its labels are',
        ),
        ({"where": {"jop": "web"}}, r'where\.jop: .*did you mean "job"'),
        ({"errors": {"cod": "500"}}, r'errors\.cod: .*did you mean "code"'),
        ({"successes": {"cod": "200"}}, r'successes\.cod: .*did you mean "code"'),
        ({"requests": "web_load"}, r'"web_load" is a gauge'),
        ({"latency": "web_secondes"}, r'no metric "web_secondes_count".*"web_seconds_count"'),
        ({"latency": "web_load", "labels": {"variant": "variant"}}, "is no classic histogram"),
    ],
)
def test_what_is_not_there_is_told_before_a_rollout_starts(prometheus, make, at, more, words):
    one = at(prometheus)
    one.add(GOOD)
    one.add('web_load{variant="on",code=""}')
    one.counters['# TYPE web_load gauge\nweb_load{variant="on",code="5"}'] = 3.0
    observe(one, "on", 0.1)
    one.scraped(3)
    with pytest.raises(ConfigError, match=words):
        make(prometheus, **more).probe("agent", ())


def test_several_wrong_things_are_told_at_once(prometheus, make, at):
    one = at(prometheus)
    one.add(GOOD)
    one.scraped(3)
    source = make(prometheus, errors={"cod": "5"}, where={"jop": "web"}, latency="web_ms")
    with pytest.raises(ConfigError) as caught:
        source.probe("agent", ())
    paths = {one.path for one in caught.value.problems}
    assert paths == {"metrics.errors.cod", "metrics.where.jop", "metrics.latency"}


def test_what_was_not_counted_in_yet_is_odd_and_no_error(prometheus, make, at):
    one = at(prometheus)
    one.add(GOOD)
    one.scraped(3)
    source = make(prometheus, errors=None, error_counter="web_errors_total")
    (odd,) = source.probe("agent", ())
    assert 'no metric "web_errors_total" yet' in odd
    (odd,) = make(prometheus, where={"job": "wbe"}).probe("agent", ())
    assert "nothing was counted in" in odd
    assert make(prometheus).probe("agent", ()) == []


def test_who_errs_is_not_known_here(prometheus, make, at):
    source = make(prometheus)
    assert not source.counts_users
    with pytest.raises(ConfigError, match="doesn't know who asked"):
        source.probe("agent", (), users=True)


# --- when it fails


@pytest.mark.rule("R5")
def test_one_that_hangs_is_left_in_time_and_asked_again_later(
    own_prometheus, make, at, monkeypatch
):
    monkeypatch.setattr(patience, "REST", 0.5)
    begun = now()
    source, one = make(own_prometheus, timeout=0.5), at(own_prometheus)
    one.add(GOOD, 3)
    until = one.edge()
    own_prometheus.pause()
    try:
        for words, least, most in (("within 0.5 s", 0.4, 2.0), ("did not answer 0 s ago", 0, 0.1)):
            started = time.monotonic()
            with pytest.raises(Unreachable, match=words):
                source.sample("agent", Window(begun, until), ())
            assert least <= time.monotonic() - started < most
    finally:
        own_prometheus.go_on()
    time.sleep(0.6)  # its rest
    assert source.sample("agent", Window(begun, until), ()).arms["on"].requests == 3


def test_a_long_absence_is_counted_in_pieces(prometheus, make, at):
    begun = now()
    one = at(prometheus)
    source = make(prometheus, where={"instance": one.address})
    one.add(GOOD, 3)
    until = one.edge()
    hour = Window(until - 3600 * SECOND, until)
    first = source.sample("agent", hour, ())
    assert first.window == Window(hour.since, hour.since + 600 * SECOND)
    total, _ = counted(source, hour.since, until, pieces=3)
    assert plain(total) == {"on": (3, 0, 3)}
    assert begun > first.window.until
