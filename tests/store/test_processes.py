"""The rows by which processes tell which kills they obey: written in passing, dated rightly."""

import dataclasses
import time

import pytest
from sqlalchemy import event, update

from downhaul.config import resolve
from downhaul.errors import NoRight
from downhaul.overlay import Scope
from downhaul.plugins import build_provider
from downhaul.store import schema
from downhaul.store.processes import Follower

pytestmark = pytest.mark.rule("K6")
ME = Follower("me", "process", "web-1", 812, "web", "1.0")
OTHER = dataclasses.replace(ME, id="other", pid=813)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flags.db'}"
    return request.getfixturevalue("fresh_postgres")


@pytest.fixture
def store_at(url):
    """A function that makes a provider on the store for an environment; all are closed."""
    made = []

    def make(environment="default"):
        settings = resolve(url, cache_dir=None, environ={}, environment=environment)
        made.append(build_provider(settings))
        schema.upgrade(made[-1].database)
        return made[-1]

    yield make
    for one in made:
        one.close()


def one_row(provider):
    [row] = provider.control.processes.rows()[1]
    return row


@pytest.mark.rule("X3")
def test_what_is_obeyed_is_dated_by_the_databases_clock_and_by_when_it_came_into_force(store_at):
    provider = store_at()
    processes = provider.control.processes
    assert processes.acknowledge(ME, 7, ago=3.0, again_in=45) == 1
    now, [row] = processes.rows()
    assert (row.host, row.pid, row.application, row.sequence) == ("web-1", 812, "web", 7)
    assert 3.0 <= (now - row.obeyed_at) / 1e6 < 8
    assert row.due_at - row.seen_at == pytest.approx(45e6, abs=1e5)
    assert row.started_at == pytest.approx(row.seen_at, abs=1e5)


def test_saying_again_that_it_is_there_moves_no_other_date(store_at):
    provider = store_at()
    processes = provider.control.processes
    processes.acknowledge(ME, 7, ago=0.0, again_in=45)
    before = one_row(provider)
    time.sleep(0.01)
    processes.acknowledge(ME, 7, ago=2.0, again_in=45, forks=3)
    after = one_row(provider)
    assert (after.obeyed_at, after.started_at) == (before.obeyed_at, before.started_at)
    assert after.seen_at > before.seen_at
    assert after.forks == 3
    processes.acknowledge(ME, 8, ago=0.0, again_in=45)
    assert one_row(provider).obeyed_at > before.obeyed_at


def test_each_environment_sees_its_own_and_a_kill_of_all_sees_all(store_at):
    here, there = store_at(), store_at("staging")
    here.control.processes.acknowledge(ME, 0, ago=0, again_in=45)
    assert there.control.processes.acknowledge(OTHER, 0, ago=0, again_in=45) == 1
    assert [one.id for one in here.control.processes.rows()[1]] == ["me"]
    assert [one.id for one in here.control.processes.rows("staging")[1]] == ["other"]
    assert {one.id for one in here.control.processes.rows("*")[1]} == {"me", "other"}


def test_who_leaves_is_gone_and_who_was_silent_for_a_day_is_swept(store_at):
    provider = store_at()
    processes, table = provider.control.processes, provider.database.tables.processes
    for who in (ME, OTHER):
        processes.acknowledge(who, 0, ago=0, again_in=45)
    processes.sweep()
    assert len(processes.rows()[1]) == 2
    long_ago = processes.rows()[0] - 25 * 3600 * 1_000_000
    with provider.database.writing() as connection:
        connection.execute(update(table).where(table.c.id == "other").values(seen_at=long_ago))
    processes.sweep()
    assert [one.id for one in processes.rows()[1]] == ["me"]
    processes.leave(ME)
    assert processes.rows()[1] == []


def test_it_keeps_no_connection(store_at):
    provider = store_at()
    opened, closed = [], []
    event.listen(provider.database.engine, "connect", lambda *_: opened.append(1))
    event.listen(provider.database.engine, "close_detached", lambda *_: closed.append(1))
    event.listen(provider.database.engine, "close", lambda *_: closed.append(1))
    provider.database.engine.dispose()
    closed.clear()
    for _ in range(3):
        provider.control.processes.acknowledge(ME, 0, ago=0, again_in=45)
    assert len(opened) == len(closed) == 3


@pytest.mark.rule("K1", "K5")
def test_whoever_is_cut_off_while_it_tells_keeps_no_kill_waiting(store_at, change):
    provider, other = store_at(), store_at()
    with provider.database.in_passing() as connection:
        # As if it were stopped between its two statements.
        statement = provider.database.tables.processes.delete()
        connection.execute(statement)
        begun = time.monotonic()
        assert other.control.record_kill(Scope.parse("one"), change, killed=True).killed
        assert time.monotonic() - begun < 2


def test_a_file_that_takes_no_writes_gives_no_right(tmp_path, provider_at, path):
    provider = provider_at(path, upgrade=True)
    engine = provider.database.engine
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA query_only = ON"))
    with pytest.raises(NoRight, match="readonly"):
        provider.control.processes.acknowledge(ME, 0, ago=0, again_in=45)
    assert provider.control.kills() == []
