"""Kills that were lifted, and hold on in this process until it has the flag of that moment (K5).

A revive first sets the flag to its first step at the backend, and then lifts the kill. Both go
their own ways: who has heard of the revive may still have the percentage from before the kill, for
as long as its provider polls, or can't reach the backend. So the kill goes on here until the
backend has confirmed what the provider serves at a moment after the revive was heard of.

Moments and not versions are compared. A version tells nothing of before and after, a backend may
have none, and a process that polls may never see the one that the revive wrote. A provider always
knows how old its data are (rule P2), and what is asked for after the revive is not from before it.
All moments are of this process's own clock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from downhaul.overlay import KillRecord, Overlay
from downhaul.provider import Capability, FlagProvider

_log: Final = logging.getLogger("downhaul")
_LOOK: Final = 0.05  # seconds between two looks at the provider's age, while a revive waits
_NEWS: Final = 60.0
"""Seconds for which a revive is one that a process which starts now may have to wait for.

The one comparison with another machine's clock: where the two are further apart, a starting process
waits for nothing, or for one look at the backend too many.
"""


@dataclass(frozen=True, slots=True)
class _Wait:
    """A kill that holds on, the revive that lifts it, and when that was heard of."""

    kill: KillRecord
    revive: KillRecord
    heard: float


class Waiting:
    """Puts kills into force by ``publish``, and lifts each once ``provider`` has newer data.

    What ``publish`` returns is given to ``tell``, while no lock is held. ``ordered`` says that the
    provider brings flags and kills in the order in which they were written, as one does that reads
    both from one store: then nothing waits.
    """

    def __init__(
        self,
        provider: FlagProvider,
        publish: Callable[[Overlay], Iterable[str]],
        tell: Callable[[Iterable[str]], None],
        *,
        ordered: bool,
    ) -> None:
        self._provider = provider
        self._publish = publish
        self._tell = tell
        self._follows = not ordered and Capability.WATCH in provider.capabilities
        self._said = Overlay()
        self._waits: dict[str, _Wait] = {}
        self._known: dict[str, int] = {}  # the sequence of the last revive of each flag
        self._reset(closed=False)

    def _reset(self, *, closed: bool) -> None:
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        if closed:
            self._closed.set()

    def hear(self, overlay: Overlay) -> None:
        """Put these kills into force, and go on with those whose revive has to wait."""
        with self._lock:
            before, self._said = self._said, overlay
            if self._follows:
                for name, revive in overlay.revived.items():
                    self._begin(name, revive, before.flags.get(name))
            told = self._settle()
        self._tell(told)

    def close(self, timeout: float) -> None:
        """Stop looking within ``timeout`` seconds. What waits stays killed."""
        self._closed.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def after_fork(self) -> None:
        """Go on waiting in a forked child, which has no threads of the parent, and free locks."""
        self._reset(closed=self._closed.is_set())
        with self._lock:
            self._look()

    def _begin(self, name: str, revive: KillRecord, kill: KillRecord | None) -> None:
        if self._known.get(name) == revive.sequence:
            return
        self._known[name] = revive.sequence
        waited = self._waits.get(name)
        if waited is not None:
            kill = waited.kill
        elif kill is None and abs(time.time() - revive.sequence / 1_000_000) < _NEWS:
            kill = replace(revive, killed=True)  # it was lifted before this process heard of it
        if kill is not None:
            self._waits[name] = _Wait(kill, revive, time.monotonic())

    def _settle(self) -> Iterable[str]:
        """Publish what holds now: what was said, and what waits."""
        said = self._said
        self._waits = {
            name: one
            for name, one in self._waits.items()
            if said.revived.get(name) == one.revive and not self._is_served(one)
        }
        kills = {name: one.kill for name, one in self._waits.items()}
        told = self._publish(replace(said, flags={**kills, **said.flags}) if kills else said)
        self._look()
        return told

    def _is_served(self, one: _Wait) -> bool:
        """Return whether the provider serves what the backend had after the revive was heard of."""
        try:
            age = self._provider.status().age
        except Exception:  # noqa: BLE001  (a provider's defect must stop no kill beside this one)
            _log.exception("%s can't say how old its data are", self._provider.name)
            return False
        after = one.heard + self._provider.publishes_within
        return age is not None and time.monotonic() - age >= after

    def _look(self) -> None:
        if not self._waits or self._thread is not None or self._closed.is_set():
            return
        self._thread = threading.Thread(target=self._run, name="downhaul-revives", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        waits = True
        while waits and not self._closed.wait(_LOOK):
            told: Iterable[str] = ()
            with self._lock:
                if any(map(self._is_served, self._waits.values())):
                    told = self._settle()
                waits = bool(self._waits)
                if not waits:
                    self._thread = None
            self._tell(told)
