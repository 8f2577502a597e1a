"""Waiting for somebody else's answer, and no longer.

A library's timeouts are not enough: they bound neither the look-up of a name nor an answer that
trickles, and a controller that waits past its lease has lost it. So what asks runs in a thread of
its own, which is left behind when the time is over.

A place that kept us waiting gets a rest, so that the other rollouts of a controller are looked at
in time, and left threads don't pile up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from downhaul.errors import Unreachable

T = TypeVar("T")

TIMEOUT: Final = 5.0
"""Seconds for a whole call unless said."""

LONGEST: Final = 8.0
"""Seconds for a whole call at most: half of a controller's lease of fifteen, and a bit."""

REST: Final = 5.0
"""Seconds that a place is left alone after it kept us waiting, twice as many each time."""

LONGEST_REST: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Rest:
    since: float
    seconds: float

    def left(self, now: float) -> float:
        return self.since + self.seconds - now


_rests: Final[dict[str, _Rest]] = {}
_lock: Final = threading.Lock()


def within(seconds: float, place: str, work: Callable[[], T]) -> T:
    """Return what ``work`` returns, or raise what it raises, if it is done in time.

    ``place`` is who is asked, fit to be shown. Raises Unreachable where it isn't done in time, and
    at once while the place rests.
    """
    _see_that_it_is_awake(place)
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001  (raised below, in the thread that asked)
            failed.append(error)

    thread = threading.Thread(target=run, name=f"downhaul-metrics-{place}", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        _wake(place)
        raise failed[0]
    if found:
        _wake(place)
        answer: T = found[0]
        return answer
    rest = _put_to_rest(place)
    raise Unreachable(
        f"{place} did not answer within {seconds:g} s",
        hint=f"see whether it is well; it is asked again in {rest:.0f} s",
    )


def _see_that_it_is_awake(place: str) -> None:
    now = time.monotonic()
    with _lock:
        rest = _rests.get(place)
    if rest is not None and rest.left(now) > 0:
        raise Unreachable(
            f"{place} did not answer {now - rest.since:.0f} s ago",
            hint=f"it is asked again in {rest.left(now):.0f} s",
        )


def _put_to_rest(place: str) -> float:
    with _lock:
        before = _rests.get(place)
        seconds = REST if before is None else min(before.seconds * 2, LONGEST_REST)
        _rests[place] = _Rest(time.monotonic(), seconds)
        return seconds


def _wake(place: str) -> None:
    with _lock:
        _rests.pop(place, None)
