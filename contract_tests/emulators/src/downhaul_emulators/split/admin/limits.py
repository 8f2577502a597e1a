"""How often the admin API may be called."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Limits:
    """So many requests in a window, counted for the organization and for the address.

    The service tells both windows apart, and only whoever waits for the longer one is let in again.
    Without :meth:`set` there is no limit.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._requests: int | None = None
        self._seconds = (0.0, 0.0)
        self._began: float | None = None
        self._used = 0

    def set(self, requests: int | None, *, org: float = 10, ip: float = 10) -> None:
        """Let so many requests in, in a window of ``org`` and one of ``ip`` seconds; None: all."""
        self._requests, self._seconds = requests, (org, ip)
        self._began, self._used = None, 0

    def spend(self) -> tuple[bool, dict[str, str]]:
        """Count a request; return whether it is let in, and the headers of its answer."""
        if self._requests is None:
            return True, {}
        now = self._now()
        if self._began is None or now - self._began >= max(self._seconds):
            self._began, self._used = now, 0
        allowed = self._used < self._requests
        self._used += allowed
        left = str(self._requests - self._used)
        resets = [max(0, math.ceil(self._began + each - now)) for each in self._seconds]
        return allowed, {
            "X-RateLimit-Remaining-Org": left,
            "X-RateLimit-Remaining-IP": left,
            "X-RateLimit-Reset-Seconds-Org": str(resets[0]),
            "X-RateLimit-Reset-Seconds-IP": str(resets[1]),
        }
