"""Counts within one process, by flag and variant, for a controller that runs in the same one.

What is counted falls into slices of a tenth of a second. A slice belongs to the window that its
beginning lies in, so windows that follow each other add up.
"""

from __future__ import annotations

import math
import threading
import time
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from downhaul.analysis.model import Counts, Window
from downhaul.errors import ConfigError

DEFAULT: Final = "default"
"""The name of the counters that are used unless others are named."""

KEPT: Final = 3600.0
"""Seconds for which slices are kept."""

_SLICE: Final = 100_000  # microseconds
_SECOND: Final = 1_000_000
_SAME: Final = 1e-9  # two ways to write one boundary


@dataclass(slots=True)
class _Bin:
    """What one variant did in one slice. ``buckets`` are counts of histograms, by their ends."""

    requests: int = 0
    errors: int = 0
    successes: int = 0
    timed: int = 0
    latency_ms: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    buckets: dict[tuple[float, ...], list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Slice:
    """The bins of a slice, by variant and by what decided that it was served."""

    at: int
    bins: dict[tuple[str, str], _Bin] = field(default_factory=dict)


class Counters:
    """Counts of this process. ``keep`` is for how many seconds. Safe to use from threads.

    Times are of this process's clock as it stood when the counters were made, and go on evenly.
    """

    def __init__(self, *, keep: float = KEPT) -> None:
        self._keep = round(keep * _SECOND)
        self._flags: dict[str, deque[_Slice]] = {}
        self._lock = threading.Lock()
        self._began = time.time_ns() // 1000
        self._monotonic = time.monotonic_ns()

    @property
    def began(self) -> int:
        """Since when there are counts, in microseconds since 1970."""
        return self._began

    def now(self) -> int:
        """Return the time by which is counted, in microseconds since 1970. It never falls."""
        return self._began + (time.monotonic_ns() - self._monotonic) // 1000

    def record(
        self,
        flag: str,
        variant: str,
        *,
        success: bool | None = None,
        error: bool = False,
        latency_ms: float | None = None,
        served_by: str = "split",
    ) -> None:
        """Count one request. Never waits for anybody, and costs microseconds.

        ``success`` is whatever is no error unless said. ``served_by`` is what decided: only
        ``split`` forms arms, and ``target`` in a preview.
        """
        known = latency_ms is not None and math.isfinite(latency_ms) and latency_ms >= 0
        with self._lock:
            one = self._bin(flag, variant, served_by)
            one.requests += 1
            one.errors += error
            one.successes += not error if success is None else success
            if known and latency_ms is not None:
                one.timed += 1
                one.latency_ms += latency_ms
                one.latencies.append(latency_ms)

    def add(self, flag: str, variant: str, counts: Counts, *, served_by: str = "split") -> None:
        """Count what was counted elsewhere since it was last told: an increase, never a total.

        Raises ValueError for a number below nothing.
        """
        if min(counts.requests, counts.errors, counts.successes) < 0:
            message = f"{counts} is no increase"
            raise ValueError(message)
        with self._lock:
            one = self._bin(flag, variant, served_by)
            one.requests += counts.requests
            one.errors += counts.errors
            one.successes += counts.successes

    def add_latencies(
        self,
        flag: str,
        variant: str,
        total_ms: float,
        ends_ms: Sequence[float],
        counts: Sequence[int],
        *,
        served_by: str = "split",
    ) -> None:
        """Add a histogram of latencies: one count for each bucket up to an end, one for the rest.

        Raises ValueError unless there is one count more than there are ends, which rise.
        """
        ends = tuple(float(one) for one in ends_ms)
        if len(counts) != len(ends) + 1 or list(ends) != sorted(set(ends)):
            message = f"{len(ends)} ends of buckets and {len(counts)} counts are no histogram"
            raise ValueError(message)
        with self._lock:
            one = self._bin(flag, variant, served_by)
            one.timed += sum(counts)
            one.latency_ms += total_ms
            there = one.buckets.setdefault(ends, [0] * len(counts))
            for at, many in enumerate(counts):
                there[at] += many

    def complete(self) -> int:
        """Return until when nothing more will be counted: the beginning of this slice."""
        with self._lock:
            now = self.now()
            return now - now % _SLICE

    def counts(
        self, flag: str, window: Window, thresholds: Sequence[float], served_by: Sequence[str]
    ) -> dict[str, Counts]:
        """Return the counts of a window by variant.

        Raises ConfigError for a histogram without a bucket that ends at a threshold.
        """
        found: dict[str, Counts] = {}
        with self._lock:
            for one in reversed(self._flags.get(flag, ())):
                if one.at < window.since:
                    break
                if one.at >= window.until:
                    continue
                for (variant, by), held in one.bins.items():
                    if by in served_by:
                        more = _counts(held, thresholds)
                        found[variant] = found.get(variant, Counts()) + more
        return found

    def flags(self) -> list[str]:
        """Return the flags that were counted."""
        with self._lock:
            return sorted(self._flags)

    def _bin(self, flag: str, variant: str, served_by: str) -> _Bin:
        now = self.now()
        at = now - now % _SLICE
        slices = self._flags.setdefault(flag, deque())
        if not slices or slices[-1].at != at:
            slices.append(_Slice(at))
            while slices[0].at < now - self._keep:
                slices.popleft()
        return slices[-1].bins.setdefault((variant, served_by), _Bin())


def _counts(held: _Bin, thresholds: Sequence[float]) -> Counts:
    slow = {}
    for threshold in thresholds:
        many = sum(one > threshold for one in held.latencies)
        slow[threshold] = many + sum(
            _above(threshold, ends, counts) for ends, counts in held.buckets.items()
        )
    return Counts(held.requests, held.errors, held.successes, held.timed, held.latency_ms, slow)


def _above(threshold: float, ends: tuple[float, ...], counts: Sequence[int]) -> int:
    """Return how many of a histogram took longer than a threshold, which has to be an end."""
    at = bisect_left(ends, threshold * (1 - _SAME))
    if at == len(ends) or abs(ends[at] - threshold) > _SAME * threshold:
        known = ", ".join(f"{one:g}" for one in ends)
        message = f"a histogram of latencies has no bucket that ends at {threshold:g} ms"
        raise ConfigError(message, hint=f"slower_than has to be one of {known} ms")
    return sum(counts[at + 1 :])


_named: Final[dict[str, Counters]] = {}
_naming: Final = threading.Lock()


def counters(name: str = DEFAULT) -> Counters:
    """Return the counters of this process by a name; they are made where there are none yet."""
    with _naming:
        return _named.setdefault(name, Counters())


def known_counters() -> Mapping[str, Counters]:
    """Return all counters of this process."""
    with _naming:
        return dict(_named)
