"""Evidence for a change that began at some time, of late, and for the absence of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

AT_ONCE: Final = 0.6
"""The prior chance that a variant is bad from its first request on, given that it is bad at all."""

HORIZON: Final = 10_000.0
"""After three times so many requests of the variant half of the other chance has been spent."""

_MOST_LN: Final = 640.0  # far beyond every threshold, and far from what overflows


@dataclass(frozen=True, slots=True)
class Onset:
    """Evidence that something is worse since some time up to now. Good history buys no credit.

    One value for each alternative: the sum over all times at which it may have begun, of the chance
    of that time by the likelihood ratio since (the Shiryaev-Roberts recursion with a proper prior).
    The prior runs in ``seen`` requests of the variant, not in looks, and has a heavy tail: how
    often one looks does not matter, and a change after a long good time is still found.
    """

    values: tuple[float, ...]
    seen: float = 0.0

    @classmethod
    def of(cls, alternatives: int) -> Onset:
        """Return what has seen nothing yet."""
        return cls((0.0,) * alternatives)

    def after(self, ratios: Sequence[float], requests: float) -> Onset:
        """Return this after a window with so many requests of the variant.

        ``ratios`` are the logarithms of the window's likelihood ratios, one by alternative.
        """
        seen = self.seen + requests
        begins = self.unspent - _unspent(seen)
        return Onset(
            tuple(
                _times(value + begins, ratio)
                for value, ratio in zip(self.values, ratios, strict=True)
            ),
            seen,
        )

    @property
    def unspent(self) -> float:
        """The prior chance that nothing has begun yet."""
        return _unspent(self.seen)

    @property
    def value(self) -> float:
        """The e-value: 100 means that chance alone gets so far once in a hundred rollouts."""
        return math.fsum(self.values) / len(self.values) + self.unspent


@dataclass(frozen=True, slots=True)
class Product:
    """Evidence over all that was seen: the likelihood ratio of each alternative."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, alternatives: int) -> Product:
        """Return what has seen nothing yet."""
        return cls((1.0,) * alternatives)

    def after(self, ratios: Sequence[float]) -> Product:
        """Return this after a window with these logarithms of likelihood ratios."""
        pairs = zip(self.values, ratios, strict=True)
        return Product(tuple(_times(value, ratio) for value, ratio in pairs))

    @property
    def value(self) -> float:
        """The e-value."""
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True, slots=True)
class Recent:
    """Evidence of late: the likelihood ratio since whenever makes it largest (Page's test).

    It is no e-value, since chance alone lifts it now and then, and it falls again. It is for
    holding back, where a false alarm costs a little time.
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, alternatives: int) -> Recent:
        """Return what has seen nothing yet."""
        return cls((1.0,) * alternatives)

    def after(self, ratios: Sequence[float]) -> Recent:
        """Return this after a window with these logarithms of likelihood ratios."""
        pairs = zip(self.values, ratios, strict=True)
        return Recent(tuple(_times(max(1.0, value), ratio) for value, ratio in pairs))

    @property
    def value(self) -> float:
        """How many times likelier what was seen of late is, if something is worse."""
        return math.fsum(self.values) / len(self.values)


def _unspent(seen: float) -> float:
    return 1.0 if seen <= 0 else (1 - AT_ONCE) / math.sqrt(1 + seen / HORIZON)


def _times(value: float, ratio: float) -> float:
    """Return the value times e to the ``ratio``, without an overflow."""
    if value <= 0.0:
        return 0.0
    return math.exp(min(_MOST_LN, math.log(value) + ratio))
