"""Whose hash a percentage of a team's own went by, and whether ours can go by it too."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from downhaul.flag import Bucketing, Split, Weight

OURS: Final = "our own buckets stand in, and give the users anew"

_LOST: Final = {
    "python-hash": "the percentage went by Python's hash(), which each process seeds anew: only"
    f" with PYTHONHASHSEED fixed was there an assignment, which is not carried either: {OURS}",
    "other": f"whose hash the percentage went by is not said: {OURS}",
}


@dataclass(frozen=True, slots=True)
class Hashing:
    """How users were put into buckets, by the name that the options have for it."""

    name: str

    @property
    def stable(self) -> bool:
        """Whether we give each user the same bucket."""
        return self.name == "downhaul"

    def split(self, part: Decimal, variant: str, rest: str) -> tuple[Split, str]:
        """Return the split that serves a variant to a part of one, and another to the rest.

        With it comes what is lost of the source's own choice, empty where nothing is.
        """
        bucketing = Bucketing()
        exact = part * bucketing.total
        weight = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
        reasons = [] if self.stable else [_LOST.get(self.name) or _no_scheme(self.name)]
        if weight != exact:
            reasons.append(f"it is finer than 1/{bucketing.total}, and was rounded")
        weights = (Weight(variant, weight), Weight(rest, bucketing.total - weight))
        return Split(weights, bucketing), "; ".join(reasons)


def _no_scheme(name: str) -> str:
    return f"the percentage went by {name}, which is no scheme of ours: {OURS}"
