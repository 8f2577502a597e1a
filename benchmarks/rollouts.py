"""One controller with a thousand live rollouts, guarded by the request log: does it keep up?

    python benchmarks/rollouts.py [--rollouts 1000] [--seconds 30] [--store sqlite|postgresql]

Every rollout is looked at each ``--interval`` (5) seconds, while another process logs requests of
all their flags. "Lag" is how long after it was due a rollout was claimed. "At most" is how many
looks a second there are when all are due at once. The share of a core is the controller's own.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machine
from stores import postgres, provider_at, sqlite_url

from downhaul import Change, Flag
from downhaul.analysis.model import Check, Measure
from downhaul.control import Operator
from downhaul.rollout.controller import Controller
from downhaul.rollout.plan import Plan, Step
from downhaul.rollout.service import Rollouts, controller_for
from downhaul.store.requests import RequestRow
from downhaul.store.rollouts import Claim
from downhaul.store.schema import upgrade

_HOUR = 3600.0
_BATCH = 100  # requests that the writer logs at once, four times a second
_GUARDRAILS = (
    Check(Measure.ERROR_RATE, limit=0.05),
    Check(Measure.LATENCY, over_control=0.3),
)


def measure(url: str, count: int, interval: float, seconds: float) -> dict[str, Any]:
    """Return how one controller does with so many rollouts on an empty store."""
    provider = provider_at(url)
    upgrade(provider.database)
    operator = Operator(provider, provider.control, actor="benchmark")
    flags = [f"flag-{number}" for number in range(count)]
    _begin(operator, flags, interval)
    controller = controller_for(operator, alerts=())
    found: dict[str, Any] = {"rollouts": count, "interval_s": interval}
    begun = time.perf_counter()
    _told(f"  {count} first steps")
    acted = 0
    while acted < count:
        acted += controller.tick().acted
    found["first_steps_per_s"] = round(count / (time.perf_counter() - begun), 1)
    with _requests(url, count):
        found |= _steady(controller, provider.control.rollouts, interval, seconds)
    found |= _at_most(controller, provider.control.rollouts, count)
    operator.close()
    provider.close()
    return found


def _begin(operator: Operator, flags: list[str], interval: float) -> None:
    """Begin a rollout of each flag, whose first step takes longer than all of this."""
    rollouts, change = Rollouts(operator), Change("benchmark")
    steps = (Step(10_000, _HOUR, 3 * _HOUR), Step(100_000, _HOUR, 3 * _HOUR))
    for number, flag in enumerate(flags):
        if number % 100 == 0:
            _told(f"  {number} of {len(flags)} begun")
        operator.provider.put(Flag.boolean(flag, percent=0), change)
        plan = Plan(flag, "on", steps, guardrails=_GUARDRAILS, interval=interval)
        rollouts.start(plan, "to measure")


def _steady(controller: Controller, store: Any, interval: float, seconds: float) -> dict[str, Any]:
    """Let it run, and return how late it was, and what it took."""
    lags: list[float] = []
    claim = store.claim

    def counted(*words: Any, **options: Any) -> tuple[Claim, ...]:
        claims: tuple[Claim, ...] = claim(*words, **options)
        lags.extend((one.now - one.row.due_at) / 1e6 for one in claims)
        return claims

    stop = threading.Event()
    runs = threading.Thread(target=controller.run, args=(stop,))
    runs.start()
    _told("  warming up")
    time.sleep(2 * interval)  # what was begun at once is spread by then
    store.claim = counted
    _told(f"  {seconds:g} seconds")
    begun, used = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    took, used = time.perf_counter() - begun, time.process_time() - used
    looks = sorted(lags)
    stop.set()
    runs.join()
    store.claim = claim
    counters = controller.counters()
    return {
        "looks_per_s": round(len(looks) / took, 1),
        "share_of_core": round(used / took, 3),
        "lag_p50_s": round(statistics.median(looks), 3),
        "lag_p99_s": round(looks[int(len(looks) * 0.99)], 3),
        "lag_max_s": round(looks[-1], 3),
        "errors": int(counters.get("errors", 0) + counters.get("unreachable", 0)),
    }


def _at_most(controller: Controller, store: Any, count: int) -> dict[str, Any]:
    """Return how many looks a second there are when all are due at once."""
    store.hurry()
    begun, looks = time.perf_counter(), 0
    while looks < count:
        looks += controller.tick().claimed
    return {"looks_per_s_at_most": round(looks / (time.perf_counter() - begun), 1)}


@contextmanager
def _requests(url: str, count: int) -> Iterator[None]:
    """Log requests of all flags from another process."""
    words = [sys.executable, __file__, "--log", url, str(count)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        yield
        process.terminate()


def _log(url: str, count: int) -> None:
    """Log requests until we are ended."""
    log = provider_at(url).control.requests
    chance = random.Random(1)
    while True:
        log.write(
            [
                RequestRow(
                    uuid.uuid4().hex,
                    f"flag-{chance.randrange(count)}",
                    chance.choice(("on", "off")),
                    "split",
                    success=True,
                    error=False,
                    latency_ms=chance.uniform(10, 200),
                )
                for _ in range(_BATCH)
            ]
        )
        time.sleep(0.25)


def _told(words: str) -> None:
    sys.stderr.write(f"{words}\n")


def main() -> None:
    """Measure on each store, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--store", choices=("sqlite", "postgresql"))
    parser.add_argument("--log", nargs=2, metavar=("URL", "FLAGS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.log:
        _log(asked.log[0], int(asked.log[1]))
    found: dict[str, Any] = {"machine": machine.described()}
    with tempfile.TemporaryDirectory() as folder, postgres() as server:
        stores = {"sqlite": sqlite_url(Path(folder), "rollouts"), "postgresql": server}
        for name, url in stores.items():
            if url is None or asked.store not in (None, name):
                continue
            _told(name)
            found[name] = measure(url, asked.rollouts, asked.interval, asked.seconds)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
