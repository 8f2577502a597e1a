"""What Downhaul costs above each vendor's own SDK, measured in turns within one process.

The same flags are asked for by name and targeting key: by the SDK's own call, and by ``evaluate``.
The portable flag is asked for by the SDK with the bucket at hand. Prints medians of the processor
time of a call, and whether the goals are met.

    python benchmarks/over_sdks.py [ROUNDS]
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean as at_launchdarkly
from downhaul_emulators.split import SplitEmulator, rule
from downhaul_emulators.split import boolean as at_split
from ldclient import Context, LDClient
from ldclient.config import Config

from downhaul import Flags
from downhaul.config import Declaration, RolloutMode, resolve
from downhaul.plugins import build_provider
from downhaul.provider import FlagProvider

USERS: Final = [f"user-{number}" for number in range(2_000)]
GOALS: Final = {"native": (0.05, 1.5), "portable": (0.30, 8.0)}
"""Of each way: the part of the SDK's own time, or the microseconds, that are allowed on top."""

Ask = Callable[[str], Any]
_WAIT: Final = 15.0  # seconds for the flags to come
_PORTABLE: Final = {"portable": Declaration(rollout=RolloutMode.PORTABLE)}
_BUCKET: Final = "downhaul_portable"
_WEIGHT: Final = 25_000


@contextmanager
def launchdarkly() -> Iterator[Mapping[str, Ask]]:
    """Give LaunchDarkly's SDK, on the emulated service, and ours above it."""
    clause = {"contextKind": "user", "attribute": _BUCKET, "op": "lessThan", "values": [_WEIGHT]}
    rules = [{"id": "portable", "clauses": [{**clause, "negate": False}], "variation": 0}]
    with LaunchDarklyEmulator() as service:
        service.put(at_launchdarkly("native", percent=25))
        service.put(at_launchdarkly("portable", fallthrough={"variation": 1}, rules=rules))
        places = dict.fromkeys(("stream_uri", "base_uri", "events_uri"), service.url)
        config = Config(service.sdk_key, send_events=False, diagnostic_opt_out=True, **places)
        bare = LDClient(config, start_wait=_WAIT)
        ask = bare.variation_detail
        table = {"url": f"launchdarkly+{service.url}", "sdk_key": service.sdk_key}
        with _ours(_provider(table)) as ours:
            yield {
                "native_bare": lambda user: ask("native", Context.create(user), False),
                "portable_bare": lambda user: ask(
                    "portable", Context.builder(user).set(_BUCKET, 5).build(), False
                ),
                **ours,
            }
        bare.close()


@contextmanager
def split() -> Iterator[Mapping[str, Ask]]:
    """Give Split's SDK, on the emulated service, and ours above it: no impressions in either."""
    matcher = {"type": "BETWEEN_NUMBER", "attribute": _BUCKET, "between": {"from": 0, "to": 24_999}}
    with SplitEmulator() as service:
        service.put("native", at_split(percent=25))
        service.put("portable", at_split(percent=0, rules=[rule([matcher], on=100)]))
        table = {"url": f"split+{service.url}", "sdk_key": service.sdk_key}
        provider = _provider(table)
        with _ours(provider) as ours:
            ask = _sdk_of(provider).client.get_treatment_with_config
            bucket = {_BUCKET: 5}
            yield {
                "native_bare": lambda user: ask(user, "native", None),
                "portable_bare": lambda user: ask(user, "portable", bucket),
                **ours,
            }


@contextmanager
def unleash() -> Iterator[Mapping[str, Ask]]:
    """Give Unleash's SDK, on a document in a file, and ours above it."""
    below = {"contextName": _BUCKET, "operator": "NUM_LT", "value": str(_WEIGHT), "values": []}
    features = [_feature("native", 25, []), _feature("portable", 100, [below])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.json"
        document = {"version": 2, "features": features, "segments": []}
        path.write_text(json.dumps(document), encoding="utf-8")
        provider = _provider({"url": f"unleash+file://{path}"})
        with _ours(provider) as ours:
            ask = _sdk_of(provider).serving.client.is_enabled
            bucket = {_BUCKET: "5"}
            yield {
                "native_bare": lambda user: ask("native", {"userId": user, "properties": {}}, _no),
                "portable_bare": lambda user: ask(
                    "portable", {"userId": user, "properties": bucket}, _no
                ),
                **ours,
            }


def _feature(name: str, percent: int, constraints: list[Any]) -> dict[str, Any]:
    parameters = {"rollout": str(percent), "stickiness": "userId", "groupId": name}
    strategy = {
        "name": "flexibleRollout",
        "parameters": parameters,
        "constraints": constraints,
        "variants": [],
    }
    return {"name": name, "type": "release", "enabled": True, "strategies": [strategy]}


def _no(_name: str, _context: object) -> bool:
    return False


def _provider(table: Mapping[str, Any]) -> FlagProvider:
    return build_provider(resolve(provider=table, cache_dir=False, environ={}))


def _sdk_of(provider: Any) -> Any:
    """Return the session of the SDK, inside whatever stands around it."""
    while hasattr(provider, "inner"):
        provider = provider.inner
    return provider._session  # noqa: SLF001  (the same SDK, with and without what is ours)


@contextmanager
def _ours(provider: FlagProvider) -> Iterator[Mapping[str, Ask]]:
    with Flags.over(provider, declarations=_PORTABLE, ready_within=_WAIT) as flags:
        evaluate = flags.evaluate
        yield {
            "native_ours": lambda user: evaluate("native", user, False),
            "portable_ours": lambda user: evaluate("portable", user, False),
        }


VENDORS: Final[Mapping[str, Callable[[], AbstractContextManager[Mapping[str, Ask]]]]] = {
    one.__name__: one for one in (launchdarkly, split, unleash)
}


def main(rounds: int) -> None:
    """Measure and print."""
    for vendor, ways in VENDORS.items():
        with ways() as asked:
            _report(vendor, _measured(asked, rounds))


def _measured(ways: Mapping[str, Ask], rounds: int) -> Mapping[str, float]:
    """Return the median microseconds of a call, the ways taken in turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):  # the first is for warmth
        gc.collect()
        gc.disable()
        for name, ask in ways.items():
            begun = time.process_time()
            for user in USERS:
                ask(user)
            taken[name].append((time.process_time() - begun) / len(USERS) * 1e6)
        gc.enable()
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def _report(vendor: str, found: Mapping[str, float]) -> None:
    for name, (share, most) in GOALS.items():
        bare, ours = found[f"{name}_bare"], found[f"{name}_ours"]
        more = ours - bare
        met = more <= most or more <= share * bare
        sys.stdout.write(
            f"{vendor:12} {name:8} SDK {bare:6.2f} µs, Downhaul {ours:6.2f} µs: {more:+.2f} µs, "
            f"{more / bare:+.1%} (goal: {share:.0%} or {most:g} µs) {'met' if met else 'MISSED'}\n"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
