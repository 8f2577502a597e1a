"""Exercising the kill switch from the command line (rules K1, K2, K6)."""

import json

import pytest

from downhaul import Flags
from downhaul.client import receipts


@pytest.fixture
def followed(agent, monkeypatch):
    """A store that a client of this process follows."""
    monkeypatch.setattr(receipts, "FIRST", (0.0, 0.01))
    with Flags.connect(f"sqlite:///{agent.folder / 'downhaul.db'}", ready_within=10):
        for _ in range(1000):
            if agent.json("kill", "agent", "--reason", "x", "--dry-run")["blast"]["followers"][
                "known"
            ]:
                break
        yield agent


@pytest.mark.rule("K1", "K6")
def test_a_drill_says_who_obeyed_and_everybody_who_kills_sees_when_it_was(followed):
    done = followed("drill", "--reason", "game day")
    assert done.stdout.startswith("DRILLED  switch:drill:fleet  default  by ana")
    assert "  killed   1 of 1 process obeyed within 0." in done.stdout
    assert "  lifted   1 of 1 process" in done.stdout
    assert "last exercised today (0." in followed("kills").stderr
    assert "1 of 1 process" in followed("kill", "agent", "--reason", "x", "--dry-run").stdout
    assert followed.json("kills")["drill"]["confirmed"] == 1
    found = {one["name"]: one for one in followed.json("doctor")["checks"]}
    assert (found["drill"]["status"], found["receipts"]["status"]) == ("ok", "ok")


@pytest.mark.rule("K5")
def test_a_real_drill_asks_and_gives_back_what_it_took(followed):
    followed("drill", "agent", "--real", exit_code=2)
    followed("drill", "--real", "--yes", exit_code=2)
    before = followed.json("flags", "show", "agent")["flag"]
    assert followed.json("drill", "agent", "--real", "--yes")["ok"]
    assert followed.json("flags", "show", "agent")["flag"] == before
    assert followed.json("kills")["kills"] == []


@pytest.mark.rule("K6")
def test_a_drill_that_reaches_nobody_is_a_check_that_failed(agent):
    done = agent("drill", exit_code=3)
    assert done.stdout.startswith("DRILL FAILED")
    assert "no process follows this store" in done.stderr
    found = {one["name"]: one for one in agent.json("doctor")["checks"]}
    assert found["drill"]["status"] == "warn"
    assert "downhaul drill" in found["drill"]["hint"]
    assert not agent.json("drill", exit_code=3)["ok"]


def test_a_store_that_was_never_drilled_is_a_warning_of_the_doctor(agent):
    found = {one["name"]: one for one in agent.json("doctor")["checks"]}
    assert found["drill"]["status"] == "warn"
    assert "never exercised" in found["drill"]["message"]


@pytest.mark.rule("K2")
def test_every_flag_is_asked_in_killed_state_without_killing_any(agent):
    agent("flags", "create", "tone", "--kind", "string", "--variant", "warm=w", "--variant",
          "curt=c", "--off-variant", "curt", "--serve", "warm", "--on")  # fmt: skip
    found = agent.json("drill", "--offline")
    assert found["ok"]
    assert [(one["key"], one["variant"]) for one in found["flags"]] == [
        ("agent", "off"),
        ("tone", "curt"),
    ]
    assert agent.json("kills")["kills"] == []
    assert "tone" not in agent("drill", "agent", "--offline").stdout
    agent("drill", "agemt", "--offline", exit_code=2)
    agent("drill", "--offline", "--real", exit_code=2)


@pytest.mark.rule("K2")
def test_a_document_is_asked_without_any_store_and_fails_where_a_kill_leaves_it_on(shell):
    flags = [
        {"key": "agent", "on": True, "default": "on"},
        {"key": "stuck", "on": True, "default": "on", "off_variant": "on"},
    ]
    (shell.folder / "flags.json").write_text(json.dumps({"downhaul": 1, "flags": flags}))
    done = shell("drill", "--file", "flags.json", exit_code=3)
    assert "a kill leaves it on" in done.stdout
    assert "stuck" in done.stderr
    assert not (shell.folder / "downhaul.db").exists()


@pytest.mark.rule("K2")
def test_what_is_only_declared_is_asked_as_well(shell):
    (shell.folder / "downhaul.toml").write_text(
        '[provider]\nurl = "unleash+http://127.0.0.1:1/api"\ntoken = "x"\n'
        '[flags.agent]\nkind = "boolean"\n[flags.tone]\nkind = "string"\n'
    )
    found = {one["key"]: one for one in shell.json("drill", "--offline")["flags"]}
    assert (found["agent"]["value"], found["agent"]["problem"]) == (False, "")
    assert "own default" in found["tone"]["advice"]
