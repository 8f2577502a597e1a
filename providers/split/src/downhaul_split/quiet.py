"""The SDK's log without what is no news of a factory of ours.

Its loggers are the whole process's, and an application may have a factory of its own, whose
messages are the application's. So something is dropped only in a thread that is known to be busy
with one of ours.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_ADVICE: Final = "factory instantiation: You already have"
_ENDING: Final = ("sync.synchronizer", "sync.split", "push.workers", "tasks.util.asynctask")
"""Where the SDK tells how a closed factory ends its requests, as if they had gone wrong."""


class _Thread(threading.local):
    making = False
    """Whether a factory of ours is being made here."""

    ended = False
    """Whether this is a thread of a factory of ours that is closed."""


_thread: Final = _Thread()


@contextmanager
def making() -> Iterator[None]:
    """Hear no advice to keep one factory: a forked child, and a test, need one of their own."""
    _thread.making = True
    try:
        yield
    finally:
        _thread.making = False


def ended() -> None:
    """Hear nothing more of how the requests of this thread end: its factory is closed."""
    _thread.ended = True


def _no_advice(record: logging.LogRecord) -> bool:
    return not (_thread.making and str(record.msg).startswith(_ADVICE))


def _not_ended(_record: logging.LogRecord) -> bool:
    return not _thread.ended


logging.getLogger("splitio.client.factory").addFilter(_no_advice)
for _name in _ENDING:
    logging.getLogger(f"splitio.{_name}").addFilter(_not_ended)
