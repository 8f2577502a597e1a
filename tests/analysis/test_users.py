"""Each user counts as bad once at most, however often they err and wherever windows are cut."""

import datetime as dt
import uuid
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text

from downhaul.analysis.evidence import Evidence
from downhaul.analysis.model import Counts, Sample, Window
from downhaul.analysis.requests_source import RequestsSource
from downhaul.analysis.sql_source import SqlSource
from downhaul.config import resolve
from downhaul.errors import ConfigError
from downhaul.plugins import build_provider
from downhaul.store import schema
from downhaul.store.requests import RequestLog

SECOND = 1_000_000
START = 1_774_688_400_000_000  # 2026-03-28 09:00 UTC
LIMITS = (100.0, 500.0)


@pytest.fixture
def upgraded(store_url):
    provider = build_provider(resolve(store_url, cache_dir=None, environ={}))
    schema.upgrade(provider.database)
    yield provider.database
    provider.close()


class Log:
    """The request log, with rows of times of our own."""

    def __init__(self, database):
        self.database = database

    def source(self, events):
        environment = uuid.uuid4().hex
        table = self.database.tables.requests
        rows = [
            {
                "id": uuid.uuid4().hex,
                "environment": environment,
                "flag": "agent",
                "variant": variant,
                "served_by": "split",
                "success": success,
                "error": error,
                "latency_ms": latency,
                "subject": subject,
                "flag_version": "",
                "logged_at": START + at,
            }
            for at, variant, subject, error, success, latency in events
        ]
        strangers = [
            {**row, "id": uuid.uuid4().hex, "logged_at": 0, "flag": flag, "served_by": served}
            for row in rows
            for flag, served in (("another", "split"), ("agent", "target"))
        ]
        for row, stranger in zip([one for one in rows for _ in range(2)], strangers, strict=True):
            stranger["logged_at"] = row["logged_at"] - SECOND
        with self.database.writing() as connection:
            if rows:
                connection.execute(insert(table), rows + strangers)
        return RequestsSource(RequestLog(self.database, environment))


class Table:
    """Somebody's table. Two of its names stand for our "on", and it has a row of another flag."""

    def __init__(self, database):
        self.database = database

    def source(self, events):
        name = f"logs_{uuid.uuid4().hex[:8]}"
        kind = "BIGINT" if self.database.dialect.name == "postgresql" else "INTEGER"
        with self.database.writing() as connection:
            connection.execute(
                text(
                    f"CREATE TABLE {name} (version TEXT, who TEXT, error TEXT, success INTEGER, "
                    f"latency_ms REAL, at {kind}, flag TEXT)"
                )
            )
            rows = [
                {
                    "version": ("2.0", "2.1")[at % 2] if variant == "on" else variant,
                    "who": subject or None if at % 3 else subject,
                    "error": "Timeout" if error else None,
                    "success": int(success),
                    "latency_ms": latency,
                    "at": START + at + shift,
                    "flag": flag,
                }
                for at, variant, subject, error, success, latency in events
                for flag, shift in (("agent", 0), ("another", -SECOND))
            ]
            if rows:
                connection.execute(
                    text(
                        f"INSERT INTO {name} VALUES (:version, :who, :error, :success, "
                        ":latency_ms, :at, :flag)"
                    ),
                    rows,
                )
        metrics = {
            "table": name,
            "columns": {"subject": "who", "time": "at", "flag": "flag"},
            "variants": {"on": ["2.0", "2.1"]},
            "time_unit": "us",
        }
        return SqlSource.from_plan(metrics, self.database)


@pytest.fixture(params=[Log, Table], ids=["requests", "sql"])
def store(request, upgraded):
    return request.param(upgraded)


def slower_than(limit):
    return lambda _error, _failed, latency: (latency or 0) > limit


def firsts(named, window, is_so):
    found = {}
    for at, subject, *rest in sorted(named, key=lambda one: one[0]):
        if is_so(*rest):
            found.setdefault(subject, at)
    return sum(window.since <= at for at in found.values())


def expected(events, window, users_since):
    """Return what is to be counted, by looking at each event in turn."""
    arms = {}
    for variant in {one[1] for one in events}:
        own = [
            (START + at, subject, error, not success, latency)
            for at, arm, subject, error, success, latency in events
            if arm == variant
        ]
        inside = [one for one in own if window.since <= one[0] < window.until]
        if not inside:
            continue
        named = [one for one in own if one[1] and users_since <= one[0] < window.until]
        arms[variant] = (
            len({one[1] for one in inside if one[1]}),
            firsts(named, window, lambda *_: True),
            firsts(named, window, lambda error, *_: error),
            firsts(named, window, lambda _error, failed, _latency: failed),
            {limit: firsts(named, window, slower_than(limit)) for limit in LIMITS},
            len([one for one in inside if not one[1]]),
        )
    return arms


def people(sample):
    return {
        variant: (
            counts.users,
            counts.new_users,
            counts.error_users,
            counts.failed_users,
            dict(counts.slow_users),
            counts.anonymous,
        )
        for variant, counts in sample.arms.items()
    }


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from(["on", "off"]),
        st.sampled_from(["", "ada", "bob", "cy", "dee"]),
        st.booleans(),
        st.booleans(),
        st.one_of(st.none(), st.sampled_from([50.0, 200.0, 900.0])),
    ),
    max_size=40,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.sets(st.integers(0, 41), max_size=5), st.integers(-5, 45))
@pytest.mark.slow
def test_users_are_counted_as_by_looking_at_each_request(store, events, cuts, begun):
    source = store.source(events)
    edges = sorted({0, 41, *cuts})
    total = {}
    for since, until in pairwise(edges):
        window = Window(START + since, START + until)
        sample = source.sample("agent", window, LIMITS, users_since=START + begun)
        assert people(sample) == expected(events, window, START + begun)
        for variant, counts in sample.arms.items():
            total[variant] = total.get(variant, Counts()) + counts
    for variant, counts in total.items():
        of = [one for one in events if one[1] == variant and one[2] and one[0] >= begun]
        assert counts.new_users == len({one[2] for one in of})
        assert counts.error_users == len({one[2] for one in of if one[3]})
        assert counts.failed_users == len({one[2] for one in of if not one[4]})


def test_nobody_is_counted_who_was_not_asked_for(store):
    source = store.source([(0, "on", "ada", True, False, 900.0)])
    sample = source.sample("agent", Window(START, START + 1), LIMITS)
    assert people(sample) == {"on": (0, 0, 0, 0, {}, 0)}
    assert sample.arms["on"].errors == 1
    assert source.counts_users
    assert source.probe("agent", LIMITS, users=True) == ()


def test_a_table_whose_plan_names_no_subject_is_told_before_a_rollout_starts(upgraded):
    with upgraded.writing() as connection:
        connection.execute(text("CREATE TABLE logs (version TEXT, success INTEGER, at INTEGER)"))
    metrics = {"table": "logs", "columns": {"time": "at"}}
    source = SqlSource.from_plan(metrics, upgraded)
    assert not source.counts_users
    assert source.probe("agent", ()) == ()
    with pytest.raises(ConfigError, match=r'doesn\'t know who asked.*subject = "user_id"'):
        source.probe("agent", (), users=True)
    wrong = SqlSource.from_plan({**metrics, "columns": {"time": "at", "subject": "user"}}, upgraded)
    with pytest.raises(ConfigError, match=r'no column "user"'):
        wrong.probe("agent", (), users=True)


def test_evidence_with_people_is_kept_and_older_evidence_is_read():
    counts = Counts(9, 2, 7, 8, 100.0, {500.0: 1}, 5, 4, 2, 3, {500.0: 1}, 2)
    evidence = Evidence(0, 0).add(Sample(Window(0, 10), {"on": counts, "off": Counts(3, 0, 3)}))
    kept = evidence.as_mapping()
    assert Evidence.from_mapping(kept) == evidence
    assert Evidence.from_mapping(kept).since(None)["on"] == counts
    [[_, _, arms]] = kept["buckets"]
    assert arms["off"] == [3, 0, 3, 0, 0.0, []]  # as an older controller reads it
    together = counts + counts
    assert (together.error_users, together.slow_users, together.anonymous) == (4, {500.0: 2}, 4)


@pytest.mark.postgres
def test_a_database_that_keeps_us_waiting_is_left_in_time(fresh_postgres, monkeypatch):
    from downhaul.analysis import patience
    from downhaul.errors import Unreachable

    monkeypatch.setattr(patience, "REST", 0.2)
    provider = build_provider(resolve(fresh_postgres, cache_dir=None, environ={}))
    with provider.database.writing() as connection:
        connection.execute(text("CREATE TABLE real_logs (version TEXT, success BOOLEAN)"))
        connection.execute(text("INSERT INTO real_logs VALUES ('on', true)"))
        connection.execute(
            text(
                "CREATE VIEW logs AS SELECT version, success, clock_timestamp() AS timestamp "
                "FROM real_logs, pg_sleep(30)"
            )
        )
    source = SqlSource.from_plan({"table": "logs", "timeout": 0.5}, provider.database)
    begun = dt.datetime.now(dt.UTC)
    with pytest.raises(Unreachable):
        source.sample("agent", Window(0, START * 2), ())
    assert dt.datetime.now(dt.UTC) - begun < dt.timedelta(seconds=3)
    with provider.database.writing() as connection:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%logs%' AND "
            "state = 'active' AND pid <> pg_backend_pid()"
        )
        assert connection.execute(waiting).scalar() == 0
    provider.close()
