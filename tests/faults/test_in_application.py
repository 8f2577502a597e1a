"""Controllers inside an application whose workers are forked, killed, and begun anew."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean
from rollout_world import plan_for

from downhaul import Flag
from downhaul.control.service import connect_operator, resolve_settings
from downhaul.rollout.service import Rollouts

from .conftest import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.rule("R2", "P3")]

# As docs/controller.md says it: each worker connects and begins after the fork.
APPLICATION = """
import os, signal, sys, threading

from downhaul.control.service import connect_operator, resolve_settings
from downhaul.rollout.service import controller_for


def work():
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop.set).start())
    operator = connect_operator(resolve_settings(file=sys.argv[1]), "my-app")
    controller = controller_for(operator, lease=1.0, tick=0.1)
    thread = threading.Thread(target=controller.run, args=(stop,), name="rollouts", daemon=True)
    thread.start()
    os.write(1, f"{os.getpid()} {controller.owner}\\n".encode())
    while thread.is_alive():
        thread.join(0.1)
    operator.close()


for _ in range(2):
    if os.fork() == 0:
        work()
        os._exit(0)
for _ in range(2):
    os.wait()
"""

ONE_FILE = """
[provider]
url = "sqlite:///{folder}/flags.db"
"""

VENDOR = """
[provider]
url = "launchdarkly+{url}"
sdk_key = "sdk-emulated"
admin_token = "api-emulated"
admin_url = "{url}"
environment = "production"
deadline = 2.0

[control]
url = "sqlite:///{folder}/control.db"
"""


class Application:
    """The application as a process, with two workers."""

    def __init__(self, config):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", APPLICATION, str(config)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        lines = [self._process.stdout.readline().split() for _ in range(2)]
        self.workers = [int(pid) for pid, _ in lines]
        self.owners = [owner for _, owner in lines]

    def kill(self):
        """Kill it with all its workers, at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate(timeout=20)

    def end(self):
        """Tell the workers to end, and wait until they have."""
        for pid in self.workers:
            os.kill(pid, signal.SIGTERM)
        assert self._process.wait(30) == 0
        self._process.stdout.close()

    def close(self):
        if self._process.poll() is None:
            self.kill()


@pytest.fixture
def begin():
    made = []

    def start(config):
        made.append(Application(config))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture(params=["one file", "vendor"])
def config(request, tmp_path):
    file = tmp_path / "downhaul.toml"
    if request.param == "one file":
        file.write_text(ONE_FILE.format(folder=tmp_path))
        yield file
        return
    with LaunchDarklyEmulator() as service:
        service.put(boolean("agent", on=True, percent=0))
        file.write_text(VENDOR.format(folder=tmp_path, url=service.url))
        yield file


def test_workers_that_are_killed_and_an_application_that_begins_anew_go_on(begin, config):
    from downhaul.backends.edits import weight_of_variant
    from downhaul.store import schema

    operator = connect_operator(resolve_settings(file=str(config)), "ana", create=True)
    schema.upgrade(operator.control.rollouts.database)
    if operator.provider.name != "launchdarkly":
        operator.create(Flag.boolean("agent", percent=0))
    rollouts = Rollouts(operator)
    store = operator.control.rollouts

    def percent():
        return weight_of_variant(operator.provider.get("agent"), "on") / 1000

    first = begin(config)
    assert len({*first.owners}) == 2
    wait_until(lambda: store.controllers(10) == 2, 20, "two heartbeats")
    plan = replace(plan_for("agent", 10, 50, 100, bake=1.5), interval=0.2)
    rollouts.start(plan, "out it goes")
    wait_until(lambda: percent() == 10, 20, "the first step")
    os.kill(first.workers[0], signal.SIGKILL)
    wait_until(lambda: percent() == 50, 20, "the other worker to go on")
    first.kill()
    frozen = percent()
    time.sleep(1.5)
    assert percent() == frozen  # nobody raises it any more
    second = begin(config)
    wait_until(lambda: rollouts.get("agent").phase == "completed", 30, "the new one to end it")
    assert percent() == 100
    told = [one.action for one in rollouts.events("agent")]
    assert [one for one in told if one != "held"] == [
        "planned",
        "started",
        "raised",
        "raised",
        "completed",
    ]
    second.end()
    left = [one for one in second.owners if one in _owners(store)]
    assert left == []  # who ends takes its heartbeat back; who was killed did not
    operator.close()


def _owners(store):
    controllers = store.database.tables.controllers
    with store.database.reading() as connection:
        return [one.owner for one in connection.execute(controllers.select())]
