"""Services that confirm or hold, on loopback: asked aside, under one id, and never in the way."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rollout_world import ERRORS, TICK, plan_for

from downhaul.errors import Unreachable
from downhaul.rollout import service
from downhaul.rollout.gates.hooks import AT_ONCE, TELL_AFTER, Hooks, body_of
from downhaul.rollout.gates.model import Approval, Gates, Hook, HookWhen, TextAt

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """What waits for a controller says so at once: the tests tick themselves."""
    monkeypatch.setattr(service, "_WAIT", 0.0)


class Service:
    """A service on loopback that answers as it is told to, and keeps what it was asked."""

    def __init__(self):
        self.status = 200
        self.headers = {}
        self.asked = []
        self.hold = threading.Event()  # what hangs goes on once it is set
        self.mode = "answer"
        self.before = lambda: None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.asked.append((dict(self.headers), body))
                outer.before()
                if outer.mode == "hang":
                    outer.hold.wait(30)
                elif outer.mode == "drip":
                    while not outer.hold.wait(0.05):
                        try:
                            self.wfile.write(b"x")
                        except OSError:
                            return
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that went away is what some tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/gate"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self):
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.asked]


@pytest.fixture
def gate():
    made = Service()
    yield made
    made.close()


def hooked(gate, when=HookWhen.STEP, *, url=None, **fields):
    """A plan's gates with one hook, at the service."""
    where = TextAt("text", gate.url) if url is None else url
    return Gates(hooks=(Hook("deploys", where, when, **{"timeout": 2.0, **fields}),))


def begin(world, gates, *percents, flag="agent", **fields):
    world.flag(flag)
    plan = replace(plan_for(flag, *percents or (10, 50), **fields), gates=gates)
    world.rollouts.start(plan, "a better agent")
    world.tick(0)
    return world.rollouts.get(flag)


def baked(world, looks=3):
    for _ in range(looks):
        world.tick()


def call_of(world, flag="agent"):
    rollout = world.store.latest_of(flag)
    (found,) = world.store.gates.calls([rollout.id])[rollout.id]
    return found


def test_a_service_that_confirms_opens_the_gate(world, gate):
    rollout = begin(world, hooked(gate))
    assert world.controller.ask_hooks() == 0  # the step still bakes
    baked(world)
    assert (world.percent(), world.state().hold) == (10, "hook")
    assert world.state().hold_message == "hook deploys is being asked"
    assert world.controller.ask_hooks() == 1
    world.tick(0)
    assert world.percent() == 50
    ((headers, body),) = gate.asked
    since = rollout.state.entered_at
    said = json.loads(body)
    assert said == {
        "id": f"{rollout.id}-deploys-2-{since}",
        "hook": "deploys",
        "when": "step",
        "environment": world.store.environment,
        "provider": world.provider.name,
        "flag": "agent",
        "variant": "on",
        "rollout": rollout.id,
        "digest": rollout.plan.digest,
        "step": 2,
        "steps": 2,
        "percent": 50.0,
        "from_percent": 10.0,
        "author": "ana",
        "reason": "a better agent",
    }
    assert headers["webhook-id"] == said["id"]
    assert "webhook-signature" not in headers
    assert "hook_confirmed" in world.told()
    assert world.controller.counters()["hooks_confirmed"] == 1
    world.go_to("completed")
    assert len(gate.asked) == 1


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_confirms(here, gate, status):
    gate.status = status
    begin(here, hooked(gate))
    baked(here)
    here.controller.ask_hooks()
    assert call_of(here).confirmed


@pytest.mark.rule("P7")
@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 405, 409, 429, 500, 503])
def test_every_other_answer_holds_and_is_asked_again_under_the_same_id(here, gate, status):
    gate.status, gate.headers = status, {"location": f"{gate.url}/elsewhere"}
    begin(here, hooked(gate))
    baked(here)
    waited = []
    for _ in range(TELL_AFTER + 1):
        assert here.controller.ask_hooks() == 1
        call = call_of(here)
        waited.append((call.due_at - here.clock.now()) / 1e6)
        assert here.controller.ask_hooks() == 0
        here.clock.advance(waited[-1])
    assert waited == [1.0, 2.0, 4.0, 8.0]
    assert len(set(gate.ids)) == 1
    assert len({body for _, body in gate.asked}) == 1
    here.tick(0)
    assert here.percent() == 10
    said = f"hook deploys does not confirm: it answered {status} (asked 4 times)"
    assert here.state().hold_message == said
    told = [one for one in here.store.announcements() if one.event["what"] == "hook_waits"]
    assert [one.event["reason"] for one in told] == [f"hook deploys: 3 tries: it answered {status}"]
    gate.status = 200
    here.controller.ask_hooks()
    here.tick(0)
    assert here.percent() == 50
    (confirmed,) = [one for one in here.rollouts.events("agent") if one.action == "hook_confirmed"]
    assert confirmed.detail["tries"] == 5
    assert "hook_confirmed" in [one.event["what"] for one in here.store.announcements()]


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_a_service_that_does_not_answer_in_time_holds(here, gate, mode):
    gate.mode = mode
    begin(here, hooked(gate, timeout=0.3))
    baked(here)
    begun = time.monotonic()
    assert here.controller.ask_hooks() == 1
    assert time.monotonic() - begun < 2.0
    assert call_of(here).outcome == "it did not answer within 300 ms"
    here.clock.advance(60)
    gate.mode, before = "answer", len(gate.asked)
    if mode == "drip":
        # Its thread is not free yet, and none is lost to the same service twice.
        assert here.controller.ask_hooks() == 0
        assert len(gate.asked) == before
    gate.hold.set()
    deadline = time.monotonic() + 10
    while not call_of(here).confirmed:
        assert time.monotonic() < deadline
        here.clock.advance(60)
        here.controller.ask_hooks()
        time.sleep(0.01)


def test_a_connection_that_is_refused_holds(here):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    begin(here, hooked(None, url=TextAt("text", url)))
    baked(here)
    assert here.controller.ask_hooks() == 1
    assert call_of(here).outcome == "no connection (ConnectionError)"


@pytest.mark.parametrize(
    "when, percent", [(HookWhen.START, 0), (HookWhen.STEP, 10), (HookWhen.COMPLETE, 50)]
)
def test_a_service_is_asked_at_its_time(world, gate, when, percent):
    gate.status = 503
    begin(world, hooked(gate, when))
    baked(world, 12)
    assert (world.percent(), world.state().hold) == (percent, "hook")
    gate.status = 200
    world.clock.advance(60)
    world.controller.ask_hooks()
    world.tick(0)
    world.go_to("completed")
    (said,) = {body for _, body in gate.asked}
    said = json.loads(said)
    assert (said["when"], said["step"], said["percent"]) == (
        when.value,
        1 if when is HookWhen.START else 2,
        10.0 if when is HookWhen.START else 50.0,
    )
    assert said["from_percent"] == {0: 0.0, 10: 10.0, 50: 50.0}[percent]


@pytest.mark.rule("P7")
@pytest.mark.parametrize("secret", ["plain words", "whsec_" + base64.b64encode(b"\0key").decode()])
def test_a_request_is_signed_as_standard_webhooks_are(here, gate, secret, monkeypatch, tmp_path):
    monkeypatch.setenv("GATE_URL", gate.url)
    path = tmp_path / "secret"
    path.write_text(secret + "\n")
    gates = hooked(gate, url=TextAt("env", "GATE_URL"), secret=TextAt("file", str(path)))
    begin(here, gates)
    baked(here)
    here.controller.ask_hooks()
    ((headers, body),) = gate.asked
    key = b"\0key" if secret.startswith("whsec_") else secret.encode()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert int(headers["webhook-timestamp"]) == here.clock.now() // 1_000_000
    for text in (json.dumps(here.store.latest_of("agent").plan), json.dumps(here.told())):
        assert secret not in text
        assert gate.url not in text


@pytest.mark.rule("P7", "X1")
@pytest.mark.parametrize(
    "url, secret, said",
    [
        ({"env": "GATE_URL"}, None, "the environment variable GATE_URL is not set"),
        ({"file": "/nowhere/gate"}, None, "the file /nowhere/gate cannot be read"),
        ("PLAIN", {"env": "GATE_SECRET"}, "the environment variable GATE_SECRET is not set"),
        ("HTTP", None, "what it says travels in the clear"),
        ("ODD", {"env": "GATE_ODD"}, "is no base64"),
    ],
)
def test_what_can_not_be_asked_holds_and_no_secret_is_told(
    here, gate, url, secret, said, monkeypatch, caplog
):
    monkeypatch.setenv("GATE_PLAIN", gate.url)
    monkeypatch.setenv("GATE_HTTP", "http://gate.test/hunter2")
    monkeypatch.setenv("GATE_ODD", "whsec_hunter2!")
    if isinstance(url, str):
        url = {"env": "GATE_PLAIN" if url == "ODD" else f"GATE_{url}"}
    kept = None if secret is None else TextAt.from_data(secret)
    begin(here, hooked(gate, url=TextAt.from_data(url), secret=kept))
    baked(here)
    assert here.controller.ask_hooks() == 1
    assert said in call_of(here).outcome
    assert gate.asked == []
    assert "hunter2" not in call_of(here).outcome + caplog.text


def test_a_service_is_not_asked_for_what_is_paused_and_not_for_what_ended(world, gate):
    gate.status = 503
    begin(world, hooked(gate))
    baked(world)
    world.rollouts.pause("agent", "lunch")
    assert world.controller.ask_hooks() == 0
    assert call_of(world).settled_at is None
    world.rollouts.rollback("agent", "enough")
    world.clock.advance(10)
    assert world.controller.ask_hooks() == 0
    assert call_of(world).settled_at is not None
    assert gate.asked == []


def test_a_door_that_is_left_behind_is_asked_for_no_more(world, gate):
    gate.status = 503
    begin(world, hooked(gate), 10, 50)
    baked(world)
    world.controller.ask_hooks()
    world.provider.set_rollout("agent", "on", 5_000, service_change())
    world.tick()
    assert world.phase() == "paused"
    world.rollouts.resume("agent")
    world.tick()  # the step was lowered: it is entered anew, and so is asked for anew
    assert world.state().hold == "hook"
    world.clock.advance(60)
    world.controller.ask_hooks()
    gate.status = 200
    world.clock.advance(60)
    world.controller.ask_hooks()
    world.tick(0)
    assert world.percent() == 10
    assert len(set(gate.ids)) == 2
    row = world.store.latest_of("agent")
    settled = [one.settled_at for one in world.store.gates.calls([row.id])[row.id]]
    assert all(settled)


def service_change():
    from rollout_world import WHO

    return WHO


class Running:
    """A controller that runs in a thread, in a hurry, while a test moves the store's clock."""

    def __init__(self, world):
        self.world = world
        self.controller = world.another("running", tick=0.02)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.controller.run, args=(self.stop,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def go(self, holds, looks=60):
        """Let time pass between two looks, until it holds."""
        for _ in range(looks):
            if holds():
                return
            self.world.clock.advance(TICK)
            seen = self.controller.counters().get("ticks", 0)
            wait(lambda: self.controller.counters().get("ticks", 0) > seen + 1)  # noqa: B023
        assert holds()


def wait(holds, seconds=10.0):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.rule("R4")
def test_while_a_service_hangs_guardrails_and_people_take_it_back(world, gate):
    gate.mode = "hang"
    for flag in ("agent", "other"):
        world.flag(flag)
        plan = plan_for(flag, 10, 50, guardrails=(ERRORS,))
        world.rollouts.start(replace(plan, gates=hooked(gate, timeout=10.0)), "")
    baked(world, 4)
    assert world.state().hold == "hook"
    with Running(world) as running:
        wait(lambda: len(gate.asked) == 2)
        begun = time.monotonic()
        world.rollouts.rollback("other", "no need to wait")
        wait(lambda: world.phase("other") == "rolled_back")
        world.traffic.arms["on"].errors = 0.5
        running.go(lambda: world.phase() == "rolled_back")
        assert time.monotonic() - begun < 8.0  # before the service was given up
    assert world.told().count("hook_waits") == 0


@pytest.mark.rule("R2")
def test_while_services_are_black_holes_other_rollouts_go_on(world, gate):
    """There are more than are asked at once, and each takes as long as a plan may let it."""
    gate.mode = "hang"
    stuck = [f"stuck-{number}" for number in range(AT_ONCE + 2)]
    for flag in stuck:
        begin(world, hooked(gate, timeout=10.0), flag=flag)
    baked(world, 4)
    begin(world, Gates(), flag="free")
    begun = time.monotonic()
    with Running(world) as running:
        wait(lambda: len(gate.asked) == AT_ONCE)
        running.go(lambda: world.phase("free") == "completed")
        assert time.monotonic() - begun < 9.0  # before any of them was given up
        assert len(gate.asked) == AT_ONCE
    assert {world.state(flag).hold for flag in stuck} == {"hook"}


CHILD = """
import sys
from rollout_world import World
sys.path.insert(0, sys.argv[1])
from dataclasses import dataclass


@dataclass
class Place:
    flags: str
    control: str
    environment: str
    shared: bool = True


world = World.at(Place(sys.argv[2], sys.argv[2], sys.argv[3]))
world.controller.ask_hooks()
"""


@pytest.mark.fault
@pytest.mark.rule("R2")
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_a_controller_that_is_killed_before_it_kept_the_answer_repeats_the_call(
    world_of, request, gate, kind
):
    url = request.getfixturevalue("postgres_place" if kind == "postgresql" else "sqlite_place")
    world = world_of(kind)
    begin(world, hooked(gate, timeout=5.0))
    baked(world)
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(TESTS), url, world.store.environment],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    gate.before = lambda: os.kill(child.pid, signal.SIGKILL) if len(gate.asked) == 1 else None
    assert child.wait(30) == -signal.SIGKILL
    assert not call_of(world).confirmed
    assert world.controller.ask_hooks() == 0  # for a while it is still the other one's
    world.clock.advance(11)
    assert world.controller.ask_hooks() == 1
    assert len(gate.asked) == 2
    assert gate.asked[0][1] == gate.asked[1][1]
    assert len(set(gate.ids)) == 1
    world.tick(0)
    assert world.percent() == 50


def test_an_answer_that_could_not_be_kept_is_asked_for_again(here, gate, monkeypatch, caplog):
    begin(here, hooked(gate))
    baked(here)
    with monkeypatch.context() as broken:

        def away(*_):
            raise Unreachable("the database went away")

        broken.setattr(here.store.gates, "confirmed", away)
        here.controller.ask_hooks()
    assert "the database went away" in caplog.text
    assert not call_of(here).confirmed
    here.clock.advance(8)
    assert here.controller.ask_hooks() == 1
    assert call_of(here).confirmed
    assert len(set(gate.ids)) == 1


def test_two_controllers_ask_once(world, gate):
    begin(world, hooked(gate))
    baked(world)
    (due,) = world.store.gates.due()
    assert world.store.gates.take(due, 10.0)
    assert not world.store.gates.take(due, 10.0)
    assert world.another("second").ask_hooks() == 0
    assert gate.asked == []


def test_a_service_is_asked_after_the_people(world, gate):
    gates = replace(hooked(gate), approvals=(Approval(("ana",), steps=(2,)),))
    begin(world, gates)
    baked(world, 4)
    assert world.controller.ask_hooks() == 0
    assert "hook deploys is asked once all else is in order" in world.state().hold_message
    world.rollouts.approve("agent", "fine")
    world.tick(0)
    assert world.state().hold == "hook"
    assert world.controller.ask_hooks() == 1
    world.tick(0)
    assert world.percent() == 50


def test_one_look_for_cron_asks_and_goes_on(here, gate):
    begin(here, hooked(gate))
    baked(here, 2)
    here.clock.advance(TICK)
    report = here.controller.run_once()
    assert not report.errors
    assert here.percent() == 50


def test_a_timeout_stays_below_the_lease(here, gate):
    rollout = begin(here, hooked(gate, timeout=10.0))
    baked(here)
    hooks = Hooks(here.store, lambda *_: None, lease=1.0)
    gate.mode = "hang"
    begun = time.monotonic()
    assert hooks.look(wait=True) == 1
    assert time.monotonic() - begun < 3.0
    assert call_of(here).outcome == "it did not answer within 800 ms"
    row = here.store.existing(rollout.id)
    assert body_of(row, call_of(here), rollout.plan.gates.hooks[0]) == gate.asked[0][1]


def test_a_store_that_is_away_is_told_and_asks_nobody(here, gate, monkeypatch, caplog):
    begin(here, hooked(gate))

    def away(*_):
        raise Unreachable("the database went away")

    monkeypatch.setattr(here.store.gates, "due", away)
    assert here.controller.ask_hooks() == 0
    assert "the database went away" in caplog.text
