"""Users are assigned and requests are counted: what to do about bad requests that come together.

A user for whom everything fails makes many bad requests, which are not so many proofs. Best is to
count each user once (:func:`first_bad`). Where nobody knows whose a request is, the control shows
how much more its counts vary than independent requests would, and evidence is divided by that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from downhaul.analysis.statistics.likelihood import Tally

_BLOCK: Final = 10  # bad requests that a block has at least, or it tells little
_FEW: Final = 3  # comparisons from which on their mean says anything
_MOST: Final = 60.0  # comparisons that are remembered: older ones fade
_CAP: Final = 25.0  # of one comparison: an incident is no dispersion
_CLEAR: Final = 3.0  # standard deviations that the mean has to lie above 1 to be believed


@dataclass(frozen=True, slots=True)
class Dispersion:
    """How much more the control's bad requests vary than independent ones would.

    Windows are joined to blocks, and each block is compared with the one before it, so a rate that
    moves over the day is no dispersion, and an incident counts twice at most.
    """

    requests: int = 0
    bad: int = 0
    before_requests: int = 0
    before_bad: int = 0
    total: float = 0.0
    compared: float = 0.0

    def after(self, control: Tally) -> Dispersion:
        """Return this after a window of the control."""
        requests, bad = self.requests + control.requests, self.bad + control.bad
        if bad < _BLOCK or requests <= bad:
            return replace(self, requests=requests, bad=bad)
        fresh = replace(self, requests=0, bad=0, before_requests=requests, before_bad=bad)
        if not self.before_requests:
            return fresh
        both = requests + self.before_requests
        rate = (bad + self.before_bad) / both
        expected = rate * requests
        # The variance of independent requests, given how many were bad in both blocks together.
        variance = expected * (1 - rate) * self.before_requests / both
        found = min(_CAP, (bad - expected) ** 2 / variance)
        fade = 1.0 if self.compared < _MOST else 1 - 1 / _MOST
        return replace(fresh, total=self.total * fade + found, compared=self.compared * fade + 1)

    @property
    def factor(self) -> float:
        """What to divide evidence by: 1 as long as nothing speaks for more."""
        if self.compared < _FEW:
            return 1.0
        mean = self.total / self.compared
        clear = mean > 1 + _CLEAR * math.sqrt(2 / self.compared)
        return mean if clear else 1.0


def first_bad(requests: Iterable[tuple[str, bool]]) -> Tally:
    """Return how many users there were, and how many had a bad request: each counts once.

    Give each request as whose it is and whether it was bad.
    """
    users: dict[str, bool] = {}
    for user, bad in requests:
        users[user] = users.get(user, False) or bad
    return Tally(len(users), sum(users.values()))
