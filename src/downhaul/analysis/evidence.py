"""What was counted of one step so far: stretches of time that follow each other without a gap.

Evidence is frozen, and is saved with the rollout's state in one transaction. What a crash made of
a sample that was not saved is therefore nothing: the cursor stands where it stood, and the same
window is asked for again. Nothing counts twice, and nothing is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from downhaul.analysis.model import Counts, Sample
from downhaul.analysis.statistics.progress import Progress
from downhaul.errors import DownhaulError

_NOTHING: Final[Mapping[str, Progress]] = MappingProxyType({})

MOST_BUCKETS: Final = 60
"""How many stretches are kept. Old ones are joined: each is about a sixth of its age at most."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The counts of one stretch of time, by variant. Microseconds since 1970, half-open."""

    since: int
    until: int
    arms: Mapping[str, Counts]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The counts of one step. ``cursor`` is until when samples were taken.

    ``begun`` is when the step's counting began. ``progress`` is what each sequential check gathered
    by name, over all steps. ``told`` is until when the history has it.
    """

    step: int
    cursor: int
    buckets: tuple[Bucket, ...] = ()
    progress: Mapping[str, Progress] = field(default_factory=lambda: _NOTHING)
    begun: int = 0
    told: int = 0

    def add(self, sample: Sample) -> Evidence:
        """Return this with a sample. Raises DownhaulError unless it begins at the cursor."""
        window = sample.window
        if window.since != self.cursor or window.until < window.since:
            raise DownhaulError(
                f"a sample from {window.since} to {window.until} does not follow on what was "
                f"counted until {self.cursor}",
                hint="the metric source answered for another window than it was asked for",
            )
        if not sample.arms:
            return replace(self, cursor=window.until)
        buckets = (*self.buckets, Bucket(window.since, window.until, sample.arms))
        return replace(self, cursor=window.until, buckets=_bounded(buckets, window.until))

    def for_step(self, step: int, at: int) -> Evidence:
        """Return the evidence of a step that begins at ``at``: no counts, and what lasts."""
        progress = {name: one.for_step() for name, one in self.progress.items()}
        return Evidence(step, at, progress=progress, begun=at)

    def since(self, at: int | None) -> Mapping[str, Counts]:
        """Return the counts by variant from ``at`` on; None is the whole step.

        A stretch that ``at`` lies in is counted whole.
        """
        found: dict[str, Counts] = {}
        for bucket in self.buckets:
            if at is None or bucket.until > at:
                _gather(found, bucket.arms)
        return found

    def as_mapping(self) -> dict[str, Any]:
        """Return this as JSON data."""
        return {
            "step": self.step,
            "cursor": self.cursor,
            "begun": self.begun,
            "told": self.told,
            "buckets": [
                [one.since, one.until, {name: _row(counts) for name, counts in one.arms.items()}]
                for one in self.buckets
            ],
            "progress": {name: one.as_mapping() for name, one in self.progress.items()},
        }

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Evidence:
        """Return the evidence that :meth:`as_mapping` wrote, by this or an earlier version."""
        buckets = data["buckets"]
        begun = data.get("begun", buckets[0][0] if buckets else data["cursor"])
        return cls(
            step=int(data["step"]),
            cursor=int(data["cursor"]),
            begun=int(begun),
            told=int(data.get("told", 0)),
            progress={
                str(name): Progress.from_mapping(one)
                for name, one in data.get("progress", {}).items()
            },
            buckets=tuple(
                Bucket(int(since), int(until), {name: _counts(row) for name, row in arms.items()})
                for since, until, arms in buckets
            ),
        )


def _bounded(buckets: tuple[Bucket, ...], now: int) -> tuple[Bucket, ...]:
    """Join two neighbours where there are too many: those that are shortest for their age."""
    if len(buckets) <= MOST_BUCKETS:
        return buckets
    ages = [(late.until - early.since) / (now - early.since) for early, late in pairwise(buckets)]
    index = ages.index(min(ages))
    early, late = buckets[index], buckets[index + 1]
    arms: dict[str, Counts] = {}
    _gather(arms, early.arms)
    _gather(arms, late.arms)
    joined = Bucket(early.since, late.until, arms)
    return (*buckets[:index], joined, *buckets[index + 2 :])


def _gather(found: dict[str, Counts], arms: Mapping[str, Counts]) -> None:
    for name, counts in arms.items():
        found[name] = found[name] + counts if name in found else counts


def _row(counts: Counts) -> list[Any]:
    latency = counts.latency_ms if math.isfinite(counts.latency_ms) else None  # JSON has no NaN
    row = [counts.requests, counts.errors, counts.successes, counts.timed, latency]
    people = [counts.users, counts.new_users, counts.error_users, counts.failed_users]
    more = [*people, _by_threshold(counts.slow_users), counts.anonymous]
    # An older controller beside this one reads rows without people, which are most of them.
    return [*row, _by_threshold(counts.slow), *(more if any(more) else ())]


def _by_threshold(many: Mapping[float, int]) -> list[list[float]]:
    return sorted([threshold, count] for threshold, count in many.items())


def _counts(row: Sequence[Any]) -> Counts:
    requests, errors, successes, timed, latency, slow, *more = row
    users, new, erring, failed, slow_users, anonymous = more or (0, 0, 0, 0, (), 0)
    return Counts(
        int(requests),
        int(errors),
        int(successes),
        int(timed),
        math.nan if latency is None else float(latency),
        {float(threshold): int(many) for threshold, many in slow},
        int(users),
        int(new),
        int(erring),
        int(failed),
        {float(threshold): int(many) for threshold, many in slow_users},
        int(anonymous),
    )
