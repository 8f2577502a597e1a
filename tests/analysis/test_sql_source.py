"""Counts out of somebody else's table, whatever its columns are called and hold."""

import datetime as dt
import re
import tomllib
import uuid
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from downhaul.analysis.model import Counts, Window
from downhaul.analysis.requests_source import RequestsSource
from downhaul.analysis.sources import source_for
from downhaul.analysis.sql_source import SqlSource
from downhaul.errors import ConfigError, Unreachable

SECOND = 1_000_000
START = dt.datetime(2026, 3, 28, 9, tzinfo=dt.UTC)
GUIDE = {
    "sqlite": (
        "CREATE TABLE agent_logs (version TEXT, success BOOLEAN, error BOOLEAN, latency_ms REAL, "
        "timestamp DATETIME)"
    ),
    "postgresql": (
        "CREATE TABLE agent_logs (version text, success boolean, error boolean, "
        "latency_ms double precision, timestamp timestamptz)"
    ),
}


def micros(at):
    return round((at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1))


def after(seconds):
    return START + dt.timedelta(seconds=seconds)


def window(since=0.0, until=60.0):
    return Window(micros(after(since)), micros(after(until)))


def run(database, statement, *rows):
    with database.writing() as connection:
        connection.execute(text(statement), list(rows) or None)


def table(database, columns, *rows, name="logs"):
    """Make a table of these columns and write the rows: tuples in the columns' order."""
    names = [column.split()[0] for column in columns.split(",")]
    run(database, f"CREATE TABLE {name} ({columns})")
    values = ", ".join(f":v{number}" for number in range(len(names)))
    if rows:
        given = [{f"v{number}": value for number, value in enumerate(row)} for row in rows]
        run(database, f"INSERT INTO {name} VALUES ({values})", *given)


def source(database, **metrics):
    return SqlSource.from_plan({"source": "sql", **metrics}, database)


def requests(database, since=0.0, until=60.0, **metrics):
    arms = source(database, **metrics).sample("agent", window(since, until), ()).arms
    return {name: counts.requests for name, counts in arms.items()}


def is_sqlite(database):
    return database.dialect.name == "sqlite"


# --- the guide's table


def guide(database, *rows):
    run(database, GUIDE[database.dialect.name])
    if not rows:
        return
    statement = "INSERT INTO agent_logs VALUES (:version, :success, :error, :latency_ms, :at)"
    lite = is_sqlite(database)
    run(
        database,
        statement,
        *(
            {
                "version": version,
                "success": success,
                "error": error,
                "latency_ms": latency,
                "at": at.isoformat(" ") if lite else at,
            }
            for version, success, error, latency, at in rows
        ),
    )


def test_the_guides_table_is_read_as_it_is(database):
    guide(
        database,
        ("2.0", True, False, 100.0, after(1)),
        ("2.0", False, True, 900.0, after(2)),
        ("2.0", False, False, None, after(3)),
        ("1.0", True, False, 200.0, after(3)),
        (None, True, False, 200.0, after(3)),
        ("2.0", True, False, 100.0, after(60)),  # the next window's
    )
    one = source(database, variants={"v2": "2.0"})
    one.probe("agent", (800.0,))
    sample = one.sample("agent", window(), (150.0, 800.0))
    assert sample.arms == {
        "v2": Counts(3, 1, 1, 2, 1000.0, {150.0: 1, 800.0: 1}),
        "1.0": Counts(1, 0, 1, 1, 200.0, {150.0: 1, 800.0: 0}),
    }
    assert "agent_logs" in sample.query
    assert one.sample("agent", window(), (), preview=True).arms["v2"].requests == 3


@pytest.mark.rule("X3")
def test_counting_stays_behind_the_control_stores_clock(database):
    guide(database)
    now = int(database.scalar(database.dialect.microseconds))
    behind = now - source(database, lag=30).watermark()
    assert 29 * SECOND < behind < 30.5 * SECOND


# --- times

TIMES = {
    "sqlite": [
        ("x TEXT", lambda at: at.replace(tzinfo=None).isoformat(" ", "milliseconds"), {}),
        ("x TIMESTAMP", lambda at: at.isoformat(), {}),
        ("x DATETIME", lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), {}),
        ("x", lambda at: at.astimezone(dt.timezone(dt.timedelta(hours=-7))).isoformat(), {}),
        ("x REAL", lambda at: at.timestamp(), {}),
        ("x INTEGER", lambda at: int(at.timestamp() * 1000), {"time_unit": "ms"}),
        ("x INTEGER", micros, {"time_unit": "us"}),
    ],
    "postgresql": [
        ("x timestamptz", lambda at: at, {}),
        ("x timestamp", lambda at: at.replace(tzinfo=None), {}),
        ("x text", lambda at: at.isoformat(), {}),
        ("x text", lambda at: at.replace(tzinfo=None).isoformat(" "), {}),
        ("x varchar(40)", lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), {}),
        ("x double precision", lambda at: at.timestamp(), {}),
        ("x numeric", lambda at: at.timestamp(), {}),
        ("x bigint", lambda at: int(at.timestamp() * 1000), {"time_unit": "ms"}),
        ("x bigint", micros, {"time_unit": "us"}),
    ],
}


def test_a_time_is_read_however_it_is_kept(database):
    moments = [-0.5, 0.0, 0.25, 9.5, 10.0, 59.75, 60.0]
    if not is_sqlite(database):  # what the server's clock shows is nobody's business
        with database.writing() as connection:
            name = connection.execute(text("SELECT current_database()")).scalar()
            connection.execute(text(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'"))
        database.engine.dispose()
    for number, (column, kept, unit) in enumerate(TIMES[database.dialect.name]):
        rows = [("v2", 1, kept(after(seconds))) for seconds in moments]
        table(database, f"version TEXT, success INTEGER, {column}", *rows, name=f"logs{number}")
        one = source(database, table=f"logs{number}", columns={"time": "x"}, **unit)
        one.probe("agent", ())
        counted = {
            span: one.sample("agent", window(*span), ()).arms.get("v2", Counts()).requests
            for span in ((0, 10), (10, 60), (60, 61), (-1, 0))
        }
        assert counted == {(0, 10): 3, (10, 60): 2, (60, 61): 1, (-1, 0): 1}, column


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 10_000), max_size=30),
    st.lists(st.integers(0, 10_000_000), max_size=6),
)
def test_windows_that_follow_each_other_count_each_row_once(database, rows, edges):
    name = f"logs_{uuid.uuid4().hex[:8]}"
    kept = "TEXT" if is_sqlite(database) else "timestamptz"
    moments = [after(one / 1000) for one in rows]
    table(
        database,
        f"version TEXT, success INTEGER, timestamp {kept}",
        *(("v2", 1, at.isoformat() if is_sqlite(database) else at) for at in moments),
        name=name,
    )
    one = source(database, table=name)
    begin = micros(START)
    cuts = sorted({begin, *(begin + edge for edge in edges), begin + 10_001_000})
    found = [one.sample("agent", Window(*span), ()).arms for span in pairwise(cuts)]
    assert sum(arms["v2"].requests for arms in found if arms) == len(rows)


# --- what succeeded and what failed

YES_AND_NO = [
    ("success INTEGER", (1, 2), (0, None)),
    ("success TEXT", ("true", " OK ", "yes", "1", "T"), ("false", "0", "", "no", None)),
    ("success BOOLEAN", (True,), (False, None)),
]
BROKEN_AND_NOT = [
    ("error INTEGER", (1, 500), (0, None)),
    ("error TEXT", ("Timeout", "no answer", "true"), ("", " ", "false", "None", "0", None)),
    ("error BOOLEAN", (True,), (False, None)),
]


def outcomes(database, column, values, name):
    rows = [("v2", value, START.isoformat()) for value in values]
    table(database, f"version TEXT, {column}, timestamp TEXT", *rows, name=name)
    return source(database, table=name).sample("agent", window(), ()).arms["v2"]


def test_a_success_is_what_says_so_and_the_rest_are_errors(database):
    for number, (column, good, bad) in enumerate(YES_AND_NO):
        found = outcomes(database, column, (*good, *bad), f"logs{number}")
        many = len(good) + len(bad)
        assert found == Counts(many, len(bad), len(good), 0, 0.0, {}), column


def test_an_error_is_what_says_so_and_the_rest_are_successes(database):
    for number, (column, bad, good) in enumerate(BROKEN_AND_NOT):
        found = outcomes(database, column, (*good, *bad), f"logs{number}")
        assert (found.errors, found.successes) == (len(bad), len(good)), column


def test_a_latency_that_is_none_is_not_counted_and_seconds_become_milliseconds(database):
    odd = [-1.0, None, float("inf")] + ([] if is_sqlite(database) else [float("nan")])
    kind = "REAL" if is_sqlite(database) else "double precision"
    rows = [("v2", 1, value, START.isoformat()) for value in (0.25, 1.5, *odd)]
    table(database, f"version TEXT, success INTEGER, took {kind}, timestamp TEXT", *rows)
    columns = {"latency_ms": "took"}
    one = source(database, table="logs", columns=columns, latency_unit="s")
    counts = one.sample("agent", window(), (1000.0,)).arms["v2"]
    assert (counts.requests, counts.timed, counts.latency_ms) == (len(rows), 2, 1750.0)
    assert counts.slow == {1000.0: 1}


# --- which rows


def test_only_rows_that_equal_what_the_plan_says_are_counted(database):
    kind = "BOOLEAN"
    rows = [
        ("v2", 1, START.isoformat(), "agent", 7, True),
        ("v2", 1, START.isoformat(), "other", 7, True),
        ("v2", 1, START.isoformat(), "agent", 8, True),
        ("v2", 1, START.isoformat(), "agent", 9, False),
        ("v2", 1, START.isoformat(), "o'brien; --", 9, False),
    ]
    columns = (
        f"version TEXT, success INTEGER, timestamp TEXT, flag TEXT, region INTEGER, live {kind}"
    )
    table(database, columns, *rows)
    for where, many in [
        ({"flag": "agent"}, 3),
        ({"flag": "agent", "region": 7}, 1),
        ({"region": [7, 8]}, 3),
        ({"live": False}, 2),
        ({"flag": "o'brien; --"}, 1),
        ({"flag": "nobody"}, 0),
    ]:
        found = requests(database, table="logs", where=where)
        assert found.get("v2", 0) == many, where


def test_a_type_of_the_databases_own_may_say_which_rows(fresh_postgres_database):
    database = fresh_postgres_database
    run(database, "CREATE TYPE team AS ENUM ('shop', 'till')")
    rows = [("v2", True, START.isoformat(), who) for who in ("shop", "till", "till")]
    run(database, "CREATE TABLE logs (version text, success boolean, timestamp text, who team)")
    insert = "INSERT INTO logs VALUES (:version, :success, :at, CAST(:who AS team))"
    names = ("version", "success", "at", "who")
    run(database, insert, *(dict(zip(names, row, strict=True)) for row in rows))
    assert requests(database, table="logs", where={"who": "till"}) == {"v2": 2}


def test_a_row_that_was_written_twice_counts_once_by_its_id(database):
    rows = [("a", "v2", 1), ("a", "v2", 1), ("b", "v2", 0), (None, "v2", 1), (None, "v2", 1)]
    columns = "request TEXT, version TEXT, success INTEGER, timestamp TEXT"
    table(database, columns, *((*row, START.isoformat()) for row in rows))
    assert requests(database, table="logs") == {"v2": 5}
    one = source(database, table="logs", columns={"id": "request"})
    assert one.sample("agent", window(), ()).arms["v2"] == Counts(4, 1, 3, 0, 0.0, {})


def test_names_are_what_they_are_and_never_sql(database):
    odd = 'user "x"; DROP TABLE logs; --'
    inside = odd.replace('"', '""')
    run(
        database,
        f'CREATE TABLE "Log Book" ("{inside}" TEXT, "select" INTEGER, "Time" TEXT)',
    )
    run(database, f"INSERT INTO \"Log Book\" VALUES ('v2', 1, '{START.isoformat()}')")
    columns = {"variant": odd, "success": "select", "time": "Time"}
    assert requests(database, table="Log Book", columns=columns) == {"v2": 1}


def test_variants_lead_from_what_the_table_holds(database):
    rows = [(value, 1, START.isoformat()) for value in ("2.0", "2.1", "1.0", "x")]
    table(database, "version TEXT, success INTEGER, timestamp TEXT", *rows)
    variants = {"v2": ["2.0", "2.1"], "v1": "1.0"}
    assert requests(database, table="logs", variants=variants) == {"v2": 2, "v1": 1, "x": 1}


def test_a_value_that_is_called_as_our_variant_and_stands_for_none_is_another_arm(database):
    rows = [(value, success, START.isoformat()) for value, success in (("2.0", 1), ("v2", 0))]
    table(database, "version TEXT, success INTEGER, timestamp TEXT", *rows)
    one = source(database, table="logs", variants={"v2": "2.0"})
    arms = one.sample("agent", window(), ()).arms
    assert (arms["v2"].requests, arms["v2"].errors) == (1, 0)
    assert sum(counts.requests for counts in arms.values()) == 2


def test_a_boolean_may_say_the_variant(database):
    rows = [(value, 1, START.isoformat()) for value in (True, True, False)]
    table(database, "is_new BOOLEAN, success INTEGER, timestamp TEXT", *rows)
    columns, variants = {"variant": "is_new"}, {"on": True, "off": False}
    assert requests(database, table="logs", columns=columns, variants=variants) == {
        "on": 2,
        "off": 1,
    }


def test_a_view_and_a_database_of_its_own_will_do(database, tmp_path):
    from downhaul.backends.sqlite import database_at

    aside = database_at(tmp_path / "logs.db")
    with aside.creating() as connection:
        connection.execute(text(GUIDE["sqlite"]))
    run(aside, f"INSERT INTO agent_logs VALUES ('v2', 1, 0, 5, '{START.isoformat()}')")
    run(aside, "CREATE VIEW seen AS SELECT * FROM agent_logs")
    one = source(database, url=f"sqlite:///{tmp_path / 'logs.db'}", table="seen")
    one.probe("agent", ())
    assert one.sample("agent", window(), ()).arms["v2"].requests == 1
    aside.engine.dispose()


# --- what is wrong is said


MISSING = [
    ({"table": "agent_log"}, r'no table "agent_log".*did you mean "agent_logs"'),
    ({"columns": {"variant": "versoin"}}, r'no column "versoin".*did you mean "version"'),
    ({"columns": {"id": "request"}}, r'columns\.id: .*no column "request"'),
    ({"where": {"flg": "x"}}, r'where\.flg: "agent_logs" has no column "flg"'),
]


@pytest.mark.rule("X1")
def test_what_the_database_does_not_have_is_named(database):
    guide(database)
    for metrics, words in MISSING:
        with pytest.raises(ConfigError, match=words):
            source(database, **metrics).probe("agent", ())


@pytest.mark.rule("X1")
def test_all_that_is_missing_is_named_at_once(database):
    table(database, "version TEXT, outcome TEXT")
    with pytest.raises(ConfigError) as caught:
        source(database, table="logs", columns={"success": "ok"}).probe("agent", ())
    assert [one.path for one in caught.value.problems] == [
        "metrics.columns.success",
        "metrics.columns.time",
    ]


@pytest.mark.rule("X1")
def test_a_table_without_outcomes_or_latencies_is_told(database):
    table(database, "version TEXT, timestamp TEXT")
    with pytest.raises(ConfigError, match="neither what succeeded nor what failed"):
        source(database, table="logs").probe("agent", ())
    table(database, "version TEXT, success INTEGER, timestamp TEXT", name="short")
    source(database, table="short").probe("agent", ())
    with pytest.raises(ConfigError, match="asks who is slow"):
        source(database, table="short").probe("agent", (800.0,))


@pytest.mark.rule("X1")
def test_times_that_are_none_or_still_to_come_are_told(database):
    kind = "TEXT" if is_sqlite(database) else "timestamp"
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    ahead = now + dt.timedelta(hours=2)
    row = ("v2", 1, ahead.isoformat(" ") if is_sqlite(database) else ahead)
    table(database, f"version TEXT, success INTEGER, timestamp {kind}", row)
    with pytest.raises(ConfigError, match="still to come"):
        source(database, table="logs").probe("agent", ())
    number = "INTEGER" if is_sqlite(database) else "bigint"
    row = ("v2", 1, int(now.timestamp() * 1000))
    table(database, f"version TEXT, success INTEGER, timestamp {number}", row, name="large")
    with pytest.raises(ConfigError, match="too large for their unit"):
        source(database, table="large").probe("agent", ())


@pytest.mark.rule("X1")
def test_a_type_that_is_no_time_or_no_number_is_told(tmp_path, fresh_postgres):
    from downhaul.config import resolve
    from downhaul.plugins import build_provider

    provider = build_provider(resolve(fresh_postgres, cache_dir=None, environ={}))
    columns = "version TEXT, success BOOLEAN, latency_ms TEXT, timestamp BOOLEAN"
    table(provider.database, columns)
    with pytest.raises(ConfigError) as caught:
        source(provider.database, table="logs").probe("agent", ())
    assert [one.path.rpartition(".")[2] for one in caught.value.problems] == ["time", "latency_ms"]
    provider.close()


@pytest.mark.rule("X1")
def test_text_that_is_no_time_is_told(tmp_path):
    from downhaul.backends.sqlite import database_at

    aside = database_at(tmp_path / "logs.db")
    aside.create()
    table(
        aside,
        "version TEXT, success INTEGER, timestamp TEXT",
        ("v2", 1, "28.3.2026 09:00"),
    )
    with pytest.raises(ConfigError, match=r'holds "28\.3\.2026 09:00", which is no time'):
        source(aside, table="logs").probe("agent", ())


def test_a_column_that_is_no_variant_is_told(database):
    rows = [(f"user-{number}", 1, START.isoformat()) for number in range(101)]
    table(database, "version TEXT, success INTEGER, timestamp TEXT", *rows)
    with pytest.raises(ConfigError, match="more than 100 values: is it the variant"):
        source(database, table="logs").sample("agent", window(), ())


@pytest.mark.rule("R5")
def test_a_table_that_went_or_changed_is_told_and_found_again(database):
    guide(database, ("v2", True, False, 5.0, after(1)))
    one = source(database)
    one.probe("agent", ())
    run(database, "ALTER TABLE agent_logs RENAME TO elsewhere")
    with pytest.raises(ConfigError, match='no table "agent_logs"'):
        one.sample("agent", window(), ())
    run(database, "ALTER TABLE elsewhere RENAME TO agent_logs")
    assert one.sample("agent", window(), ()).arms["v2"].requests == 1


@pytest.mark.rule("R5")
def test_a_column_that_went_is_no_good_news(database):
    guide(database, ("v2", False, False, 5.0, after(1)))
    one = source(database)
    one.probe("agent", ())
    assert one.sample("agent", window(), ()).arms["v2"].successes == 0
    run(database, "ALTER TABLE agent_logs DROP COLUMN success")
    for _ in range(2):  # without it, what is no error would count as a success
        with pytest.raises(ConfigError, match='no column "success"'):
            one.sample("agent", window(), ())
    run(database, "ALTER TABLE agent_logs ADD COLUMN success BOOLEAN")
    assert one.sample("agent", window(), ()).arms["v2"].successes == 0


def test_an_empty_table_decides_nothing_about_its_times(tmp_path):
    from downhaul.backends.sqlite import database_at

    aside = database_at(tmp_path / "logs.db")
    aside.create()
    table(aside, "version TEXT, success INTEGER, timestamp")
    one = source(aside, table="logs")
    one.probe("agent", ())
    assert one.sample("agent", window(), ()).arms == {}
    run(aside, f"INSERT INTO logs VALUES ('v2', 1, {START.timestamp()})")
    assert one.sample("agent", window(), ()).arms["v2"].requests == 1


@pytest.mark.rule("R5")
def test_a_database_that_is_away_is_told(database, tmp_path):
    one = source(database, url=f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(Unreachable, match=r"none\.db"):
        one.probe("agent", ())


# --- what a plan may say


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "metrics,words",
    [
        ({"source": "sqll"}, r'no metric source is called "sqll".*did you mean "sql"'),
        ({"source": "requests", "table": "x"}, r"metrics\.table"),
        ({"source": "requests", "lag": 0.1}, r"too few"),
        ({"source": "requests", "lag": "long"}, r"no number of seconds"),
        ({"source": "sql", "tabel": "x"}, r'metrics\.tabel: .*did you mean "table"'),
        ({"source": "sql", "table": 3}, r"metrics\.table"),
        ({"source": "sql", "columns": "x"}, r"metrics\.columns"),
        ({"source": "sql", "columns": {"versoin": "x"}}, r"columns\.versoin"),
        ({"source": "sql", "columns": {"variant": ""}}, r"columns\.variant"),
        ({"source": "sql", "variants": []}, r"metrics\.variants"),
        ({"source": "sql", "variants": {"a": {}}}, r"variants\.a"),
        ({"source": "sql", "variants": {"a": "1", "b": "1"}}, r'"1" stands for "a" already'),
        ({"source": "sql", "where": "x"}, r"metrics\.where"),
        ({"source": "sql", "where": {"flag": {}}}, r"where\.flag"),
        ({"source": "sql", "where": {"flag": []}}, r"where\.flag"),
        ({"source": "sql", "lag": True}, r"no number of seconds"),
        ({"source": "sql", "lag": -1}, r"too few"),
        ({"source": "sql", "lag": float("nan")}, r"no number of seconds"),
        ({"source": "sql", "time_unit": "h"}, r"no unit"),
        ({"source": "sql", "time_unit": ["s"]}, r"no unit"),
        ({"source": "sql", "latency_unit": {}}, r"no unit"),
        ({"source": "sql", "where": {"region": 2**63}}, r"where\.region"),
        ({"source": "sql", "where": {"share": float("nan")}}, r"where\.share"),
        ({"source": "sql", "where": {"flag": "a\0b"}}, r"where\.flag"),
        ({"source": "sql", "table": "a\0b"}, r"metrics\.table"),
        ({"source": "sql", "columns": {"variant": "a\0b"}}, r"columns\.variant"),
        ({"source": "sql", "url": 3}, r"is no URL"),
        ({"source": "sql", "url": "memory:"}, r"no SQL database"),
        ({"source": "sql", "url": "sqlite:///logs.db"}, r"another file in each folder"),
        ({"source": "sql", "url": "postgresql://a:geheim@b/c"}, r"holds a secret"),
        ({"source": "sql", "url": {"env": "NOBODY_SET_THIS"}}, r"is not set"),
    ],
)
def test_what_a_plan_cannot_say_is_told(tmp_path, metrics, words):
    from downhaul.backends.sqlite import database_at

    with pytest.raises(ConfigError, match=words) as caught:
        source_for(metrics, database_at(tmp_path / "x.db"), "production")
    assert "geheim" not in str(caught.value)


def test_several_wrong_things_are_told_at_once(tmp_path):
    from downhaul.backends.sqlite import database_at

    metrics = {"source": "sql", "tabel": "x", "lag": "long", "columns": {"x": "y"}}
    with pytest.raises(ConfigError) as caught:
        source_for(metrics, database_at(tmp_path / "x.db"), "production")
    paths = {one.path for one in caught.value.problems}
    assert paths == {"metrics.tabel", "metrics.columns.x", "metrics.lag"}


def test_the_request_log_is_the_source_unless_another_is_named(database):
    assert isinstance(source_for({}, database, "production"), RequestsSource)
    slow = source_for({"source": "requests", "lag": 20}, database, "production")
    now = int(database.scalar(database.dialect.microseconds))
    assert now - slow.watermark() > 19 * SECOND


@pytest.mark.rule("P7")
def test_a_url_with_a_secret_comes_out_of_the_environment(database, tmp_path, monkeypatch):
    monkeypatch.setenv("LOGS_URL", f"sqlite:///{tmp_path / 'logs.db'}")
    one = source(database, url={"env": "LOGS_URL"})
    with pytest.raises(Unreachable, match=r"logs\.db"):
        one.probe("agent", ())


def test_what_the_page_shows_is_read(database):
    page = (Path(__file__).parents[2] / "docs" / "observing.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    metrics = tomllib.loads(block)["metrics"]
    columns = (
        "version TEXT, success INTEGER, error TEXT, latency_ms REAL, timestamp TEXT, flag TEXT"
    )
    row = ("2.0", 1, None, 5.0, START.isoformat(), "new_agent_version")
    table(database, columns, row, name="agent_logs")
    one = source_for(metrics, database, "production")
    one.probe("new_agent_version", (800.0,))
    assert one.sample("new_agent_version", window(), ()).arms["v2"].requests == 1
