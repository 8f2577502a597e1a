"""The tables: made by the operator alone, beside an application's own, open to what comes next."""

import sqlite3

import pytest
from alembic import command
from sqlalchemy import inspect, text

from downhaul.backends.sqlite import database_at
from downhaul.errors import Refused, SchemaMissing
from downhaul.flag import Flag
from downhaul.overlay import Scope
from downhaul.store import schema


def test_without_tables_every_verb_says_what_to_do(path, provider_at, change):
    provider = provider_at(path)
    for verb in (
        provider.list,
        lambda: provider.put(Flag.boolean("one"), change),
        provider.control.kills,
        provider.history,
    ):
        with pytest.raises(SchemaMissing, match="downhaul db upgrade"):
            verb()
    assert not path.exists()


def test_the_tables_live_beside_an_applications_own(path, provider_at):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE flags (mine)")
        connection.execute("CREATE TABLE alembic_version (mine)")
    database = provider_at(path, upgrade=True).database
    assert schema.check(database) == []
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    ours = {name for (name,) in names} - {"flags", "alembic_version", "sqlite_sequence"}
    assert ours
    assert all(name.startswith("downhaul_") for name in ours)


def test_upgrading_again_keeps_the_store(writer, change):
    one = writer.put(Flag.boolean("one"), change)
    kill = writer.control.record_kill(Scope.parse("one"), change, killed=True)
    assert schema.upgrade(writer.database).current
    assert writer.control.kills() == [kill]
    assert writer.list().flags == {"one": one}


def forget_later_tables(database, revision, tmp_path):
    """Take away the tables that came after a revision, as it never knew them."""
    old = database_at(tmp_path / f"{revision}.db")
    config = schema._config(old)
    with old.creating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    with old.reading() as connection:
        known = set(inspect(connection).get_table_names())
    with database.writing() as connection:
        for name in set(inspect(connection).get_table_names()) - known:
            connection.execute(text(f"DROP TABLE {name}"))
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'"))


@pytest.mark.rule("K3")
def test_kills_from_before_revives_could_wait_are_read_and_older_code_goes_on_writing_them(
    writer, change, tmp_path
):
    kill = writer.control.record_kill(Scope.parse("one"), change, killed=True)
    with writer.database.writing() as connection:
        connection.execute(text("ALTER TABLE downhaul_kills DROP COLUMN waits"))
    forget_later_tables(writer.database, "0002", tmp_path)
    with pytest.raises(SchemaMissing, match="downhaul db upgrade"):
        writer.control.kills()
    assert schema.upgrade(writer.database).found == "0002"
    assert writer.control.kills() == [kill]
    with writer.database.writing() as connection:
        connection.execute(
            text(
                "INSERT INTO downhaul_kills (environment, scope, sequence, killed, actor, reason,"
                " at, lifts) VALUES ('default', 'two', 7, TRUE, 'ana', 'why', '', 0)"
            )
        )
    two = next(one for one in writer.control.kills() if one.scope == Scope.parse("two"))
    assert (two.killed, two.waits) == (True, False)


@pytest.mark.rule("K6")
def test_before_the_tables_are_upgraded_kills_work_and_their_announcements_wait(
    writer, change, tmp_path
):
    forget_later_tables(writer.database, "0003", tmp_path)
    kill = writer.control.record_kill(Scope.parse("one"), change, killed=True)
    assert writer.control.kills() == [kill]
    outbox = writer.control.outbox
    row = outbox.find(change.id)
    with pytest.raises(SchemaMissing, match="downhaul db upgrade"):
        outbox.claim(row.id, "chat", 60)
    schema.upgrade(writer.database)
    assert outbox.claim(row.id, "chat", 60) == 1
    assert outbox.claim(row.id, "chat", 60) is None


def make_newer(database):
    """Do what a later migration would: add a column, a table, and its revision."""
    version = schema.VERSION_TABLE
    with database.writing() as connection:
        for statement in (
            "ALTER TABLE downhaul_flags ADD COLUMN archived BOOLEAN NOT NULL DEFAULT FALSE",
            "ALTER TABLE downhaul_changes ADD COLUMN incident TEXT",
            "ALTER TABLE downhaul_kills ADD COLUMN expires_at TEXT",
            "CREATE TABLE downhaul_to_come (id INTEGER PRIMARY KEY)",
            f"UPDATE {version} SET version_num = '9999'",
        ):
            connection.execute(text(statement))


def test_old_code_runs_on_the_next_schema(writer, path, provider_at, recorder, change):
    one = writer.put(Flag.boolean("one"), change)
    make_newer(writer.database)
    state = schema.state(writer.database)
    assert (state.newer, state.current, state.found) == (True, True, "9999")
    assert schema.check(writer.database) == []
    assert schema.upgrade(writer.database).newer
    assert schema.state(writer.database).found == "9999"
    off = writer.switch_off("one", change)
    assert off.version != one.version
    kill = writer.control.record_kill(Scope.parse("one"), change, killed=True)
    application = provider_at(path)
    application.start(recorder)
    application.control.start(recorder)
    recorder.wait_for(lambda heard: heard.flags == {"one": off})
    recorder.wait_for(lambda heard: heard.register.standing(kill.scope) == kill)


def test_tables_that_lack_a_column_are_told_as_too_old(writer, change):
    with writer.database.writing() as connection:
        connection.execute(text("ALTER TABLE downhaul_environments DROP COLUMN previous"))
    with pytest.raises(SchemaMissing, match="too old"):
        writer.put(Flag.boolean("one"), change)


def test_an_upgrade_that_fails_leaves_nothing_behind(path, provider_at, monkeypatch):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE downhaul_changes (in_the_way)")
    connection.close()
    database = provider_at(path).database
    with pytest.raises(Exception, match="already exists"):
        schema.upgrade(database)
    with sqlite3.connect(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert names == [("downhaul_changes",)]


def test_sqlite_has_no_roles(writer):
    with pytest.raises(Refused):
        schema.roles(writer.database, application="app", operator="op")


def test_only_an_upgrade_makes_the_file(path, provider_at):
    with pytest.raises(SchemaMissing):
        schema.state(provider_at(path).database)
    assert not path.exists()
