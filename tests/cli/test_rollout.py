"""Rollouts on the command line, from the plan to the way back, on a real store."""

import json
import time

import pytest
from sqlalchemy import update

from downhaul.cli.rollout_words import NOBODY
from downhaul.control.service import connect_operator, resolve_settings
from downhaul.store.requests import RequestLog, RequestRow

SLOW = ("--steps", "1,10,100", "--bake", "1h", "--unguarded", "watched by hand")
QUICK = ("--steps", "50,100", "--bake", "1ms", "--interval", "10ms", "--unguarded", "test")
PLAN = """
flag = "agent"
steps = [1, 10, 100]
bake = "1h"
min_sample = 50

[[guardrails]]
measure = "error_rate"
limit = "5 %"
"""


@pytest.fixture
def flag(shell):
    """A shell whose store holds a flag that is on for nobody."""
    shell("flags", "create", "agent", "--on", "--percent", "0", "--owner", "team-a")
    return shell


@pytest.fixture
def plan(flag):
    (flag.folder / "rollout.toml").write_text(PLAN)
    return flag


@pytest.fixture
def moving(flag):
    """A shell whose flag is at the first step of a slow rollout."""
    flag("rollout", "start", "--flag", "agent", *SLOW, "--reason", "v2 goes out")
    flag("controller", "run", "--once")
    return flag


@pytest.fixture
def completed(flag):
    flag("rollout", "start", "--flag", "agent", *QUICK)
    until = time.monotonic() + 20
    while phase(flag) != "completed":
        assert time.monotonic() < until
        flag("controller", "run", "--once")
    return flag


def phase(shell):
    return shell.json("rollout", "status", "agent")["phase"]


def exposure(shell):
    return shell.json("flags", "show", "agent")["exposure"]


# Before


def test_a_plan_is_shown_with_dates_and_changes_nothing(plan):
    lines = plan("rollout", "plan", "rollout.toml").stdout.splitlines()
    assert lines[0] == "agent  on  canary"
    assert [line.split()[0] for line in lines[1:5]] == ["STEP", "1", "2", "3"]
    assert "  guards     error_rate <= 5 %" in lines
    assert "  way back   never rehearsed: rollout rehearse" in lines
    assert plan.json("rollout", "list")["rollouts"] == []


@pytest.mark.rule("R8")
def test_a_rehearsal_is_dated_where_a_rollout_starts(plan):
    lines = plan("rollout", "rehearse", "rollout.toml").stdout.splitlines()
    assert lines[0] == "agent  on  rehearsed: the way back is proved"
    assert exposure(plan) == "on at 0 %"
    at = plan.json("rollout", "plan", "rollout.toml")["rehearsed"]
    assert f"  way back   rehearsed at {at}" in plan("rollout", "start", "rollout.toml").stdout


def test_a_lint_says_what_is_wrong_and_fails(flag):
    done = flag("rollout", "lint", "--flag", "agent", "--steps", "10,5", exit_code=3)
    assert done.stdout.startswith("error    ")
    assert "5 % comes after 10 %" in done.stdout
    found = flag.json("rollout", "lint", "--flag", "agent", "--steps", "10,5", exit_code=3)
    assert found["ok"] is False
    assert found["advice"][0]["severity"] == "error"


def test_a_plan_is_linted_without_a_backend(plan):
    url = ("--url", "postgresql://nobody@127.0.0.1:1/none")
    assert plan.json("rollout", "lint", "rollout.toml", "--offline", *url)["ok"]
    plan("rollout", "lint", "rollout.toml", *url, exit_code=5)


def test_the_traffic_tells_what_a_bake_can_not_see(plan):
    without = plan.json("rollout", "lint", "rollout.toml")["advice"]
    words = ("rollout", "lint", "rollout.toml", "--requests-per-hour", "10")
    found = [one for one in plan.json(*words)["advice"] if one not in without]
    assert found
    assert all(one["severity"] == "warning" for one in found)


SEQUENTIAL = (
    "--flag", "agent", "--steps", "1,10,50", "--bake", "24h", "--error-rate", "control"
)  # fmt: skip


@pytest.mark.rule("R6")
def test_a_plan_foretells_what_each_step_can_see(flag):
    observe(flag, 2400, errors=24, ago=5)  # counting stays behind by a second
    found = flag.json("rollout", "plan", *SEQUENTIAL)["forecast"]
    assert found["requests_per_hour"] == 100
    assert found["rates"] == {"error_rate vs control": 0.01}
    first, second, third = found["steps"]
    assert [one["requests"] for one in found["steps"]] == [24, 240, 1200]
    # A step at 1 % sees 24 requests a day: next to nothing, and it stays undecided.
    assert first["too_short"]
    assert first["checks"][0]["least"] > second["checks"][0]["least"] > third["checks"][0]["least"]
    by_times = {one["times"]: one for one in found["harms"]}
    assert by_times[10]["step"] == 2
    assert 3 < by_times[10]["failed"] < 10
    lines = flag("rollout", "plan", *SEQUENTIAL).stdout.splitlines()
    assert "  foretold   at 100 requests an hour, as in the last 1d: error_rate 1 %" in lines
    assert any("past its longest bake" in line for line in lines)
    assert any("error_rate 10 times as high: taken back at step 2" in line for line in lines)


def test_without_traffic_nothing_is_foretold_and_the_plan_is_shown(flag):
    done = flag("rollout", "plan", *SEQUENTIAL)
    assert "there was no traffic lately" in done.stderr
    assert done.stdout.startswith("agent  on  canary")
    assert flag.json("rollout", "plan", *SEQUENTIAL)["forecast"] is None
    flag("rollout", "plan", *SEQUENTIAL, "--lookback", "0s", exit_code=2)


@pytest.mark.rule("R3")
def test_a_plan_with_errors_is_refused_with_all_of_them(flag):
    words = ("rollout", "start", "--flag", "agent", "--steps", "10,5", "--bake", "1h")
    done = flag(*words, "--json", exit_code=6)
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "PlanRefused"
    assert len(error["problems"]) == 2
    assert "error: steps[1]" in done.stderr
    assert "no guardrail" in done.stderr
    assert exposure(flag) == "on at 0 %"


@pytest.mark.parametrize(
    "words, said",
    [
        ((), "name a plan's file"),
        (("rollout.toml", "--bake", "1h"), "--bake stands beside rollout.toml"),
        (("--steps", "1,100"), "--flag KEY"),
    ],
)
def test_a_plan_is_a_file_or_options(plan, words, said):
    assert said in plan("rollout", "start", *words, exit_code=2).stderr


@pytest.mark.rule("X1")
def test_a_file_with_faults_names_them_with_their_lines(flag):
    (flag.folder / "bad.toml").write_text('flag = "agent"\nstep = [1]\nbake = "soon"\n')
    done = flag("rollout", "start", "bad.toml", exit_code=1)
    assert "bad.toml:2" in done.stderr
    assert "bad.toml:3" in done.stderr


@pytest.mark.rule("K5")
def test_a_killed_flag_is_not_rolled_out(flag):
    flag("kill", "agent", "--reason", "errors")
    flag("rollout", "start", "--flag", "agent", *SLOW, exit_code=6)
    assert flag.json("rollout", "list")["rollouts"] == []


# While it runs


@pytest.mark.rule("R3")
def test_nothing_moves_without_a_controller_and_it_says_so(flag):
    done = flag("rollout", "start", "--flag", "agent", *SLOW)
    assert done.stdout.startswith("STARTED  agent  ")
    assert NOBODY in done.stderr
    assert NOBODY in flag("rollout", "status", "agent").stdout
    assert exposure(flag) == "on at 0 %"


def test_a_controller_once_moves_what_is_due(moving):
    found = moving.json("rollout", "status")
    assert (found["phase"], found["step"], found["percent"]) == ("progressing", 1, 1.0)
    assert exposure(moving) == "on at 1 %"
    assert moving("controller", "run", "--once").stdout == "0 looks, 0 writes\n"


def test_it_is_listed(moving):
    (row,) = moving("rollout", "list", "--live").stdout.splitlines()[1:]
    assert "agent  on       progressing  1/3   1 %" in row
    moving("rollout", "cancel", "agent", "--reason", "by hand")
    assert moving("rollout", "list", "--live").stdout == ""
    assert "stopped" in moving("rollout", "list").stdout


def test_without_a_name_the_only_live_one_is_meant(moving):
    assert moving.json("rollout", "status")["flag"] == "agent"
    moving("flags", "create", "other", "--percent", "0")
    moving("rollout", "start", "--flag", "other", *SLOW)
    assert "agent" in moving("rollout", "explain", exit_code=2).stderr
    moving("rollout", "cancel", "agent", "--reason", "x")
    assert moving.json("rollout", "explain")["rollout"]["flag"] == "other"


def test_without_any_rollout_it_says_how_to_see_one(flag):
    assert "downhaul rollout plan" in flag("rollout", "status", exit_code=1).stderr
    assert "downhaul rollout plan" in flag("rollout", "list").stderr
    assert "rollout list" in flag("rollout", "status", "agent", exit_code=1).stderr


@pytest.mark.rule("R4")
def test_a_pause_takes_effect_at_once_and_a_resume_needs_a_controller(moving):
    done = moving("rollout", "pause", "agent", "--reason", "INC-1")
    assert done.stdout.splitlines()[0].endswith(": paused")
    assert phase(moving) == "paused"
    assert "A person asked for it: INC-1" in done.stdout
    moving("rollout", "resume", "agent", exit_code=5)
    assert "resume: no controller took it yet" in moving("rollout", "status").stdout
    moving("controller", "run", "--once")
    assert phase(moving) == "progressing"


def test_a_promotion_that_comes_too_late_promotes_nothing(moving):
    moving("rollout", "promote", "agent", "--step", "2", exit_code=5)
    moving("controller", "run", "--once")
    assert moving.json("rollout", "status")["step"] == 1
    moving("rollout", "promote", "agent", "--step", "1", exit_code=5)
    moving("controller", "run", "--once")
    assert moving.json("rollout", "status")["step"] == 2
    assert exposure(moving) == "on at 10 %"


@pytest.mark.rule("R8")
def test_a_rollback_needs_a_reason_and_no_controller(moving):
    moving("rollout", "rollback", "agent", exit_code=2)
    done = moving("rollout", "rollback", "agent", "--reason", "INC-2")
    assert "off, and restored as it was" in done.stdout.splitlines()[0]
    assert "✔ exposure off" in done.stdout
    assert phase(moving) == "rolled_back"
    assert exposure(moving) == "on at 0 %"
    moving("rollout", "rollback", "agent", "--reason", "again", exit_code=6)


@pytest.mark.rule("R8")
def test_what_somebody_else_changed_stops_the_restore_until_it_is_overwritten(moving):
    moving("flags", "target", "agent", "--add", "boss")
    done = moving("rollout", "rollback", "agent", "--reason", "INC-2")
    assert "somebody changed the flag since" in done.stdout
    assert "--overwrite" in done.stdout
    found = moving.json("rollout", "status")
    assert (found["phase"], found["act"], found["percent"]) == ("latched", "off", 0.0)
    assert exposure(moving).startswith("off")
    done = moving("rollout", "rollback", "agent", "--reason", "mine", "--overwrite")
    assert phase(moving) == "rolled_back"
    assert exposure(moving) == "on at 0 %"


@pytest.mark.rule("K5")
def test_a_kill_ends_it(flag):
    flag("rollout", "start", "--flag", "agent", *SLOW, "--interval", "10ms")
    flag("controller", "run", "--once")
    flag("kill", "agent", "--reason", "refund loop")
    flag("controller", "run", "--once")
    done = flag("rollout", "status", "agent")
    assert "✖ stopped" in done.stdout
    assert "refund loop" in done.stdout


@pytest.mark.rule("R8")
def test_a_completed_one_is_reverted(completed):
    assert exposure(completed) == "on at 100 %"
    done = completed("rollout", "revert", "agent", "--reason", "numbers fell")
    assert phase(completed) == "reverted"
    assert "✔ restored as it was" in done.stdout
    assert exposure(completed) == "on at 0 %"


@pytest.mark.rule("R5")
def test_without_requests_it_says_which_it_needs(plan):
    (plan.folder / "rollout.toml").write_text(f'interval = "10ms"\n{PLAN}')
    plan("rollout", "start", "rollout.toml")
    plan("controller", "run", "--once")
    plan("controller", "run", "--once")
    said = plan("rollout", "explain", "agent").stdout
    assert "guardrail  error_rate <= 5 %  no data  no requests (needs 50)" in said
    assert "requests for error_rate <= 5 %: none were seen" in said


@pytest.mark.rule("R4", "R6")
def test_a_guardrail_takes_it_back_and_says_what_it_saw(plan):
    (plan.folder / "rollout.toml").write_text(f'interval = "10ms"\n{PLAN}')
    plan("rollout", "start", "rollout.toml")
    plan("controller", "run", "--once")
    observe(plan, requests=60, errors=12)
    until = time.monotonic() + 20
    while phase(plan) == "progressing":
        assert time.monotonic() < until
        time.sleep(0.1)
        plan("controller", "run", "--once")
    shown = plan("rollout", "status", "agent", "--wait", exit_code=3).stdout
    assert "✖ rolled back" in shown
    assert "error_rate 20 % BAD" in shown
    assert exposure(plan) == "on at 0 %"
    said = plan("rollout", "explain", "agent").stdout
    assert "error_rate <= 5 %  regressed  12 errors in 60 requests: 20 %" in said


def observe(shell, requests, errors, *, ago=0):
    """Log requests of the variant, some of which failed, that came so many seconds ago."""
    with connect_operator(resolve_settings()) as operator:
        rows = [
            RequestRow(f"r{number}", "agent", "on", "split", number >= errors, number < errors, 5.0)
            for number in range(requests)
        ]
        database = operator.control.rollouts.database
        RequestLog(database, operator.environment).write(rows)
        log = database.tables.requests
        earlier = update(log).values(logged_at=log.c.logged_at - ago * 1_000_000)
        with database.writing() as connection:
            connection.execute(earlier)


# Told, and waited for


@pytest.mark.rule("R2", "X4")
def test_explaining_a_moment_tells_what_was_seen_and_made_of_it(plan):
    (plan.folder / "rollout.toml").write_text(f'interval = "10ms"\n{PLAN}')
    plan("rollout", "start", "rollout.toml")
    plan("controller", "run", "--once")
    observe(plan, requests=60, errors=12)
    until = time.monotonic() + 20
    while phase(plan) == "progressing":
        assert time.monotonic() < until
        time.sleep(0.1)
        plan("controller", "run", "--once")
    now = plan.json("rollout", "explain", "agent")
    assert now["at"] is None
    look = now["look"]
    assert (look["action"], look["step"], look["phase"]) == ("off", 1, "rolling_back")
    assert look["arms"]["on"]["requests"] == 60
    assert look["arms"]["on"]["errors"] == 12
    assert look["query"] == "requests of agent served by split"
    assert [one["verdict"] for one in look["findings"]] == ["regressed"]
    assert "What was counted" in plan("rollout", "explain", "agent").stdout
    at_once = plan("rollout", "explain", "agent", "--at", "0s").stdout.splitlines()
    assert at_once[0].startswith("agent: rollout ")
    for line in (
        "  query  requests of agent served by split",
        "  on          60 requests, 12 in error, 5 ms in the mean",
        "  decided: off",
    ):
        assert line in at_once
    assert any("error_rate <= 5 %  regressed  12 errors in 60 requests" in one for one in at_once)
    early = plan("rollout", "explain", "agent", "--at", "2h").stdout
    assert "it was not there yet" in early
    assert "What happened next" in early
    for wrong, said in (("noon", "is no moment"), ("2026-03-02T09:00", "has no UTC offset")):
        assert said in plan("rollout", "explain", "agent", "--at", wrong, exit_code=2).stderr


@pytest.mark.rule("X4")
def test_explaining_tells_who_did_what(moving):
    moving("rollout", "pause", "agent", "--reason", "INC-1", "--actor", "bo")
    lines = moving("rollout", "explain", "agent").stdout.splitlines()
    assert lines[1] == '"v2 goes out"'
    assert any("started" in line and "controller" in line for line in lines)
    assert any(line.endswith("paused   bo          INC-1") for line in lines)


def test_the_audit_tells_it_all_by_flag(moving):
    moving("rollout", "rollback", "agent", "--reason", "INC-2")
    records = moving.json("audit", "--flag", "agent")["records"]
    assert {one["flag"] for one in records} == {"agent"}
    actions = [one["action"] for one in records if one["entity"] == "rollout"]
    assert actions[:2] == ["planned", "started"]
    assert actions[-1] == "rolled_back"


def test_waiting_for_what_has_ended_tells_how(completed):
    ways = ((), ("-w",), ("--json",), ("-w", "--json"))
    for words in ways:
        assert completed("rollout", "status", "agent", "--wait", *words).stdout
    completed("rollout", "revert", "agent", "--reason", "numbers fell")
    for words in ways:
        completed("rollout", "status", "agent", "--wait", *words, exit_code=3)


def test_waiting_ends_at_a_pause_and_in_time(moving):
    done = moving("rollout", "status", "--wait", "--timeout", "0s", exit_code=5)
    assert "has not come to an end" in done.stderr
    moving("rollout", "pause", "agent")
    moving("rollout", "status", "--wait", exit_code=4)


@pytest.mark.parametrize(
    "words, said",
    [
        (("--timeout", "5m"), "--timeout says nothing without --wait"),
        (("--wait", "--timeout", "soon"), "is no time"),
    ],
)
def test_a_timeout_that_means_nothing_is_a_usage_error(moving, words, said):
    assert said in moving("rollout", "status", *words, exit_code=2).stderr


def test_watching_what_has_ended_shows_it_and_ends(completed):
    lines = completed("rollout", "status", "agent", "-w").stdout.splitlines()
    assert "✔ completed" in lines[0]
    assert lines[1].startswith("agent  on  default")
    (document,) = completed("rollout", "status", "agent", "-w", "--json").stdout.splitlines()
    assert json.loads(document)["phase"] == "completed"


@pytest.mark.rule("X1")
def test_a_provider_without_a_database_says_where_rollouts_live(shell):
    (shell.folder / "flags.json").write_text(json.dumps({"downhaul": 1, "flags": []}))
    done = shell("rollout", "list", "--url", "file:flags.json", exit_code=6)
    assert "DOWNHAUL_CONTROL_URL" in done.stderr


# Named users first


def test_a_release_is_planned_started_and_shown_with_who_is_named(flag):
    named = ("--targets", "ana,ben", "--segments", "staff", "--preview", "30m", *SLOW)
    refused = flag("rollout", "start", "--flag", "agent", *named, exit_code=6)
    assert 'release.segments: there is no segment "staff"' in refused.stderr
    flag("segments", "set", "staff", "--include", "eve")
    lines = flag("rollout", "plan", "--flag", "agent", *named).stdout.splitlines()
    assert lines[0] == "agent  on  release"
    assert "named: ana, ben and segment staff" in lines[2]
    flag("rollout", "rehearse", "--flag", "agent", *named)
    flag("rollout", "start", "--flag", "agent", *named)
    flag("controller", "run", "--once")
    assert "step 1/4   ana, ben and segment staff" in flag("rollout", "status").stdout
    first, *_ = flag.json("rollout", "status")["steps"]
    assert (first["targets"], first["segments"]) == (["ana", "ben"], ["staff"])
    assert flag.json("eval", "agent", "-c", "targetingKey=eve")["value"] is True
    flag("rollout", "rollback", "agent", "--reason", "enough")
    assert flag.json("eval", "agent", "-c", "targetingKey=eve")["value"] is False
