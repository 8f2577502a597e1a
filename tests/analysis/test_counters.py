"""Counts within one process: what applications in it record, and OpenTelemetry's instruments."""

import subprocess
import sys
import threading
import time
import uuid

import pytest
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from downhaul.analysis.counters import Counters, counters
from downhaul.analysis.model import Counts, Window
from downhaul.analysis.sources import source_for
from downhaul.backends.sqlite import database_at
from downhaul.errors import ConfigError
from downhaul.integrations.opentelemetry import CountersExporter

SECOND = 1_000_000
SPLIT = ("split",)


def everything(held, thresholds=(), served=SPLIT, flag="agent"):
    return held.counts(flag, Window(0, held.now() + SECOND), thresholds, served)


@pytest.fixture
def named():
    name = f"test-{uuid.uuid4().hex}"
    return name, counters(name)


@pytest.fixture
def make(tmp_path, named):
    def made(**more):
        metrics = {"source": "memory", "counters": named[0], **more}
        return source_for(metrics, database_at(tmp_path / "x.db"), "production")

    return made


def test_requests_are_counted_by_variant_and_by_what_served_them():
    held = Counters()
    held.record("agent", "on", latency_ms=50.0)
    held.record("agent", "on", error=True, latency_ms=900.0)
    held.record("agent", "on", success=False)
    held.record("agent", "off", latency_ms=float("nan"))
    held.record("agent", "off", latency_ms=-1.0)
    held.record("agent", "on", served_by="target")
    held.record("another", "on")
    assert everything(held, (100.0,)) == {
        "on": Counts(3, 1, 1, 2, 950.0, {100.0: 1}),
        "off": Counts(2, 0, 2, 0, 0.0, {100.0: 0}),
    }
    assert everything(held, served=("split", "target"))["on"].requests == 4


def test_many_threads_lose_nothing_and_windows_cut_nothing_in_two():
    held = Counters()
    cursor, counted = held.complete(), 0
    going = threading.Barrier(5)

    def run():
        going.wait()
        for _ in range(3000):
            held.record("agent", "on")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for one in threads:
        one.start()
    going.wait()
    while cursor < held.complete() or any(one.is_alive() for one in threads):
        until = held.complete()
        found = held.counts("agent", Window(cursor, until), (), SPLIT)
        counted += found["on"].requests if found else 0
        cursor = until
        time.sleep(0.01)
    time.sleep(0.11)  # the last slice is over
    found = held.counts("agent", Window(cursor, held.complete()), (), SPLIT)
    counted += found["on"].requests if found else 0
    assert counted == 12_000


def test_recording_costs_microseconds():
    held = Counters()
    begun = time.perf_counter()
    for _ in range(20_000):
        held.record("agent", "on", latency_ms=1.0)
    assert (time.perf_counter() - begun) / 20_000 < 100e-6


def test_what_is_too_old_is_forgotten():
    held = Counters(keep=0.3)
    held.record("agent", "on")
    time.sleep(0.5)
    held.record("agent", "on")
    assert everything(held)["on"].requests == 1


def test_a_histogram_is_counted_by_its_own_boundaries():
    held = Counters()
    held.add_latencies("agent", "on", 3150.0, [100, 500, 1000], [2, 1, 1, 1])
    held.record("agent", "on", latency_ms=600.0)
    found = everything(held, (100.0, 500.0, 1000.0))["on"]
    assert (found.timed, found.latency_ms) == (6, 3750.0)
    assert found.slow == {100.0: 4, 500.0: 3, 1000.0: 1}
    with pytest.raises(ConfigError, match=r"ends at 800 ms \(slower_than has to be one of 100, 5"):
        everything(held, (800.0,))
    for ends, counts in (([1, 2], [1, 1]), ([2, 1], [1, 1, 1]), ([1, 1], [1, 1, 1])):
        with pytest.raises(ValueError, match="no histogram"):
            held.add_latencies("agent", "on", 1.0, ends, counts)
    with pytest.raises(ValueError, match="no increase"):
        held.add("agent", "on", Counts(-1))


# --- as a source


@pytest.mark.rule("X1")
def test_a_process_in_which_nobody_counts_is_told(make, named):
    with pytest.raises(ConfigError, match=r'nothing counts as "nobodys" in this process'):
        make(counters="nobodys").probe("agent", ())
    with pytest.raises(ConfigError, match="did you mean"):
        make(counters=f"{named[0]}x").watermark()
    (odd,) = make().probe("agent", ())
    assert 'nothing was counted for "agent"' in odd
    named[1].record("agent", "on")
    assert make().probe("agent", ()) == ()
    with pytest.raises(ConfigError, match="doesn't know who asked"):
        make().probe("agent", (), users=True)


def test_what_was_before_the_process_is_told_and_is_no_count(make, named):
    named[1].record("agent", "2.0")
    source = make(variants={"v2": ["2.0"]})
    now = named[1].now()
    sample = source.sample("agent", Window(now - 60 * SECOND, now), ())
    assert sample.arms == {"v2": Counts(1, 0, 1)}
    (warning,) = sample.warnings
    assert "before this process began to count" in warning
    assert source.sample("agent", Window(named[1].began, now), ()).warnings == ()


def test_a_preview_counts_targets_as_well(make, named):
    named[1].record("agent", "on", served_by="target")
    named[1].record("agent", "on", served_by="rule")
    window = Window(named[1].began - SECOND, named[1].now() + SECOND)
    assert make().sample("agent", window, ()).arms == {}
    assert make().sample("agent", window, (), preview=True).arms["on"].requests == 1


# --- OpenTelemetry

ABOUT = {"feature_flag.key": "agent", "feature_flag.result.variant": "on"}


@pytest.fixture
def instrumented():
    """A function that makes a meter whose reader exports into counters, and gives both."""
    made = []

    def make(*given, **options):
        held = Counters()
        exporter = CountersExporter(*given, into=held, **options)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
        made.append(provider)
        return provider.get_meter("test"), provider, held

    yield make
    for one in made:
        one.shutdown()


def test_what_a_counter_rose_by_is_counted_once(instrumented):
    meter, provider, held = instrumented("app.requests")
    counter = meter.create_counter("app.requests")
    other = meter.create_counter("app.others")
    counter.add(5, ABOUT)
    counter.add(2, {**ABOUT, "error.type": "Timeout"})
    counter.add(9, {"feature_flag.key": "agent"})
    other.add(100, ABOUT)
    provider.force_flush()
    counter.add(3, {**ABOUT, "feature_flag.result.variant": "off"})
    counter.add(1, ABOUT)
    provider.force_flush()
    provider.force_flush()
    assert everything(held) == {"on": Counts(8, 2, 6), "off": Counts(3, 0, 3)}


def test_a_histogram_of_latencies_is_enough(instrumented):
    meter, provider, held = instrumented(
        latency="app.duration",
        error=lambda attributes: attributes.get("status") == 500,
        variant="version",
    )
    histogram = meter.create_histogram(
        "app.duration", unit="s", explicit_bucket_boundaries_advisory=[0.1, 0.5, 1.0]
    )
    for seconds, status in ((0.05, 200), (0.1, 200), (0.7, 500), (3.0, 200)):
        about = {"feature_flag.key": "agent", "version": "2.0", "status": status}
        histogram.record(seconds, about)
    provider.force_flush()
    found = everything(held, (100.0, 500.0))["2.0"]
    assert (found.requests, found.errors, found.successes, found.timed) == (4, 1, 3, 4)
    assert found.latency_ms == pytest.approx(3850.0)
    assert found.slow == {100.0: 2, 500.0: 2}


def test_totals_are_refused_and_told(caplog):
    held = Counters()
    exporter = CountersExporter("app.requests", into=held)
    assert exporter._preferred_temporality[Counter] is AggregationTemporality.DELTA
    assert exporter._preferred_temporality[Histogram] is AggregationTemporality.DELTA
    exporter._preferred_temporality = {Counter: AggregationTemporality.CUMULATIVE}
    results = []
    original = exporter.export
    exporter.export = lambda *a, **k: results.append(original(*a, **k)) or results[-1]
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    counter = provider.get_meter("test").create_counter("app.requests")
    counter.add(5, ABOUT)
    provider.force_flush()
    provider.shutdown()
    assert results[0] is MetricExportResult.FAILURE
    assert everything(held) == {}
    assert "app.requests is no sum or histogram of increases" in caplog.text


def test_what_it_is_made_of_is_checked():
    with pytest.raises(ValueError, match="name the counter"):
        CountersExporter()
    with pytest.raises(ValueError, match="is no unit"):
        CountersExporter("app.requests", unit="h")


def test_without_the_sdk_it_says_what_to_install():
    code = """
import sys
sys.modules["opentelemetry.sdk.metrics"] = None
try:
    import downhaul.integrations.opentelemetry
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'downhaul[opentelemetry]'" in done.stdout
