"""Kills on the command line (rules K1 to K6)."""

import json

import pytest


def share(shell):
    found = shell.json("flags", "show", "agent")["flag"]
    return found["default"]["split"][0]["weight"]


def answer(shell, key="agent", user="u1"):
    return shell.json("eval", key, "-c", f"targetingKey={user}", "--default", "false")


@pytest.mark.rule("K5", "K6")
def test_a_kill_says_what_was_and_how_to_undo_it(agent):
    lines = agent("kill", "agent", "--reason", "errors at 4 %").stdout.splitlines()
    assert lines[0].startswith("KILLED  agent  default  by ana  ")
    assert '  why      "errors at 4 %"' in lines
    assert "  was      on at 25 %" in lines
    assert "  serves   off, to everybody" in lines
    assert '  undo     downhaul revive agent --reason "..."' in lines
    assert share(agent) == 25_000


@pytest.mark.rule("K2")
def test_a_killed_flag_serves_its_off_variant_to_everybody(agent):
    agent("flags", "percent", "agent", "100")
    assert answer(agent)["value"] is True
    agent("kill", "agent", "--reason", "errors")
    found = answer(agent)
    assert (found["value"], found["reason"]) == (False, "KILLED")
    assert found["metadata"]["kill"]["reason"] == "errors"


@pytest.mark.rule("K6")
def test_killing_again_says_since_when(agent):
    agent("kill", "agent", "--reason", "errors")
    line = agent("kill", "agent", "--reason", "again", "--actor", "bo").stdout.splitlines()[0]
    assert line.startswith("already killed  agent  default  by ana  since ")
    assert len(agent.json("kills")["kills"]) == 1


@pytest.mark.rule("K5")
def test_a_missing_reason_is_a_usage_error_and_kills_nothing(agent):
    done = agent("kill", "agent", exit_code=2)
    assert "--reason" in done.stderr
    agent("kill", "agent", "--reason", " ", exit_code=6)
    assert agent.json("kills")["kills"] == []


@pytest.mark.rule("K4")
@pytest.mark.parametrize(
    "words, scope",
    [
        (["agent"], "agent"),
        (["--tag", "agents"], "tag:agents"),
        (["--switch", "loop"], "switch:loop"),
        (["--all", "--yes"], "*"),
    ],
)
def test_every_scope_is_killed_listed_and_revived(agent, words, scope):
    agent("kill", *words, "--reason", "errors")
    assert [one["scope"] for one in agent.json("kills")["kills"]] == [scope]
    assert scope in agent("kills").stdout
    agent("revive", *[one for one in words if one != "--yes"], "--reason", "fixed")
    assert agent.json("kills")["kills"] == []


@pytest.mark.rule("K5")
def test_killing_everything_needs_a_yes_without_a_terminal(agent):
    done = agent("kill", "--all", "--reason", "errors", exit_code=2)
    assert "--yes" in done.stderr
    assert agent.json("kills")["kills"] == []


@pytest.mark.parametrize(
    "words", [[], ["a", "--tag", "t"], ["--tag", "t", "--switch", "s"], ["--all", "a"]]
)
def test_a_kill_names_one_scope(agent, words):
    agent("kill", *words, "--reason", "errors", exit_code=2)


@pytest.mark.rule("K4")
def test_an_unknown_name_is_warned_about_and_killed(agent):
    done = agent("kill", "agemt", "--reason", "errors")
    assert 'did you mean "agent"?' in done.stderr
    assert agent.json("kills")["kills"][0]["scope"] == "agemt"


@pytest.mark.rule("K5")
def test_a_revive_starts_again_at_the_first_step(agent):
    agent("kill", "agent", "--reason", "errors")
    lines = agent("revive", "agent", "--reason", "fixed").stdout.splitlines()
    assert lines[0].startswith("REVIVED  agent")
    assert "  was      on at 25 %" in lines
    assert "  now      on at 1 %" in lines
    assert share(agent) == 1000


@pytest.mark.rule("K5")
def test_as_was_revives_as_it_was(agent):
    agent("kill", "agent", "--reason", "errors")
    agent("revive", "agent", "--reason", "fixed", "--as-was")
    assert share(agent) == 25_000


def test_a_dry_run_changes_nothing(agent):
    done = agent("kill", "--tag", "agents", "--reason", "errors", "--dry-run")
    assert done.stdout.startswith("would be killed  tag:agents")
    assert "agent" in done.stdout
    assert agent.json("kills")["kills"] == []


@pytest.mark.rule("K4")
def test_a_kill_is_of_one_environment_or_of_all(agent):
    agent("-e", "staging", "flags", "create", "agent")
    agent("kill", "agent", "--reason", "errors")
    assert agent.json("kills", "-e", "staging")["kills"] == []
    agent("kill", "agent", "--reason", "errors", "--all-environments")
    assert [one["environment"] for one in agent.json("kills", "-e", "staging")["kills"]] == ["*"]


@pytest.mark.rule("K3")
def test_a_local_kill_is_written_to_this_machines_file(agent):
    done = agent("kill", "agent", "--local", "--reason", "errors")
    assert "KILLED  agent  this machine" in done.stdout
    assert "agent" in (agent.folder / "kill").read_text()
    assert answer(agent)["reason"] == "KILLED"
    agent("revive", "agent", "--local", "--reason", "fixed")
    assert answer(agent)["reason"] != "KILLED"


@pytest.mark.rule("K3")
@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "nobody://installed.it"])
def test_a_local_kill_needs_no_store_and_no_driver(shell, url):
    shell("kill", "agent", "--local", "--reason", "errors", "--url", url)
    assert "agent" in (shell.folder / "kill").read_text()


@pytest.mark.rule("K3")
def test_a_local_kill_works_with_a_broken_configuration(shell):
    (shell.folder / "downhaul.toml").write_text("[provider]\nurl = { env = 'NOT_SET' }\n")
    shell("kill", "agent", "--local", "--reason", "errors")
    assert "agent" in (shell.folder / "kill").read_text()


@pytest.mark.rule("K1")
def test_where_there_is_no_control_store_it_says_what_to_do(shell):
    document = {"downhaul": 1, "flags": [{"key": "agent", "on": True, "default": "on"}]}
    (shell.folder / "flags.json").write_text(json.dumps(document))
    done = shell("kill", "agent", "--reason", "x", "--url", "file:flags.json", exit_code=6)
    assert "--local" in done.stderr


@pytest.mark.rule("K1")
def test_beside_a_backend_without_writes_the_overlay_alone_holds(shell):
    document = {"downhaul": 1, "flags": [{"key": "agent", "on": True, "default": "on"}]}
    (shell.folder / "flags.json").write_text(json.dumps(document))
    shell("db", "upgrade")
    env = {"DOWNHAUL_URL": "file:flags.json", "DOWNHAUL_CONTROL_URL": "sqlite:///downhaul.db"}
    done = shell("kill", "agent", "--reason", "errors", env=env)
    assert "takes no writes" in done.stdout
    found = shell.json("eval", "agent", "-c", "targetingKey=u1", env=env)
    assert found["reason"] == "KILLED"


# Receipts


def tells(shell, *, sequence=0, pid=812, application="web"):
    """Let a process tell that it follows the shell's store."""
    from downhaul.control.service import connect_operator, resolve_settings
    from downhaul.store.processes import Follower

    with connect_operator(resolve_settings(), actor="ana") as operator:
        who = Follower(f"id-{pid}", f"process-{pid}", "web-1", pid, application, "1")
        operator.control.processes.acknowledge(who, sequence, ago=0.0, again_in=60)


@pytest.mark.rule("K6")
def test_a_kill_says_who_was_not_heard_from_and_kills_goes_on_saying_it(agent):
    tells(agent)
    done = agent("kill", "agent", "--reason", "errors", "--wait", "50ms")
    line = next(one for one in done.stdout.splitlines() if one.startswith("  obeyed "))
    assert "0 of 1 process obeyed; not heard from: web-1:812 web (last seen" in line
    [kill] = agent.json("kills")["kills"]
    assert (kill["receipts"]["known"], kill["receipts"]["obeyed"]) == (1, 0)
    assert "0 of 1" in agent("kills").stdout
    tells(agent, sequence=kill["sequence"])
    found = agent.json("kill", "agent", "--reason", "errors", "--dry-run")["blast"]["followers"]
    assert found["applications"] == {"web": 1}
    [kill] = agent.json("kills")["kills"]
    assert kill["receipts"]["obeyed"] == 1


@pytest.mark.rule("K5", "K6")
def test_a_kill_that_is_not_to_wait_looks_for_no_receipts(agent):
    tells(agent)
    done = agent("kill", "agent", "--reason", "errors", "--no-wait")
    assert "obeyed" not in done.stdout
    assert agent.json("kill", "agent", "--reason", "x", "--no-wait")["receipts"] is None
    agent("kill", "agent", "--reason", "errors", "--wait", "soon", exit_code=2)


@pytest.mark.rule("K6")
def test_receipts_that_can_not_be_read_are_a_warning_and_the_kill_holds(agent):
    import sqlite3

    connection = sqlite3.connect(agent.folder / "downhaul.db")
    for table in ("processes", "kill_terms", "drills"):
        connection.execute(f"DROP TABLE downhaul_{table}")
    connection.commit()
    connection.close()
    done = agent("kill", "agent", "--reason", "errors", "--for", "1h")
    assert done.stdout.startswith("KILLED")
    assert "how many obey can't be read" in done.stderr
    assert "the kill stands until somebody revives it" in done.stderr
    assert [one["scope"] for one in agent.json("kills")["kills"]] == ["agent"]
    assert "would be killed" in agent("kill", "agent", "--reason", "x", "--dry-run").stdout
    agent("revive", "agent", "--reason", "fixed")


# What a kill would do


@pytest.mark.rule("K4", "K6")
def test_a_dry_run_shows_whom_a_kill_takes_what_from(agent):
    agent("flags", "create", "whole", "--on", "--tag", "agents", "--owner", "team-a")
    agent("flags", "create", "dark", "--tag", "agents")
    agent("flags", "create", "other", "--on")
    agent("rollout", "start", "--flag", "agent", "--unguarded", "test", "--steps", "50,100")
    tells(agent)
    done = agent("kill", "--tag", "agents", "--reason", "x", "--dry-run").stdout
    assert "  affects  3 flags: 1 for everybody, 1 for a part, 1 for nobody now" in done
    assert "  flag     whole  on for all  -> off  owner team-a" in done
    assert "  flag     agent  on at 25 %  -> off" in done
    assert "  ends     rollout " in done
    assert "  reaches  1 process (1 web)" in done
    assert "  drill    never exercised" in done
    assert "other" not in done
    blast = agent.json("kill", "--all", "--reason", "x", "--dry-run")["blast"]
    assert (len(blast["flags"]), blast["everybody"], blast["part"]) == (4, 2, 1)
    assert [one["flag"] for one in blast["rollouts"]] == ["agent"]
    assert agent.json("kills")["kills"] == []


# An end


@pytest.mark.rule("K5", "K6")
def test_a_kill_with_an_end_says_what_becomes_of_it(agent):
    done = agent("kill", "agent", "--reason", "errors", "--for", "2h")
    line = next(one for one in done.stdout.splitlines() if one.startswith("  until "))
    assert "(in 2h); then it stays, and people are asked: the flag was on at 25 %" in line
    assert "no controller is alive" in done.stderr
    [kill] = agent.json("kills")["kills"]
    assert (kill["ends"]["lifts"], kill["ends"]["outcome"]) == (False, "")
    assert "agent: until" in agent("kills").stdout
    agent("kill", "agent", "--reason", "errors", "--for", "never", exit_code=2)
    agent("kill", "agent", "--reason", "errors", "--for", "2h", "--local", exit_code=2)


@pytest.mark.rule("K5")
def test_a_controller_from_cron_lifts_what_has_ended(agent):
    agent("flags", "percent", "agent", "1")
    agent("kill", "agent", "--reason", "errors", "--for", "10ms")
    agent("controller", "run", "--once")  # which tells of the end ...
    agent("controller", "run", "--once")  # ... and then lifts it
    assert agent.json("kills")["kills"] == []
    [record] = agent.json("flags", "history", "agent", "--limit", "1")["changes"]
    assert (record["action"], record["actor"]) == ("revive", "controller (ana)")


# A policy


POLICY = """
[policy]
revive_needs_second_person = true
may_promote_full = ["cy"]
refuse_login_names = true
"""


@pytest.fixture
def strict(agent):
    """A shell whose configuration has a policy."""
    (agent.folder / "downhaul.toml").write_text(POLICY)
    return agent


@pytest.mark.rule("K5", "X4")
def test_two_people_revive_where_the_policy_wants_two(strict):
    strict("kill", "agent", "--reason", "errors")
    done = strict("revive", "agent", "--reason", "fixed", exit_code=6)
    assert "killed by ana" in done.stderr
    assert "--request" in done.stderr
    done = strict("revive", "agent", "--reason", "fixed in 4.2.1", "--request")
    assert done.stdout.startswith("ASKED  agent  by ana")
    assert "ana asks to revive it since" in strict("kills").stdout
    assert strict.json("kills")["kills"][0]["request"]["reason"] == "fixed in 4.2.1"
    strict("revive", "agent", "--approve", "--reason", "ok", exit_code=6)
    done = strict("revive", "agent", "--approve", "--reason", "looked at it", "--actor", "bo")
    assert done.stdout.startswith("REVIVED  agent  default  by bo")
    assert strict.json("kills")["kills"] == []
    assert "request_revive" in strict("flags", "history", "agent").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--request", "--approve"],
        ["--request", "--local"],
        ["--approve", "--dry-run"],
        ["--approve", "--as-was"],
    ],
)
def test_one_asks_or_approves_and_nothing_else(agent, words):
    agent("revive", "agent", "--reason", "x", *words, exit_code=2)


@pytest.mark.rule("K5", "X4")
def test_a_policy_refuses_raising_in_full_and_login_names_and_no_kill(strict, monkeypatch):
    done = strict("flags", "percent", "agent", "100", exit_code=6)
    assert "may_promote_full" in done.stderr
    strict("flags", "percent", "agent", "100", "--actor", "cy")
    monkeypatch.delenv("DOWNHAUL_ACTOR")
    done = strict("flags", "set", "agent", "--owner", "x", exit_code=6)
    assert "only the login name" in done.stderr
    strict("kill", "agent", "--reason", "errors")
    strict("flags", "off", "agent")
    strict("flags", "percent", "agent", "5")


@pytest.mark.rule("K5")
def test_a_mistake_in_a_policy_stops_no_kill(agent):
    (agent.folder / "downhaul.toml").write_text("[policy]\nmay_revive = 7\n")
    done = agent("kill", "agent", "--reason", "errors")
    assert done.stdout.startswith("KILLED")
    assert "[policy] can't be read" in done.stderr
    agent("flags", "off", "agent")
    assert "[policy]" in agent("kills").stderr
    done = agent("revive", "agent", "--reason", "fixed", exit_code=1)
    assert "downhaul.toml:2" in done.stderr
    assert len(agent.json("kills")["kills"]) == 1
    (agent.folder / "downhaul.toml").write_text("[policy]\nmay_revive = 7\n[control]\nurl = 5\n")
    assert "control.url" in agent("kill", "agent", "--reason", "x", exit_code=1).stderr
