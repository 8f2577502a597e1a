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
