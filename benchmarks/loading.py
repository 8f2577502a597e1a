"""Loads a store in a fresh process and says what that took; see volume.py.

Run as ``python benchmarks/loading.py WAY URL``. The way is ``memory`` (resident and traced memory
of a client on the store), or ``payload`` (the time from rows at hand to decisions).
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import case

from downhaul import Flag, Flags
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.evaluator.compile import World
from downhaul.evaluator.view import View
from downhaul.flag import percentage
from downhaul.overlay import KillRecord, Overlay, Scope

_CHANGES = 200


def resident() -> float:
    """Return this process's resident memory in MB (its peak, where the system tells no more)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def memory(url: str, *, traced: bool) -> dict[str, Any]:
    """Connect to the store, and say how much memory that took; then ask every flag, two ways."""
    if traced:
        tracemalloc.start()
    started = time.perf_counter()
    flags = Flags.connect(url, ready_within=60)
    flags.is_enabled(case.FLAG, "user-1")
    took = time.perf_counter() - started
    loaded = _memory(traced)
    for plain in case.flags():
        flags.is_enabled(plain.key, "user-1")
    asked = _memory(traced)
    flags.evaluate_all("user-1")
    evaluated = _memory(traced)
    flags.close()
    return {
        "connect_s": took,
        "loaded_mb": loaded,
        "asked_mb": asked,
        "evaluated_mb": evaluated,
    }


def _memory(traced: bool) -> float:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / (1 << 20) if traced else resident()


def payload(url: str) -> dict[str, Any]:
    """Read the rows, then say how long it takes to decide by them, and what a change costs."""
    with Flags.connect(url, ready_within=60) as flags, flags.operator("benchmark") as operator:
        rows = [json.dumps(flag_to_data(flag)) for flag in operator.list().flags.values()]
    gc.collect()
    started = time.perf_counter()
    known = {}
    for row in rows:
        flag = flag_from_data(json.loads(row))
        known[flag.key] = flag
    view = View(World(provider="benchmark"))
    view.replace(known, {})
    view.enabled[case.FLAG]("user-1")
    ready = time.perf_counter() - started
    for decide in list(view.enabled.values()):
        decide("user-1")
    return {
        "ready_s": ready,
        "each_asked_s": time.perf_counter() - started,
        "change_us": _change(view),
        "kill_us": _kill(view),
    }


def _change(view: View) -> float:
    """Return the least time in microseconds from a changed flag to its next decision."""
    versions = [
        Flag(key=case.FLAG, default=percentage("on", percent, rest="off"), on=True)
        for percent in (20, 40)
    ]

    def change(number: int) -> None:
        view.change({case.FLAG: versions[number % 2]}, {})
        view.enabled[case.FLAG]("user-1")

    return _least(change)


def _kill(view: View) -> float:
    """Return the least time in microseconds from a kill or a revive to the next decision."""
    scope = Scope.parse(case.FLAG)

    def turn(number: int) -> None:
        kill = KillRecord(scope, number, killed=True)
        view.overlay(Overlay(flags={case.FLAG: kill} if number % 2 else {}))
        view.enabled[case.FLAG]("user-1")

    return _least(turn)


def _least(work: Callable[[int], None]) -> float:
    taken = []
    for number in range(_CHANGES):
        started = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - started)
    return min(taken) * 1e6


def main(way: str, url: str) -> None:
    """Print one line of JSON."""
    found = payload(url) if way == "payload" else memory(url, traced=way == "traced")
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
