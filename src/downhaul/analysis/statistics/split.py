"""Whether users were assigned as the split says, or something loses some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

MISMATCH: Final = 0.001
"""How likely a sound split may be called broken, over all looks."""

_SURE: Final = 500.0  # how many users the prior is worth: a mismatch is seldom a large one


def mismatch(users: Sequence[int], shares: Sequence[float]) -> float:
    """Return the e-value against users being assigned by ``shares``; above 1000 they were not.

    It is a Dirichlet prior around the shares against the shares themselves (the sequential test of
    a multinomial), so it may be looked at after every user. Count users, each once: requests of one
    user come together, and are no independent draws. For steps with different shares, multiply the
    values of the steps. Raises ValueError for shares that are no split.
    """
    if len(users) != len(shares) or min(users, default=0) < 0:
        message = f"{len(users)} counts of users, from 0 up, are needed for {len(shares)} shares"
        raise ValueError(message)
    if not shares or min(shares) <= 0 or not math.isclose(math.fsum(shares), 1, abs_tol=1e-9):
        message = "shares lie above 0 and add up to 1"
        raise ValueError(message)
    found = math.lgamma(_SURE) - math.lgamma(_SURE + sum(users))
    for many, share in zip(users, shares, strict=True):
        prior = _SURE * share
        found += math.lgamma(prior + many) - math.lgamma(prior) - many * math.log(share)
    return math.exp(min(found, 600.0))
