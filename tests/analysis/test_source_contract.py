"""Every metric source of the core holds the contract that others can hold theirs to."""

import time
import uuid
from contextlib import contextmanager
from dataclasses import replace

import pytest
from answering import Answering, Reply
from datadog_server import APP, KEY, DatadogServer
from downhaul_contract_tests import MetricSourceContract, MetricsPlace
from fixtures_prometheus import Exporter, PrometheusServer
from sqlalchemy import text

from downhaul.analysis import patience
from downhaul.analysis.counters import counters, known_counters
from downhaul.analysis.requests_source import RequestsSource
from downhaul.analysis.sources import source_for
from downhaul.backends.sqlite import database_at
from downhaul.store import schema
from downhaul.store.requests import RequestLog, RequestRow

SECOND = 1_000_000
TOKEN = "token-of-the-metrics-0815"


@pytest.fixture
def control(tmp_path):
    database = database_at(tmp_path / "control.db")
    schema.upgrade(database)
    yield database
    database.engine.dispose()


@pytest.fixture(autouse=True)
def short_rest(monkeypatch):
    monkeypatch.setattr(patience, "REST", 0.3)


class Place(MetricsPlace):
    """A place whose clock is the control store's, and whose lag is short."""

    lag = 0.05

    def __init__(self, control):
        self.control = control

    def made(self, **metrics):
        return source_for(metrics, self.control, "production")

    def clock(self):
        return int(self.control.scalar(self.control.dialect.microseconds))

    def edge(self):
        time.sleep(0.004)  # SQLite's clock has milliseconds
        at = self.clock()
        time.sleep(0.004)
        return at

    def settle(self):
        edge, source, limit = self.clock(), self.source(), time.monotonic() + 30
        while source.watermark() < edge:
            assert time.monotonic() < limit
            time.sleep(0.01)  # what waits is this loop, with its limit


# --- the request log


class Requests(Place):
    def source(self):
        return RequestsSource(RequestLog(self.control, "production"), lag=self.lag)

    def happen(self, flag, requests):
        rows = [
            RequestRow(
                uuid.uuid4().hex,
                flag,
                one.variant,
                "split",
                not one.error,
                one.error,
                one.latency_ms,
                one.user,
            )
            for one in requests
        ]
        RequestLog(self.control, "production").write(rows)

    def wrong(self):
        nowhere = database_at(self.control_path.with_name("nowhere.db"))
        yield "nowhere.db", RequestsSource(RequestLog(nowhere, "production"))

    @property
    def control_path(self):
        from pathlib import Path

        return Path(self.control.safe_url.removeprefix("sqlite:///"))


class TestRequests(MetricSourceContract):
    @pytest.fixture
    def place(self, control):
        return Requests(control)


# --- a table


class Table(Place):
    def __init__(self, control):
        super().__init__(control)
        self.metrics = {
            "source": "sql",
            "table": "logs",
            "columns": {"time": "at", "subject": "who", "flag": "flag"},
            "time_unit": "us",
            "lag": self.lag,
        }
        kind = "bigint" if control.dialect.name == "postgresql" else "INTEGER"
        with control.writing() as connection:
            connection.execute(
                text(
                    f"CREATE TABLE logs (version TEXT, error BOOLEAN, latency_ms REAL, "
                    f"at {kind}, who TEXT, flag TEXT)"
                )
            )

    def source(self):
        return self.made(**self.metrics)

    def happen(self, flag, requests):
        at = self.clock()
        rows = [
            {
                "version": one.variant,
                "error": one.error,
                "ms": one.latency_ms,
                "at": at,
                "who": one.user or None,
                "flag": flag,
            }
            for one in requests
        ]
        with self.control.writing() as connection:
            connection.execute(
                text("INSERT INTO logs VALUES (:version, :error, :ms, :at, :who, :flag)"), rows
            )

    def wrong(self):
        yield 'did you mean "logs"', self.made(**{**self.metrics, "table": "log"})
        columns = {**self.metrics["columns"], "variant": "versoin"}
        yield 'did you mean "version"', self.made(**{**self.metrics, "columns": columns})


class TestTableInSqlite(MetricSourceContract):
    @pytest.fixture
    def place(self, control):
        return Table(control)


@pytest.mark.postgres
class TestTableInPostgresql(MetricSourceContract):
    @pytest.fixture
    def place(self, fresh_postgres_database):
        return Table(fresh_postgres_database)


# --- this process


class Memory(Place):
    def __init__(self, control):
        super().__init__(control)
        self.name = f"contract-{uuid.uuid4().hex}"
        self.counters = counters(self.name)

    def source(self):
        return self.made(source="memory", counters=self.name)

    def happen(self, flag, requests):
        for one in requests:
            self.counters.record(flag, one.variant, error=one.error, latency_ms=one.latency_ms)

    def edge(self):
        time.sleep(0.11)  # the slice in which something was counted is over
        return self.counters.complete()

    def settle(self):
        self.edge()

    def wrong(self):
        known = known_counters()
        assert "nobodys" not in known
        yield "nothing counts as", self.made(source="memory", counters="nobodys")


class TestMemory(MetricSourceContract):
    @pytest.fixture
    def place(self, control):
        return Memory(control)


# --- a service over HTTP


class Service(Place):
    """A service that remembers requests with their times, as somebody might write one."""

    secrets = (TOKEN,)
    method = "GET"

    def __init__(self, control):
        super().__init__(control)
        self.requests = []
        self.server = Answering(self.answer)

    def source(self, **more):
        return self.made(
            **{
                "source": "http",
                "url": f"{self.server.url}/counts?app=web",
                "method": self.method,
                "token": {"env": "CONTRACT_TOKEN"},
                "users": True,
                "lag": self.lag,
                "timeout": 2,
                **more,
            }
        )

    def happen(self, flag, requests):
        at = self.clock()
        self.requests += [(at, flag, one) for one in requests]

    def answer(self, asked):
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Reply({"error": "who are you"}, 401)
        if asked.path != "/counts":
            return Reply({"error": "not here"}, 404)
        question = asked.json if asked.method == "POST" else read_parameters(asked.params)
        since, until = question["since"], question["until"]
        own = [(at, one) for at, flag, one in self.requests if flag == question["flag"]]
        arms = {}
        for variant in sorted({one.variant for at, one in own if since <= at < until}):
            arm = [(at, one) for at, one in own if one.variant == variant and at < until]
            arms[variant] = counts_of(arm, since, question)
        return Reply({"window": {"since": since, "until": until}, "arms": arms})

    def wrong(self):
        yield "has nothing there (404)", self.source(url=f"{self.server.url}/count")
        yield "does not know who asks (401)", self.source(token={"env": "WRONG_TOKEN"})
        yield "is not set", self.source(token={"env": "NOBODY_SET_THIS"})
        yield "no connection", self.source(url="http://127.0.0.1:9/counts")

    @contextmanager
    def silence(self):
        self.server.silent.set()
        try:
            yield
        finally:
            self.server.silent.clear()


def read_parameters(params):
    assert params["app"] == "web"
    return {
        "flag": params["flag"],
        "since": int(params["since"]),
        "until": int(params["until"]),
        "thresholds": [float(one) for one in params["thresholds"].split(",") if one],
        "users_since": int(params["users_since"]) if "users_since" in params else None,
    }


def counts_of(arm, since, question):
    """Return what a service answers of one arm; ``arm`` are its requests up to the window's end."""
    now = [one for at, one in arm if at >= since]
    known = [one.latency_ms for one in now if one.latency_ms is not None]
    found = {
        "requests": len(now),
        "errors": sum(one.error for one in now),
        "timed": len(known),
        "latency_ms": sum(known),
        "slow": {
            f"{limit:g}": sum(one > limit for one in known) for limit in question["thresholds"]
        },
    }
    begun = question.get("users_since")
    if begun is None:
        return found

    def firsts(is_so):
        first = {}
        for at, one in arm:
            if at >= begun and one.user and is_so(one):
                first.setdefault(one.user, at)
        return sum(at >= since for at in first.values())

    return {
        **found,
        "users": len({one.user for one in now if one.user}),
        "new_users": firsts(lambda _: True),
        "error_users": firsts(lambda one: one.error),
        "failed_users": firsts(lambda one: one.error),
        "slow_users": {
            f"{limit:g}": firsts(lambda one, limit=limit: (one.latency_ms or 0) > limit)
            for limit in question["thresholds"]
        },
        "anonymous": sum(not one.user for one in now),
    }


class PostingService(Service):
    method = "POST"

    def answer(self, asked):
        if asked.method == "POST" and asked.path == "/counts":
            assert asked.json["environment"] == "production"
        return super().answer(asked)


class _OverHttp(MetricSourceContract):
    service = Service

    @pytest.fixture
    def place(self, control, monkeypatch):
        monkeypatch.setenv("CONTRACT_TOKEN", TOKEN)
        monkeypatch.setenv("WRONG_TOKEN", "another-token")
        made = self.service(control)
        yield made
        made.server.close()


class TestHttpByGet(_OverHttp):
    pass


class TestHttpByPost(_OverHttp):
    service = PostingService


# --- Datadog, as its documents have it


class Datadog(MetricsPlace):
    """A server of ours, and a clock that a test moves: points are of ten seconds."""

    secrets = (KEY, APP)

    def __init__(self, control):
        self.server = DatadogServer()
        with control.writing() as connection:
            connection.execute(text("CREATE TABLE contract_clock (us INTEGER)"))
            connection.execute(text("INSERT INTO contract_clock VALUES (1767225603000000)"))
        clock = replace(control.dialect, microseconds="(SELECT us FROM contract_clock)")
        self.control = replace(control, dialect=clock)

    def clock(self):
        return int(self.control.scalar(self.control.dialect.microseconds))

    def pass_by(self, seconds):
        with self.control.writing() as connection:
            connection.execute(text(f"UPDATE contract_clock SET us = us + {seconds * SECOND}"))

    def source(self, **more):
        metrics = {
            "source": "datadog",
            "url": self.server.url,
            "api_key": {"env": "CONTRACT_API_KEY"},
            "app_key": {"env": "CONTRACT_APP_KEY"},
            "requests": "web.requests",
            "errors": {"status": "error"},
            "latency": "web.latency",
            "tags": {"variant": "variant", "flag": "flag"},
            "timeout": 2,
            **more,
        }
        return source_for(metrics, self.control, "production")

    def happen(self, flag, requests):
        at = self.clock() / SECOND
        for one in requests:
            tags = {"variant": one.variant, "flag": flag}
            status = "error" if one.error else "ok"
            self.server.counts["web.requests"].append((at, {**tags, "status": status}, 1))
            if one.latency_ms is not None:
                self.server.distributions["web.latency"].append((at, tags, one.latency_ms))

    def edge(self):
        self.pass_by(10)
        at = self.clock()
        self.pass_by(10)
        return at // (10 * SECOND) * 10 * SECOND

    def settle(self):
        self.pass_by(150)

    def wrong(self):
        yield 'no metric "web.request"', self.source(requests="web.request")
        yield "does not let these credentials ask", self.source(app_key={"env": "WRONG_KEY"})
        yield "is not set", self.source(api_key={"env": "NOBODY_SET_THIS"})
        self.server.gauges.add("web.load")
        yield "is a gauge", self.source(requests="web.load")

    @contextmanager
    def silence(self):
        self.server.silent.set()
        try:
            yield
        finally:
            self.server.silent.clear()


class TestDatadog(MetricSourceContract):
    @pytest.fixture
    def place(self, control, monkeypatch):
        monkeypatch.setenv("CONTRACT_API_KEY", KEY)
        monkeypatch.setenv("CONTRACT_APP_KEY", APP)
        monkeypatch.setenv("WRONG_KEY", "another-key")
        made = Datadog(control)
        yield made
        made.server.close()


# --- a real Prometheus


class Scraped(Place):
    """Counters of an exporter that a real Prometheus scrapes."""

    lag = 0.6
    secrets = (TOKEN,)

    def __init__(self, control, server: PrometheusServer, exporter: Exporter):
        super().__init__(control)
        self.server, self.exporter = server, exporter

    def source(self, **more):
        metrics = {
            "source": "prometheus",
            "url": self.server.url,
            "requests": "web_requests_total",
            "errors": {"code": "500"},
            "latency": "web_seconds",
            "labels": {"flag": "flag"},
            "where": {"instance": self.exporter.address},
            "token": {"env": "CONTRACT_TOKEN"},
            "lag": self.lag,
            "timeout": 1,
        }
        return self.made(**{**metrics, **more})

    def happen(self, flag, requests):
        for one in requests:
            about = f'variant="{one.variant}",flag="{flag}"'
            self.exporter.add(f'web_requests_total{{{about},code="{500 if one.error else 200}"}}')
            if one.latency_ms is None:
                continue
            seconds = one.latency_ms / 1000
            for end in ("0.1", "0.5", "+Inf"):
                many = int(seconds <= float(end))
                self.exporter.add(f'web_seconds_bucket{{{about},le="{end}"}}', many)
            self.exporter.add(f"web_seconds_sum{{{about}}}", seconds)
            self.exporter.add(f"web_seconds_count{{{about}}}")

    def edge(self):
        return self.exporter.edge()

    def wrong(self):
        near = 'did you mean "web_requests_total"'
        yield near, self.source(requests="web_request_total")
        yield 'did you mean "flag"', self.source(labels={"flag": "flagg"})
        yield "no connection", self.source(url="http://127.0.0.1:9")

    @contextmanager
    def silence(self):
        self.server.pause()
        try:
            yield
        finally:
            self.server.go_on()


@pytest.mark.xdist_group("prometheus-contract")
class TestPrometheus(MetricSourceContract):
    @pytest.fixture
    def place(self, control, prometheus, keep_exporter, monkeypatch):
        monkeypatch.setenv("CONTRACT_TOKEN", TOKEN)
        exporter = keep_exporter(prometheus.exporter(start_time=time.time()))
        exporter.scraped()
        return Scraped(control, prometheus, exporter)
