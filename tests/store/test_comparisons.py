"""Counts of comparisons: added up exactly over all who add, whatever fails, and not for ever."""

import subprocess
import sys
import threading
import time
import uuid

import psycopg
import pytest
from alembic import command
from psycopg import sql
from sqlalchemy import event, select

from downhaul.backends.sqlite import database_at
from downhaul.config import resolve
from downhaul.errors import NoRight, SchemaMissing, Unreachable
from downhaul.plugins import build_provider
from downhaul.store import schema
from downhaul.store.comparisons import HOUR, Comparisons, Seen

PAIR = "table > unleash"
DAY = 86_400


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flags.db'}"
    return request.getfixturevalue("fresh_postgres")


@pytest.fixture
def database_of():
    """A function that makes a database out of a URL; all are closed."""
    made = []

    def make(url):
        made.append(build_provider(resolve(url, cache_dir=None, environ={})))
        return made[-1].database

    yield make
    for one in made:
        one.close()


@pytest.fixture
def database(database_of, url):
    made = database_of(url)
    schema.upgrade(made)
    return made


@pytest.fixture
def kept(database):
    return Comparisons(database, "production", lambda: 1.0)


def counted(kept, *flags, seconds=DAY):
    return {(one.flag, one.outcome): one.count for one in kept.kept(seconds, flags).counts}


def seen(flag="agent", outcome="value", age=1.0, example="{}"):
    return Seen(flag, outcome, age, example)


@pytest.mark.rule("M3")
def test_batches_of_many_writers_add_up_in_one_row(kept, database):
    for writer in "abc":
        for number in (1, 2):
            counts = {"agent": {"match": 5, "value": 1}, "other": {"match": 2}}
            assert kept.add(writer, number, PAIR, counts)
    total = {("agent", "match"): 30, ("agent", "value"): 6, ("other", "match"): 12}
    assert counted(kept) == total
    assert counted(kept, "other") == {("other", "match"): 12}
    with database.reading() as connection:
        rows = connection.execute(database.tables.comparisons.select()).all()
    assert len(rows) in (3, 6)  # six where an hour ended in between
    assert {row.hour % HOUR for row in rows} == {0}


@pytest.mark.rule("M3")
def test_a_batch_that_comes_again_adds_nothing(kept):
    assert kept.add("a", 1, PAIR, {"agent": {"match": 5}})
    assert not kept.add("a", 1, PAIR, {"agent": {"match": 5}})
    assert kept.add("a", 2, PAIR, {"agent": {"match": 1}})
    assert not kept.add("a", 1, PAIR, {"agent": {"match": 5}})
    assert counted(kept) == {("agent", "match"): 6}


@pytest.mark.parametrize("step", ["_take", "_add_counts", "_add_examples"])
@pytest.mark.rule("M3")
def test_of_a_batch_that_fails_in_the_middle_nothing_is_there(kept, monkeypatch, step):
    whole = getattr(Comparisons, step)

    def broken(self, *args):
        whole(self, *args)
        raise Unreachable("gone in the middle")

    batch = ("a", 1, PAIR, {"agent": {"match": 5}}, [seen()])
    with monkeypatch.context() as patch:
        patch.setattr(Comparisons, step, broken)
        with pytest.raises(Unreachable):
            kept.add(*batch)
    assert kept.kept(DAY).counts == ()
    assert kept.kept(DAY).examples == {}
    assert kept.add(*batch)
    assert counted(kept) == {("agent", "match"): 5}


def test_environments_and_pairs_stand_apart(kept, database):
    kept.add("a", 1, PAIR, {"agent": {"match": 1}})
    kept.add("a", 2, "unleash > table", {"agent": {"match": 2}})
    Comparisons(database, "staging").add("b", 1, PAIR, {"agent": {"match": 4}})
    assert [(one.pair, one.count) for one in kept.kept(DAY).counts] == [
        (PAIR, 1),
        ("unleash > table", 2),
    ]


@pytest.mark.rule("X3")
def test_the_newest_example_stays_and_is_dated_by_the_databases_clock(kept):
    kept.add("a", 1, PAIR, {"agent": {"value": 1}}, [seen(age=60.0, example='"newer"')])
    kept.add("b", 1, PAIR, {"agent": {"value": 1}}, [seen(age=3600.0, example='"late"')])
    found = kept.kept(DAY)
    at, example = found.examples[PAIR, "agent", "value"]
    assert example == '"newer"'
    assert (found.now - at) / 1e6 == pytest.approx(60.0, abs=10)
    kept.add("a", 2, PAIR, {"agent": {"value": 1}}, [seen(age=0.0, example='"newest"')])
    assert kept.kept(DAY).examples[PAIR, "agent", "value"][1] == '"newest"'


def test_a_window_is_of_whole_hours(kept, database):
    kept.add("a", 1, PAIR, {"agent": {"match": 1}})
    table = database.tables.comparisons
    with database.writing() as connection:
        connection.execute(table.update().values(hour=table.c.hour - 3 * HOUR))
    assert counted(kept, seconds=2 * 3600) in ({}, {("agent", "match"): 1})  # the clock may turn
    assert counted(kept, seconds=1 * 3600) == {}
    found = kept.kept(4 * 3600)
    assert found.since % HOUR == 0
    assert 4 * HOUR <= found.now - found.since < 5 * HOUR
    assert [one.count for one in found.counts] == [1]


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800", "ü" * 5000, "' OR 1=1 --", "*"])
def test_whatever_somebody_asks_for_is_counted_under_a_key_that_is_found(kept, key):
    counts = {key: {"not_found": 1}}
    kept.add("a", 1, PAIR, counts, [seen(key, "not_found")])
    kept.add("a", 2, PAIR * 500, counts, [seen(key, "not_found")])
    (flag, outcome), count = next(iter(counted(kept, key).items()))
    assert (outcome, len(flag) <= 256) == ("not_found", True)
    assert [one.count for one in kept.kept(DAY, [key]).counts] == [1, 1]
    assert count == 1


def test_keys_that_are_one_when_cut_are_added_up(kept):
    same = "k" * 300
    counts = {same + "1": {"match": 2}, same + "2": {"match": 3, "value": 1}}
    kept.add("a", 1, PAIR, counts, [seen(same + "1", age=5.0), seen(same + "2", age=1.0)])
    assert sorted(one.count for one in kept.kept(DAY).counts) == [1, 5]


@pytest.mark.rule("M3")
def test_writers_at_the_same_moment_lose_nothing(database_of, url):
    schema.upgrade(database_of(url))
    flags = {f"flag-{number}": {"match": 1, "value": 2} for number in range(40)}
    failed = []

    def add(writer):
        mine = Comparisons(database_of(url), "production", lambda: 1.0)
        turned = dict(reversed(flags.items())) if writer % 2 else flags
        try:
            for number in range(1, 6):
                mine.add(f"w{writer}", number, PAIR, turned, [seen(key) for key in turned])
        except Unreachable as error:
            failed.append(error)

    threads = [threading.Thread(target=add, args=(writer,)) for writer in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []
    found = counted(Comparisons(database_of(url), "production"))
    assert set(found.values()) == {30, 60}
    assert len(found) == 80


KILLED = """
import sys
from downhaul.config import resolve
from downhaul.plugins import build_provider
from downhaul.store.comparisons import Comparisons

store = build_provider(resolve(sys.argv[1], cache_dir=None, environ={}))
kept = Comparisons(store.database, "production")
number = 0
while True:
    number += 1
    kept.add(sys.argv[2], number, "a > b", {f"flag-{one}": {"match": 1} for one in range(50)})
    print(number, flush=True)
"""


@pytest.mark.rule("M3")
@pytest.mark.fault
def test_of_writers_that_are_killed_each_batch_is_there_once_or_not_at_all(
    kept, database, database_of, url
):
    told = {}
    for turn in range(5):
        names = [f"{turn}-{one}" for one in range(2)]
        command = [sys.executable, "-c", KILLED, url]
        running = [subprocess.Popen([*command, one], stdout=subprocess.PIPE) for one in names]
        for one in running:
            one.stdout.readline()
        time.sleep(0.03 * turn)
        for one in running:
            one.kill()
        for name, one in zip(names, running, strict=True):
            told[name] = 1 + one.communicate()[0].count(b"\n")
    writers = database.tables.comparison_writers
    with database.reading() as connection:
        noted = {row.id: row.number for row in connection.execute(select(writers))}
    assert all(noted[name] - told[name] in (0, 1) for name in told)  # the last may not be told of
    assert set(counted(kept).values()) == {sum(noted.values())}
    assert len(counted(kept)) == 50


def age_all(database, seconds):
    """Make all rows that much older."""
    tables = database.tables
    with database.writing() as connection:
        for table, column in (
            (tables.comparisons, "hour"),
            (tables.comparison_examples, "at"),
            (tables.comparison_writers, "at"),
        ):
            past = table.c[column] - round(seconds * 1e6)
            connection.execute(table.update().values({column: past}))


def rows_left(database):
    tables = database.tables
    with database.reading() as connection:
        return [
            len(connection.execute(table.select()).all())
            for table in (
                tables.comparisons,
                tables.comparison_examples,
                tables.comparison_writers,
            )
        ]


def test_what_is_old_goes_in_pieces_and_the_rest_stays(kept, database):
    flags = {f"flag-{number}": {"value": 1} for number in range(10)}
    kept.add("old", 1, PAIR, flags, [seen(key) for key in flags])
    age_all(database, 31 * DAY)
    kept.add("new", 1, PAIR, {"agent": {"value": 1}}, [seen()])
    assert [kept.sweep(limit=7) for _ in range(3)] == [7 + 7 + 1, 3 + 3, 0]
    assert rows_left(database) == [1, 1, 1]
    assert counted(kept) == {("agent", "value"): 1}


def test_what_is_younger_than_thirty_days_stays(kept, database):
    kept.add("a", 1, PAIR, {"agent": {"value": 1}}, [seen()])
    age_all(database, 29 * DAY)
    assert kept.sweep() == 0
    assert rows_left(database) == [1, 1, 1]


def test_old_rows_go_as_others_are_added(database):
    drawn = iter([0.06, 0.01])
    kept = Comparisons(database, "production", lambda: next(drawn))
    kept.add("a", 1, PAIR, {"agent": {"value": 1}}, [seen()])
    age_all(database, 31 * DAY)
    assert kept.sweep_sometimes() == 0
    assert kept.sweep_sometimes() == 3


def test_no_connection_is_kept(kept, database):
    opened, closed = [], []
    event.listen(database.engine, "connect", lambda *_: opened.append(1))
    event.listen(database.engine, "close_detached", lambda *_: closed.append(1))
    event.listen(database.engine, "close", lambda *_: closed.append(1))
    database.engine.dispose()
    closed.clear()
    for number in range(1, 4):
        kept.add("a", number, PAIR, {"agent": {"match": 1}})
    assert len(opened) == len(closed) == 3


@pytest.mark.parametrize("many", [1, 500, 501, 40_000])
def test_flags_are_found_by_name_however_many_are_named(kept, many):
    counts = {"agent": {"value": 1}, "another": {"value": 1}}
    kept.add("a", 1, PAIR, counts, [seen("agent"), seen("another")])
    found = kept.kept(DAY, ["agent", *(f"flag-{number}" for number in range(many - 1))])
    assert [one.flag for one in found.counts] == ["agent"]
    assert list(found.examples) == [(PAIR, "agent", "value")]


def test_a_batch_of_five_hundred_flags_is_written_quickly(kept):
    counts = {f"flag-{number}": {"match": 9, "value": 1} for number in range(500)}
    begun = time.monotonic()
    kept.add("a", 1, PAIR, counts, [seen(key) for key in counts])
    assert time.monotonic() - begun < 2.0  # 20 to 60 ms; a statement for each takes far longer
    assert len(counted(kept)) == 1000


def older_store(path):
    """Make the tables as they were before these."""
    database = database_at(path)
    config = schema._config(database)
    with database.creating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
    return database


def test_a_store_from_before_says_what_to_do_and_is_brought_up_to_date(tmp_path):
    database = older_store(tmp_path / "old.db")
    kept = Comparisons(database, "production")
    for verb in (lambda: kept.add("a", 1, PAIR, {"agent": {"match": 1}}), lambda: kept.kept(DAY)):
        with pytest.raises(SchemaMissing, match="downhaul db upgrade"):
            verb()
    assert schema.upgrade(database).found == "0008"
    kept.add("a", 1, PAIR, {"agent": {"match": 1}})
    assert counted(kept) == {("agent", "match"): 1}


def test_a_store_that_takes_no_writes_is_told_as_that(kept, database):
    def deny(raw, _record):
        if database.dialect.name == "sqlite":
            raw.execute("PRAGMA query_only = ON")
        else:
            raw.execute("SET default_transaction_read_only = on")
            raw.commit()

    database.engine.dispose()
    event.listen(database.engine, "connect", deny)
    with pytest.raises(NoRight):
        kept.add("a", 1, PAIR, {"agent": {"match": 1}})
    assert kept.kept(DAY).counts == ()


def test_a_full_disk_is_told_and_what_was_there_is_there(tmp_path):
    database = database_at(tmp_path / "full.db")
    schema.upgrade(database)
    kept = Comparisons(database, "production")
    kept.add("a", 1, PAIR, {"agent": {"match": 1}})

    def full(raw, _record):
        (pages,) = raw.execute("PRAGMA page_count").fetchone()
        raw.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(database.engine, "connect", full)
    counts = {f"flag-{number}": {"match": 1} for number in range(500)}
    with pytest.raises(Unreachable, match="full"):
        kept.add("a", 2, PAIR, counts)
    event.remove(database.engine, "connect", full)
    assert counted(kept) == {("agent", "match"): 1}
    assert kept.add("a", 2, PAIR, counts)
    assert sum(counted(kept).values()) == 501


@pytest.mark.rule("X4")
def test_the_printed_grants_are_what_an_application_needs(fresh_postgres, database_of):
    schema.upgrade(owner := database_of(fresh_postgres))
    role = f"downhaul_app_{uuid.uuid4().hex[:8]}"
    grants = schema.roles(owner, application=role, operator="postgres")
    with psycopg.connect(fresh_postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        less = [line for line in grants.splitlines() if ".comparisons" not in line]
        connection.execute("\n".join(less))
        mine = Comparisons(
            database_of(fresh_postgres.replace("postgres@", f"{role}@", 1)), "production"
        )
        try:
            with pytest.raises(NoRight, match="downhaul db roles"):
                mine.add("a", 1, PAIR, {"agent": {"match": 1}}, [seen()])
            connection.execute(grants)
            for number in (1, 2):
                assert mine.add("a", number, PAIR, {"agent": {"match": 1}}, [seen()])
            assert mine.sweep(keep=-3 * 3600) == 3
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_old_rows_are_found_by_an_index(kept, database):
    kept.add("a", 1, PAIR, {f"flag-{number}": {"match": 1} for number in range(200)})
    tables = database.tables
    name = tables.comparisons.fullname
    query = f"SELECT flag FROM {name} WHERE hour < 5 ORDER BY hour LIMIT 10"
    with database.reading() as connection:
        if database.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")
        else:
            connection.exec_driver_sql("SET enable_seqscan = off")  # which suits so few
            plan = connection.exec_driver_sql(f"EXPLAIN {query}")
        words = " ".join(str(part) for line in plan for part in line)
    assert "INDEX" in words.upper()
