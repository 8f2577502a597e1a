"""From samples of counters to counts by variant. Pure.

A counter's increase between two scrapes belongs to the window that the later scrape lies in, so
windows that follow each other add up to what was counted, whatever their edges are. A value that is
lower than the one before is a new count that began at zero in between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from downhaul.analysis.model import Counts
from downhaul.analysis.prometheus_api import NAME, Key, series_text
from downhaul.analysis.prometheus_settings import PrometheusSettings
from downhaul.errors import ConfigError

Samples = Mapping[Key, Sequence[tuple[int, float]]]

YOUNG: Final = 300.0
"""Seconds that a process has run at its first scrape, at most, to have begun within a window."""

_MILLISECONDS: Final = {"s": 1000.0, "ms": 1.0, "us": 0.001}
_SAME: Final = 1e-9  # two ways to write one boundary


def increase(before: float, samples: Sequence[tuple[int, float]]) -> float:
    """Return by how much a counter rose, that stood at ``before``, over samples in order."""
    total, last = 0.0, before
    for _, value in samples:
        total += value - last if value >= last else value
        last = value
    return total


def increases(
    before: Mapping[Key, float], inside: Samples, began: Callable[[Key, int], bool]
) -> tuple[dict[Key, float], list[Key]]:
    """Return by how much each series rose, and those whose first value could not be counted.

    ``began`` says of a series that was not there before whether it began at zero shortly before
    its first sample, whose milliseconds it is given.
    """
    found: dict[Key, float] = {}
    unknown: list[Key] = []
    for key, samples in inside.items():
        first = before.get(key)
        if first is None:
            if began(key, samples[0][0]):
                first = 0.0
            else:
                first = samples[0][1]
                unknown.append(key)
        found[key] = increase(first, samples)
    return found, unknown


@dataclass(slots=True)
class Beginnings:
    """What is known of when targets were scraped and started, by job and instance.

    ``scraped`` holds the milliseconds of scrapes that succeeded, ``started`` when the process said
    that it started, with the time of the scrape.
    """

    scraped: Mapping[tuple[str, str], Sequence[int]] = field(default_factory=dict)
    started: Mapping[tuple[str, str], Sequence[tuple[int, float]]] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Samples) -> Beginnings:
        """Return what samples of ``up`` and ``process_start_time_seconds`` say."""
        scraped: dict[tuple[str, str], list[int]] = {}
        started: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for key, values in samples.items():
            target = target_of(key)
            if target is None:
                continue
            if dict(key).get(NAME) == "up":
                scraped.setdefault(target, []).extend(at for at, value in values if value == 1)
            else:
                started.setdefault(target, []).extend(values)
        return cls(scraped, started)

    def began(self, key: Key, at: int) -> bool:
        """Return whether a series that was first seen at ``at`` had begun just before.

        It had if its target was scraped before, and did not have it; or if the target's process
        had just started.
        """
        target = target_of(key)
        if target is None:
            return False
        if any(one < at for one in self.scraped.get(target, ())):
            return True
        starts = [start for seen, start in self.started.get(target, ()) if seen <= at]
        return bool(starts) and at / 1000 - starts[-1] < YOUNG


def target_of(key: Key) -> tuple[str, str] | None:
    """Return the job and instance of a series, if it has both."""
    labels = dict(key)
    job, instance = labels.get("job", ""), labels.get("instance", "")
    return (job, instance) if job and instance else None


class _Arm:
    """One arm as it is added up."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.fast: dict[float, float] = defaultdict(float)


def counts_of(
    found: Mapping[Key, float],
    known: Iterable[Key],
    settings: PrometheusSettings,
    thresholds: Sequence[float],
) -> dict[str, Counts]:
    """Return the counts by variant of how much each series rose.

    ``known`` are all series that are there, risen or not. Raises ConfigError where a histogram that
    rose has no bucket that ends at a threshold.
    """
    _see_boundaries(found, known, settings, thresholds)
    arms: dict[str, _Arm] = {}
    for key, rise in found.items():
        labels = dict(key)
        variant = labels.get(settings.labels["variant"], "")
        if variant:
            arm = arms.setdefault(settings.variants.of(variant), _Arm())
            _add(arm, labels, rise, settings, thresholds)
    return {name: _counts(arm, settings, thresholds) for name, arm in arms.items()}


def _add(
    arm: _Arm,
    labels: Mapping[str, str],
    rise: float,
    settings: PrometheusSettings,
    thresholds: Sequence[float],
) -> None:
    name, sums = labels[NAME], arm.sums
    if name == requests_of(settings):
        sums["requests"] += rise
        if settings.errors and all(one.holds(labels) for one in settings.errors):
            sums["errors"] += rise
        if settings.successes and all(one.holds(labels) for one in settings.successes):
            sums["successes"] += rise
    if name == settings.error_counter:
        sums["errors"] += rise
    if name == f"{settings.latency}_sum":
        sums["latency"] += rise
    if name == f"{settings.latency}_count":
        sums["timed"] += rise
    if name == f"{settings.latency}_bucket":
        for threshold in thresholds:
            if _ends_at(labels, threshold, settings):
                arm.fast[threshold] += rise


def _counts(arm: _Arm, settings: PrometheusSettings, thresholds: Sequence[float]) -> Counts:
    sums = arm.sums
    requests, timed = round(sums["requests"]), round(sums["timed"])
    errors, successes = min(round(sums["errors"]), requests), round(sums["successes"])
    if not settings.successes:
        successes = requests - errors
    elif not settings.errors and not settings.error_counter:
        errors = requests - successes
    return Counts(
        requests,
        errors,
        successes,
        timed,
        sums["latency"] * _MILLISECONDS[settings.latency_unit],
        {one: max(0, timed - round(arm.fast[one])) for one in thresholds},
    )


def requests_of(settings: PrometheusSettings) -> str:
    """Return the counter of requests."""
    return settings.requests or f"{settings.latency}_count"


def boundary(threshold: float, settings: PrometheusSettings) -> float:
    """Return a threshold in milliseconds as the histogram has it."""
    return threshold / _MILLISECONDS[settings.latency_unit]


def spellings(threshold: float, settings: PrometheusSettings) -> tuple[str, ...]:
    """Return how the label ``le`` may write a threshold: clients differ, and so do versions."""
    value = boundary(threshold, settings)
    texts = {repr(value), f"{value:g}", f"{value:.15g}", f"{value:.17g}"}
    if value == int(value):
        texts |= {str(int(value)), f"{int(value)}.0"}
    return tuple(sorted(texts))


def _ends_at(labels: Mapping[str, str], threshold: float, settings: PrometheusSettings) -> bool:
    try:
        end = float(labels.get("le", ""))
    except ValueError:
        return False
    wanted = boundary(threshold, settings)
    return abs(end - wanted) <= _SAME * wanted


def _see_boundaries(
    found: Mapping[Key, float],
    known: Iterable[Key],
    settings: PrometheusSettings,
    thresholds: Sequence[float],
) -> None:
    """Raise ConfigError for a histogram without a needed bucket: it would seem slow as a whole."""
    if not thresholds:
        return
    there: set[tuple[Key, float]] = set()
    for key in known:
        labels = dict(key)
        if labels.get(NAME) == f"{settings.latency}_bucket":
            for threshold in thresholds:
                if _ends_at(labels, threshold, settings):
                    there.add((_without(labels, "le"), threshold))
    for key, rise in found.items():
        labels = dict(key)
        if not rise or labels.get(NAME) != f"{settings.latency}_count":
            continue
        for threshold in thresholds:
            if (_without(labels), threshold) not in there:
                end = f"{boundary(threshold, settings):g} {settings.latency_unit}"
                message = f"{series_text(key)} has no bucket that ends at {end}"
                raise ConfigError(message, hint="slower_than has to be a boundary of the histogram")


def _without(labels: Mapping[str, str], *names: str) -> Key:
    return tuple(sorted(one for one in labels.items() if one[0] not in (NAME, *names)))
