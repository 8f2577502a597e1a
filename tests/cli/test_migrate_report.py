"""What processes compare in production is what one command reports."""

import json
import subprocess
import sys

import jsonschema
import pytest

from downhaul.backends.sqlite import database_at
from downhaul.cli.shapes import schema_of
from downhaul.config import resolve
from downhaul.plugins import build_provider
from downhaul.store import schema
from downhaul.store.comparisons import HOUR, Comparisons, Seen

PAIR = "sqlite > sqlite"
EXAMPLE = json.dumps(
    {
        "who": "0123456789ab",
        "attributes": ["plan"],
        "old": {"provider": "sqlite", "variant": "on", "value": "True", "error": ""},
        "new": {"provider": "sqlite", "variant": "off", "value": "False", "error": ""},
    }
)
CONFIG = """
environment = "production"
[provider]
url = "sqlite:///old.db"
wrap = ["staged"]
[provider.staged]
to = "sqlite:///new.db"
sample = 1.0
[backends.old]
url = "sqlite:///old.db"
[backends.new]
url = "sqlite:///new.db"
[control]
url = "CONTROL"
"""

# An application: asks as often as it is told, and says what it has compared.
APPLICATION = """
import sys, time
from downhaul import Flags
from downhaul.config import resolve
from downhaul.plugins import build_provider

provider = build_provider(resolve())
flags = Flags.over(provider, ready_within=20)
wait = time.monotonic() + 20
while not all(side.is_fresh() for side in provider._sides.values()):
    assert time.monotonic() < wait
    time.sleep(0.01)
for number in range(int(sys.argv[1])):
    flags.is_enabled("agent", f"{sys.argv[2]}-{number}")
    flags.is_enabled("search", f"{sys.argv[2]}-{number}")
while provider.report().waiting:
    assert time.monotonic() < wait
    time.sleep(0.01)
flags.close(10)
"""


@pytest.fixture
def watched(shell):
    """A shell whose control store is `control.db`, and a function that adds counts to it."""
    (shell.folder / "downhaul.toml").write_text(CONFIG.replace("CONTROL", "sqlite:///control.db"))
    for store in ("old", "new", "control"):
        shell("db", "upgrade", "--url", f"sqlite:///{store}.db")
    database = database_at(shell.folder / "control.db")
    kept = Comparisons(database, "production")
    numbers = iter(range(1, 1000))

    def add(*seen, pair=PAIR, **counts):
        kept.add("test", next(numbers), pair, counts, seen)

    shell.add, shell.database = add, database
    return shell


def at_stage(shell, moves, *keys):
    """Move flags on, both sides of which have them."""
    for key in keys:
        shell("flags", "create", key, "--on", "--url", "sqlite:///old.db")
    shell("migrate", "plan", "--from", "old", "--to", "new", "-o", "plan.json")
    shell("migrate", "apply", "plan.json")
    shell("migrate", "verify", "--from", "old", "--to", "new")
    for _ in range(moves):
        shell("migrate", "cutover", *keys)


def test_each_sort_of_outcome_is_told_apart(watched):
    watched.add(
        Seen("agent", "value", 7200.0, EXAMPLE),
        Seen("agent", "type", 60.0, EXAMPLE),
        agent={
            "match": 1195,
            "value": 2,
            "type": 1,
            "not_found": 2,
            "error_old": 3,
            "error_new": 4,
            "expected": 5,
            "dropped": 6,
        },
    )
    document = watched.json("migrate", "report", exit_code=3)
    jsonschema.validate(document, schema_of("migrate report"))
    (one,) = document["flags"]
    counted = {
        name: one[name]
        for name in ("compared", "answered", "matched", "differed", "value", "type", "not_found")
    }
    assert counted == {
        "compared": 1212,
        "answered": 1200,
        "matched": 1195,
        "differed": 5,
        "value": 2,
        "type": 1,
        "not_found": 2,
    }
    assert (one["error_old"], one["error_new"], one["expected"], one["dropped"]) == (3, 4, 5, 6)
    assert one["parity"] == pytest.approx(100 * 1195 / 1200)
    assert one["clean_for"] == pytest.approx(60.0, abs=30)
    assert [example["outcome"] for example in one["examples"]] == ["type", "value"]
    assert one["examples"][0]["old"]["value"] == "True"
    assert document["passed"] is False
    assert document["failures"] == ["agent: parity is 99.58 %, below 100 %"]


def test_people_read_a_table_the_last_examples_and_a_sentence(watched):
    watched.add(
        Seen("agent", "value", 90.0, EXAMPLE),
        agent={"match": 1202, "value": 2},
        search={"match": 300},
        young={"match": 7},
        broken={"match": 300, "error_new": 100},
    )
    done = watched("migrate", "report", exit_code=3)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:5] == ["FLAG", "STAGE", "COMPARED", "MATCHED", "PARITY"]
    agent = next(line for line in lines if line.startswith("agent "))
    assert "1,204" in agent
    assert "99.83 %" in agent
    assert "2 value" in agent
    assert "agent: another value, 1m 30s ago" in done.stdout
    assert "old  sqlite: True (on)" in done.stdout
    assert "new  sqlite: False (off)" in done.stdout
    assert "asked for 0123456789ab, with plan" in done.stdout
    assert "could move on: search (300 comparisons or more, and no difference since" in done.stdout
    assert "agent (2 of 1,204 differ)" in done.stdout
    assert "young (7 compared, and 300 are enough)" in done.stdout
    assert "broken (25 % of 400 failed)" in done.stdout
    assert "agent: parity is 99.83 %, below 100 %" in done.stderr


def test_what_strangers_ask_for_moves_no_terminal_and_makes_no_line(watched):
    key, name = "\x1b]0;title\x07evil\nfake: line", "nl\nforged: line"
    example = json.dumps({**json.loads(EXAMPLE), "attributes": [name]})
    watched.add(Seen(key, "value", 60.0, example), **{key: {"match": 1, "value": 1}})
    done = watched("migrate", "report", exit_code=3)
    for text in (done.stdout, done.stderr):
        assert text.replace("\n", "").isprintable()
        assert "\\x1b]0;title\\x07evil\\nfake: line" in text
    assert not any(line.startswith(("fake", "forged")) for line in done.stdout.splitlines())
    assert "with nl\\nforged: line" in done.stdout


def test_a_parity_is_a_number(watched):
    assert (
        "from 0 to 100" in watched("migrate", "report", "--min-parity", "nan", exit_code=2).stderr
    )


@pytest.mark.parametrize("broken", ["", "[]", "{}", '{"old": 5, "attributes": "x"}'])
def test_an_example_that_somebody_broke_is_dated_all_the_same(watched, broken):
    watched.add(Seen("agent", "value", 90.0, broken), agent={"value": 1})
    assert "it can't be read" in watched("migrate", "report", exit_code=3).stdout
    (one,) = watched.json("migrate", "report", exit_code=3)["flags"]
    assert one["clean_for"] == pytest.approx(90.0, abs=30)
    jsonschema.validate(watched.json("migrate", "report", exit_code=3), schema_of("migrate report"))


@pytest.mark.parametrize(
    "counts, words, code",
    [
        ({"match": 10}, (), 0),
        ({"match": 10}, ("agent",), 0),
        ({"match": 10}, ("agent", "search"), 3),
        ({"match": 99, "value": 1}, ("--min-parity", "99"), 0),
        ({"match": 99, "value": 1}, ("--min-parity", "99.1"), 3),
        ({"error_new": 5}, (), 3),
        ({"error_new": 5, "match": 1}, (), 0),
        ({"expected": 5}, (), 0),
        ({"expected": 5}, ("agent",), 3),
        ({"dropped": 5}, ("agent",), 3),
        ({}, (), 3),
    ],
)
@pytest.mark.rule("M3", "X2")
def test_how_it_ends_is_for_scripts(watched, counts, words, code):
    if counts:
        watched.add(agent=counts)
    document = watched.json("migrate", "report", *words, exit_code=code)
    assert document["passed"] is (code == 0)
    assert bool(document["failures"]) is (code == 3)


def test_a_window_leaves_out_what_is_older(watched):
    watched.add(agent={"value": 5})
    table = watched.database.tables.comparisons
    with watched.database.writing() as connection:
        connection.execute(table.update().values(hour=table.c.hour - 30 * HOUR))
    watched.add(agent={"match": 10})
    assert watched.json("migrate", "report", "agent")["flags"][0]["compared"] == 10
    wider = watched.json("migrate", "report", "agent", "--since", "2d", exit_code=3)
    assert wider["flags"][0]["compared"] == 15
    assert "--since" in watched("migrate", "report", "--since", "soon", exit_code=2).stderr


def test_two_pairs_stand_apart(watched):
    watched.add(agent={"match": 10})
    watched.add(pair="sqlite > unleash", agent={"match": 3, "value": 1})
    document = watched.json("migrate", "report", exit_code=3)
    assert [(one["sides"], one["compared"]) for one in document["flags"]] == [
        (PAIR, 10),
        ("sqlite > unleash", 4),
    ]
    assert "sqlite > unleash" in watched("migrate", "report", exit_code=3).stdout


def test_a_flag_that_stands_where_it_is_compared_is_there_though_nothing_was(watched):
    at_stage(watched, 2, "agent")
    watched.add(other={"match": 400})
    document = watched.json("migrate", "report")
    agent, other = document["flags"]
    assert (agent["flag"], agent["stage"], agent["compared"]) == ("agent", "shadow", 0)
    assert (agent["objection"], agent["could_move_on"]) == ("nothing was compared", False)
    assert (other["stage"], other["could_move_on"]) == (None, True)


def test_where_nothing_can_be_kept_it_says_what_to_name(shell):
    (shell.folder / "flags.json").write_text('{"downhaul": 1, "flags": []}')
    done = shell("migrate", "report", "--url", "file:flags.json", exit_code=1)
    assert "name a database in [control] url" in done.stderr


def test_an_older_store_says_what_to_do_and_moves_go_on(watched):
    at_stage(watched, 2, "agent")
    with watched.database.writing() as connection:
        for name in ("comparisons", "comparison_examples", "comparison_writers"):
            connection.exec_driver_sql(f"DROP TABLE downhaul_{name}")
    assert "downhaul db upgrade" in watched("migrate", "report", exit_code=5).stderr
    done = watched("migrate", "status")
    assert "downhaul db upgrade" in done.stderr
    assert "shadow" in done.stdout
    moved = watched.json("migrate", "cutover", "agent", "--percent", "10")
    assert moved["moves"][0]["stage"] == "live"
    (warning,) = moved["warnings"]
    assert "downhaul db upgrade" in warning


def test_the_board_says_in_short_what_was_compared(watched):
    at_stage(watched, 2, "agent", "search", "young")
    watched("migrate", "back", "young", "--to", "off")
    watched.add(agent={"match": 1202, "value": 2}, search={"match": 3, "error_new": 1})
    shown = watched("migrate", "status").stdout
    assert "1,204 compared, 2 differ" in shown
    assert "4 compared, none differ, 1 failed" in shown
    moves = {one["key"]: one for one in watched.json("migrate", "status")["moves"]}
    assert (moves["agent"]["compared"], moves["agent"]["differed"]) == (1204, 2)
    assert moves["search"]["failed"] == 1
    assert moves["young"]["compared"] is None


@pytest.mark.parametrize(
    "counts, said",
    [
        ({"match": 5000}, None),
        ({"match": 5}, None),
        ({"match": 1202, "value": 2}, "2 of 1,204 differ in the last day"),
        ({}, "nothing was compared in the last day"),
        ({"error_new": 9}, "100 % of 9 failed in the last day"),
        ({"expected": 9}, "nothing but expected differences in the last day"),
    ],
)
@pytest.mark.rule("M3")
def test_moving_on_over_differences_is_warned_of_and_done(watched, counts, said):
    at_stage(watched, 2, "agent")
    if counts:
        watched.add(agent=counts)
    moved = watched.json("migrate", "cutover", "agent", "--percent", "10")
    assert moved["moves"][0]["stage"] == "live"
    assert [said in one for one in moved["warnings"]] == ([] if said is None else [True])
    further = watched("migrate", "cutover", "agent")
    assert ("warning:" in further.stderr) is (said is not None)


@pytest.mark.slow
def test_many_that_move_on_over_differences_are_one_line(watched):
    keys = [f"agent-{number:02}" for number in range(25)]
    at_stage(watched, 2, *keys)
    done = watched("migrate", "cutover", "--all", "--percent", "10")
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("warning:")]
    assert "agent-00 (nothing was compared), agent-01" in line
    assert "and 5 more" in line
    assert len(watched.json("migrate", "cutover", "--all")["warnings"]) == 25


def test_a_move_that_nobody_compares_yet_is_not_warned_of(watched):
    at_stage(watched, 0, "agent")
    assert watched.json("migrate", "cutover", "agent")["warnings"] == []
    assert watched.json("migrate", "cutover", "agent")["warnings"] == []
    assert "warning" not in watched("migrate", "back", "agent").stderr


def run_applications(folder, times):
    """Run applications side by side, each of which asks so often; wait for all."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", APPLICATION, str(many), f"user-{number}"],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, many in enumerate(times)
    ]
    said = [one.communicate(timeout=90)[1] for one in running]
    assert [(one.returncode, it) for one, it in zip(running, said, strict=True)] == [(0, "")] * 2


def compare_and_report(shell):
    at_stage(shell, 2, "agent", "search")
    shell("flags", "percent", "search", "0", "--url", "sqlite:///new.db")
    run_applications(shell.folder, (120, 80))
    agent, search = shell.json("migrate", "report", exit_code=3)["flags"]
    assert (agent["flag"], agent["matched"], agent["differed"]) == ("agent", 200, 0)
    assert (agent["stage"], agent["sides"]) == ("shadow", PAIR)
    assert (search["matched"], search["value"]) == (0, 200)
    assert search["examples"][0]["old"]["value"] == "True"
    assert "user-" not in json.dumps(search)


@pytest.mark.slow
@pytest.mark.rule("M3")
def test_two_processes_compare_and_a_third_one_reports(shell):
    (shell.folder / "downhaul.toml").write_text(CONFIG.replace("CONTROL", "sqlite:///control.db"))
    for store in ("old", "new", "control"):
        shell("db", "upgrade", "--url", f"sqlite:///{store}.db")
    compare_and_report(shell)


@pytest.mark.rule("M3")
def test_two_processes_compare_and_a_third_one_reports_from_a_server(shell, fresh_postgres):
    (shell.folder / "downhaul.toml").write_text(CONFIG.replace("CONTROL", fresh_postgres))
    for store in ("old", "new"):
        shell("db", "upgrade", "--url", f"sqlite:///{store}.db")
    provider = build_provider(resolve(fresh_postgres, cache_dir=None, environ={}))
    schema.upgrade(provider.database)
    provider.close()
    compare_and_report(shell)
