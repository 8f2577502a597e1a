"""Writes that reached one of two backends and not the other, until somebody brings them in step."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from downhaul.errors import DownhaulError
from downhaul.provider import Change, utc_now

_log: Final = logging.getLogger("downhaul.wrappers")
_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Write:
    """One managing verb: what was to be done to which flag or segment, and for whom."""

    verb: str
    key: str
    change: Change
    entity: str = "flag"


@dataclass(frozen=True, slots=True)
class Divergence:
    """A write that ``lacking`` did not do: a backend, by its side and name.

    ``entity`` is ``flag`` or ``segment``. ``error`` is what the backend said. ``at`` is RFC 3339 in
    UTC.
    """

    key: str
    verb: str
    change_id: str
    lacking: str
    error: str
    at: str
    entity: str = "flag"


Diverged = Callable[[Divergence], object]
"""Is told of each divergence, by whoever wrote. What it raises is logged."""


class Divergences:
    """The last divergences of this process: a thousand of them, until they are settled."""

    def __init__(self, diverged: Diverged | None = None) -> None:
        self._diverged = diverged
        self._lock = threading.Lock()
        self._kept: deque[Divergence] = deque(maxlen=_KEPT)

    def all(self) -> tuple[Divergence, ...]:
        """Return those that are not settled, the oldest first."""
        return tuple(self._kept.copy())

    def note(self, write: Write, lacking: str, error: Exception) -> None:
        """Keep one, log it, and tell of it."""
        said = _said(error)
        one = Divergence(
            write.key, write.verb, write.change.id, lacking, said, utc_now(), write.entity
        )
        with self._lock:
            self._kept.append(one)
        _log.warning('%s "%s": no %s on %s: %s', one.entity, one.key, one.verb, lacking, said)
        if self._diverged is None:
            return
        try:
            self._diverged(one)
        except Exception:  # noqa: BLE001  (the write is done, and must be told as that)
            _log.exception("whoever is told of divergences failed")

    def settle(self, key: str, entity: str = "flag") -> None:
        """Forget those of a flag or segment: both backends have it alike again."""
        with self._lock:
            left = [one for one in self._kept if (one.entity, one.key) != (entity, key)]
            if len(left) != len(self._kept):
                self._kept = deque(left, maxlen=_KEPT)

    def after_fork(self) -> None:
        """Begin with a free lock: a thread of the parent may have held it."""
        self._lock = threading.Lock()


def _said(error: Exception) -> str:
    """Return what an error of ours says; what others say may have a secret in it."""
    return str(error) if isinstance(error, DownhaulError) else type(error).__name__
