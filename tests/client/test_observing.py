"""Outcomes: what is logged of a request, and that logging harms no request (rule R10)."""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from downhaul import Flag, Flags
from downhaul.analysis.model import Window
from downhaul.client.observing import BATCH, Journal
from downhaul.config import resolve
from downhaul.errors import Unreachable
from downhaul.flag import Clause, Operator, Prerequisite, Rule
from downhaul.overlay import Scope
from downhaul.plugins import build_provider
from downhaul.provider import Change
from downhaul.result import Reason, Result
from downhaul.store import schema
from downhaul.store.requests import SlowWrite

ANA = Change("ana", "because")
SERVED = Result(True, "on", Reason.SPLIT, flag="agent", flag_version="3")
pytestmark = pytest.mark.rule("R10")


class Store:
    """A store that can be away, and keeps what is written."""

    def __init__(self, identity="this store"):
        self.identity = identity
        self.rows = []
        self.pieces = []
        self.away = threading.Event()
        self.tries = 0
        self.most = None

    def write(self, rows):
        self.tries += 1
        if self.away.is_set():
            raise Unreachable("away")
        if self.most and len(rows) > self.most:
            raise SlowWrite("slow")
        self.pieces.append(len(rows))
        self.rows += rows


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def make_journal():
    made = []

    def make(store, **options):
        made.append(Journal(lambda: store, **{"every": 0.01, **options}))
        return made[-1]

    yield make
    for journal in made:
        journal.close(1.0)


def note(journal, result=SERVED, context="ana", **outcome):
    said = {"success": True, "error": False, "latency_ms": 5.0, **outcome}
    journal.note(result, context, **said)


def until(holds, seconds=10.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def at(path):
    """Return the file's URL, with a flag in it."""
    url = f"sqlite:///{path / 'flags.db'}"
    provider = build_provider(resolve(url, cache_dir=None, environ={}))
    schema.upgrade(provider.database)
    provider.put(Flag.boolean("agent", percent=100), ANA)
    provider.close()
    return url


def rows_in(url):
    provider = build_provider(resolve(url, cache_dir=None, environ={}))
    with provider.database.reading() as connection:
        table = provider.database.tables.requests
        found = [dict(row) for row in connection.execute(table.select()).mappings()]
    provider.close()
    return found


# --- what is logged


def test_a_request_is_logged_under_the_variant_that_was_served(tmp_path):
    url = at(tmp_path)
    with Flags.connect(url, cache_dir=None) as flags:
        result = flags.evaluate("agent", "ana")
        assert result.flag == "agent"
        with flags.observe(result, "ana") as seen:
            assert seen.result is result
        with pytest.raises(ZeroDivisionError), flags.observe(result, "ana"):
            1 / 0  # noqa: B018
        with flags.observe(result, "ana") as seen:
            seen.failed()
            seen.latency_ms = 1234.5
        flags.record(result, "ana", error=True, latency_ms=7)
        log = flags._engine.provider.control.requests
        until(lambda: flags.status().requests.written == 4)
        counted = log.counts("agent", Window(0, log.now() + 1), (1000.0,))["on"]
    assert (counted.requests, counted.errors, counted.successes) == (4, 2, 1)
    assert (counted.timed, counted.slow) == (4, {1000.0: 1})
    first, second, third, fourth = rows_in(url)
    assert (first["success"], first["error"], first["served_by"]) == (1, 0, "split")
    assert (second["success"], second["error"]) == (0, 1)
    assert (third["success"], third["error"], third["latency_ms"]) == (0, 0, 1234.5)
    assert (fourth["success"], fourth["error"], fourth["latency_ms"]) == (0, 1, 7.0)
    assert first["flag_version"] == result.flag_version


def test_a_coroutine_is_observed_too_and_a_cancelled_one_is_nobodys_outcome(store, make_journal):
    flags = Flags.in_memory([Flag.boolean("agent", percent=100)])
    flags._engine.journal = make_journal(store)

    async def work(seconds):
        async with flags.observe(flags.evaluate("agent", "ana")):
            await asyncio.sleep(seconds)

    async def main():
        await work(0.01)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(work(30), 0.01)

    asyncio.run(main())
    flags._engine.journal.close(5.0)
    (row,) = store.rows
    assert row.success
    assert 10 <= row.latency_ms < 5000


IN_BERLIN = Clause("city", Operator.IN, ("Berlin",))
FLAGS = [
    Flag.boolean("half", percent=50, allow=["ana"]),
    Flag.boolean("whole", percent=100),
    Flag.boolean("ruled", percent=50, rules=(Rule("on", (IN_BERLIN,), id="berlin"),)),
    Flag.boolean("needs", percent=100, prerequisites=(Prerequisite("dark", frozenset({"on"})),)),
    Flag.boolean("dark", on=False),
    Flag.boolean("killed", percent=100),
]


@pytest.mark.parametrize(
    "flag,context,served_by",
    [
        ("half", "bob", "split"),
        ("half", "ana", "target"),
        ("whole", "bob", "split"),
        ("ruled", "bob", "split"),
        ("ruled", {"targeting_key": "bob", "city": "Berlin"}, "rule"),
        ("needs", "bob", "off"),
        ("dark", "bob", "off"),
        ("killed", "bob", "kill"),
    ],
)
def test_only_what_the_split_decided_forms_arms(store, make_journal, flag, context, served_by):
    flags = Flags.in_memory(FLAGS)
    flags._engine.journal = make_journal(store)
    flags._engine.provider.control.record_kill(Scope.parse("killed"), ANA, killed=True)
    flags.record(flags.evaluate(flag, context), context)
    flags._engine.journal.close(5.0)
    (row,) = store.rows
    assert (row.flag, row.served_by) == (flag, served_by)


def test_what_was_not_served_is_not_logged(store, make_journal):
    flags = Flags.in_memory([Flag.boolean("agent", percent=50)])
    journal = flags._engine.journal = make_journal(store)
    flags.record(flags.evaluate("unknown", "ana", True))  # nobody knows it
    flags.record(flags.evaluate("agent", "ana", "text"))  # another type than was asked for
    flags.record(flags.evaluate("agent", None, True))  # no key to bucket by
    with flags.override(agent=True):
        flags.record(flags.evaluate("agent", "ana"))  # a test's word
    journal.close(5.0)
    assert store.rows == []
    assert journal.logged().dropped == 0


def test_an_identity_is_kept_as_a_hash_that_another_store_has_otherwise(make_journal):
    here, there = Store("here"), Store("there")
    whole = {"targeting_key": "ana@example.org", "plan": "gold"}
    for store in (here, there):
        journal = make_journal(store)
        for context in ("ana@example.org", whole, None, 17):
            note(journal, context=context)
        journal.close(5.0)
    subjects = [row.subject for row in here.rows]
    assert subjects[0] == subjects[1] != ""
    assert subjects[2:] == ["", ""]
    assert subjects[0] != there.rows[0].subject
    assert "ana" not in repr(here.rows)
    assert "gold" not in repr(here.rows)


def test_no_file_of_the_store_holds_a_key_or_an_attribute(tmp_path):
    url = at(tmp_path)
    with Flags.connect(url, cache_dir=None) as flags:
        for number in range(20):
            who = {"targeting_key": f"ana-{number}@example.org", "plan": "chrysoberyl"}
            with flags.observe(flags.evaluate("agent", who), who):
                pass
        until(lambda: flags.status().requests.written == 20)
        kept = b"".join(path.read_bytes() for path in tmp_path.glob("flags.db*"))
    assert b"split" in kept  # the rows are in there, those that are still in the log ahead too
    assert b"@example.org" not in kept
    assert b"chrysoberyl" not in kept


def test_a_context_below_all_calls_is_who_asked(store, make_journal):
    flags = Flags.in_memory([Flag.boolean("agent", percent=100)])
    journal = flags._engine.journal = make_journal(store)
    mine = flags.with_context("ana")
    result = mine.evaluate("agent")
    mine.record(result)
    with mine.observe(result):
        pass
    flags.record(result, "ana")
    journal.close(5.0)
    assert len({row.subject for row in store.rows}) == 1
    assert store.rows[0].subject


# --- harm to none


def test_a_full_queue_drops_and_counts(store, make_journal):
    store.away.set()
    journal = make_journal(store, capacity=20)
    for _ in range(100):
        note(journal)
    logged = journal.logged()
    # One batch may be out of the queue already, on its way to the store.
    assert 60 <= logged.dropped <= 80
    assert logged.dropped + logged.waiting == 100
    store.away.clear()
    until(lambda: journal.logged().waiting == 0)
    assert journal.logged().written == len(store.rows) == 100 - logged.dropped


def test_what_waited_for_a_store_that_was_away_is_written_once(store, make_journal, caplog):
    caplog.set_level(logging.WARNING, "downhaul.requests")
    store.away.set()
    journal = make_journal(store)
    for _ in range(30):
        note(journal)
    until(lambda: store.tries >= 3)
    assert len(caplog.records) == 1
    store.away.clear()
    until(lambda: journal.logged().written == 30)
    assert len({row.id for row in store.rows}) == 30


def test_a_store_that_is_away_is_not_asked_at_every_request(store, make_journal):
    store.away.set()
    journal = make_journal(store, every=0.2)
    begun = time.monotonic()
    while time.monotonic() - begun < 0.5:
        for _ in range(BATCH):
            note(journal)
    assert 1 <= store.tries <= 4


def test_a_store_that_takes_only_small_batches_gets_small_ones(store, make_journal):
    store.most = 3
    journal = make_journal(store)
    for _ in range(40):
        note(journal)
    until(lambda: journal.logged().written == 40, 20)
    assert max(store.pieces) <= 3
    assert [row.id for row in store.rows] == sorted(
        (row.id for row in store.rows), key=lambda text: int(text.rpartition("-")[2])
    )


def test_without_a_store_outcomes_are_dropped_and_counted():
    flags = Flags.in_memory([Flag.boolean("agent", percent=100)])
    with flags.observe(flags.evaluate("agent", "ana"), "ana"):
        pass
    until(lambda: flags.status().requests.dropped == 1)
    flags.close()
    assert (flags.status().requests.written, flags.status().requests.waiting) == (0, 0)


class Hostile:
    def __getattribute__(self, name):
        raise RuntimeError(name)


ODD = [
    {"context": Hostile()},
    {"result": Hostile()},
    {"result": None},
    {"latency_ms": "long"},
    {"latency_ms": float("nan")},
    {"latency_ms": float("inf")},
    {"latency_ms": -1},
    {"success": "yes", "error": []},
    {"context": "\ud800"},
    {"result": Result(True, "o\0n\ud800", Reason.SPLIT, flag="agent\ud800")},
]


def test_nothing_odd_raises_or_holds_up_the_rest(tmp_path, caplog):
    url = at(tmp_path)
    with Flags.connect(url, cache_dir=None) as flags:
        journal = flags._engine.journal
        for noted in ODD:
            note(journal, **noted)
            note(journal)
        until(lambda: flags.status().requests.waiting == 0)
        logged = flags.status().requests
    assert (logged.written, logged.dropped) == (2 * len(ODD) - 3, 3)
    assert {row["latency_ms"] for row in rows_in(url)} == {5.0, None}


def test_a_sink_that_cannot_be_made_drops(caplog):
    def broken():
        raise RuntimeError("no")

    journal = Journal(broken, every=0.01)
    note(journal)
    until(lambda: journal.logged().dropped == 1)
    journal.close(1.0)


def test_an_outcome_costs_microseconds_and_evaluating_beside_it_no_more(
    store, make_journal, record_property
):
    flags = Flags.in_memory([Flag.boolean("agent", percent=100)])
    flags._engine.journal = make_journal(store)
    result = flags.evaluate("agent", "ana")

    def observe():
        with flags.observe(result, "ana"):
            pass

    def cost(call, many=400):
        found = []
        for _ in range(10):
            begun = time.perf_counter()
            for _ in range(many):
                call()
            found.append((time.perf_counter() - begun) / many * 1e6)
            until(lambda: flags.status().requests.waiting == 0)
        return min(found)  # the rest is what else the machine does

    alone = cost(lambda: flags.evaluate("agent", "ana"))
    observed = cost(observe)
    beside = cost(lambda: flags.evaluate("agent", "ana"))
    record_property("observe_us", round(observed, 2))
    record_property("evaluate_us", [round(alone, 2), round(beside, 2)])
    assert observed < 100  # some 3 on an idle machine; a write would take hundreds
    assert beside < 5 * alone + 5
    assert flags.status().requests.written == 4000


def test_many_threads_lose_nothing(store, make_journal):
    journal = make_journal(store)
    threads = [
        threading.Thread(target=lambda: [note(journal) for _ in range(500)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close(10.0)
    assert len({row.id for row in store.rows}) == 4000
    assert journal.logged().written == 4000


def test_closing_keeps_its_time_when_the_store_hangs(make_journal):
    class Hanging(Store):
        def write(self, rows):
            time.sleep(1.0)
            super().write(rows)

    journal = make_journal(Hanging())
    note(journal)
    begun = time.monotonic()
    journal.close(0.1)
    assert time.monotonic() - begun < 0.8
    note(journal)  # after the end: counted, and nothing else
    assert journal.logged().dropped == 1


def test_closing_drops_what_a_store_that_is_away_did_not_take(store, make_journal):
    store.away.set()
    journal = make_journal(store)
    for _ in range(5):
        note(journal)
    journal.close(0.2)
    assert (journal.logged().waiting, journal.logged().dropped) == (0, 5)


# --- processes

SCRIPT = """
import sys
from downhaul import Flags
flags = Flags.connect(sys.argv[1], cache_dir=None)
result = flags.evaluate("agent", "ana")
for _ in range(700):
    flags.record(result, "ana")
"""

FORKED = """
import os, sys, time
from downhaul import Flags
flags = Flags.connect(sys.argv[1], cache_dir=None)
result = flags.evaluate("agent", "ana")
for _ in range(10):
    flags.record(result, "parent")
child = os.fork()
for _ in range(5 if child == 0 else 3):
    flags.record(result, "child" if child == 0 else "parent")
if child == 0:
    flags.close(5.0)
    sys.stdout.flush()
    os._exit(0 if flags.status().requests.written == 5 else 3)
# SQLite counts a forked child as one with its parent: the parent must not be the last to leave.
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
flags.close(5.0)
assert flags.status().requests.written == 13, flags.status().requests
"""


@pytest.mark.parametrize("script,written", [(SCRIPT, 700), (FORKED, 18)], ids=["ends", "forks"])
def test_a_process_that_ends_or_forks_writes_each_outcome_once(tmp_path, script, written):
    url = at(tmp_path)
    environment = {**os.environ, "DOWNHAUL_ACTOR": "ana"}
    done = subprocess.run(
        [sys.executable, "-c", script, url],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = rows_in(url)
    assert len(rows) == written
    assert len({row["id"] for row in rows}) == written
    assert len({row["subject"] for row in rows}) == (1 if script is SCRIPT else 2)
