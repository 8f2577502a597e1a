"""How much likelier a window of requests is if the variant is worse than if it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WORSE: Final = tuple(1.2 * (15 / 1.2) ** (at / 13) for at in range(14))
"""How many times worse than allowed the variant may be: 14 alternatives, from 1.2 to 15."""

BETTER: Final = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""What part of a bound the variant's rate may be, for evidence that it is below the bound."""


@dataclass(frozen=True, slots=True)
class Tally:
    """``bad`` of ``requests``: errors, failures, or requests that took too long."""

    requests: int
    bad: int


def against_control(
    treated: Tally, control: Tally, margin: float, alternatives: Sequence[float]
) -> tuple[float, ...]:
    """Return ln(likelihood ratio) for each rate ratio, against ``margin`` times the control's rate.

    Of the bad requests of both arms, the variant has its share by traffic, if it is not worse. That
    share is known for each window, so neither the split nor the common rate has to stay the same:
    what hits both arms moves nothing. A window in which one arm has no requests says nothing.
    """
    bad = treated.bad + control.bad
    if not bad or treated.requests <= 0 or control.requests <= 0:
        return (0.0,) * len(alternatives)
    odds = margin * treated.requests / control.requests
    base = math.log1p(odds)
    return tuple(
        treated.bad * math.log(ratio) - bad * (math.log1p(ratio * odds) - base)
        for ratio in alternatives
    )


def against_limit(treated: Tally, limit: float, alternatives: Sequence[float]) -> tuple[float, ...]:
    """Return ln(likelihood ratio) for each ratio of odds, against a rate of ``limit``.

    ``limit`` lies strictly between 0 and 1.
    """
    odds = limit / (1 - limit)
    base = math.log1p(odds)
    return tuple(
        treated.bad * math.log(ratio) - treated.requests * (math.log1p(ratio * odds) - base)
        for ratio in alternatives
    )
