"""``controller run``: as a process with its signals and endpoints, and once, for cron."""

import json
import logging
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean

from downhaul.cli.controller import JsonLines, TextLines, ToLog
from downhaul.cli.stopping import stopped_by_signals
from downhaul.control.alerts import AlertEvent
from downhaul.rollout.controller import TickReport

PYTHON = (sys.executable, "-m", "downhaul")
QUICK = ("--steps", "50,100", "--bake", "50ms", "--interval", "10ms", "--unguarded", "test")


@pytest.fixture
def flag(shell):
    shell("flags", "create", "agent", "--on", "--percent", "0")
    return shell


class Process:
    """A controller in a process of its own, whose log is read as it comes."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [*PYTHON, "controller", "run", "--log-format", "json", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(json.loads(line))

    def wait_for(self, event, timeout=30):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            for one in self.log:
                if one["event"] == event:
                    return one
            assert self.process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(f"no {event}: {self.log}")

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def process():
    made = []

    def start(*words):
        made.append(Process(*words))
        return made[-1]

    yield start
    for one in made:
        one.close()


def ask(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


@pytest.mark.rule("R1", "R2")
def test_a_process_moves_a_rollout_answers_probes_and_ends_when_told(flag, process):
    one = process("--listen", "127.0.0.1:0", "--tick", "50ms")
    where = re.search(r"http://([^/]+)/", one.wait_for("listening")["message"])[1]
    done = flag("rollout", "start", "--flag", "agent", *QUICK)
    assert "no controller is alive" not in done.stderr
    flag("rollout", "status", "agent", "--wait", "--timeout", "30s")
    ready = json.loads(ask(f"http://{where}/readyz"))
    assert ready["ready"] is True
    assert json.loads(ask(f"http://{where}/healthz"))["alive"] is True
    acted = re.search(
        r"^downhaul_controller_acted_total (\d+)$", ask(f"http://{where}/metrics"), re.MULTILINE
    )
    assert int(acted[1]) == 2
    told = one.wait_for("completed")
    assert (told["flag"], told["phase"], told["level"]) == ("agent", "completed", "info")
    assert told["rollout"] == flag.json("rollout", "status", "agent")["id"]
    assert one.end() == 0
    assert one.log[-1]["event"] == "ended"
    assert one.process.stdout.read() == ""
    assert flag.json("rollout", "status", "agent")["controllers"] == 0


def test_ctrl_c_ends_it_too_and_json_says_what_it_did(flag, process):
    flag("rollout", "start", "--flag", "agent", *QUICK)
    one = process("--json", "--tick", "50ms")
    one.wait_for("completed")
    assert one.end(signal.SIGINT) == 0
    document = json.loads(one.process.stdout.read())
    assert (document["command"], document["acted"]) == ("controller run", 2)


def test_once_moves_what_is_due_and_leaves_nobody_behind(flag):
    flag("rollout", "start", "--flag", "agent", *QUICK)
    done = flag("controller", "run", "--once")
    assert done.stdout.endswith("1 write\n")
    assert "agent: started: step 1 of 2: 50 %" in done.stderr
    assert flag.json("rollout", "status", "agent")["controllers"] == 0


def test_once_with_the_log_as_json_is_an_object_a_line(flag):
    flag("rollout", "start", "--flag", "agent", *QUICK)
    done = flag("controller", "run", "--once", "--log-format", "json", "--json")
    assert json.loads(done.stdout)["acted"] == 1
    (line,) = [json.loads(one) for one in done.stderr.splitlines()]
    assert line["event"] == "started"
    assert line["step"] == 0
    assert line["percent"] == 50.0


@pytest.mark.rule("X1")
def test_once_without_a_store_is_unreachable(shell):
    done = shell("controller", "run", "--once", "--url", "sqlite:///gone.db", exit_code=5)
    assert "downhaul" in done.stderr
    document = shell.json("controller", "run", "--once", "--url", "sqlite:///gone.db", exit_code=5)
    assert document["unreachable"] is True


def test_a_provider_without_a_database_is_refused(shell):
    (shell.folder / "flags.json").write_text(json.dumps({"downhaul": 1, "flags": []}))
    shell("controller", "run", "--once", "--url", "file:flags.json", exit_code=6)


class Busy:
    """A controller that finds something due at so many looks."""

    owner = "busy"
    interval = 5.0

    def __init__(self, looks, errors=()):
        self.looks = looks
        self.errors = errors
        self.settled = self.delivered = 0

    def tick(self):
        self.looks -= 1
        if self.looks < 0:
            return TickReport()
        return TickReport(25, 1, 0, self.errors)

    def ask_hooks(self):
        return 0

    def settle(self):
        self.settled += 1

    def deliver(self):
        self.delivered += 1

    def counters(self):
        return {}


def test_once_goes_on_until_nothing_is_due(flag, monkeypatch):
    busy = Busy(3)
    monkeypatch.setattr("downhaul.rollout.service.controller_for", lambda *_a, **_k: busy)
    assert flag("controller", "run", "--once").stdout == "75 looks, 3 writes\n"
    assert busy.delivered == 1
    assert busy.settled == 1


def test_once_ends_within_a_minute_though_something_is_always_due(flag, monkeypatch):
    monkeypatch.setattr("downhaul.cli.controller._ONCE", 0.2)
    busy = Busy(10_000_000)
    monkeypatch.setattr("downhaul.rollout.service.controller_for", lambda *_a, **_k: busy)
    monkeypatch.setattr("downhaul.cli.controller._ALL", 10_000_000)
    assert "looks" in flag("controller", "run", "--once").stdout
    assert 0 < busy.looks < 10_000_000
    assert busy.delivered == 1


VENDOR = """
[provider]
url = "launchdarkly+{url}"
sdk_key = "sdk-emulated"
admin_token = "api-emulated"
admin_url = "{url}"
environment = "production"
deadline = 0.5

[control]
url = "sqlite:///control.db"
"""


@pytest.mark.rule("K1")
def test_once_does_at_the_vendor_what_kills_left_to_be_done(shell):
    with LaunchDarklyEmulator() as service:
        service.put(boolean("agent"))
        (shell.folder / "downhaul.toml").write_text(VENDOR.format(url=service.url))
        shell("db", "upgrade")
        service.approvals = True
        shell("kill", "agent", "--reason", "it burns", exit_code=5)
        service.approvals = False
        shell("controller", "run", "--once")
        assert not service.flags["agent"]["on"]


def test_once_says_each_error_once_and_fails(flag, monkeypatch):
    busy = Busy(3, ("r1: the backend is away",))
    monkeypatch.setattr("downhaul.rollout.service.controller_for", lambda *_a, **_k: busy)
    done = flag("controller", "run", "--once", exit_code=5)
    assert done.stderr.count("the backend is away") == 1


@pytest.mark.parametrize(
    "words, said",
    [
        (("--listen", "9464"), "is no address"),
        (("--listen", "127.0.0.1:"), "is no address"),
        (("--listen", "127.0.0.1:99999"), "is no address"),
        (("--once", "--listen", "127.0.0.1:0"), "says nothing beside --once"),
        (("--tick", "soon"), "is no time"),
        (("--tick", "0"), "above nothing"),
        (("--lease", "0"), "above nothing"),
    ],
)
def test_what_means_nothing_is_a_usage_error(flag, words, said):
    assert said in flag("controller", "run", *words, exit_code=2).stderr


def test_an_address_that_is_taken_is_a_failure_with_its_reason(flag, process):
    where = process("--listen", "127.0.0.1:0").wait_for("listening")["message"]
    port = re.search(r":(\d+)/", where)[1]
    done = flag("controller", "run", "--listen", f"127.0.0.1:{port}", exit_code=1)
    assert "in use" in done.stderr


def record(message="word", level=logging.WARNING, **fields):
    one = logging.LogRecord("downhaul.controller", level, "x.py", 1, message, (), None)
    one.created = 1_795_766_400.25
    vars(one).update(fields)
    return one


def test_a_log_line_is_an_object_with_what_the_record_carries():
    line = json.loads(JsonLines().format(record(rollout="r1", phase="paused", event="paused")))
    assert line == {
        "time": "2026-11-27T08:00:00.250Z",
        "level": "warning",
        "event": "paused",
        "logger": "downhaul.controller",
        "message": "word",
        "rollout": "r1",
        "phase": "paused",
    }


def test_a_traceback_is_within_the_object_and_under_the_line():
    try:
        raise ValueError("odd")  # noqa: TRY301
    except ValueError:
        found = record(exc_info=sys.exc_info())
    assert "ValueError: odd" in json.loads(JsonLines().format(found))["traceback"]
    assert len(JsonLines().format(found).splitlines()) == 1
    assert TextLines().format(found).splitlines()[-1] == "ValueError: odd"


def test_a_line_for_eyes_names_the_rollout_once():
    assert TextLines().format(record(rollout="r1")).endswith("warning  word  (r1)")
    assert TextLines().format(record("r1 went", rollout="r1")).endswith("warning  r1 went")


@pytest.mark.parametrize(
    "what, level", [("rolled_back", logging.WARNING), ("raised", logging.INFO)]
)
def test_an_announcement_is_logged_with_its_fields(caplog, what, level):
    caplog.set_level(logging.INFO, logger="downhaul.controller")
    event = AlertEvent(
        what, "agent", "controller", "why", "production", "at", after={"rollout": "r1", "name": "x"}
    )
    ToLog().send(event)
    (one,) = caplog.records
    assert one.levelno == level
    assert one.getMessage() == f"agent: {what.replace('_', ' ')}: why"
    assert (one.rollout, one.flag, one.event) == ("r1", "agent", what)
    assert one.name == "downhaul.controller"


def test_signals_are_as_they_were_after_it(flag):
    before = signal.getsignal(signal.SIGTERM)
    stop = threading.Event()
    with stopped_by_signals(stop):
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before
