"""Telling people from the process that did it, in a way that can never delay it (rule K6).

The verb hands its event over and goes on. Each sink has a thread of its own while there is
something to tell it, so that one that hangs holds up no other. What doesn't fit a sink's queue is
dropped and counted.

Where the control store has an outbox, the event is in it by then, committed with the kill itself.
A sink that stands in every process that has the configuration is left to a controller, if one is
alive and takes it soon; else it is told from here. The claim in the store keeps it to one of both.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from downhaul.control.alerts import Alert, AlertEvent, hears, is_configured, named
from downhaul.control.sending import PATIENCE, Sender, retry_in
from downhaul.errors import DownhaulError

_LOG: Final = logging.getLogger("downhaul.alerts")
_CAPACITY: Final = 1000  # events in a queue; an operator makes a handful
_TRIES: Final = 4  # of a configured sink: at once, and after 1, 2 and 4 seconds
_GRACE: Final = 2.0  # seconds for a controller to take what it is there for
_LOOK: Final = 0.1  # seconds between two looks whether it did
_HOLD: Final = PATIENCE + 10.0  # seconds for which nobody else sends what is being sent here


class Announcement(Protocol):
    """A row of an outbox."""

    @property
    def id(self) -> int:
        """Its number in the store."""


class Outbox(Protocol):
    """What a control store that keeps announcements offers: see downhaul.store.outbox."""

    def find(self, key: str) -> Announcement | None:
        """Return the announcement that bears this id."""

    def state(self, announcement: int, sink: str) -> object | None:
        """Return what became of it at a sink; None where nobody took it yet."""

    def claim(self, announcement: int, sink: str, hold: float) -> int | None:
        """Take it for a sink; None where somebody else has."""

    def took(self, announcement: int, sink: str) -> None:
        """Note that a sink took it."""

    def failed(self, announcement: int, sink: str, error: str, retry_in: float) -> None:
        """Note that a sink did not take it."""

    def controllers(self) -> int:
        """Return how many controllers are alive, to deliver."""


@dataclass(frozen=True, slots=True)
class Untold:
    """An event that a sink did not take from here. ``kept``: it waits in the store."""

    sink: str
    event: AlertEvent
    why: str
    kept: bool

    def __str__(self) -> str:
        what = f"{self.event.what.replace('_', ' ')} {self.event.subject}"
        then = "it waits in the store for a controller" if self.kept else "nobody tries again"
        return f'alert "{self.sink}" is not told of "{what}" yet ({self.why}); {then}'


class Dispatcher:
    """Hands events to sinks from threads of their own. ``dropped`` counts what did not fit."""

    def __init__(
        self,
        alerts: Sequence[Alert],
        *,
        capacity: int = _CAPACITY,
        outbox: Outbox | None = None,
    ) -> None:
        self.dropped = 0
        self.sinks = tuple(alerts)
        self._lanes = [
            _Lane(Sender(name, alert), capacity, outbox if is_configured(alert) else None)
            for name, alert in named(alerts).items()
        ]

    def send(self, event: AlertEvent) -> None:
        """Take the event and return at once, whatever the sinks do."""
        for lane in self._lanes:
            if not lane.put(event):
                self.dropped += 1

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait up to ``timeout`` seconds until all is delivered; return whether it was."""
        until = time.monotonic() + timeout
        return all(lane.flush(until) for lane in self._lanes)

    def untold(self) -> list[Untold]:
        """Return what sinks did not take since the last time, and what they still have in hand."""
        return [one for lane in self._lanes for one in lane.untold()]


class _Lane:
    """One sink with its queue, and the thread that serves it while something is in there."""

    def __init__(self, sender: Sender, capacity: int, outbox: Outbox | None) -> None:
        self._sender = sender
        self._outbox = outbox
        self._events: queue.Queue[AlertEvent] = queue.Queue(capacity)
        self._thread: threading.Thread | None = None
        self._serving = threading.Lock()  # so that no event comes in as the thread goes
        self._in_hand: AlertEvent | None = None
        self._untold: list[Untold] = []

    def put(self, event: AlertEvent) -> bool:
        """Take the event, if it is for the sink; return whether there was room for it."""
        if not hears(self._sender.alert, event):
            return True
        with self._serving:
            try:
                self._events.put_nowait(event)
            except queue.Full:
                return False
            # One that was started before a fork is not there in the child.
            if self._thread is None or not self._thread.is_alive():
                self._start()
        return True

    def _start(self) -> None:
        self._thread = threading.Thread(
            target=self._run, name=f"downhaul-alerts-{self._sender.name}", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # no thread to be had: the verb is done, and the event is untold
            self._thread = None
            _LOG.exception("alert %s can't be told now", self._sender.name)

    def flush(self, until: float) -> bool:
        """Wait until a moment for all to be told."""
        with self._events.all_tasks_done:
            while self._events.unfinished_tasks:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._events.all_tasks_done.wait(left)
        return True

    def untold(self) -> list[Untold]:
        with self._serving:
            in_hand = self._in_hand
            with self._events.mutex:
                waiting = list(self._events.queue)
        if in_hand is not None:
            waiting.insert(0, in_hand)
        kept = self._outbox is not None
        still = [Untold(self._sender.name, one, "no answer yet", kept) for one in waiting]
        failed, self._untold = self._untold, []
        return [*failed, *still]

    def _next(self) -> AlertEvent | None:
        """Return what is to be told next; None ends the thread."""
        with self._serving:
            try:
                self._in_hand = self._events.get_nowait()
            except queue.Empty:
                self._thread = None
            return self._in_hand

    def _run(self) -> None:
        while (event := self._next()) is not None:
            try:
                self._tell(event)
            except Exception as error:  # noqa: BLE001  (the next event is told all the same)
                _LOG.exception("alert %s failed for %s", self._sender.name, event.subject)
                kept = self._outbox is not None
                self._untold.append(Untold(self._sender.name, event, type(error).__name__, kept))
            finally:
                self._in_hand = None
                self._events.task_done()

    def _tell(self, event: AlertEvent) -> None:
        row = self._row(event)
        if row is None or self._outbox is None:
            why = self._directly(event)
        else:
            why = self._under_claims(self._outbox, row.id, event)
        if why:
            self._untold.append(Untold(self._sender.name, event, why, row is not None))

    def _row(self, event: AlertEvent) -> Announcement | None:
        """Return the event's row; None where the store has none, or went away since."""
        if self._outbox is None or not event.id:
            return None
        try:
            return self._outbox.find(event.id)
        except DownhaulError:
            return None

    def _directly(self, event: AlertEvent) -> str:
        tries = _TRIES if is_configured(self._sender.alert) else 1
        why = ""
        for attempt in range(1, tries + 1):
            why = self._sender.send(event)
            if not why:
                return ""
            if self._sender.hopeless:
                break
            if attempt < tries:
                time.sleep(retry_in(attempt))
        return why

    def _under_claims(self, outbox: Outbox, row: int, event: AlertEvent) -> str:
        """Tell it unless somebody else does. Without the store's word, tell it all the same."""
        try:
            if self._left_to_a_controller(outbox, row):
                return ""
        except DownhaulError:
            return self._directly(event)
        why = ""
        for attempt in range(1, _TRIES + 1):
            try:
                if outbox.claim(row, self._sender.name, _HOLD) is None:
                    return ""
            except DownhaulError:
                return self._directly(event)
            why = self._sender.send(event)
            if not why:
                self._note(outbox, row, "")
                return ""
            self._note(outbox, row, why)
            if self._sender.hopeless:
                break
            if attempt < _TRIES:
                time.sleep(retry_in(attempt))
        return why

    def _note(self, outbox: Outbox, row: int, why: str) -> None:
        try:
            if why:  # anybody may try again at once
                outbox.failed(row, self._sender.name, why, 0.0)
            else:
                outbox.took(row, self._sender.name)
        except DownhaulError:  # its claim ends by itself, and what is told twice bears one id
            return

    def _left_to_a_controller(self, outbox: Outbox, row: int) -> bool:
        """Return whether somebody has taken it. One that died a moment ago counts as alive."""
        until = time.monotonic() + (_GRACE if outbox.controllers() else 0.0)
        while True:
            if outbox.state(row, self._sender.name) is not None:
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK)
