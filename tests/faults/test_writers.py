"""Writers that race and writers that die: no update is lost, no flag is half written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from downhaul import Flag, Flags
from downhaul.overlay import Scope

from .conftest import WHO, open_store, wait_until

pytestmark = pytest.mark.fault

_RACE = """
import sys
from dataclasses import replace
from downhaul.config import resolve
from downhaul.errors import VersionConflict
from downhaul.plugins import build_provider
from downhaul.provider import Change
store = build_provider(resolve(sys.argv[1], cache_dir=None))
conflicts = 0
for _ in range(25):
    while True:
        flag = store.get("counter")
        try:
            store.put(replace(flag, owner=str(int(flag.owner) + 1)), Change("racer"),
                      expected=flag.version)
            break
        except VersionConflict:
            conflicts += 1
print(conflicts)
"""

_WRITE = """
import sys
from dataclasses import replace
from downhaul import Flag
from downhaul.config import resolve
from downhaul.plugins import build_provider
from downhaul.provider import Change
store = build_provider(resolve(sys.argv[1], cache_dir=None))
number = 0
while True:
    number += 1
    keys = [f"{number}-{i}" for i in range(2000)]
    store.put(Flag.boolean("large", allow=keys, owner=str(number)), Change("writer"))
    if number == 1:
        print("begun", flush=True)
"""


@pytest.mark.rule("P6")
def test_eight_writers_on_one_flag_lose_no_update(store_url, writer, record_property):
    writer.put(Flag.boolean("counter", owner="0"), WHO)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACE, store_url], stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    conflicts = sum(int(racer.communicate(timeout=100)[0]) for racer in racers)
    assert all(racer.returncode == 0 for racer in racers)
    found = writer.get("counter")
    assert found is not None
    assert found.owner == "200"
    assert len(writer.history("counter", limit=500)) == 201
    record_property("conflicts", conflicts)


@pytest.mark.rule("P6")
def test_a_writer_killed_in_the_middle_leaves_the_old_flag_or_the_new_one(store_url, writer):
    for round_ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITE, store_url], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.013 * (round_ + 1))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        found = writer.get("large")
        assert found is not None
        (target,) = found.targets
        assert target.keys == {f"{found.owner}-{i}" for i in range(2000)}
        newest = writer.history("large", limit=1)[0]
        assert newest.version == found.version
        assert newest.after is not None
        assert newest.after["owner"] == found.owner


@pytest.mark.rule("P3", "K3")
def test_a_forked_child_obeys_a_kill_that_came_after_the_fork(store_url, writer, tmp_path):
    writer.put(Flag.boolean("feature"), WHO)
    with Flags.connect(store_url, cache_dir=str(tmp_path / "cache"), ready_within=10) as flags:
        assert flags.is_enabled("feature", "u")
        out, into = os.pipe()
        child = os.fork()
        if child == 0:  # no test may go on in here
            try:
                os.write(into, b"1")
                until = time.monotonic() + 10
                while flags.is_enabled("feature", "u") and time.monotonic() < until:
                    time.sleep(0.005)
                os.write(into, b"K" if not flags.is_enabled("feature", "u") else b"-")
            finally:
                os._exit(0)
        assert os.read(out, 1) == b"1"
        writer.control.record_kill(Scope.parse("feature"), WHO, killed=True)
        assert os.read(out, 1) == b"K"
        os.waitpid(child, 0)
        wait_until(lambda: not flags.is_enabled("feature", "u"), 5, "the parent to obey too")


_FULL = """
import json, resource, sys
from pathlib import Path
from downhaul import Flags
from downhaul.overlay import Scope
with Flags.connect(sys.argv[1], cache_dir=sys.argv[2], ready_within=5) as flags:
    pass
before = {path.name: path.read_bytes() for path in Path(sys.argv[2]).glob("*.json")}
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
flags = Flags.connect(sys.argv[1], cache_dir=sys.argv[2], ready_within=5)
print("asked", flush=True)
sys.stdin.readline()
import time
until = time.monotonic() + 10
while flags.is_enabled("feature", "u") and time.monotonic() < until:
    time.sleep(0.01)
time.sleep(1.5)
after = {path.name: path.read_bytes() for path in Path(sys.argv[2]).glob("*.json")}
print(json.dumps({"killed": not flags.is_enabled("feature", "u"), "same": before == after,
                  "state": flags.status().state, "message": flags.status().provider.message}))
"""


@pytest.mark.rule("K3", "X1")
def test_a_full_disk_leaves_the_last_copy_whole_and_stops_no_kill(fresh_postgres, tmp_path: Path):
    writer = open_store(fresh_postgres)
    writer.put(Flag.boolean("feature"), WHO)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _FULL, fresh_postgres, str(tmp_path / "cache")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "asked\n"
    writer.put(Flag.boolean("feature", tags=("t",)), WHO)
    writer.control.record_kill(Scope.parse("feature"), WHO, killed=True)
    out, err = process.communicate("go\n", timeout=30)
    told = json.loads(out)
    assert told["killed"] is True
    assert told["same"] is True
    assert told["state"] == "READY"
    assert "can't be written" in told["message"]
    assert "can't be written" in err
    writer.close()
