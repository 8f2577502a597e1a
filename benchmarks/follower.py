"""An application's process that follows a store, and says when its decision changed.

Run as ``python benchmarks/follower.py WAY URL``. Each change of the probe's decision is a line on
standard output: the monotonic clock in nanoseconds, which all processes of a machine share, and the
decision. An ``idle`` one asks when it is told of a change. A ``busy`` one has a thread that asks
without a pause, so that the thread which hears of changes has to wait for the interpreter. It ends
when standard input closes.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from stores import PROBE

from downhaul import Flags

_USER = "user-1"


def main(way: str, url: str) -> None:
    """Follow until standard input closes."""
    flags = Flags.connect(url, ready_within=60)
    known = flags.is_enabled(PROBE, _USER)
    sys.stdout.write(f"{time.monotonic_ns()} {int(known)}\n")
    sys.stdout.flush()
    if way == "busy":
        threading.Thread(target=_ask_always, args=(flags, known), daemon=True).start()
    else:
        _ask_when_told(flags, known)
    sys.stdin.read()
    os._exit(0)


def _ask_always(flags: Flags, known: bool) -> None:
    while True:
        now = flags.is_enabled(PROBE, _USER)
        if now is not known:
            known = now
            _say(known)


def _ask_when_told(flags: Flags, known: bool) -> None:
    last = [known]

    def told(_keys: frozenset[str]) -> None:
        now = flags.is_enabled(PROBE, _USER)
        if now is not last[0]:
            last[0] = now
            _say(now)

    flags.on_change(told)


def _say(decision: bool) -> None:
    os.write(1, b"%d %d\n" % (time.monotonic_ns(), decision))


if __name__ == "__main__":
    main(*sys.argv[1:])
