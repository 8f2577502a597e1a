"""A team's own table in PostgreSQL: its types as the driver gives them, and a server that stops."""

import threading

import psycopg
import pytest

from downhaul.flag import FlagKind
from downhaul.ledger import Fidelity
from downhaul.provider import State

GUIDE = """
    CREATE SCHEMA app;
    CREATE TABLE app.feature_flags (
        name VARCHAR(255) PRIMARY KEY,
        enabled BOOLEAN DEFAULT FALSE,
        rollout_percentage INT DEFAULT 0,
        whitelist JSONB DEFAULT '[]',
        blacklist TEXT[],
        ratio NUMERIC(5, 4),
        value JSONB,
        tags TEXT[],
        created_at TIMESTAMPTZ DEFAULT NOW(),
        updated_at TIMESTAMPTZ DEFAULT NOW()
    )
"""


@pytest.fixture
def run(fresh_postgres):
    def run(statement, *given):
        with psycopg.connect(fresh_postgres) as connection:
            connection.execute(statement, given)

    return run


def inside(url, **options):
    return {"url": f"table+{url}", "table": "app.feature_flags", **options}


def test_the_types_of_the_database_are_read_as_the_driver_gives_them(fresh_postgres, run, connect):
    run(GUIDE)
    run(
        "INSERT INTO app.feature_flags (name, enabled, whitelist, blacklist, ratio, value, tags) "
        "VALUES ('a', true, '[\"ada\", 7]', ARRAY['bob'], 0.125, NULL, ARRAY['x']), "
        "('b', NULL, NULL, NULL, NULL, NULL, NULL), "
        "('c', true, NULL, NULL, NULL, '{\"steps\": 3}', NULL)"
    )
    provider = connect(
        **inside(fresh_postgres),
        columns={"percentage": "ratio", "value": "value"},
        percentage_scale=1,
        enabled_means="switch",
        bucketing="downhaul",
    )
    flags = provider.list().flags
    assert flags["a"].default.weights[0].weight == 12_500
    assert {one.variant: set(one.keys) for one in flags["a"].targets} == {
        "off": {"bob"},
        "on": {"ada", "7"},
    }
    assert flags["a"].tags == ("x",)
    assert not flags["b"].on
    assert (flags["c"].kind, flags["c"].variants) == (FlagKind.OBJECT, {"on": {"steps": 3}})
    assert flags["a"].version[:2] == "20"
    assert not [one for one in provider.export().ledger if one.fidelity is Fidelity.MANUAL]


def test_a_change_is_heard_although_nobody_keeps_the_time_of_it(
    fresh_postgres, run, connect, heard
):
    run(GUIDE)
    run("INSERT INTO app.feature_flags (name) VALUES ('a'), ('b')")
    provider = connect(**inside(fresh_postgres), poll=0.05)
    provider.start(heard)
    assert provider.wait_ready(10)
    run("UPDATE app.feature_flags SET enabled = true WHERE name = 'a'")
    heard.wait_for(lambda one: one.flag_set.flags["a"].on)
    run("DELETE FROM app.feature_flags WHERE name = 'b'")
    heard.wait_for(lambda one: list(one.flag_set.flags) == ["a"])
    assert heard.calls == ["replaced"] * 3


def test_rows_are_not_read_while_their_sum_is_the_same(
    fresh_postgres, run, connect, heard, monkeypatch
):
    run(GUIDE)
    run("INSERT INTO app.feature_flags (name) VALUES ('a')")
    provider = connect(**inside(fresh_postgres), poll=0.02)
    theirs = provider._source._theirs
    reads, looks = [], []
    confirmed = threading.Event()
    read, look = type(theirs)._read, type(theirs).look
    monkeypatch.setattr(
        type(theirs), "_read", lambda self, *given: (reads.append(1), read(self, *given))[1]
    )

    def looking(self, *given):
        found = look(self, *given)
        looks.append(found)
        if len(looks) > 5:
            confirmed.set()
        return found

    monkeypatch.setattr(type(theirs), "look", looking)
    provider.start(heard)
    assert confirmed.wait(10)
    provider.close()
    assert (len(reads), set(looks[1:])) == (1, {None})


@pytest.mark.fault
@pytest.mark.rule("P2")
def test_a_server_that_stops_leaves_what_was_known_and_is_taken_up_again(
    own_postgres, connect, heard
):
    with psycopg.connect(own_postgres.url) as connection:
        connection.execute(GUIDE)
        connection.execute("INSERT INTO app.feature_flags (name, enabled) VALUES ('a', true)")
    provider = connect(**inside(own_postgres.url), poll=0.1)
    provider.start(heard)
    assert provider.wait_ready(10)
    own_postgres.stop("immediate")
    heard.wait_for(lambda one: one.statuses[-1].state is State.STALE)
    assert heard.flag_set.flags["a"].on
    own_postgres.start()
    heard.wait_for(lambda one: one.statuses[-1].state is State.READY, timeout=20)
    with psycopg.connect(own_postgres.url) as connection:
        connection.execute("UPDATE app.feature_flags SET enabled = false")
    heard.wait_for(lambda one: not one.flag_set.flags["a"].on)
