"""Failover in a process that is stopped, and goes on later."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

PAUSED = """
import threading, time
from downhaul import Flag, Flags
from downhaul.flag import FlagSet
from downhaul.provider import Capability, FlagProvider, ProviderStatus, State
from downhaul.wrappers.failover import Failover


class Side(FlagProvider):
    capabilities = frozenset({Capability.FLAG_SET})

    def __init__(self, name):
        self.name, self.heard = name, time.monotonic()

    def start(self, listener):
        listener.replaced(FlagSet.of([Flag.boolean(self.name)]))

    def wait_ready(self, timeout):
        return True

    def status(self):
        fresh = self.name == "second" or time.monotonic() - self.heard < 0.5
        return ProviderStatus(State.READY if fresh else State.STALE)

    def close(self, timeout=2.0):
        pass


first = Side("first")
flags = Flags.over(Failover(first, Side("second"), after=4.0, interval=0.02))
beats = 0
while beats < 200:
    before = time.monotonic()
    time.sleep(0.02)
    if time.monotonic() - before > 3.0:
        print("awake", flush=True)
        time.sleep(0.5)  # as long as it takes to connect again
        beats = 100
    first.heard = time.monotonic()
    beats += 1
    if beats == 20:
        print("running", flush=True)
        beats = 10
    if list(flags.evaluate_all()) != ["first"]:
        print("handed over", flush=True)
        break
print("done", flush=True)
"""


@pytest.mark.fault
@pytest.mark.slow
def test_a_process_that_was_stopped_does_not_hand_over_as_it_wakes():
    with subprocess.Popen(
        [sys.executable, "-c", PAUSED], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            woken = time.monotonic() + 5.0  # longer than the first is given
            while (left := woken - time.monotonic()) > 0:
                threading.Event().wait(left)
            process.send_signal(signal.SIGCONT)
            told = process.communicate(timeout=60)[0].splitlines()
        finally:
            process.kill()
    assert [one for one in told if one != "running"] == ["awake", "done"]
