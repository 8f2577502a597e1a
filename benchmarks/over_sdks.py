"""What Downhaul costs above each vendor's own SDK, measured in turns within one process.

The same flags are asked for by name and targeting key: by the SDK's own call, and by ``evaluate``.
The portable flag is asked for by the SDK with each user's bucket at hand. Both must decide alike.
Each round begins with another of the four, so that none is always the first. Prints medians of the
processor time of a call, and of the difference within a round, with the middle half of the rounds
in brackets, and whether the goals are met. ``make bench`` runs it as its part ``sdks``.

    python benchmarks/over_sdks.py [ROUNDS] [--json]
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
from goals import ABOVE, allowed, met
from ldclient import Context, LDClient
from ldclient.config import Config

from downhaul import Flags
from downhaul.config import Declaration, RolloutMode, resolve
from downhaul.evaluator.bucketing import bucket
from downhaul.plugins import build_provider
from downhaul.provider import FlagProvider

USERS: Final = [f"user-{number}" for number in range(2_000)]
BUCKETS: Final = {user: bucket("portable", user) for user in USERS}

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
                    "portable", Context.builder(user).set(_BUCKET, BUCKETS[user]).build(), False
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
            attributes = {user: {_BUCKET: found} for user, found in BUCKETS.items()}
            yield {
                "native_bare": lambda user: ask(user, "native", None),
                "portable_bare": lambda user: ask(user, "portable", attributes[user]),
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
            properties = {user: {_BUCKET: str(found)} for user, found in BUCKETS.items()}
            yield {
                "native_bare": lambda user: ask("native", {"userId": user, "properties": {}}, _no),
                "portable_bare": lambda user: ask(
                    "portable", {"userId": user, "properties": properties[user]}, _no
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


Found = dict[str, dict[str, Any]]
"""By the way of rolling out: microseconds of a call, and how many rounds there were."""


def main(arguments: list[str]) -> None:
    """Measure and print."""
    as_json = "--json" in arguments
    words = [one for one in arguments if one != "--json"]
    rounds = int(words[0]) if words else 16
    found: dict[str, Found] = {}
    for vendor, ways in VENDORS.items():
        with ways() as asked:
            found[vendor] = _figures(_measured(asked, rounds))
        if not as_json:
            _report(vendor, found[vendor])
    if as_json:
        json.dump(found, sys.stdout)


def _measured(ways: Mapping[str, Ask], rounds: int) -> Mapping[str, list[float]]:
    """Return the microseconds of a call in each round, the ways taken in turns."""
    for way in ABOVE:
        _check(way, ways[f"{way}_bare"], ways[f"{way}_ours"])
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds + 1):  # the first is for warmth
        first = number % len(names)
        gc.collect()
        gc.disable()
        for name in names[first:] + names[:first]:
            ask = ways[name]
            begun = time.process_time()
            for user in USERS:
                ask(user)
            taken[name].append((time.process_time() - begun) / len(USERS) * 1e6)
        gc.enable()
    return {name: times[1:] for name, times in taken.items()}


def _check(way: str, bare: Ask, ours: Ask) -> None:
    """Raise SystemExit where the SDK and we decide otherwise: then there is nothing to compare."""
    differ = [user for user in USERS if _yes(bare(user)) is not _yes(ours(user))]
    if differ:
        message = f"{way}: we decide other than the SDK for {len(differ)} of {len(USERS)} users"
        raise SystemExit(message)


def _yes(answer: Any) -> bool:
    """Return whether an answer of an SDK, or of ours, says on."""
    if isinstance(answer, tuple):
        return bool(answer[0] == "on")
    return answer if isinstance(answer, bool) else bool(answer.value)


def _figures(taken: Mapping[str, list[float]]) -> Found:
    made: Found = {}
    for way in ABOVE:
        bare, ours = taken[f"{way}_bare"], taken[f"{way}_ours"]
        more = [above - below for above, below in zip(ours, bare, strict=True)]
        series = {"sdk_us": bare, "ours_us": ours, "more_us": more}
        made[way] = {name: _middle(times) for name, times in series.items()}
        made[way]["rounds"] = len(more)
    return made


def _middle(times: list[float]) -> list[float]:
    """Return the median, and between which two lies the middle half of the rounds."""
    low, median, high = (
        statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    )
    return [round(one, 3) for one in (median, low, high)]


def _report(vendor: str, found: Found) -> None:
    for way, one in found.items():
        (bare, *bares), (ours, *each), (more, *mores) = (
            one["sdk_us"],
            one["ours_us"],
            one["more_us"],
        )
        sys.stdout.write(
            f"{vendor:12} {way:8} SDK {bare:.2f} µs {_spread(bares)}, Downhaul {ours:.2f} µs "
            f"{_spread(each)}: {more:+.2f} µs {_spread(mores, '+')}, {more / bare:+.1%} "
            f"(goal: {allowed(way)}) {'met' if met(way, bare, more) else 'MISSED'}\n"
        )


def _spread(ends: list[float], sign: str = "") -> str:
    low, high = ends
    return f"({low:{sign}.2f} to {high:{sign}.2f})"


if __name__ == "__main__":
    main(sys.argv[1:])
