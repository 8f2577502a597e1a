"""Where processes must agree on a time, it is the store's clock, and words stay in order."""

import datetime as dt
import time

import pytest
from sqlalchemy import update

from downhaul import Change, Flag
from downhaul.backends.sqlite import SqliteProvider
from downhaul.overlay import Scope
from downhaul.store import schema

pytestmark = pytest.mark.rule("X3")

WHO = Change("ana", "a reason")
FEATURE = Scope.parse("feature")


@pytest.fixture
def store(tmp_path):
    provider = SqliteProvider(tmp_path / "flags.db")
    schema.upgrade(provider.database)
    yield provider
    provider.close()


@pytest.fixture
def wrong_clock(monkeypatch):
    """Let this host believe in 1970."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)


def test_a_host_with_a_wrong_clock_writes_the_stores_time(store, wrong_clock):
    store.put(Flag.boolean("feature"), WHO)
    record = store.control.record_kill(FEATURE, WHO, killed=True)
    said = [record.at, *(change.at for change in store.control.changes())]
    assert len(said) == 3
    now = dt.datetime.now(dt.UTC)
    for at in said:
        assert at.endswith("Z")
        assert abs(now - dt.datetime.fromisoformat(at)) < dt.timedelta(minutes=1)
    stamp = dt.datetime.fromtimestamp(record.sequence / 1e6, dt.UTC)
    assert abs(now - stamp) < dt.timedelta(minutes=1)


def test_each_word_on_kills_is_above_the_one_before_even_if_the_clock_went_back(store):
    first = store.control.record_kill(FEATURE, WHO, killed=True)
    ahead = first.sequence + 3_600_000_000  # the store's clock was an hour ahead, once
    kills = store.database.tables.kills
    with store.database.writing() as connection:
        connection.execute(update(kills).values(sequence=ahead))
    revived = store.control.record_kill(FEATURE, WHO, killed=False)
    other = store.control.record_kill(Scope.parse("tag:agents"), WHO, killed=True)
    assert ahead < revived.sequence < other.sequence
