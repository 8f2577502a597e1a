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
from downhaul.provider import Capability, FlagProvider, ProviderStatus

_log: Final = logging.getLogger("downhaul")
_LOOK: Final = 0.05  # seconds between two looks at the provider's age, while a revive waits
_APART: Final = 60.0
"""Seconds by which the clocks of two machines may be apart.

A process that hears of a revive when it starts has the store's clock to say how long ago that was.
Were clocks further apart, it would wait for nothing, or for one look at the backend too many.
"""


@dataclass(frozen=True, slots=True)
class _Wait:
    """A kill that holds on, the revive that lifts it, and of which moment the data must be.

    ``strict`` says that it holds too while there are no data at all; a process that starts long
    after a revive has nothing to hold back then.
    """

    kill: KillRecord
    revive: KillRecord
    since: float
    strict: bool


class Revives:
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
        heard, moment = time.monotonic(), self._moment()
        with self._lock:
            before, self._said = self._said, overlay
            if self._follows:
                for name, revive in overlay.revived.items():
                    self._begin(name, revive, before.flags.get(name), heard)
            told = self._settle(moment)
        self._tell(told)

    def look(self) -> None:
        """See whether the provider has newer data. Not to be called by the provider."""
        if self._waits:
            self._data_of(self._moment())

    def stands(self, status: ProviderStatus) -> None:
        """Take in what the provider says of itself. It is asked nothing, for it may hold a lock."""
        if self._waits:
            self._data_of(self._moment_of(status))

    def _data_of(self, moment: float | None) -> None:
        with self._lock:
            told = self._settle(moment)
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
        self.look()

    def _begin(self, name: str, revive: KillRecord, kill: KillRecord | None, heard: float) -> None:
        if self._known.get(name) == revive.sequence:
            return
        self._known[name] = revive.sequence
        waited = self._waits.get(name)
        kill = kill if waited is None else waited.kill
        if kill is not None:
            self._waits[name] = _Wait(kill, revive, heard, strict=True)
            return
        # It was lifted before this process heard of it.
        past = time.time() - revive.sequence / 1_000_000 - _APART
        kill = replace(revive, killed=True)
        self._waits[name] = _Wait(kill, revive, heard - max(0.0, past), strict=past < 0)

    def _moment(self) -> float | None:
        """Return of which moment the provider's data are; None where it has none.

        Asked without our lock: a provider may take one of its own, and hold it while it talks.
        """
        if not self._follows:
            return None
        try:
            return self._moment_of(self._provider.status())
        except Exception:  # noqa: BLE001  (a provider's defect must stop no kill beside this one)
            _log.exception("%s can't say how old its data are", self._provider.name)
            return None

    def _moment_of(self, status: ProviderStatus) -> float | None:
        if status.age is None:
            return None
        return time.monotonic() - status.age - self._provider.publishes_within

    def _settle(self, moment: float | None) -> Iterable[str]:
        """Publish what holds now, with data of this moment: what was said, and what waits."""
        said = self._said
        self._waits = {
            name: one
            for name, one in self._waits.items()
            if said.revived.get(name) == one.revive and (moment is None or moment < one.since)
        }
        held = {
            name: one.kill for name, one in self._waits.items() if one.strict or moment is not None
        }
        if held and self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._run, name="downhaul-revives", daemon=True)
            self._thread.start()
        elif not held:
            self._thread = None  # it sees that, and ends
        return self._publish(replace(said, flags={**held, **said.flags}) if held else said)

    def _run(self) -> None:
        while self._thread is threading.current_thread() and not self._closed.wait(_LOOK):
            self.look()
