"""How a command that runs until it is told to stop is told."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LOOK: Final = 0.2  # seconds


def wait_for(stop: threading.Event, seconds: float | None) -> None:
    """Wait until ``stop`` is set, or ``seconds`` are over; None waits for ever.

    Looks up now and then: a signal that another thread of the process gets wakes nobody, and its
    handler runs when the main thread next does something.
    """
    until = None if seconds is None else time.monotonic() + seconds
    while not stop.is_set():
        left = _LOOK if until is None else min(_LOOK, until - time.monotonic())
        if left <= 0:
            return
        stop.wait(left)


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` at the first SIGTERM or SIGINT; a second one ends the process as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}

    def ask(_number: int, _frame: object) -> None:
        # In a thread: what is interrupted here may be a wait for `stop`, which holds its lock.
        threading.Thread(target=stop.set, daemon=True).start()
        for one in before:
            signal.signal(one, signal.SIG_DFL)

    for one in before:
        signal.signal(one, ask)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
