"""What is compared in production reaches the control store, and troubles nobody on the way."""

import json
import logging
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import event

from downhaul import Context, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider, database_at
from downhaul.config import resolve
from downhaul.flag import Flag, FlagSet
from downhaul.plugins import build_provider
from downhaul.provider import Change
from downhaul.staging import Stage, Standing
from downhaul.store import schema
from downhaul.store.comparisons import Comparisons
from downhaul.wrappers.comparisons import Outcome
from downhaul.wrappers.shadow import Shadow
from downhaul.wrappers.standings import Move, environment_beside, to_flag
from downhaul.wrappers.tallying import Tally, tally_for

sys.path.insert(0, str(Path(__file__).parent))
from two_sides import in_child, wait_for

ANA = Change("ana", "a test")
DAY = 86_400.0
SECRET = "ada@example.org"


def document(folder, name, **on):
    flags = [{"key": key, "on": True, "default": "on" if it else "off"} for key, it in on.items()]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"downhaul": 1, "flags": flags}))
    return f"file:{path}"


@pytest.fixture
def settings_for(tmp_path):
    """A function that returns settings of two documents, of which `search` differs."""

    def make(wrap="shadow", control=None, **table):
        old = document(tmp_path, "old", agent=True, search=True)
        new = document(tmp_path, "new", agent=True, search=False)
        given = {
            "environment": "production",
            "provider": {"url": old, "wrap": [wrap], wrap: {"to": new, "sample": 1.0, **table}},
        }
        if control is not None:
            given["control"] = {"url": control}
        return resolve(given, environ={}, directory=tmp_path, cache_dir=None)

    return make


@pytest.fixture
def control(tmp_path):
    """A control store in a file, to read what was kept."""
    database = database_at(tmp_path / "control.db")
    schema.upgrade(database)
    return database


@pytest.fixture
def url(tmp_path, control):
    return f"sqlite:///{tmp_path}/control.db"


def counted(database):
    found = Comparisons(database, "production").kept(DAY)
    return {(one.flag, one.outcome): one.count for one in found.counts}


def compared(provider, many):
    wait_for(lambda: provider.report().total(*Outcome) >= many)


ALL_OF_IT = {("agent", "match"): 3, ("search", "value"): 3, ("basket", "not_found"): 3}


def ask(flags, provider, times=3):
    """Ask for each of the flags, once both sides are there: until then nothing is compared."""
    wait_for(lambda: all(one.is_fresh() for one in provider._sides.values()))
    who = Context("ada", {"email": SECRET, "plan": {"name": SECRET}})
    for _ in range(times):
        for key in ("agent", "search", "basket"):
            flags.is_enabled(key, who)


@pytest.mark.parametrize("wrap, table", [("shadow", {}), ("staged", {"stage": "shadow"})])
@pytest.mark.rule("M3")
def test_counts_and_examples_are_kept_by_what_is_configured(
    settings_for, control, url, tmp_path, wrap, table
):
    provider = build_provider(settings_for(wrap, url, **table))
    with Flags.over(provider, ready_within=10) as flags:
        ask(flags, provider)
        compared(provider, 9)
        assert counted(control) == {}  # every ten seconds, and at the end
    assert counted(control) == ALL_OF_IT
    kept = Comparisons(control, "production").kept(DAY)
    assert {one.pair for one in kept.counts} == {"file > file"}
    _, example = kept.examples["file > file", "search", "value"]
    shown = json.loads(example)
    assert shown["attributes"] == ["email", "plan"]
    assert (shown["old"]["value"], shown["new"]["value"]) == ("True", "False")
    assert len(shown["who"]) == 12
    control.engine.dispose()
    for file in tmp_path.glob("control.db*"):
        assert SECRET.encode() not in file.read_bytes()
        assert b"ada" not in file.read_bytes()


@pytest.mark.rule("M3")
def test_where_each_flag_stands_and_what_was_compared_are_in_one_store(
    settings_for, control, url, tmp_path
):
    register = SqliteProvider(tmp_path / "control.db", environment_beside("production"))
    register.put(to_flag(Move("search", Standing(Stage.SHADOW), "a", "b")), ANA)
    register.close()
    provider = build_provider(settings_for("staged", url))
    with Flags.over(provider, ready_within=10) as flags:
        ask(flags, provider)
        compared(provider, 3)
        provider.flush()
        assert counted(control) == {("search", "value"): 3}


def shadowed_store(folder):
    """Return a store of one flag, compared with a document, whose own file keeps the counts."""
    store = SqliteProvider(folder / "flags.db", environment="production")
    schema.upgrade(store.database)
    store.put(Flag.boolean("agent"), ANA)
    store.close()
    given = {
        "environment": "production",
        "provider": {
            "url": f"sqlite:///{folder}/flags.db",
            "wrap": ["shadow"],
            "shadow": {"to": document(folder, "new", agent=True), "sample": 1.0},
        },
    }
    return build_provider(resolve(given, environ={}, directory=folder, cache_dir=None))


def test_a_store_that_keeps_its_own_kills_keeps_its_counts(tmp_path, settings_for):
    provider = shadowed_store(tmp_path)
    with Flags.over(provider, ready_within=10) as flags:
        wait_for(lambda: all(one.is_fresh() for one in provider._sides.values()))
        flags.is_enabled("agent", "ada")
        compared(provider, 1)
    database = database_at(tmp_path / "flags.db")
    kept = Comparisons(database, "production").kept(DAY)
    assert [(one.pair, one.count) for one in kept.counts] == [("sqlite > file", 1)]


def test_without_a_control_store_nothing_is_kept_and_all_is_as_it_was(settings_for, caplog):
    provider = build_provider(settings_for())
    with Flags.over(provider, ready_within=10) as flags:
        ask(flags, provider)
        compared(provider, 9)
        provider.flush()
        assert provider.report().counts["search"][Outcome.VALUE] == 3
    assert provider._comparing._giving.wanted is False
    assert caplog.records == []


def test_a_control_store_that_keeps_no_counts_is_asked_for_nothing(settings_for, caplog):
    memory = MemoryProvider(FlagSet.of([Flag.boolean("agent")]))
    provider = Shadow(memory, memory, sample=1, sink=tally_for(settings_for(), memory, memory))
    with Flags.over(provider, ready_within=10) as flags:
        flags.is_enabled("agent", "ada")
        compared(provider, 1)
        provider.flush()
    assert provider._comparing._giving._waiting is None
    assert caplog.records == []


def test_nothing_is_opened_before_there_is_something_to_keep(settings_for, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(Tally, "_store_here", opened.append)
    provider = build_provider(settings_for(control=f"sqlite:///{tmp_path}/gone.db"))
    provider.flush()
    provider.close()
    assert opened == []
    assert not (tmp_path / "gone.db").exists()


def told(caplog):
    return [
        one.getMessage()
        for one in caplog.records
        if one.name == "downhaul.wrappers" and one.levelno >= logging.WARNING
    ]


def test_a_store_from_before_is_told_once_and_keeps_all_once_it_is_upgraded(
    settings_for, tmp_path, caplog
):
    database = database_at(tmp_path / "control.db")
    config = schema._config(database)
    with database.creating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
    provider = build_provider(settings_for(control=f"sqlite:///{tmp_path}/control.db"))
    with Flags.over(provider, ready_within=10) as flags:
        for _ in range(3):
            ask(flags, provider, 1)
            provider.flush()
        compared(provider, 9)
        provider.flush()
        (line,) = told(caplog)
        assert "what was compared can't be kept, and is tried again" in line
        assert "downhaul db upgrade" in line
        assert all(one.exc_info in (None, False) for one in caplog.records)
        schema.upgrade(database)
        provider.flush()
        assert counted(database) == ALL_OF_IT


@pytest.mark.rule("M3")
def test_a_store_that_goes_away_in_the_middle_gets_all_when_it_is_back(
    settings_for, control, url, tmp_path, caplog
):
    provider = build_provider(settings_for(control=url))
    with Flags.over(provider, ready_within=10) as flags:
        ask(flags, provider, 1)
        compared(provider, 3)
        provider.flush()
        control.engine.dispose()
        (tmp_path / "control.db").rename(tmp_path / "away.db")
        ask(flags, provider, 1)
        compared(provider, 6)
        provider.flush()
        assert len([one for one in told(caplog) if "can't be kept" in one]) == 1
        assert flags.is_enabled("agent", "ada")
        (tmp_path / "away.db").rename(tmp_path / "control.db")
        ask(flags, provider, 1)
        compared(provider, 9)
    found = counted(control)
    assert {**found, ("agent", "match"): 3} == ALL_OF_IT
    assert found["agent", "match"] == 4  # the one in between


@pytest.mark.parametrize("pragma", ["query_only = ON", "max_page_count = 1"])
def test_a_store_that_takes_nothing_more_is_a_line_in_the_log(
    tmp_path, settings_for, caplog, pragma
):
    provider = shadowed_store(tmp_path)

    def bounded(raw, _record):
        if "page_count" in pragma:  # what is there, and not a page more
            (pages,) = raw.execute("PRAGMA page_count").fetchone()
            raw.execute(f"PRAGMA max_page_count = {pages}")
        else:
            raw.execute(f"PRAGMA {pragma}")

    event.listen(provider.inner.database.engine, "connect", bounded)
    with Flags.over(provider, ready_within=10) as flags:
        wait_for(lambda: all(one.is_fresh() for one in provider._sides.values()))
        for number in range(300):  # more than fits into the pages that are there
            flags.is_enabled(f"agent-{number}", "ada")
        compared(provider, 300)
        for _ in range(3):
            provider.flush()
        assert flags.is_enabled("agent", "ada")
        (line,) = [one for one in told(caplog) if "compared" in one]
        assert "full" in line or "readonly" in line
    event.remove(provider.inner.database.engine, "connect", bounded)


@pytest.mark.rule("E1")
def test_nobody_waits_for_a_store_that_hangs_and_closing_keeps_its_time(
    settings_for, control, url, monkeypatch
):
    hangs, asked = threading.Event(), threading.Event()

    def hang(*_args):
        asked.set()
        hangs.wait(30)
        return True

    monkeypatch.setattr(Comparisons, "add", hang)
    provider = build_provider(settings_for(control=url))
    flags = Flags.over(provider, ready_within=10)
    try:
        ask(flags, provider, 1)
        compared(provider, 3)
        threading.Thread(target=provider.flush, daemon=True).start()
        assert asked.wait(10)
        slowest = 0.0
        for _ in range(500):
            begun = time.thread_time()
            flags.is_enabled("agent", "ada")
            slowest = max(slowest, time.thread_time() - begun)
        assert slowest < 0.05
        begun = time.monotonic()
        flags.close(0.5)
        assert time.monotonic() - begun < 5
    finally:
        hangs.set()


def test_old_counts_that_cannot_be_deleted_are_a_line_and_the_batch_counts_once(
    settings_for, control, url, monkeypatch, caplog
):
    from downhaul.errors import NoRight

    def refuse(*_args, **_keywords):
        raise NoRight("permission denied for table comparisons")

    monkeypatch.setattr(Comparisons, "sweep_sometimes", refuse)
    provider = build_provider(settings_for(control=url))
    with Flags.over(provider, ready_within=10) as flags:
        for number in (3, 6, 9):
            ask(flags, provider, 1)
            compared(provider, number)
            provider.flush()
    assert counted(control) == ALL_OF_IT
    (line,) = told(caplog)
    assert "can't be deleted" in line


@pytest.mark.rule("P3")
def test_a_forked_child_writes_nothing_into_its_parents_file_and_says_so(
    settings_for, control, url, caplog
):
    provider = build_provider(settings_for(control=url))
    with Flags.over(provider, ready_within=10) as flags:
        ask(flags, provider)
        compared(provider, 9)

        def act():
            caplog.clear()
            ask(flags, provider)
            compared(provider, 9)
            provider.flush()
            provider.flush()
            flags.close()
            return len([one for one in told(caplog) if "forked child" in one]) == 1

        assert in_child(act) == 0
    assert counted(control) == ALL_OF_IT
    assert not [one for one in told(caplog) if "forked child" in one]


@pytest.mark.rule("P3", "M3")
def test_a_forked_child_adds_its_own_on_a_connection_of_its_own(settings_for, fresh_postgres):
    store = build_provider(resolve(fresh_postgres, cache_dir=None, environ={}))
    schema.upgrade(store.database)
    provider = build_provider(settings_for(control=fresh_postgres))
    with Flags.over(provider, ready_within=10) as flags:
        ask(flags, provider)
        compared(provider, 9)
        provider.flush()
        ask(flags, provider, 1)  # that the parent gives after the fork
        compared(provider, 12)

        def act():
            assert provider.report().total(*Outcome) == 0
            ask(flags, provider, 2)
            compared(provider, 6)
            flags.close()
            return True

        assert [in_child(act) for _ in range(2)] == [0, 0]
    assert counted(store.database) == dict.fromkeys(ALL_OF_IT, 3 + 1 + 2 * 2)
    store.close()


@pytest.mark.fault
@pytest.mark.rule("M3")
def test_a_server_that_is_stopped_and_started_has_every_count_once(settings_for, own_postgres):
    url = own_postgres.url
    store = build_provider(resolve(url, cache_dir=None, environ={}))
    schema.upgrade(store.database)
    provider = build_provider(settings_for(control=url))
    with Flags.over(provider, ready_within=10) as flags:
        for round_ in range(3):
            ask(flags, provider, 1)
            compared(provider, 9 * round_ + 3)
            provider.flush()
            own_postgres.stop("immediate")
            ask(flags, provider, 1)
            compared(provider, 9 * round_ + 6)
            provider.flush()
            own_postgres.start()
            ask(flags, provider, 1)
            compared(provider, 9 * round_ + 9)
    store.database.engine.dispose()
    assert counted(store.database) == dict.fromkeys(ALL_OF_IT, 9)
    store.close()


def test_nothing_of_a_batch_is_lost_or_doubled_by_a_writer_that_holds_the_file(
    settings_for, control, url, tmp_path
):
    """SQLite has one writer at a time: whoever waits too long comes again."""
    provider = build_provider(settings_for(control=url))
    holder = sqlite3.connect(tmp_path / "control.db", isolation_level=None)
    with Flags.over(provider, ready_within=10) as flags:
        ask(flags, provider)
        compared(provider, 9)
        holder.execute("BEGIN IMMEDIATE")
        flushing = threading.Thread(target=provider.flush)
        flushing.start()
        time.sleep(0.2)
        assert counted(control) == {}
        holder.execute("COMMIT")
        flushing.join(10)
        holder.close()
    assert counted(control) == ALL_OF_IT


@pytest.mark.rule("M3")
def test_an_answer_to_a_commit_that_is_lost_counts_nothing_twice(
    settings_for, fresh_postgres, monkeypatch
):
    psycopg = pytest.importorskip("psycopg")
    from downhaul_postgres.connection import LimitedConnection

    store = build_provider(resolve(fresh_postgres, cache_dir=None, environ={}))
    schema.upgrade(store.database)
    provider = build_provider(settings_for(control=fresh_postgres))
    lost = []

    def commit(self):
        psycopg.Connection.commit(self)
        if len(lost) < 2:
            lost.append(self)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    with Flags.over(provider, ready_within=10) as flags:
        ask(flags, provider)
        compared(provider, 9)
        with monkeypatch.context() as patch:
            patch.setattr(LimitedConnection, "commit", commit)
            for _ in range(3):
                provider.flush()
            assert len(lost) == 2
        assert counted(store.database) == ALL_OF_IT
        ask(flags, provider, 1)
        compared(provider, 12)
    assert counted(store.database) == dict.fromkeys(ALL_OF_IT, 4)
    store.close()
