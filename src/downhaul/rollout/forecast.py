"""What a plan's sequential checks will be able to see, at the traffic there was lately. Pure.

Before anybody is exposed: which differences each step would find by its end, how long it needs to
show that there is none, and how many requests would have failed before a rollback.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from downhaul.analysis.model import Against, Check, Counts, Measure
from downhaul.analysis.sequential import tally
from downhaul.analysis.statistics import power
from downhaul.analysis.statistics.power import Growth
from downhaul.flag import WHOLE
from downhaul.rollout.plan import Plan

TIMES: Final = (2.0, 3.0, 5.0, 10.0)
"""How many times as many bad requests a rollback is foretold for."""

_HOUR: Final = 3600.0
_FINEST: Final = tuple(1.1 * 1.05**at for at in range(80))  # 1.1 to 52 times
_MOST_RATE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a metric source counted of a flag lately: all variants together, in ``seconds``."""

    counts: Counts
    seconds: float

    @property
    def per_hour(self) -> float:
        """Requests an hour."""
        return self.counts.requests * _HOUR / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What one check can see at one step, from the evidence of all steps up to its end.

    ``least`` is the smallest multiple of today's rate that is found by the end of the bake in nine
    rollouts of ten, None if none is. ``clear`` is how many seconds of this step it takes, in nine
    of ten, to show that nothing is wrong; None where it never does.
    """

    check: str
    least: float | None
    clear: float | None


@dataclass(frozen=True, slots=True)
class StepSight:
    """One step: how many ``requests`` of the variant there are in its bake, and what they show."""

    number: int
    percent: float
    requests: float
    bake: float
    max_bake: float
    checks: tuple[Sight, ...]

    @property
    def too_short(self) -> bool:
        """Whether even the longest bake shows too little, so that the step stays undecided."""
        return any(one.clear is None or one.clear > self.max_bake for one in self.checks)


@dataclass(frozen=True, slots=True)
class Harm:
    """What a regression would cost: if a check's bad requests became ``times`` as many.

    It is found at step ``number`` (from 1), ``after`` seconds of baking, when some ``failed`` more
    requests than today's rate brings were bad. None and infinity where the plan never finds it.
    """

    check: str
    times: float
    number: int | None
    after: float
    failed: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """All of it. ``rates`` are today's, by check; ``unseen`` checks have had nothing bad so far."""

    traffic: Traffic
    rates: Mapping[str, float]
    unseen: frozenset[str]
    steps: tuple[StepSight, ...]
    harms: tuple[Harm, ...]


def forecast(plan: Plan, traffic: Traffic) -> Forecast | None:
    """Return what the plan's sequential checks can see; None without such checks or any traffic."""
    checks = [one for one in plan.checks if one.sequential and not one.dry_run]
    seen = {one.name: tally(one, traffic.counts) for one in checks}
    checks = [one for one in checks if seen[one.name].requests]
    if not checks or traffic.seconds <= 0:
        return None
    # Of something that never happened in n requests, one in n is the least that can be assumed.
    rates = {
        one.name: min(_MOST_RATE, max(1, seen[one.name].bad) / seen[one.name].requests)
        for one in checks
    }
    hourly = {one.name: seen[one.name].requests * _HOUR / traffic.seconds for one in checks}
    courses = [_Course(plan, one, rates[one.name], hourly[one.name]) for one in checks]
    return Forecast(
        traffic,
        rates,
        frozenset(one.name for one in checks if not seen[one.name].bad),
        tuple(_steps(plan, courses, traffic)),
        tuple(harm for course in courses for harm in course.harms()),
    )


def _steps(plan: Plan, courses: list[_Course], traffic: Traffic) -> Iterator[StepSight]:
    for index, step in enumerate(plan.steps):
        if step.preview or not step.bake:
            continue
        yield StepSight(
            number=index + 1,
            percent=step.percent,
            requests=traffic.per_hour * step.weight / WHOLE * step.bake / _HOUR,
            bake=step.bake,
            max_bake=step.max_bake,
            checks=tuple(one.sight(index) for one in courses if one.is_made_at(index)),
        )


class _Course:
    """One check over the steps of a plan, at today's rate and traffic."""

    def __init__(self, plan: Plan, check: Check, rate: float, per_hour: float) -> None:
        self._plan = plan
        self._check = check
        self._rate = rate
        self._per_hour = per_hour
        alpha = plan.alphas[check.name]
        self._enough = power.enough_to_roll_back(alpha)

    def is_made_at(self, index: int) -> bool:
        step = self._plan.steps[index]
        return not step.preview and step.bake > 0 and self._check in self._plan.checks_at(index)

    def sight(self, index: int) -> Sight:
        return Sight(self._check.name, self._least(index), self._clear(index))

    def harms(self) -> Iterator[Harm]:
        last = len(self._plan.steps) - 1
        for times in TIMES:
            if times * self._rate >= _MOST_RATE:
                continue
            needed = power.requests_over(self._enough, self._stretches(times, last), power.HALF)
            number, after = self._when(needed)
            failed = needed * (times - 1) * self._rate if number is not None else math.inf
            yield Harm(self._check.name, times, number, after, failed)

    def _least(self, index: int) -> float | None:
        for times in _FINEST:
            if times * self._rate >= _MOST_RATE:
                return None
            if math.isfinite(power.requests_over(self._enough, self._stretches(times, index))):
                return times
        return None

    def _clear(self, index: int) -> float | None:
        check, share = self._check, self._share(index)
        if check.against is Against.CONTROL:
            growth = power.below_the_bound(check.clean_below, self._rate, share)
        else:
            growth = power.below_the_limit(self._rate, _limit(check))
        requests = power.requests_for(power.enough_to_clear(), growth)
        return requests / self._rate_of(index) if math.isfinite(requests) else None

    def _stretches(self, times: float, last: int) -> list[tuple[Growth, float]]:
        """Return how evidence grows at each step up to this one, and for how many requests."""
        return [
            (self._growth(times, index), self._rate_of(index) * self._plan.steps[index].bake)
            for index in range(last + 1)
            if self.is_made_at(index)
        ]

    def _growth(self, times: float, index: int) -> Growth:
        check = self._check
        if check.against is Against.CONTROL:
            share = self._share(index)
            return power.worse_than_control(times, self._rate, share, 1 + check.tolerate)
        return power.worse_than_limit(min(_MOST_RATE, times * self._rate), _limit(check))

    def _when(self, needed: float) -> tuple[int | None, float]:
        """Return at which step, and after how many seconds of baking, so many requests are seen."""
        after = 0.0
        for index, step in enumerate(self._plan.steps):
            there = self._rate_of(index) * step.bake if self.is_made_at(index) else 0.0
            if there and needed <= there:
                return index + 1, after + needed / self._rate_of(index)
            needed -= there
            after += step.bake
        return None, math.inf

    def _rate_of(self, index: int) -> float:
        """Return the variant's requests a second at a step."""
        return self._per_hour / _HOUR * self._plan.steps[index].weight / WHOLE

    def _share(self, index: int) -> float:
        return self._plan.steps[index].weight / WHOLE


def _limit(check: Check) -> float:
    limit = check.limit or 0.0
    return 1 - limit if check.measure is Measure.SUCCESS_RATE else limit
