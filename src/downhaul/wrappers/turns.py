"""Whose turn it is, of two backends: decided from what looks saw of both, and when they looked.

Time counts from the first of the looks in a row that saw the same, so it takes several: how long
ago the backend was last seen well says nothing, for the process may have slept since.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from downhaul.provider import State

SLEPT: Final = 2.0
"""Seconds between two looks after which this process, and no backend, was away."""


def clock() -> float:
    """Return seconds that only go forward, those in which the machine slept included."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look saw of one backend: how it stands, and whether there is something to serve."""

    state: State
    serves: bool

    @property
    def well(self) -> bool:
        """Whether it answers with what it has now."""
        return self.state is State.READY and self.serves


class Turns:
    """Keeps whose turn it is. Not for several threads at once.

    After ``after`` seconds in which the primary was not well it is the second one's turn, if that
    one is well; after ``back`` seconds in which the primary was well all the time it is its turn
    again.
    """

    def __init__(self, after: float, back: float) -> None:
        self.after, self.back = after, back
        self.primary = True
        self._since: float | None = None  # the first look in a row that saw cause for a change
        self._looked: float | None = None

    def wait_anew(self) -> None:
        """Forget what was seen: whoever looked was away, or is another process now."""
        self._since = self._looked = None

    def look(self, now: float, primary: Seen, secondary: Seen) -> bool:
        """Take in what a look saw; return whether it is another one's turn from now on."""
        slept = self._looked is not None and now - self._looked > SLEPT
        self._looked = now
        if primary.well is self.primary:
            self._since = None
            return False
        if self._since is None or slept:
            self._since = now
        lasted = now - self._since
        over = (
            lasted >= self.after and takes_over(primary, secondary)
            if self.primary
            # Nobody has to wait for a primary that is well where the second one is not.
            else primary.serves and (lasted >= self.back or not secondary.well)
        )
        if over:
            self.primary = not self.primary
            self._since = None
        return over


def takes_over(primary: Seen, secondary: Seen) -> bool:
    """Return whether the second one may: it is well, or has old flags and the primary has none."""
    return secondary.well or (
        secondary.serves and not primary.serves and secondary.state in (State.READY, State.STALE)
    )
