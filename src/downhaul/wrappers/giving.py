"""What was compared, on its way to where that of many processes is added up.

It goes in batches that have a name. One that a sink raised on comes again as it was, before the
next: so a sink that remembers the last name can tell what it has already, and no count is lost or
taken twice, whatever fails when.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final, Protocol

from downhaul.errors import DownhaulError
from downhaul.wrappers.comparisons import Counts, Mismatch, Outcome

_log: Final = logging.getLogger("downhaul.wrappers")

PIECE: Final = 500
"""Flags in a batch, at most: whoever writes it must not keep others waiting."""

_LONGEST: Final = 60.0  # seconds between two tries at a sink that fails


@dataclass(frozen=True, slots=True)
class Example:
    """A comparison that did not match. ``moment`` is when, by :func:`time.monotonic`."""

    mismatch: Mismatch
    moment: float

    @property
    def age(self) -> float:
        """Seconds since then."""
        return max(0.0, time.monotonic() - self.moment)


Examples = dict[tuple[str, Outcome], Example]
"""The newest one by flag and outcome."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was counted since the batch before. Numbers of one ``writer`` rise, from 1.

    A writer is one wrapper in one process. A batch that comes again has the same number, and is
    the same. ``examples`` has the newest comparison of each flag and outcome that was no match.
    """

    writer: str
    number: int
    counts: Counts
    examples: Examples


class CountSink(Protocol):
    """Where counts go from time to time, to be added to those of other processes."""

    def add(self, batch: Batch) -> None:
        """Add a batch. May raise: then the same one comes again, before any other."""


class Giving:
    """Gives a sink what is new, every so many seconds, and less often while that fails."""

    def __init__(self, sink: CountSink | None, every: float) -> None:
        self._sink = sink
        self._every = every
        self.begin()

    def begin(self) -> None:
        """Start with nothing: at first, and in a forked child, which is another writer."""
        self._writer = secrets.token_hex(12)
        self._number = 0
        self._turn = threading.Lock()
        self._given: Counts = {}
        self._waiting: Batch | None = None
        self._failures = 0

    @property
    def wanted(self) -> bool:
        """Whether there is a sink at all."""
        return self._sink is not None

    @property
    def pause(self) -> float:
        """Seconds until it is worth to give again."""
        longest = max(_LONGEST, self._every)
        return float(min(longest, self._every * 2.0 ** min(self._failures, 32)))

    def give(self, counted: Callable[[], Counts], examples: Examples) -> None:
        """Give what was counted since the sink last took anything. Raises nothing of the sink's.

        ``counted`` returns all that was counted until now. Examples that are given are taken out.
        """
        if self._sink is None:
            return
        with self._turn:
            if self._waiting is not None and not self._add(self._sink, self._waiting):
                return
            for batch in self._batches(counted(), examples):
                self._waiting = batch
                if not self._add(self._sink, batch):
                    return

    def _add(self, sink: CountSink, batch: Batch) -> bool:
        try:
            sink.add(batch)
        except Exception as error:  # noqa: BLE001  (a store that is away: it is tried again)
            if not self._failures:
                known = isinstance(error, DownhaulError | OSError)
                _log.warning(
                    "what was compared can't be kept, and is tried again: %s",
                    error,
                    exc_info=not known,
                )
            self._failures += 1
            return False
        self._waiting, self._failures = None, 0
        return True

    def _batches(self, counted: Counts, examples: Examples) -> Iterator[Batch]:
        news = iter(_less(counted, self._given).items())
        while piece := dict(islice(news, PIECE)):
            self._number += 1
            self._given = {**self._given, **{key: counted[key] for key in piece}}
            found = {}
            for key, outcomes in piece.items():
                for outcome in outcomes:
                    example = examples.pop((key, outcome), None)
                    if example is not None:
                        found[key, outcome] = example
            yield Batch(self._writer, self._number, MappingProxyType(piece), found)


def _less(counted: Counts, before: Counts) -> Counts:
    """Return what was counted more than before."""
    news: dict[str, dict[Outcome, int]] = {}
    for key, counts in counted.items():
        had = before.get(key, {})
        more = {
            outcome: count - had.get(outcome, 0)
            for outcome, count in counts.items()
            if count > had.get(outcome, 0)
        }
        if more:
            news[key] = more
    return news
