"""Questions that are asked to compare, and not to serve anybody: no vendor is to hear of them.

Vendors bill by what their SDKs report: keys, evaluations, contexts. Whoever asks a second backend
only to see whether it agrees would be billed twice, and spoil what people read in its console.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


class _Thread(threading.local):
    aside = False


_thread: Final = _Thread()


@contextmanager
def asking_aside() -> Iterator[None]:
    """Let what this thread asks of any provider meanwhile be reported to nobody."""
    before, _thread.aside = _thread.aside, True
    try:
        yield
    finally:
        _thread.aside = before


def is_aside() -> bool:
    """Return whether what this thread asks now is to be reported to nobody."""
    return _thread.aside
