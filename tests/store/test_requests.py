"""The request log: rows once, counts by variant, and an end to how long they are kept."""

import time
import uuid
from itertools import pairwise

import pytest

from downhaul.analysis.model import Counts, Window
from downhaul.analysis.requests_source import RequestsSource
from downhaul.config import resolve
from downhaul.errors import Unreachable
from downhaul.plugins import build_provider
from downhaul.store import requests as module
from downhaul.store import schema
from downhaul.store.requests import RequestLog, RequestRow, SlowWrite

SECOND = 1_000_000


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let a busy machine be slow: what becomes of a slow batch is a test of its own."""
    monkeypatch.setattr(module, "PROMPT", 60.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flags.db'}"
    return request.getfixturevalue("fresh_postgres")


@pytest.fixture
def database(store_url):
    provider = build_provider(resolve(store_url, cache_dir=None, environ={}))
    schema.upgrade(provider.database)
    yield provider.database
    provider.close()


@pytest.fixture
def log(database):
    return RequestLog(database, "production")


def row(variant="on", served_by="split", *, error=False, latency_ms=100.0, **more):
    return RequestRow(
        id=more.pop("id", uuid.uuid4().hex),
        flag=more.pop("flag", "agent"),
        variant=variant,
        served_by=served_by,
        success=not error,
        error=error,
        latency_ms=latency_ms,
        **more,
    )


def everything(log):
    return Window(0, log.now() + 10 * SECOND)


@pytest.mark.rule("R10")
def test_counts_are_by_variant_and_of_the_split_alone(log):
    log.write(
        [
            row(),
            row(error=True, latency_ms=900.0),
            row(latency_ms=None),
            row("off", latency_ms=300.0),
            row(served_by="target"),
            row(served_by="rule"),
            row(flag="another"),
        ]
    )
    found = log.counts("agent", everything(log), (200.0, 800.0))
    assert found == {
        "on": Counts(3, 1, 2, 2, 1000.0, {200.0: 1, 800.0: 1}),
        "off": Counts(1, 0, 1, 1, 300.0, {200.0: 1, 800.0: 0}),
    }
    preview = log.counts("agent", everything(log), (), ("split", "target"))
    assert preview["on"].requests == 4


@pytest.mark.rule("R10")
def test_a_batch_that_is_sent_twice_counts_once(log):
    batch = [row(id=str(number)) for number in range(50)]
    log.write(batch)
    log.write([*batch, row(id="50")])
    assert log.counts("agent", everything(log), ())["on"].requests == 51


def test_an_environment_sees_its_own_requests(log, database):
    log.write([row()])
    assert RequestLog(database, "staging").counts("agent", everything(log), ()) == {}


@pytest.mark.rule("R10", "X3")
def test_windows_that_follow_each_other_count_each_row_once(log):
    edges = [log.now()]
    for _ in range(5):
        log.write([row() for _ in range(3)])
        edges.append(log.now())
    log.write([row()])
    edges.append(log.now() + SECOND)
    counted = [
        log.counts("agent", Window(since, until), ()).get("on", Counts()).requests
        for since, until in pairwise(edges)
    ]
    assert sum(counted) == 16


@pytest.mark.rule("R10")
def test_what_is_too_old_goes_in_pieces_and_the_rest_stays(log):
    for _ in range(3):
        log.write([row() for _ in range(10)])
    middle = log.now()
    time.sleep(0.002)  # SQLite's clock counts milliseconds
    log.write([row() for _ in range(5)])
    assert [log.delete_before(middle, limit=20) for _ in range(3)] == [20, 10, 0]
    assert log.counts("agent", everything(log), ())["on"].requests == 5
    assert log.sweep() == 0
    assert log.sweep(keep=-60) == 5


def test_a_thousand_rows_are_written_and_counted_quickly(log):
    batch = [row("on" if number % 2 else "off") for number in range(1000)]
    begun = time.monotonic()
    log.write(batch)
    found = log.counts("agent", everything(log), (50.0,))
    assert time.monotonic() - begun < 2.0  # some 20 ms; a loop of statements would take seconds
    assert found["on"].slow == {50.0: 500}


def test_a_count_reads_the_index_of_its_window(log, database):
    log.write([row(flag=f"flag-{number % 50}") for number in range(1000)])
    query = (
        "SELECT count(*) FROM {} WHERE environment = 'production' AND flag = 'flag-7' "
        "AND logged_at >= 1 AND logged_at < 2"
    )
    name = database.tables.requests.fullname
    with database.reading() as connection:
        if database.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query.format(name)}")
        else:
            connection.exec_driver_sql(f"ANALYZE {name}")
            plan = connection.exec_driver_sql(f"EXPLAIN {query.format(name)}")
        words = " ".join(str(part) for line in plan for part in line)
    assert "requests_window" in words


@pytest.mark.rule("R10")
def test_a_batch_that_was_slow_is_taken_back_and_one_row_never_is(log, monkeypatch):
    monkeypatch.setattr(module, "PROMPT", -1.0)
    with pytest.raises(SlowWrite):
        log.write([row(), row()])
    assert log.counts("agent", everything(log), ()) == {}
    log.write([row()])
    assert log.counts("agent", everything(log), ())["on"].requests == 1


@pytest.mark.rule("R10")
def test_the_source_stays_behind_the_clock_and_shows_previews_their_targets(log):
    source = RequestsSource(log, lag=2.0)
    source.probe("agent", (800.0,))
    assert -SECOND / 2 < log.now() - 2 * SECOND - source.watermark() < SECOND / 2
    log.write([row(), row(served_by="target")])
    window = everything(log)
    plain = source.sample("agent", window, (800.0,))
    assert (plain.window, plain.arms["on"].requests) == (window, 1)
    assert source.sample("agent", window, (), preview=True).arms["on"].requests == 2


def test_a_log_that_is_not_there_is_told(tmp_path):
    path = tmp_path / "gone.db"
    provider = build_provider(resolve(f"sqlite:///{path}", cache_dir=None, environ={}))
    log = RequestLog(provider.database, "production")
    with pytest.raises(Unreachable, match=r"gone\.db"):
        log.write([row()])
    with pytest.raises(Unreachable, match=r"gone\.db"):
        RequestsSource(log).probe("agent", ())
    provider.close()


@pytest.mark.rule("X4")
def test_an_application_may_log_and_change_nothing_it_logged(fresh_postgres):
    provider = build_provider(resolve(fresh_postgres, cache_dir=None, environ={}))
    database = provider.database
    schema.upgrade(database)
    app = f"app_{uuid.uuid4().hex[:8]}"
    with database.writing() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {app} LOGIN")
        connection.exec_driver_sql(f"CREATE ROLE {app}_boss")
        for line in schema.roles(database, application=app, operator=f"{app}_boss").splitlines():
            if line and not line.startswith("--"):
                connection.exec_driver_sql(line)
    theirs = build_provider(
        resolve(fresh_postgres.replace("postgres@", f"{app}@"), cache_dir=None, environ={})
    )
    log = RequestLog(theirs.database, "production")
    batch = [row(), row()]
    log.write(batch)
    log.write(batch)
    assert log.counts("agent", everything(log), ())["on"].requests == 2
    with pytest.raises(Unreachable, match="permission denied"):
        log.delete_before(log.now())
    theirs.close()
    with database.writing() as connection:
        for role in (app, f"{app}_boss"):
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")
    provider.close()
