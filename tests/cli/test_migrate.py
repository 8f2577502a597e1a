"""Moving flags from one backend to another on the command line."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from downhaul.backends.sqlite import SqliteProvider
from downhaul.client.flags import Flags
from downhaul.config import resolve
from downhaul.plugins import build_provider

CONFIG = """
environment = "production"
[provider]
url = "sqlite:///old.db"
[backends.new]
url = "sqlite:///new.db"
[backends.unset]
url = "launchdarkly:"
sdk_key = { env = "NO_SUCH_KEY" }
[backends.read-only]
url = "file:flags.json"
[control]
url = "sqlite:///control.db"
"""
PLAN = ("migrate", "plan", "--from", "provider", "--to", "new", "-o", "plan.json")

# Runs the command line, and dies by SIGKILL with its Nth write to the target done.
DYING = """
import os, signal, sys
from downhaul.backends.sqlite import SqliteProvider
from downhaul.cli.app import cli

left = int(sys.argv.pop(1))
for verb in ("put", "switch_on"):
    def dying(self, *args, _verb=getattr(SqliteProvider, verb), **keywords):
        global left
        made = _verb(self, *args, **keywords)
        if self.database.safe_url.endswith("new.db"):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return made
    setattr(SqliteProvider, verb, dying)
cli(prog_name="downhaul")
"""


@pytest.fixture
def two(shell):
    """A shell with two stores, of which the first has three flags."""
    (shell.folder / "downhaul.toml").write_text(CONFIG)
    for store in ("old", "control"):
        shell("db", "upgrade", "--url", f"sqlite:///{store}.db")
    shell("flags", "create", "agent", "--on", "--percent", "25")
    shell("flags", "create", "checkout", "--on", "--allow", "u1")
    shell("flags", "create", "old")
    return shell


def flags_in(folder, store):
    provider = SqliteProvider(folder / f"{store}.db", environment="production")
    try:
        found = provider.list().flags.values()
        return {one.key: (one.on, one.default, one.targets) for one in found}
    finally:
        provider.close()


def test_a_plan_is_shown_written_applied_and_applied_again(two):
    shown = two(*PLAN, "--detailed-exitcode", exit_code=2)
    assert "+  agent" in shown.stdout
    assert "Plan: 3 to create" in shown.stderr
    one = two("migrate", "show", "plan.json", "agent")
    assert '"weight": 25000' in one.stdout
    first = two.json("migrate", "apply", "plan.json")
    assert {row["outcome"] for row in first["rows"]} == {"written"}
    assert "No changes." in two("migrate", "apply", "plan.json").stderr
    shown = two(*PLAN, "--detailed-exitcode")
    assert "3 unchanged" in shown.stderr


@pytest.mark.rule("M2")
@pytest.mark.parametrize("writes", [1, 3, 4])
def test_after_a_kill_9_it_goes_on_to_the_same_end(two, writes):
    two(*PLAN)
    script = [sys.executable, "-c", DYING, str(writes), "migrate", "apply", "plan.json"]
    environ = {**os.environ, "DOWNHAUL_ACTOR": "ana"}
    died = subprocess.run(script, cwd=two.folder, env=environ, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    done = two("migrate", "apply", "plan.json", exit_code=6)
    assert "--resume goes on from there" in done.stderr
    two("migrate", "apply", "plan.json", "--resume")
    before, after = flags_in(two.folder, "old"), flags_in(two.folder, "new")
    assert after.keys() == before.keys()
    for key, (on, default, targets) in before.items():
        assert after[key][0] == on
        assert after[key][2] == targets
        assert getattr(after[key][1], "weights", after[key][1]) == getattr(
            default, "weights", default
        )


@pytest.mark.rule("M2")
def test_a_stale_plan_ends_with_4_and_writes_nothing(two):
    two(*PLAN)
    two("flags", "percent", "agent", "50")
    done = two("migrate", "apply", "plan.json", exit_code=4)
    assert 'flag "agent" changed at provider' in done.stderr
    assert not flags_in(two.folder, "new")


def test_what_was_moved_is_taken_back(two):
    two(*PLAN)
    two("migrate", "apply", "plan.json")
    two("flags", "on", "old", "--url", "sqlite:///new.db")
    done = two("migrate", "revert", "plan.json", exit_code=3)
    assert "somebody changed it since" in done.stdout
    assert flags_in(two.folder, "new").keys() == {"old"}


@pytest.mark.parametrize(
    "words, code, said",
    [
        (("--from", "provider", "--to", "provider"), 1, "are one backend"),
        (("--from", "nosuch", "--to", "new"), 1, 'no backend is called "nosuch"'),
        (("--from", "unset", "--to", "new"), 1, "NO_SUCH_KEY is not set"),
        (("--from", "sqlite:///gone.db", "--to", "new"), 5, "gone.db"),
        (("--from", "provider", "--to", "nobody://x"), 1, "nobody"),
    ],
)
def test_a_side_that_is_none_is_told_before_anything_happens(two, words, code, said):
    assert said in two("migrate", "plan", *words, exit_code=code).stderr


def test_a_target_that_takes_no_writes_is_told_before_any(two):
    (two.folder / "flags.json").write_text('{"downhaul": 1, "flags": []}')
    two("migrate", "plan", "--from", "provider", "--to", "read-only", "-o", "plan.json")
    done = two("migrate", "apply", "plan.json", exit_code=6)
    assert "takes no writes" in done.stderr


def test_a_plan_of_another_environment_is_refused(two):
    two(*PLAN)
    done = two("migrate", "apply", "plan.json", "--environment", "staging", exit_code=6)
    assert 'the plan is for environment "production"' in done.stderr


def test_a_plan_of_another_place_is_refused(two):
    two(*PLAN)
    text = (two.folder / "downhaul.toml").read_text()
    (two.folder / "downhaul.toml").write_text(text.replace("new.db", "newer.db"))
    assert "is another now" in two("migrate", "apply", "plan.json", exit_code=6).stderr


def test_a_loss_is_refused_until_it_is_accepted(two):
    plan = two.folder / "plan.json"
    two(*PLAN, "--bucketing", "native")
    data = json.loads(plan.read_text())
    assert [one["change"] for one in data["items"] if one["key"] == "agent"] == [0]
    data["items"][0]["losses"] = [
        {
            "flag": "agent",
            "path": "flags.agent",
            "fidelity": "partial",
            "reason": "37.5% of all users get another variant",
            "fragment": None,
            "loss": "rebucket",
        }
    ]
    plan.write_text(json.dumps(data))
    done = two("migrate", "apply", "plan.json", exit_code=6)
    assert "--accept-loss rebucket" in done.stderr
    two("migrate", "apply", "plan.json", "--accept-loss", "rebucket")


def test_the_history_of_the_target_says_who_and_why(two):
    two(*PLAN)
    two("migrate", "apply", "plan.json", "--reason", "we leave")
    told = two.json("flags", "history", "agent", "--url", "sqlite:///new.db")
    assert {(one["actor"], one["reason"]) for one in told["changes"]} == {("ana", "we leave")}


@pytest.mark.rule("M3")
def test_what_agrees_is_noted_and_what_differs_is_named_and_held(two):
    two(*PLAN)
    two("migrate", "apply", "plan.json")
    sides = ("--from", "provider", "--to", "new")
    said = two.json("migrate", "verify", *sides)["report"]
    assert said["passed"] is True
    assert {one["flag"] for one in said["flags"]} == {"agent", "checkout", "old"}
    assert all(one["in_step"] for one in two.json("migrate", "status")["moves"])
    two("migrate", "cutover", "agent")

    two("flags", "percent", "agent", "50", "--url", "sqlite:///new.db")
    done = two("migrate", "verify", *sides, "agent", "--junit", "junit.xml", exit_code=3)
    assert "parity is" in done.stderr
    assert "<failure" in (two.folder / "junit.xml").read_text()
    assert "cases differ" in two("migrate", "cutover", "agent", exit_code=6).stderr
    two("migrate", "sync", "agent")
    two("migrate", "verify", *sides)
    assert two.json("migrate", "cutover", "agent")["moves"][0]["stage"] == "shadow"
    live = two.json("migrate", "cutover", "agent", "--percent", "10")["moves"][0]
    assert (live["stage"], live["percent"]) == ("live", 10)
    back = two.json("migrate", "back", "agent")["moves"][0]
    assert (back["stage"], back["percent"]) == ("shadow", 100)


@pytest.mark.rule("M3")
def test_recorded_contexts_are_asked_about_too(two):
    two(*PLAN)
    two("migrate", "apply", "plan.json")
    (two.folder / "users.csv").write_text("targetingKey,plan\nu1,pro\nu2,free\n")
    sides = ("--from", "provider", "--to", "new")
    without = two.json("migrate", "verify", *sides, "agent")["report"]["cases"]
    with_them = two.json("migrate", "verify", *sides, "agent", "--traffic", "users.csv")["report"]
    assert with_them["cases"] == without + 2
    assert "nosuch" in two("migrate", "verify", *sides, "nosuch", exit_code=1).stderr


def test_a_flag_that_serves_somebody_is_not_taken_away(two):
    two(*PLAN)
    two("migrate", "apply", "plan.json")
    for _ in range(3):
        two("migrate", "cutover", "agent", "--unverified")
    done = two("migrate", "revert", "plan.json", exit_code=3)
    assert "it serves users already" in done.stdout
    assert flags_in(two.folder, "new").keys() == {"agent"}
    assert [one["key"] for one in two.json("migrate", "status")["moves"]] == ["agent"]


def at_stage(two, key, moves):
    two(*PLAN)
    two("migrate", "apply", "plan.json")
    for _ in range(moves):
        two("migrate", "cutover", key, "--unverified")


@pytest.mark.rule("M2")
def test_what_the_target_answers_for_already_is_not_written_over(two):
    two(*PLAN)
    (two.folder / "early.json").write_text((two.folder / "plan.json").read_text())
    two("migrate", "apply", "plan.json")
    for _ in range(3):
        two("migrate", "cutover", "agent", "--unverified")
    two("flags", "percent", "agent", "90", "--url", "sqlite:///new.db")
    shown = two(*PLAN)
    assert "new answers for it already (live)" in shown.stdout
    done = two("migrate", "apply", "early.json", exit_code=6)
    assert "nothing is to be written over that" in done.stderr
    assert flags_in(two.folder, "new")["agent"][1].weights[0].weight == 90_000


def test_a_flag_that_is_on_another_way_is_not_sent_on_a_second_one(two):
    at_stage(two, "agent", 1)
    two("migrate", "plan", "--from", "provider", "--to", "sqlite:///third.db", "-o", "other.json")
    done = two("migrate", "apply", "other.json", exit_code=6)
    assert "is on its way from provider to new (dual-write)" in done.stderr
    assert "migrate forget agent" in done.stderr
    two("migrate", "back", "agent")
    two("migrate", "forget", "agent", "checkout", "old")
    two("migrate", "apply", "other.json")


@pytest.mark.rule("M2")
def test_nothing_is_taken_back_while_nobody_can_say_who_serves(two):
    at_stage(two, "agent", 3)
    control = two.folder / "control.db"
    kept = control.read_bytes()
    control.write_bytes(b"no database" * 100)
    two("migrate", "revert", "plan.json", exit_code=5)
    assert flags_in(two.folder, "new").keys() == {"agent", "checkout", "old"}
    control.write_bytes(kept)


@pytest.mark.rule("M4")
def test_what_proves_two_sides_alike_proves_nothing_of_others(two):
    two(*PLAN)
    two("migrate", "apply", "plan.json")
    two("flags", "export")
    third = ("--from", "provider", "--to", "sqlite:///third.db")
    two("migrate", "plan", *third, "-o", "other.json")
    two("db", "upgrade", "--url", "sqlite:///third.db")
    for key in ("agent", "checkout", "old"):
        two("flags", "create", key, "--url", "sqlite:///third.db")
    two("migrate", "verify", *third, exit_code=3)
    assert not any(one["unsynced"] for one in two.json("migrate", "status")["moves"])
    two("migrate", "verify", *third, "old")
    assert not any(one["in_step"] for one in two.json("migrate", "status")["moves"])


@pytest.mark.rule("M2")
def test_who_follows_a_retired_flag_is_served_as_before(two):
    """A cleanup is no deploy: the application still has the wrapper."""
    at_stage(two, "checkout", 5)
    settings = resolve(
        {
            "environment": "production",
            "provider": {
                "url": f"sqlite:///{two.folder}/old.db",
                "wrap": ["staged"],
                "staged": {"to": f"sqlite:///{two.folder}/new.db"},
            },
            "control": {"url": f"sqlite:///{two.folder}/control.db"},
        },
        environ={},
    )
    (two.folder / "code").mkdir()
    with Flags.over(build_provider(settings), ready_within=10) as flags:
        assert flags.evaluate("checkout", "u1", default=None).value is True
        two("migrate", "retire", "checkout", "--code", "code")
        assert "checkout" not in flags_in(two.folder, "old")
        heard = []
        flags.on_change(heard.append)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert flags.evaluate("checkout", "u1", default=None).value is True
            time.sleep(0.05)
    moved = {one["key"]: one for one in two.json("migrate", "status")["moves"]}["checkout"]
    assert (moved["stage"], moved["retired"]) == ("complete", True)
    assert "migrate sync checkout" in two("migrate", "back", "checkout", exit_code=6).stderr
    two("migrate", "sync", "checkout")
    assert "checkout" in flags_in(two.folder, "old")
    assert two.json("migrate", "back", "checkout")["moves"][0]["stage"] == "ramp-down"
