"""A provider that looks at somebody's flags now and then, and keeps what it last knew."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import replace
from typing import Final, Protocol

from downhaul.errors import DownhaulError
from downhaul.flag import Flag, FlagSet
from downhaul.ledger import Fidelity, Translation
from downhaul.provider import Capability, FlagProvider, Listener, ProviderStatus, State

POLL: Final = 5.0
"""Seconds between two looks, unless said."""

_AGAIN: Final = 1.0  # seconds at most until a source that was lost is looked at again
_SILENCE: Final = 15.0  # seconds that one look may take: above the limits of the drivers
_log: Final = logging.getLogger("downhaul.backends.inhouse")


class Source(Protocol):
    """Where flags are, read as ours. Errors are ours too, without secrets."""

    where: str
    """Fit to be shown."""

    def look(self) -> Translation | None:
        """Return what is there, or None where nothing moved since the last look."""

    def read(self) -> Translation:
        """Return what is there now, whoever looked before."""

    def forget(self) -> None:
        """Let the next look be a whole one."""

    def close(self) -> None:
        """Close what is open."""

    def after_fork(self) -> None:
        """Leave to the parent process what is the parent's."""


class FollowingProvider(FlagProvider):
    """Flags of one :class:`Source`, read-only. ``poll`` is in seconds.

    A flag that can't be read any more goes on as it was; one that never could is left out.
    """

    capabilities: frozenset[Capability] = frozenset(
        {Capability.FLAG_SET, Capability.READ, Capability.WATCH}
    )

    def __init__(self, name: str, source: Source, *, poll: float = POLL) -> None:
        self.name = name
        self._source = source
        self._poll = poll
        self._listener: Listener | None = None
        self._flag_set: FlagSet | None = None
        self._revision = 0
        self._status = ProviderStatus(State.NOT_READY, "not started")
        self._confirmed = 0.0  # when the source last held what is served, monotonic
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # Evaluating

    def start(self, listener: Listener) -> None:
        """Begin to look, in a thread of its own."""
        self._listener = listener
        self._status = ProviderStatus(State.NOT_READY, f"{self._source.where} was not read yet")
        self._watch()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the flags were read once."""
        return self._ready.wait(timeout)

    def status(self) -> ProviderStatus:
        """Return how the source stands; the age is since it last held what is served."""
        status = self._status
        if self._flag_set is None or status.state is State.NOT_READY:
            return status
        age = max(0.0, time.monotonic() - self._confirmed)
        if status.state is State.READY and age > self._poll + _SILENCE:
            return ProviderStatus(State.STALE, f"{self._source.where} does not answer", age)
        return replace(status, age=age)

    def close(self, timeout: float = 2.0) -> None:
        """Stop looking."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        self._listener = None
        self._status = ProviderStatus(State.NOT_READY, "closed")
        self._source.close()

    def after_fork(self) -> None:
        """Look again, with a thread and connections of the child's own."""
        running = self._thread is not None and not self._stop.is_set()
        ready, self._ready, self._stop = self._ready.is_set(), threading.Event(), threading.Event()
        if ready:
            self._ready.set()
        self._source.after_fork()
        if running:
            self._watch()

    # Managing

    def get(self, key: str) -> Flag | None:
        """Return the flag as it is now. Raises Unreachable."""
        return self.list().flags.get(key)

    def list(self) -> FlagSet:
        """Return all flags that can be read, as they are now. Raises Unreachable."""
        return self.export().flag_set()

    def export(self) -> Translation:
        """Return the flags as they are now, with what became of each part. Raises Unreachable."""
        return self._source.read()

    # Looking

    def _watch(self) -> None:
        self._source.forget()
        self._thread = threading.Thread(
            target=self._run, args=(self._stop,), name=f"downhaul-{self.name}", daemon=True
        )
        self._thread.start()

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            pause = self._poll
            looked = time.monotonic()
            try:
                found = self._source.look()
                if stop.is_set():
                    return
                self._take(found, looked)
            except Exception as error:  # noqa: BLE001  (a watch that dies would freeze the flags)
                if stop.is_set():
                    return
                self._lost(error)
                pause = min(self._poll, _AGAIN)
            # A tenth of it is chance, so that a fleet doesn't look all at once.
            stop.wait(pause * random.uniform(0.9, 1.0))  # noqa: S311

    def _lost(self, error: Exception) -> None:
        self._source.forget()
        if isinstance(error, DownhaulError):
            message = str(error)
        else:
            message = f"reading {self._source.where} failed: {type(error).__name__}"
            _log.error("%s", message, exc_info=error)
        if message != self._status.message:
            _log.warning("%s", message)
        self._stand(State.STALE, message)

    def _take(self, found: Translation | None, looked: float) -> None:
        if found is None:
            self._confirmed = looked
            self._stand(State.READY, self._status.message)
            return
        unread = _unread(found)
        known = {} if self._flag_set is None else self._flag_set.flags
        kept = {key: known[key] for key in unread if key in known}
        made = found.flag_set(str(self._revision + 1))
        made = replace(made, flags={**kept, **made.flags})
        last = self._flag_set
        self._confirmed = looked
        if last is None or (last.flags, last.segments) != (made.flags, made.segments):
            self._revision += 1
            self._flag_set = made
            if (listener := self._listener) is not None:
                listener.replaced(made)
        self._stand(State.READY, _words(unread, kept))
        self._ready.set()

    def _stand(self, state: State, message: str) -> None:
        """Take up a status, and tell it if it is news. Stale needs something to be stale."""
        if self._flag_set is None and state is State.STALE:
            state = State.NOT_READY
        if (state, message) == (self._status.state, self._status.message):
            return
        if state is State.READY and message:
            _log.warning("%s: %s", self._source.where, message)
        self._status = ProviderStatus(state, message)
        if (listener := self._listener) is not None:
            listener.status_changed(self.status())


def _unread(found: Translation) -> tuple[str, ...]:
    """Return the names of the flags that are there and can't be read."""
    read = {one.key for one in found.flags}
    named = (one.flag for one in found.ledger if one.fidelity is Fidelity.MANUAL)
    return tuple(dict.fromkeys(name for name in named if name and name not in read))


def _words(unread: tuple[str, ...], kept: dict[str, Flag]) -> str:
    left_out = [key for key in unread if key not in kept]
    said = [
        f"{what}: {', '.join(sorted(names))}"
        for what, names in (
            ("unreadable, kept as they were", list(kept)),
            ("left out, see the ledger", left_out),
        )
        if names
    ]
    return "; ".join(said)
