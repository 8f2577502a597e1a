"""Calls to a listener: in order, outside all locks, and done before the writer returns."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_PATIENCE: Final = 1.0
"""Seconds that a writer waits for its call while another thread delivers."""

_log = logging.getLogger("downhaul.backends")


class Delivery:
    """A queue of calls that whoever comes first works off, with no lock held during a call.

    :meth:`add` belongs inside the writer's own lock, so that calls stand in the order of the
    writes; :meth:`run` belongs after it. A listener that writes again, or waits for a thread that
    writes, can't deadlock: a writer waits for a call of another thread only so long, and for
    its own not at all.
    """

    def __init__(self) -> None:
        self._moved = threading.Condition(threading.Lock())
        self._calls: deque[Callable[[], None]] = deque()
        self._added = 0
        self._done = 0
        self._worker: int | None = None

    def add(self, call: Callable[[], None]) -> None:
        """Put a call at the end of the queue."""
        with self._moved:
            self._calls.append(call)
            self._added += 1

    def run(self) -> None:
        """Make all calls that were added so far, or wait up to a second until they were made."""
        with self._moved:
            mine = self._added
            if self._worker is not None:
                if self._worker != threading.get_ident():
                    self._moved.wait_for(lambda: self._done >= mine, timeout=_PATIENCE)
                return
            self._worker = threading.get_ident()
        try:
            while (call := self._next()) is not None:
                self._make(call)
        except BaseException:
            self._worker = None
            raise

    def _make(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001  (listeners raise nothing; if one does, the next call still counts)
            _log.exception("a listener failed on a change")

    def _next(self) -> Callable[[], None] | None:
        with self._moved:
            self._done = self._added - len(self._calls)
            self._moved.notify_all()
            if self._calls:
                return self._calls.popleft()
            self._worker = None  # under the lock, so that nobody adds a call that nobody makes
            return None

    def after_fork(self) -> None:
        """Begin afresh in a forked child, where nobody may be left to release or to deliver."""
        Delivery.__init__(self)
