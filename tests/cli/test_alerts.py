"""Alerts on the command line: who is told, whether it works, and what a kill says of it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from alert_servers import BlackHole, Web, served

from downhaul import Flags

PLANTED = "s3cr3t-Planted"
PYTHON = (sys.executable, "-m", "downhaul")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Try again at once, in this process."""
    monkeypatch.setattr("downhaul.control.dispatcher.retry_in", lambda _attempts: 0.01)


@pytest.fixture
def web():
    with served(Web()) as web:
        yield web


@pytest.fixture
def configured(agent):
    """A function that writes sinks into the configuration."""

    def write(*sinks, before=""):
        tables = [f"[alerts.sinks.{name}]\n{text}" for name, text in sinks]
        text = "\n".join(["[alerts]", before, *tables])
        (agent.folder / "downhaul.toml").write_text(text)
        return agent

    return write


def two(web, path="/alerts"):
    """A sink, and another that does not depend on it."""
    return (
        ("hook", f'url = "{web.url(path=path)}"'),
        ("json", f'url = "{web.url("json").replace("127.0.0.1", "localhost")}"'),
    )


def deliveries(shell):
    with closing(sqlite3.connect(shell.folder / "downhaul.db")) as connection:
        return connection.execute(
            "SELECT sink, state FROM downhaul_outbox_deliveries ORDER BY announcement, sink"
        ).fetchall()


# list, test


def test_sinks_are_listed_without_their_urls(configured, web):
    shell = configured(
        *two(web, f"/{PLANTED}"),
        ("slack", 'url = { env = "SLACK_URL" }\nonly = ["killed"]\nseverity = "warning"'),
        ("odd", f'url = "slak://{PLANTED}"\nenvironments = ["production"]'),
        before=f'webhook = "https://chat.example/{PLANTED}"',
    )
    done = shell("alerts", "list")
    assert PLANTED not in done.output
    sinks = {one["name"]: one for one in shell.json("alerts", "list")["sinks"]}
    assert list(sinks) == ["log", "webhook", "hook", "json", "slack", "odd"]
    assert [one["kind"] for one in sinks.values()] == [
        "log",
        "webhook",
        "webhook",
        "json",
        "",
        "slak",
    ]
    assert sinks["slack"]["problem"] == "the environment variable SLACK_URL is not set"
    assert (sinks["slack"]["only"], sinks["slack"]["severity"]) == (["killed"], "warning")
    assert "did you mean slack://" in sinks["odd"]["problem"]
    assert sinks["odd"]["environments"] == ["production"]
    assert sinks["json"]["problem"] is None


def test_a_test_message_reaches_every_sink_whatever_it_hears_of(configured, web):
    hook, chat = two(web)
    quiet = (chat[0], f'{chat[1]}\nonly = ["killed"]\nenvironments = ["elsewhere"]')
    shell = configured(hook, quiet)
    tried = shell.json("alerts", "test")
    assert tried["ok"] is True
    assert [(one["name"], one["took"]) for one in tried["sinks"]] == [
        ("hook", True),
        ("json", True),
    ]
    first, second = (one.json for one in web.heard.wait_for(2))
    hooked, chatted = (first, second) if "what" in first else (second, first)
    assert (hooked["what"], hooked["actor"], hooked["severity"]) == ("test", "ana", "info")
    assert chatted["title"] == "[info] Test of alerts in default"
    assert shell("alerts", "test", "--sink", "hook").stdout.splitlines()[1].startswith("hook")
    assert len(web.heard.all) == 3


def test_a_sink_that_does_not_take_it_is_named_and_fails_the_command(configured, web):
    shell = configured(
        *two(web),
        ("dead", f'url = "http://127.0.0.1:9/{PLANTED}"'),
        ("slack", 'url = { env = "SLACK_URL" }'),
        ("odd", f'url = "slak://{PLANTED}"'),
    )
    done = shell("alerts", "test", exit_code=3)
    assert "not told: dead, slack, odd" in done.stderr
    assert "did not answer" in done.stdout
    assert PLANTED not in done.output
    assert len(web.heard.wait_for(2)) == 2
    web.statuses = [500]
    assert "answered 500" in shell("alerts", "test", "--sink", "hook", exit_code=3).stdout


def test_a_sink_that_nobody_configured_is_named_with_those_there_are(configured, web):
    shell = configured(*two(web))
    done = shell("alerts", "test", "--sink", "slack", exit_code=1)
    assert 'no sink is called "slack" (there are: hook, json)' in done.stderr


def test_without_any_sink_there_is_nothing_to_test(agent):
    assert "no sink is configured beside the log" in agent("alerts", "test", exit_code=1).stderr


# kill


@pytest.mark.rule("K6")
def test_a_kill_and_a_revive_are_told_by_the_command_where_no_controller_is(configured, web):
    shell = configured(*two(web), before='link = "https://flags.internal/{environment}/{flag}"')
    done = shell("kill", "agent", "--reason", "refund loop")
    assert done.stderr == ""
    shell("revive", "agent", "--reason", "fixed")
    told = [one.json for one in web.heard.wait_for(4)]
    hooked = [one for one in told if "what" in one]
    assert [one["what"] for one in hooked] == ["killed", "revived"]
    kill = hooked[0]
    assert (kill["subject"], kill["actor"], kill["reason"]) == ("agent", "ana", "refund loop")
    assert kill["link"] == "https://flags.internal/default/agent"
    assert kill["command"] == 'downhaul revive agent --reason "..."'
    chatted = [one for one in told if "what" not in one]
    assert [one["title"] for one in chatted] == [
        "[critical] agent is killed in default",
        "[warning] agent is revived in default",
    ]
    assert f"Id: {kill['id']}" in chatted[0]["message"]
    assert [state for _, state in deliveries(shell)] == ["delivered"] * 4


@pytest.mark.rule("K6")
@pytest.mark.parametrize(
    "sinks, said",
    [
        ([], "no sink for alerts hears of a kill in default, but for the log"),
        ([0], 'one sink for alerts ("hook") hears of a kill in default'),
        ([0, 0], "all sinks that hear of a kill in default are on one service (hook, other)"),
        ([0, 1], None),
        ([0, 2], 'one sink for alerts ("hook") hears of a kill in default'),
    ],
)
def test_a_kill_says_once_where_fewer_than_two_sinks_would_hear_of_it(configured, web, sinks, said):
    quiet = ("quiet", f'url = "{web.url("json")}"\nonly = ["completed"]')
    made = [*two(web), quiet]
    chosen = [made[one] for one in sinks]
    if sinks == [0, 0]:
        chosen = [made[0], ("other", made[0][1])]
    shell = configured(*chosen)
    done = shell("kill", "agent", "--reason", "errors")
    assert shell.json("kills")["kills"][0]["scope"] == "agent"
    if said is None:
        assert done.stderr == ""
    else:
        assert done.stderr.count(said) == 1
        assert len(done.stderr.splitlines()) == 1
    again = shell("kill", "agent", "--reason", "errors")
    assert again.stderr == ""
    [(status, message)] = [
        (one["status"], one["message"])
        for one in shell.json("doctor", exit_code=0)["checks"]
        if one["name"] == "alerts"
    ]
    assert status == ("ok" if said is None else "warn")
    assert said is None or said in message


@pytest.mark.rule("K1", "K6")
def test_a_kill_needs_neither_apprise_nor_the_urls_of_sinks(configured, web, monkeypatch):
    shell = configured(
        ("slack", 'url = { env = "SLACK_URL" }'), ("json", f'url = "{web.url("json")}"')
    )
    monkeypatch.setitem(sys.modules, "apprise", None)
    done = shell("kill", "agent", "--reason", "errors")
    assert done.stdout.startswith("KILLED  agent")
    assert 'alert "slack" is not told of "killed agent" yet' in done.stderr
    assert "SLACK_URL is not set" in done.stderr
    assert 'pip install "downhaul[alerts]"' in done.stderr
    assert done.stderr.count("it waits in the store for a controller") == 2
    assert web.heard.all == []


@pytest.mark.rule("K6")
def test_a_local_kill_is_told_directly(configured, web):
    shell = configured(*two(web))
    done = shell("kill", "agent", "--local", "--reason", "errors")
    assert "KILLED" in done.stdout
    told = [one.json for one in web.heard.wait_for(2)]
    [kill] = [one for one in told if "what" in one]
    assert (kill["what"], kill["environment"]) == ("killed", "*")
    assert kill["command"] == 'downhaul revive agent --local --reason "..."'
    assert kill["after"]["kill_file"] == str(shell.folder / "kill")
    assert deliveries(shell) == []


def test_a_local_kill_says_what_it_could_not_tell(configured):
    shell = configured(("dead", 'url = "http://127.0.0.1:9/x"'))
    done = shell("kill", "agent", "--local", "--reason", "errors")
    assert 'alert "dead" is not told of "killed agent" yet' in done.stderr
    assert "nobody tries again" in done.stderr


# doctor, controllers


def test_doctor_says_what_sinks_have_not_taken(configured):
    shell = configured(
        ("dead", 'url = "http://127.0.0.1:9/x"'), ("other", 'url = "http://localhost:9/x"')
    )
    shell("kill", "agent", "--reason", "errors")
    assert deliveries(shell) == [("dead", "failed"), ("other", "failed")]
    ago = (int(time.time()) - 3600) * 1_000_000
    with closing(sqlite3.connect(shell.folder / "downhaul.db")) as connection:
        connection.execute("UPDATE downhaul_outbox SET at = ?", (ago,))
        connection.execute(
            "UPDATE downhaul_outbox_deliveries SET state = 'given_up' WHERE sink = 'other'"
        )
        connection.commit()
    found = [
        (one["status"], one["message"], one["hint"])
        for one in shell.json("doctor")["checks"]
        if one["name"] == "alerts"
    ]
    refused = "the alert webhook did not answer: ConnectionError"
    assert found[0] == (
        "warn",
        f'"dead" was not told of 1 event for 1 h: {refused} (see [alerts.sinks.dead])',
        "downhaul alerts test --sink dead",
    )
    given_up = '"other" was not told of 1 event this week, and will not be'
    assert found[1][:2] == ("warn", f"{given_up}: {refused} (see [alerts.sinks.other])")


def test_doctor_says_that_nobody_told_anybody(agent):
    agent("kill", "agent", "--reason", "errors")
    with closing(sqlite3.connect(agent.folder / "downhaul.db")) as connection:
        ago = (int(time.time()) - 600) * 1_000_000
        connection.execute("UPDATE downhaul_outbox SET at = ?", (ago,))
        connection.commit()
    checks = [one for one in agent.json("doctor")["checks"] if one["name"] == "alerts"]
    assert checks[0]["message"] == "1 event waited for 10 min, and nobody told anybody"
    assert checks[0]["hint"] == "run a controller: it delivers"


def test_a_controller_says_at_its_start_which_sinks_it_can_not_tell(configured, web):
    shell = configured(*two(web), ("odd", f'url = "slak://{PLANTED}"'))
    shell("kill", "agent", "--reason", "errors")
    done = shell("controller", "run", "--once")
    assert "alert odd can't be told from here: Apprise knows nothing" in done.stderr
    assert "agent: killed: errors" in done.stderr
    assert PLANTED not in done.output
    told = [one.json for one in web.heard.wait_for(2)]
    assert len(told) == 2  # each sink once, whoever told it


# Processes


@pytest.mark.fault
@pytest.mark.rule("K6")
def test_a_process_whose_sink_never_answers_kills_at_once_and_ends_by_itself(configured):
    with served(BlackHole()) as hole:
        shell = configured(
            ("hole", f'url = "{hole.url()}"'), ("other", f'url = "{hole.url("json")}"')
        )
        began = time.monotonic()
        process = subprocess.Popen(
            [*PYTHON, "kill", "agent", "--reason", "errors"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = process.stdout.readline()
        said_after = time.monotonic() - began
        assert line.startswith("KILLED  agent")
        assert [one["scope"] for one in shell.json("kills")["kills"]] == ["agent"]
        _, stderr = process.communicate(timeout=60)
        took = time.monotonic() - began
    assert process.returncode == 0
    assert stderr.count("it waits in the store for a controller") == 2
    assert said_after < took  # what it did was said before anybody was waited for
    assert took < 40


@pytest.mark.fault
@pytest.mark.rule("K6")
def test_of_a_controller_and_those_who_press_each_event_is_told_to_each_sink_once(configured, web):
    shell = configured(*two(web))
    started = [
        subprocess.Popen([*PYTHON, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for words in (
            ("controller", "run"),
            ("kill", "flag-0", "--reason", "errors"),
            ("kill", "flag-1", "--reason", "errors"),
        )
    ]
    controller, *kills = started
    try:
        assert [one.wait(90) for one in kills] == [0, 0]
        web.heard.wait_for(4, timeout=90)
    finally:
        controller.terminate()
        controller.wait(60)
    told = [one.json for one in web.heard.all]
    hooked = [one["subject"] for one in told if "what" in one]
    chatted = [one["title"] for one in told if "what" not in one]
    assert sorted(hooked) == ["flag-0", "flag-1"]
    assert sorted(chatted) == [
        f"[critical] {flag} is killed in default" for flag in ("flag-0", "flag-1")
    ]
    assert {state for _, state in deliveries(shell)} == {"delivered"}


@pytest.mark.rule("K6")
def test_an_application_that_kills_tells_the_configured_sinks(configured, web):
    shell = configured(*two(web))
    with Flags.connect(cache_dir=None) as flags, flags.operator("sam") as operator:
        operator.kill("agent", "refund loop")
        told = [one.json for one in web.heard.wait_for(2)]
    assert sorted("what" in one for one in told) == [False, True]
    assert {sink for sink, _ in deliveries(shell)} == {"hook", "json"}


@pytest.mark.fault
@pytest.mark.rule("K6")
def test_a_kill_whose_process_dies_right_after_the_commit_is_told_by_a_controller(configured, web):
    shell = configured(*two(web))
    code = (
        "import os, signal\n"
        "from downhaul.store.control import SqlControl\n"
        "record = SqlControl.record_kill\n"
        "def dies(*words, **options):\n"
        "    record(*words, **options)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "SqlControl.record_kill = dies\n"
        "from downhaul.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "kill", "agent", "--reason", "refund loop"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert [one["scope"] for one in shell.json("kills")["kills"]] == ["agent"]
    assert deliveries(shell) == []
    controller = subprocess.Popen(
        [*PYTHON, "controller", "run", "--log-format", "json"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    try:
        told = [one.json for one in web.heard.wait_for(2, timeout=60)]
    finally:
        controller.terminate()
        _, log = controller.communicate(timeout=30)
    [kill] = [one for one in told if "what" in one]
    assert (kill["what"], kill["reason"]) == ("killed", "refund loop")
    events = [json.loads(line) for line in log.splitlines()]
    assert [one["severity"] for one in events if one["event"] == "killed"] == ["critical"]
    assert controller.returncode == 0
