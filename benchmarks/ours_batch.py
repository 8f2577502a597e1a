"""Downhaul asked for a million users at once, and whether the answers are those one by one."""

from __future__ import annotations

import case
from contestant import Measure, Prepared
from ours import client

_MANY = 1_000_000


def prepare() -> Prepared:
    """Load the flags and make the ids: some of them targeted, and none."""
    flags, flag = client(), case.FLAG
    some = [f"user-{number}" for number in range(_MANY)]
    none = [f"account-{number}" for number in range(_MANY)]
    spread = list(none)
    spread[:: _MANY // len(case.TARGETS)] = case.TARGETS
    equal = all(
        flags.evaluate_many(flag, asked) == [flags.evaluate(flag, one) for one in asked]
        for asked in (some, spread)
    )
    return Prepared(
        {
            "none targeted": Measure(lambda: flags.evaluate_many(flag, none), _MANY),
            "targets spread": Measure(lambda: flags.evaluate_many(flag, spread), _MANY),
        },
        lambda: [result.value for result in flags.evaluate_many(flag, list(case.USERS))],
        "downhaul",
        {"equal": equal, "ids": _MANY},
    )
