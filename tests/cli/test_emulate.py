"""``emulate``: a vendor's service as a process, with the vendor's own SDK in front of it."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import ldclient
import pytest
import requests

from downhaul.cli import emulate
from downhaul.cli.exits import Exit
from downhaul.client.flags import Flags

PAGE = Path(__file__).parents[2] / "docs" / "emulators.md"
FLAGS = re.search(r"^```toml\n(downhaul = 1.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]
KEY = "new_agent_version"
PATIENCE = 15  # seconds
SHARE = {"split": [{"variant": "on", "percent": 2.5}, {"variant": "off", "percent": 97.5}]}


@contextmanager
def running(*words, ends_with=signal.SIGINT):
    """Run it in a process of its own; yield what it says; end it by a signal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "downhaul", "emulate", *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield json.loads(line)
        process.send_signal(ends_with)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == "ended\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture
def flags_file(shell):
    path = shell.folder / "flags.toml"
    path.write_text(FLAGS, encoding="utf-8")
    return str(path)


def written(shell, done):
    """Write the configuration that a run shows, and return it."""
    text = done.stdout.partition("# downhaul.toml\n")[2]
    (shell.folder / "downhaul.toml").write_text(text, encoding="utf-8")
    return text


@pytest.mark.parametrize("ends_with", [signal.SIGINT, signal.SIGTERM])
def test_the_vendors_own_sdk_evaluates_what_is_in_it_until_a_signal(shell, flags_file, ends_with):
    with running("launchdarkly", "--flags", flags_file, ends_with=ends_with) as told:
        assert told["flags"] == [KEY]
        facts = told["facts"]
        client = ldclient.LDClient(
            ldclient.Config(
                facts["sdk_key"],
                base_uri=facts["url"],
                stream_uri=facts["url"],
                events_uri=facts["url"],
                send_events=False,
            ),
            start_wait=PATIENCE,
        )
        try:
            assert client.is_initialized()
            users = [ldclient.Context.create(f"user-{one}") for one in range(400)]
            share = sum(client.variation(KEY, user, False) for user in users)
            assert 60 < share < 140  # a quarter, as its own hash has it
        finally:
            client.close()


@pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning")  # within Split's SDK
@pytest.mark.parametrize("vendor", ["launchdarkly", "split"])
def test_downhaul_evaluates_with_the_settings_that_it_says(flags_file, vendor):
    with running(vendor, "--flags", flags_file) as told:
        with Flags.connect({"provider": told["settings"]}, ready_within=PATIENCE) as flags:
            found = [flags.evaluate(KEY, f"user-{one}", default=False) for one in range(400)]
        assert {one.error_code for one in found} == {None}
        assert 60 < sum(one.value for one in found) < 140


@pytest.mark.parametrize("vendor", ["launchdarkly", "split"])
def test_the_configuration_that_it_shows_is_sound(shell, vendor):
    written(shell, shell("emulate", vendor, "--for", "1ms"))
    shell("config", "check")


def test_a_file_in_the_vendors_own_shape_is_taken(shell):
    document = {"flags": {"plain": {"variations": ["a", "b"], "on": False, "offVariation": 1}}}
    (shell.folder / "own.json").write_text(json.dumps(document), encoding="utf-8")
    told = shell.json("emulate", "launchdarkly", "--flags", "own.json", "--for", "1ms")
    assert told["flags"] == ["plain"]
    definition = {
        "treatments": [{"name": "on"}, {"name": "off"}],
        "defaultTreatment": "off",
        "defaultRule": [{"treatment": "on", "size": 100}],
        "rules": [],
    }
    (shell.folder / "own.json").write_text(
        json.dumps({"flags": {"plain": definition}}), encoding="utf-8"
    )
    told = shell.json("emulate", "split", "--flags", "own.json", "--for", "1ms")
    assert told["flags"] == ["plain"]


@pytest.mark.parametrize(
    "vendor, more, said",
    [
        ("launchdarkly", {"rules": [{"serve": "on"}]}, "has rules"),
        ("launchdarkly", {"prerequisites": [{"flag": "other"}]}, "has prerequisites"),
        ("split", {"targets": [{"variant": "on", "keys": ["ada"]}]}, "has targets"),
        ("split", {"default": SHARE}, "has a share that is no whole percent"),
    ],
)
def test_a_flag_that_has_more_is_refused_and_named(shell, vendor, more, said):
    plain = {"on": True, "default": "on"}
    document = {"downhaul": 1, "flags": {"agent": {**plain, **more}, "other": plain}}
    (shell.folder / "more.json").write_text(json.dumps(document), encoding="utf-8")
    words = ("emulate", vendor, "--flags", "more.json", "--for", "1ms")
    done = shell(*words, exit_code=Exit.REFUSED)
    assert f'flag "agent" {said}' in done.stderr
    assert "in the vendor's own shape" in done.stderr


@pytest.mark.parametrize(
    "vendor, text, code, said",
    [
        ("launchdarkly", "[]", 1, "has no flags in it"),
        ("launchdarkly", '{"flags": {"a": {}}}', 6, 'flag "a" has no variations'),
        ("split", '{"flags": {"a": {"treatments": []}}}', 6, 'flag "a": '),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_a_reason(shell, vendor, text, code, said):
    (shell.folder / "odd.json").write_text(text, encoding="utf-8")
    done = shell("emulate", vendor, "--flags", "odd.json", "--for", "1ms", exit_code=code)
    assert said in done.stderr


def test_a_port_that_is_taken_says_so(shell):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = shell("emulate", "launchdarkly", "--port", port, exit_code=Exit.FAILURE)
    assert f"nothing can listen at 127.0.0.1:{port}" in done.stderr
    assert "--port 0" in done.stderr


def test_another_address_is_listened_at():
    with running("launchdarkly", "--host", "0.0.0.0") as told:
        url = told["facts"]["url"]
        assert url.startswith("http://127.0.0.1:")
        answer = requests.get(f"{url}/sdk/latest-all", timeout=PATIENCE)
        assert answer.status_code == 401


def test_a_vendor_that_nobody_emulates_is_named_with_those_there_are(shell):
    done = shell("emulate", "unleash", exit_code=Exit.FAILURE)
    assert 'no emulator is called "unleash" (there are launchdarkly, split)' in done.stderr


def test_without_the_emulators_it_says_how_to_install_them(shell, monkeypatch):
    monkeypatch.setattr(emulate, "find_spec", lambda name: None)
    done = shell("emulate", "launchdarkly", exit_code=Exit.FAILURE)
    assert "pip install downhaul-emulators" in done.stderr


def test_it_ends_by_itself_where_somebody_says_when(shell):
    began = time.monotonic()
    shell("emulate", "launchdarkly", "--for", "1ms")
    assert time.monotonic() - began < PATIENCE
    assert "no time" in shell("emulate", "launchdarkly", "--for", "x", exit_code=2).stderr
