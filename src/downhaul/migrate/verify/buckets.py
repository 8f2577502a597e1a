"""Keys that lie just inside and just outside each edge of a split, found by its own hash."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from downhaul.evaluator.bucketing import edges_of, measure_of
from downhaul.flag import Bucketing, NoKey, Scheme

SEARCHED: Final = 2_000
"""Keys whose places are looked at for every split."""

_LONG: Final = 200_000
"""Keys that are looked at where a weight is so small that none of the first falls to it."""

_NEAR: Final = 3
"""Keys on each side of an edge: what follows in a flag may hide the edge from one of them."""


@dataclass(frozen=True, slots=True)
class EdgeKey:
    """A key near an edge: among the last found ``inside`` weight ``index``, or the first beyond."""

    key: str
    index: int
    inside: bool


def edge_keys(bucketing: Bucketing, flag: str, weights: Sequence[int]) -> tuple[EdgeKey, ...]:
    """Return keys on each side of each edge, the nearest first. Always the same ones."""
    if bucketing.scheme is Scheme.RANDOM or not weights or bucketing.total <= 0:
        return ()
    return _edge_keys(bucketing, flag, tuple(weights))


def throws_dice(bucketing: Bucketing) -> bool:
    """Return whether the same context may be placed otherwise each time."""
    return bucketing.scheme is Scheme.RANDOM or bucketing.no_key is NoKey.RANDOM


def candidate(number: int) -> str:
    """Return one of the keys that are looked at."""
    return f"downhaul-{number}"


@lru_cache(maxsize=1024)
def _edge_keys(bucketing: Bucketing, flag: str, weights: tuple[int, ...]) -> tuple[EdgeKey, ...]:
    return tuple(dict.fromkeys(_near(bucketing, flag, weights)))


def _near(bucketing: Bucketing, flag: str, weights: tuple[int, ...]) -> Iterator[EdgeKey]:
    edges = edges_of(bucketing, weights)
    places = list(_places(bucketing, flag))
    order = [place for place, _ in places]
    begin = 0
    for index, (edge, weight) in enumerate(zip(edges, weights, strict=True)):
        # A place belongs to the first weight whose edge lies above it.
        end = bisect_right(order, edge)
        while end > begin and order[end - 1] >= edge:
            end -= 1
        for _, key in places[max(begin, end - _NEAR) : end][::-1]:
            yield EdgeKey(key, index, inside=True)
        if end == begin and weight > 0 and (found := _rare(bucketing, flag, tuple(edges), index)):
            yield EdgeKey(found, index, inside=True)
        for _, key in places[end : end + _NEAR]:
            yield EdgeKey(key, index, inside=False)
        begin = end


@lru_cache(maxsize=64)
def _places(bucketing: Bucketing, flag: str) -> tuple[tuple[float, str], ...]:
    measure = measure_of(bucketing, flag)
    keys = map(candidate, range(SEARCHED))
    return tuple(sorted((measure(key), key) for key in keys))


@lru_cache(maxsize=64)
def _rare(bucketing: Bucketing, flag: str, edges: tuple[float, ...], index: int) -> str | None:
    """Return a key of a weight that few fall to; None where the long search finds none."""
    measure = measure_of(bucketing, flag)
    low, high = edges[index - 1] if index else float("-inf"), edges[index]
    keys = map(candidate, range(SEARCHED, _LONG))
    return next((key for key in keys if low <= measure(key) < high), None)
