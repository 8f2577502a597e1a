"""Whose hash a percentage of a team's own went by, and whether ours can go by it too."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Final

from downhaul.flag import Bucketing, Scheme, Split, Weight

OURS: Final = "our own buckets stand in, and give the users anew"

_LOST: Final = {
    "python-hash": "the percentage went by Python's hash(), which each process seeds anew: only"
    f" with PYTHONHASHSEED fixed was there an assignment, which is not carried either: {OURS}",
    "other": f"whose hash the percentage went by is not said: {OURS}",
}


@dataclass(frozen=True, slots=True)
class Hashing:
    """How users were put into buckets, by the name that the options have for it.

    ``hashed`` is the text whose CRC is taken, and ``buckets`` how many there are.
    """

    name: str
    hashed: str = "{flag}{user}"
    buckets: int = 100

    @property
    def stable(self) -> bool:
        """Whether we give each user the same bucket."""
        return self.name in ("downhaul", "crc32")

    def split(self, key: str, part: Decimal, served: tuple[str, str]) -> tuple[Split, str]:
        """Return the split that serves the first variant to a part of one, the other to the rest.

        With it comes what is lost of the source's own choice, empty where nothing is.
        """
        if self.name == "crc32":
            # Their code compares a whole bucket with a percentage, which need not be whole.
            weight = int((part * self.buckets).to_integral_value(ROUND_CEILING))
            salt = self.hashed.removesuffix("{user}").replace("{flag}", key)
            return _split(Bucketing(Scheme.FLIPPER, salt, total=self.buckets), weight, served), ""
        bucketing = Bucketing()
        exact = part * bucketing.total
        weight = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
        reasons = [] if self.stable else [_LOST.get(self.name) or _no_scheme(self.name)]
        if weight != exact:
            reasons.append(f"it is finer than 1/{bucketing.total}, and was rounded")
        return _split(bucketing, weight, served), "; ".join(reasons)


def _split(bucketing: Bucketing, weight: int, served: tuple[str, str]) -> Split:
    variant, rest = served
    weights = Weight(variant, weight), Weight(rest, bucketing.total - weight)
    return Split(weights, bucketing)


def _no_scheme(name: str) -> str:
    return f"the percentage went by {name}, which is no scheme of ours: {OURS}"
