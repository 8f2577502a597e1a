"""A listener that remembers what it was told, and waits for what it should be told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import ClassVar

from downhaul.flag import Flag, FlagSet, FlagSetDelta, Segment
from downhaul.overlay import KillRecord, KillRegister
from downhaul.provider import Answering, ProviderStatus


class Recorder:
    """Listens to a provider and to a control store at once.

    ``flags`` and ``segments`` are what follows from all that was heard, ``register`` the kills.
    """

    patience: ClassVar[float] = 20.0
    """Seconds to wait for what should be told; a machine may be busy."""

    def __init__(self) -> None:
        self.flags: dict[str, Flag] = {}
        self.segments: dict[str, Segment] = {}
        self.keys: set[str] = set()
        self.register = KillRegister()
        self.revision = ""
        self.statuses: list[ProviderStatus] = []
        self.replacements = 0
        self._moved = threading.Condition()

    def replaced(self, flag_set: FlagSet, by: Answering | None = None) -> None:
        """Take a whole set."""
        with self._moved:
            self.flags, self.segments = dict(flag_set.flags), dict(flag_set.segments)
            self.revision = flag_set.revision
            self.replacements += 1
            self._moved.notify_all()

    def changed(self, delta: FlagSetDelta) -> None:
        """Take what changed."""
        with self._moved:
            for key, flag in delta.flags.items():
                self.flags.pop(key, None)
                if flag is not None:
                    self.flags[key] = flag
            for key, segment in delta.segments.items():
                self.segments.pop(key, None)
                if segment is not None:
                    self.segments[key] = segment
            self.revision = delta.revision
            self._moved.notify_all()

    def keys_changed(self, keys: Iterable[str]) -> None:
        """Take the keys of flags whose rules can't be seen."""
        with self._moved:
            self.keys.update(keys)
            self._moved.notify_all()

    def status_changed(self, status: ProviderStatus) -> None:
        """Take a status."""
        with self._moved:
            self.statuses.append(status)
            self._moved.notify_all()

    def kills(self, records: Iterable[KillRecord]) -> None:
        """Take words on kills."""
        with self._moved:
            self.register = self.register.hear(records)
            self._moved.notify_all()

    def wait_for(self, holds: Callable[[Recorder], bool], timeout: float | None = None) -> None:
        """Wait until something holds; fail if it doesn't in time, or within ``timeout`` seconds."""
        within = self.patience if timeout is None else timeout
        with self._moved:
            assert self._moved.wait_for(lambda: holds(self), within), vars(self)
