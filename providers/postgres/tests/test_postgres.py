"""What is PostgreSQL's own: schema, rights, notifications, and no secret in any word."""

import logging
from dataclasses import replace

import psycopg
import pytest
from downhaul_contract_tests import Recorder
from downhaul_postgres.connection import database_at
from downhaul_postgres.plugin import downhaul_providers
from downhaul_postgres.provider import PostgresProvider
from psycopg import sql
from sqlalchemy import text

from downhaul.config import resolve
from downhaul.errors import ConfigError, DownhaulError, NoRight, SchemaMissing, Unreachable
from downhaul.flag import Flag
from downhaul.overlay import Scope
from downhaul.plugins import build_provider
from downhaul.provider import Capability, Change, State
from downhaul.store import schema
from downhaul.store.drills import DrillRow
from downhaul.store.processes import Follower

CHANGE = Change("tester", "to see it hold")


@pytest.fixture
def writer(fresh_postgres, provider_at):
    return provider_at(fresh_postgres, upgrade=True)


def run(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement)


def test_the_plugin_declares_what_the_provider_does():
    (spec,) = downhaul_providers()
    assert spec.capabilities == PostgresProvider.capabilities
    assert Capability.RESOLVE not in spec.capabilities


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_url_of_each_scheme_makes_the_provider(fresh_postgres, scheme):
    url = fresh_postgres.replace("postgresql", scheme, 1)
    provider = build_provider(resolve(url, environ={}))
    with pytest.raises(SchemaMissing, match="downhaul db upgrade"):
        provider.list()
    provider.close()


def test_two_schemas_are_two_stores_beside_an_applications_own(fresh_postgres, provider_at):
    run(fresh_postgres, "CREATE TABLE flags (mine int)")
    joined = "&" if "?" in fresh_postgres else "?"
    one = provider_at(fresh_postgres, upgrade=True)
    other = provider_at(f"{fresh_postgres}{joined}schema=others", upgrade=True)
    one.put(Flag.boolean("one"), CHANGE)
    assert other.list().flags == {}
    recorder = Recorder()
    other.start(recorder)
    assert other.wait_ready(15)
    one.put(Flag.boolean("two"), CHANGE)
    three = other.put(Flag.boolean("three"), CHANGE)
    recorder.wait_for(lambda heard: heard.flags == {"three": three})
    with pytest.raises(ConfigError, match="schema"):
        provider_at(f"{fresh_postgres}{joined}schema=a%22b")


@pytest.mark.rule("X4")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE downhaul.changes SET actor = 'nobody'",
        "DELETE FROM downhaul.changes",
        "TRUNCATE downhaul.changes",
    ],
)
def test_the_history_cannot_be_changed(writer, fresh_postgres, statement):
    writer.put(Flag.boolean("one"), CHANGE)
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        run(fresh_postgres, statement)


def test_the_sql_of_an_upgrade_makes_the_same_store(fresh_postgres, provider_at):
    provider = provider_at(fresh_postgres)
    with psycopg.connect(fresh_postgres, autocommit=True) as connection:
        connection.execute(schema.sql(provider.database))
    assert schema.check(provider.database) == []
    assert provider.put(Flag.boolean("one"), CHANGE) == provider.get("one")


@pytest.fixture
def role(fresh_postgres):
    """Name of a role without rights, dropped at the end."""
    name = "downhaul_test_" + psycopg.conninfo.conninfo_to_dict(fresh_postgres)["dbname"]
    run(fresh_postgres, sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    yield name
    run(fresh_postgres, sql.SQL("DROP OWNED BY {0}").format(sql.Identifier(name)))
    run(fresh_postgres, sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.rule("X4")
@pytest.mark.parametrize("who", ["application", "operator"])
def test_the_printed_grants_are_enough_and_no_more(writer, fresh_postgres, provider_at, role, who):
    one = writer.put(Flag.boolean("one"), CHANGE)
    nobody = "postgres"
    names = {"application": nobody, "operator": nobody, who: role}
    run(fresh_postgres, schema.roles(writer.database, **names))
    provider = provider_at(fresh_postgres.replace("postgres@", f"{role}@", 1))
    recorder = Recorder()
    provider.start(recorder)
    assert provider.wait_ready(15)
    recorder.wait_for(lambda heard: heard.flags == {"one": one})
    me = Follower("me", "process", "host", 7, "web", "1")
    # An application tells which kills it obeys, and takes that back.
    assert provider.control.processes.acknowledge(me, 5, ago=0.1, again_in=60) == 1
    assert provider.control.processes.acknowledge(me, 6, ago=0.1, again_in=60) == 1
    provider.control.processes.sweep()
    provider.control.processes.leave(me)
    drill = DrillRow("default", "switch:drill:x", "ana", "", 1, 1, 1, 1.0, 2.0)
    kill = writer.control.record_kill(Scope.parse("old"), CHANGE, killed=True)
    writes = (
        lambda: provider.control.drills.record(drill, CHANGE),
        lambda: provider.control.terms.begin(
            kill, CHANGE, 60, at_most=1, provider="postgresql", flag=None
        ),
        lambda: provider.control.lift_kill(kill, CHANGE),
        lambda: provider.switch_off("one", CHANGE),
        lambda: provider.put(Flag.boolean("two"), CHANGE),
        lambda: provider.control.record_kill(Scope.parse("one"), CHANGE, killed=True),
        lambda: provider.control.record_kill(Scope.parse("one"), CHANGE, killed=False),
    )
    for write in writes:
        if who == "operator":
            write()
        else:
            with pytest.raises(Unreachable, match="downhaul db roles"):
                write()
    assert len(provider.history()) == (3 if who == "operator" else 1)


@pytest.mark.rule("K6", "X4")
def test_a_database_that_takes_no_writes_gives_no_right_to_acknowledge(
    writer, fresh_postgres, provider_at
):
    joined = "&" if "?" in fresh_postgres else "?"
    option = "options=-cdefault_transaction_read_only%3Don"
    reader = provider_at(f"{fresh_postgres}{joined}{option}")
    me = Follower("me", "process", "host", 7, "web", "1")
    with pytest.raises(NoRight, match="read-only"):
        reader.control.processes.acknowledge(me, 5, ago=0.1, again_in=60)
    assert reader.control.kills() == []


@pytest.mark.rule("P7")
@pytest.mark.parametrize("port", [1, 5432])
def test_no_password_is_in_any_word(port, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    secret = "s3cr3t-p@ss"
    url = f"postgresql://app:s3cr3t-p%40ss@127.0.0.1:{port}/none?connect_timeout=1"
    settings = resolve(url, environ={})
    provider = build_provider(settings)
    words = [repr(provider.database), repr(provider), provider.database.safe_url]
    provider.start(Recorder())
    assert not provider.wait_ready(0.2)
    with pytest.raises(DownhaulError) as refused:
        provider.list()
    words += [str(refused.value), repr(refused.value), provider.status().message, caplog.text]
    words += [str(refused.value.__cause__), str(provider.database.engine.url)]
    words += capfd.readouterr()
    provider.close()
    assert provider.status().state is State.NOT_READY
    for word in words:
        assert secret not in word
        assert "s3cr3t" not in word


def test_a_large_notification_is_read_from_the_table(writer, fresh_postgres, provider_at):
    recorder = Recorder()
    application = provider_at(fresh_postgres, poll=60)
    application.start(recorder)
    assert application.wait_ready(15)
    large = writer.put(Flag.boolean("large", description="ü" * 9_000), CHANGE)
    recorder.wait_for(lambda heard: heard.flags == {"large": large})
    off = writer.switch_off("large", CHANGE)
    small = writer.put(Flag.boolean("small"), CHANGE)
    recorder.wait_for(lambda heard: heard.flags == {"large": off, "small": small})
    kill = writer.control.record_kill(
        Scope.parse("large"), Change("tester", "why " * 3_000), killed=True
    )
    application.control.start(recorder)
    recorder.wait_for(lambda heard: heard.register.standing(kill.scope) == kill)


@pytest.mark.parametrize(
    "payload", ["", "no JSON", "[]", "{}", '{"e": "default"}', '{"e": "default", "r": 99, "t": 1}']
)
def test_somebody_elses_words_on_the_channel_do_no_harm(
    writer, fresh_postgres, provider_at, payload
):
    recorder = Recorder()
    application = provider_at(fresh_postgres, poll=60)
    application.start(recorder)
    assert application.wait_ready(15)
    with writer.database.writing() as connection:
        connection.execute(
            text("SELECT pg_notify(:channel, :payload)"),
            {"channel": writer.database.channel, "payload": payload},
        )
    one = writer.put(Flag.boolean("one"), CHANGE)
    recorder.wait_for(lambda heard: heard.flags == {"one": one})
    assert recorder.replacements == 1
    assert application.status().state is State.READY


def test_without_a_word_changes_come_by_looking(writer, fresh_postgres, provider_at):
    recorder = Recorder()
    application = provider_at(fresh_postgres, poll=0.2)
    application.start(recorder)
    assert application.wait_ready(15)
    # As behind a pooler that swallows notifications: nobody is told of a commit.
    silent = replace(writer.database.dialect, notify=False)
    object.__setattr__(writer.database, "dialect", silent)
    one = writer.put(Flag.boolean("one"), CHANGE)
    kill = writer.control.record_kill(Scope.parse("one"), CHANGE, killed=True)
    application.control.start(recorder)
    recorder.wait_for(lambda heard: heard.flags == {"one": one})
    recorder.wait_for(lambda heard: heard.register.standing(kill.scope) == kill)


@pytest.mark.rule("K5")
def test_a_stopped_writer_of_flags_delays_no_kill(writer, fresh_postgres, provider_at):
    writer.put(Flag.boolean("one"), CHANGE)
    with writer.database.writing() as connection:
        connection.execute(text("UPDATE downhaul.environments SET revision = revision"))
        other = provider_at(fresh_postgres)
        assert other.control.record_kill(Scope.parse("one"), CHANGE, killed=True).killed


def test_a_database_is_made_without_connecting():
    database = database_at("postgres://nobody@nowhere.invalid/x", "safe", None, str)
    assert (database.schema, database.safe_url) == ("downhaul", "safe")
