"""How many requests of the variant a test needs, before any of them was made. Pure.

Evidence grows like a random walk: by so much with each request of the variant, give or take. From
how fast it grows and how much it scatters follows when it has grown enough in one rollout out of
two, and in nine out of ten. Simulations say how near that comes: within a quarter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from downhaul.analysis.statistics.budget import FALSE_CLEAN
from downhaul.analysis.statistics.likelihood import BETTER, WORSE

HALF: Final = 0.5
"""Enough in one rollout out of two."""

MOST: Final = 0.9
"""Enough in nine rollouts out of ten."""

_MIXED: Final = 1.5  # what it costs in ln evidence that nobody knows how much worse, or since when
_SHOWN: Final = 0.7  # and how much better


@dataclass(frozen=True, slots=True)
class Growth:
    """How ln evidence grows with each request of the variant: on average, and its variance."""

    gain: float
    spread: float


def worse_than_control(times: float, rate: float, share: float, margin: float = 1.0) -> Growth:
    """Return the growth where the variant's rate is ``times`` the control's ``rate``.

    ``share`` is the variant's part of the requests, strictly between 0 and 1.
    """
    return _compared(times, rate, share, margin, _nearest(WORSE, times / margin))


def below_the_bound(bound: float, rate: float, share: float) -> Growth:
    """Return the growth of evidence that a variant, just like its control, is below ``bound``."""
    return _compared(1.0, rate, share, bound, _nearest(BETTER, 1 / bound))


def worse_than_limit(rate: float, limit: float) -> Growth:
    """Return the growth where the variant has this rate, against a limit."""
    return _promised(rate, limit, _nearest(WORSE, _odds(rate) / _odds(limit)))


def below_the_limit(rate: float, limit: float) -> Growth:
    """Return the growth of evidence that a variant of this rate is below the limit."""
    return _promised(rate, limit, _nearest(BETTER, _odds(rate) / _odds(limit)))


def enough_to_roll_back(alpha: float) -> float:
    """Return the ln evidence that a test of this chance of a false alarm needs to have grown."""
    return math.log(1 / alpha) + _MIXED


def enough_to_clear() -> float:
    """Return the ln evidence that calling a variant clean needs."""
    return math.log(1 / FALSE_CLEAN) + _SHOWN


def requests_for(enough: float, growth: Growth, part: float = MOST) -> float:
    """Return how many requests it takes in this part of all rollouts; infinity if it never does."""
    return requests_over(enough, [(growth, math.inf)], part)


def requests_over(
    enough: float, stretches: Iterable[tuple[Growth, float]], part: float = MOST
) -> float:
    """Return the same where growth changes: each with the requests that it lasts for."""
    sure = NormalDist().inv_cdf(part)
    gained = scattered = before = 0.0
    for growth, most in stretches:
        found = _within(enough - gained, growth, sure, scattered)
        if found <= most:
            return before + found
        before += most
        gained += growth.gain * most
        scattered += growth.spread * most
    return math.inf


def _within(enough: float, growth: Growth, sure: float, scattered: float) -> float:
    """Return n with n * gain - sure * sqrt(scattered + n * spread) = enough."""
    gain, spread = growth.gain, growth.spread
    if gain <= 0:
        return math.inf
    # (n * gain - enough)² = sure² * (scattered + n * spread), at the root above enough / gain
    half = 2 * gain * enough + sure**2 * spread
    under = half**2 - 4 * gain**2 * (enough**2 - sure**2 * scattered)
    return max(0.0, (half + math.copysign(math.sqrt(max(0.0, under)), sure)) / (2 * gain**2))


def _compared(times: float, rate: float, share: float, margin: float, ratio: float) -> Growth:
    odds = margin * share / (1 - share)
    cost = math.log1p(ratio * odds) - math.log1p(odds)
    won = math.log(ratio) - cost
    treated, control = times * rate, rate * (1 - share) / share
    return Growth(treated * won - control * cost, treated * won**2 + control * cost**2)


def _promised(rate: float, limit: float, ratio: float) -> Growth:
    odds = _odds(limit)
    cost = math.log1p(ratio * odds) - math.log1p(odds)
    return Growth(rate * math.log(ratio) - cost, rate * (1 - rate) * math.log(ratio) ** 2)


def _odds(rate: float) -> float:
    return rate / (1 - rate) if rate < 1 else math.inf


def _nearest(alternatives: Sequence[float], ratio: float) -> float:
    if not 0 < ratio < math.inf:
        return alternatives[0] if ratio <= 0 else alternatives[-1]
    return min(alternatives, key=lambda one: abs(math.log(one / ratio)))
