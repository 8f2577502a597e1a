"""What Downhaul costs above LaunchDarkly's own SDK, measured in turns within one process.

The same flags are asked for by name and targeting key: by the SDK's ``variation_detail``, with the
context made for each call, and by ``evaluate``. The portable flag is asked for by the SDK with the
bucket at hand. Prints medians of the processor time of a call, and whether the goals are met.

    python benchmarks/over_launchdarkly.py [ROUNDS]
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean
from downhaul_launchdarkly.provider import create
from ldclient import Context, LDClient
from ldclient.config import Config

from downhaul import Flags
from downhaul.config import Declaration, RolloutMode, resolve

USERS: Final = [f"user-{number}" for number in range(2_000)]
GOALS: Final = {"native": (0.05, 1.5), "portable": (0.30, 8.0)}
"""Of each way: the part of the SDK's own time, or the microseconds, that are allowed on top."""

_WAIT: Final = 15.0  # seconds for the flags to come
_CLAUSE: Final = {
    "contextKind": "user",
    "attribute": "downhaul_portable",
    "op": "lessThan",
    "values": [25_000],
    "negate": False,
}


def main(rounds: int) -> None:
    """Measure and print."""
    with LaunchDarklyEmulator() as service:
        service.put(boolean("native", percent=25))
        rule = {"id": "portable", "clauses": [_CLAUSE], "variation": 0}
        service.put(boolean("portable", fallthrough={"variation": 1}, rules=[rule]))
        table = {"url": f"launchdarkly+{service.url}", "sdk_key": service.sdk_key}
        declared = {"portable": Declaration(rollout=RolloutMode.PORTABLE)}
        places = dict.fromkeys(("stream_uri", "base_uri", "events_uri"), service.url)
        config = Config(service.sdk_key, send_events=False, diagnostic_opt_out=True, **places)
        bare = LDClient(config, start_wait=_WAIT)
        provider = create(resolve(provider=table, environ={}))
        with Flags.over(provider, declarations=declared, ready_within=_WAIT) as flags:
            _report(_measured(_ways(bare, flags), rounds))
        bare.close()


def _ways(bare: LDClient, flags: Flags) -> Mapping[str, Callable[[], None]]:
    ask, evaluate = bare.variation_detail, flags.evaluate

    def native_bare() -> None:
        for user in USERS:
            ask("native", Context.create(user), False)

    def native_ours() -> None:
        for user in USERS:
            evaluate("native", user, False)

    def portable_bare() -> None:
        for user in USERS:
            context = Context.builder(user).set("downhaul_portable", 5).build()
            ask("portable", context, False)

    def portable_ours() -> None:
        for user in USERS:
            evaluate("portable", user, False)

    ways = (native_bare, native_ours, portable_bare, portable_ours)
    return {one.__name__: one for one in ways}


def _measured(ways: Mapping[str, Callable[[], None]], rounds: int) -> Mapping[str, float]:
    """Return the median microseconds of a call, the ways taken in turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        for name, way in ways.items():
            begun = time.process_time()
            way()
            taken[name].append((time.process_time() - begun) / len(USERS) * 1e6)
        gc.enable()
    return {name: statistics.median(times) for name, times in taken.items()}


def _report(found: Mapping[str, float]) -> None:
    for name, (share, most) in GOALS.items():
        bare, ours = found[f"{name}_bare"], found[f"{name}_ours"]
        more = ours - bare
        met = more <= most or more <= share * bare
        sys.stdout.write(
            f"{name:9} SDK {bare:6.2f} µs, Downhaul {ours:6.2f} µs: {more:+.2f} µs, "
            f"{more / bare:+.1%} (goal: {share:.0%} or {most:g} µs) {'met' if met else 'MISSED'}\n"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
