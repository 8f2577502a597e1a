"""A controller that stops itself at the worst moment: it holds a lease, and is about to write.

Run as ``python -m downhaul.demo.controller URL WRITES``: before write number WRITES it says so on
standard output and sends itself SIGSTOP. It is told to go on with SIGCONT, says what became of that
write, and works like any other until standard input closes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Final

from downhaul.config import resolve
from downhaul.control.service import connect_operator
from downhaul.rollout.service import controller_for

LEASE: Final = 2.0
TICK: Final = 0.5


def say(word: str) -> None:
    """Tell the demo."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


class Stopper:
    """Counts what a controller is about to write."""

    def __init__(self, writes: int) -> None:
        self._left = writes

    def __call__(self, point: str, _rollout: str) -> None:
        """Stop this process if its time has come."""
        if point != "before_write":
            return
        self._left -= 1
        if self._left == 0:
            say("stopping")
            os.kill(os.getpid(), signal.SIGSTOP)
            say("woke")


def _until_closed(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main(url: str, writes: int) -> None:
    """Move rollouts until standard input closes."""
    ended = threading.Event()
    threading.Thread(target=_until_closed, args=(ended,), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with connect_operator(resolve(url), actor="controller") as operator:
        controller = controller_for(
            operator, alerts=(), lease=LEASE, tick=TICK, points=Stopper(writes)
        )
        say("ready")
        while not ended.is_set():
            started = time.monotonic()
            report = controller.tick()
            if report.lost:
                say("lost")
            ended.wait(max(0.0, TICK - (time.monotonic() - started)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
