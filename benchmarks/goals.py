"""The goals, and whether a run met them.

A ratio is that of the best rounds, against the floor of the same run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from case import FLAGS

Results = Mapping[str, Any]

ABOVE = {"native": (0.05, 1.5), "portable": (0.30, 8.0)}
"""Above a vendor's SDK: the part of its own time, or the microseconds, that are allowed on top."""

VENDORS = ("launchdarkly", "split", "unleash")


def allowed(way: str) -> str:
    """Return in words how much a way of rolling out may cost above an SDK."""
    share, most = ABOVE[way]
    return f"{share:.0%} or {most:g} µs"


def met(way: str, bare: float, more: float) -> bool:
    """Return whether so many microseconds above so many of the SDK's are allowed."""
    share, most = ABOVE[way]
    return more <= most or more <= share * bare


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: what, how much, what was measured, and whether that meets it (None: not known)."""

    what: str
    goal: str
    measured: str
    met: bool | None

    def as_data(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return asdict(self)


def judged(results: Results) -> list[Goal]:
    """Return every goal with what was measured."""
    return [
        goal
        for part in (_deciding, _importing, _loading, _following, _above)
        for goal in part(results)
    ]


def best(results: Results, name: str, measure: str) -> float | None:
    """Return the best of a measure in microseconds; None where it was not measured."""
    return _series(results, name, measure, "best_us")


def ratio(results: Results, ours: str, floors: str, kind: str = "best_us") -> float | None:
    """Return how many times the floor a measure of ours takes."""
    above = _series(results, "downhaul", ours, kind)
    below = _series(results, "floor", floors, kind)
    return None if above is None or below is None else above / below


def _series(results: Results, name: str, measure: str, kind: str) -> float | None:
    found = results.get("contestants", {}).get(name, {}).get("measures", {}).get(measure)
    return None if found is None else found[kind]


def _at_most(what: str, found: float | None, limit: float, unit: str, digits: int = 2) -> Goal:
    if found is None:
        return Goal(what, f"at most {limit:g}{unit}", "not measured", None)
    return Goal(what, f"at most {limit:g}{unit}", f"{found:.{digits}f}{unit}", found <= limit)


def _times_floor(results: Results, what: str, ours: str, floors: str, limit: float) -> Goal:
    found, middle = ratio(results, ours, floors), ratio(results, ours, floors, "median_us")
    goal = _at_most(what, found, limit, " times the floor")
    if middle is None:
        return goal
    return Goal(what, goal.goal, f"{goal.measured} (medians {middle:.2f})", goal.met)


def _over(results: Results, what: str, ours: str, base: str, limit: float) -> Goal:
    above, below = best(results, "downhaul", ours), best(results, "downhaul", base)
    found = None if above is None or below is None else above - below
    return _at_most(what, found, limit, " µs more", 3)


def _deciding(results: Results) -> Iterator[Goal]:
    yield _times_floor(results, "`is_enabled`, the case", "case", "case", 1.6)
    yield _ahead(results)
    for measure in ("off", "killed", "killed by tag"):
        yield _times_floor(results, measure.capitalize(), measure, "off", 1.5)
    yield _over(results, "`evaluate`, context at hand, over `is_enabled`", "evaluate", "case", 0.2)
    fresh = "evaluate, fresh context"
    yield _over(results, "`evaluate`, fresh context, over one at hand", fresh, "evaluate", 0.4)
    yield _times_floor(results, "A rule of two clauses, then the rollout", "rule", "case", 2.8)
    what = "Another of 10,000 flags at each call"
    yield _times_floor(results, what, "scattered", "scattered", 1.6)
    yield _unchanged(results)
    yield _threads(results)
    yield from _batch(results)


def _ahead(results: Results) -> Goal:
    what, goal = "Ahead of every peer", "faster than the fastest"
    ours = best(results, "downhaul", "case")
    peers = results.get("peers", [])
    known = {name: found for name in peers if (found := best(results, name, "case")) is not None}
    if ours is None or not known:
        return Goal(what, goal, "not measured", None)
    fastest = min(known, key=lambda name: known[name])
    measured = f"{ours:.2f} µs, and {fastest} {known[fastest]:.2f} µs"
    if ours >= known[fastest]:
        return Goal(what, goal, measured, False)
    away = [name for name in peers if name not in known]
    if away:
        return Goal(what, goal, f"{measured} (absent: {', '.join(away)})", None)
    return Goal(what, goal, measured, True)


def _unchanged(results: Results) -> Goal:
    what = "The same flag, with 10,000 flags against 1"
    many, one = best(results, "downhaul", "case"), best(results, "downhaul, one flag", "case")
    found = None if many is None or one is None else many / one
    return _at_most(what, found, 1.1, " times as long")


def _threads(results: Results) -> Goal:
    what, goal = "16 threads", "at least 0.85 of the throughput of one"
    one, many = best(results, "downhaul", "threads 1"), best(results, "downhaul", "threads 16")
    if one is None or many is None:
        return Goal(what, goal, "not measured", None)
    return Goal(what, goal, f"{one / many:.2f}", one / many >= 0.85)


def _batch(results: Results) -> Iterator[Goal]:
    name = "downhaul, a million"
    for measure in ("none targeted", "targets spread"):
        found = best(results, name, measure)  # a million times a microsecond is a second
        yield _at_most(f"`evaluate_many`, 1,000,000 ids, {measure}", found, 0.3, " s")
    equal = results.get("contestants", {}).get(name, {}).get("equal")
    measured = "not measured" if equal is None else "equal" if equal else "not equal"
    yield Goal("`evaluate_many` against one by one", "equal", measured, equal)


def _importing(results: Results) -> Iterator[Goal]:
    found = results.get("import", {})
    statement = "`from downhaul import Flags, Context`"
    yield _at_most(f"{statement}, processor time", found.get("best_ms"), 60, " ms", 1)
    what, goal = f"Heavy modules after {statement}", "none"
    heavy = found.get("heavy_modules")
    measured = "not measured" if heavy is None else ", ".join(heavy) or "none"
    yield Goal(what, goal, measured, None if heavy is None else not heavy)


def _loading(results: Results) -> Iterator[Goal]:
    found = results.get("volume", {})
    if found.get("flags") != FLAGS:
        found = {}  # a quick run loads fewer
    yield _at_most("10,000 flags: memory, loaded", found.get("resident_mb"), 25, " MB", 1)
    what = "10,000 flags: memory, each asked by `is_enabled`"
    yield _at_most(what, found.get("resident_asked_mb"), 25, " MB", 1)
    yield _at_most("10,000 flags: ready after the payload", found.get("ready_s"), 0.5, " s")
    change = found.get("change_us", {})
    more = None if len(change) < 2 else max(change.values()) - min(change.values())
    what = "One changed flag, with 10,000 flags against 1"
    yield _at_most(what, more, 200, " µs more", 0)


def _following(results: Results) -> Iterator[Goal]:
    found = results.get("propagation", {})
    told, unheard = found.get("postgresql", {}), found.get("postgresql, unheard", {})
    label = "Commit to changed decision"
    asked: tuple[tuple[str, Mapping[str, Any], str, str, float], ...] = (
        ("PostgreSQL, idle process, p50", told, "change, idle", "p50_ms", 3),
        ("PostgreSQL, idle process, p99", told, "change, idle", "p99_ms", 15),
        ("PostgreSQL, busy process, p50", told, "change, busy", "p50_ms", 15),
        ("PostgreSQL, LISTEN lost, most", unheard, "change, idle", "max_ms", 5000),
        ("SQLite, idle process, p99", found.get("sqlite", {}), "change, idle", "p99_ms", 100),
    )
    for what, part, way, which, limit in asked:
        yield _at_most(f"{label}: {what}", part.get(way, {}).get(which), limit, " ms", 1)


def _above(results: Results) -> Iterator[Goal]:
    for vendor in VENDORS:
        for way in ABOVE:
            what = f"`evaluate` above the SDK: {vendor}, {way}"
            goal = f"at most {allowed(way)} more"
            one = results.get("sdks", {}).get(vendor, {}).get(way)
            if one is None:
                yield Goal(what, goal, "not measured", None)
                continue
            bare, (more, low, high) = one["sdk_us"][0], one["more_us"]
            measured = f"{more:+.2f} µs ({low:+.2f} to {high:+.2f})"
            yield Goal(what, goal, measured, met(way, bare, more))


def missed(goals: list[Goal]) -> list[Goal]:
    """Return the goals that were measured and not met."""
    return [goal for goal in goals if goal.met is False]
