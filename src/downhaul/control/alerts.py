"""Telling people of a kill, in a way that can never delay it (rule K6).

The verb hands its event over and goes on. A daemon thread gives it to each sink; a sink that hangs
holds up other alerts, never a kill. What doesn't fit the queue is dropped and counted.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

_LOG = logging.getLogger("downhaul.alerts")
_CAPACITY: Final = 1000  # events in the queue; an operator makes a handful, a controller a few more

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One thing that people should hear of.

    ``what`` is ``killed`` or ``revived``; ``subject`` what it was done to, as a scope is written
    (``flag-a``, ``tag:agents``, ``*``). ``before`` and ``after`` are JSON data, ``at`` is RFC 3339.
    """

    what: str
    subject: str
    actor: str
    reason: str
    environment: str
    at: str
    before: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    after: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


class Alert(Protocol):
    """A sink for alerts: a log, a chat, a pager."""

    def send(self, event: AlertEvent) -> None:
        """Deliver the event. May take its time and may raise: neither reaches the operator."""


class LogAlert:
    """Writes each event to the log ``downhaul.alerts``, kills as warnings."""

    def send(self, event: AlertEvent) -> None:
        """Log who did what to which subject, and why."""
        level = logging.WARNING if event.what == "killed" else logging.INFO
        _LOG.log(
            level,
            '%s %s in %s by %s: "%s"',
            event.what,
            event.subject,
            event.environment,
            event.actor,
            event.reason,
        )


class Dispatcher:
    """Hands events to sinks from a thread of its own. ``dropped`` counts what did not fit."""

    def __init__(self, alerts: Sequence[Alert], *, capacity: int = _CAPACITY) -> None:
        self.dropped = 0
        self.sinks = tuple(alerts)
        self._events: queue.Queue[AlertEvent] = queue.Queue(capacity)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def send(self, event: AlertEvent) -> None:
        """Take the event and return at once, whatever the sinks do."""
        if not self.sinks:
            return
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self.dropped += 1
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._deliver, name="downhaul-alerts", daemon=True
                )
                self._thread.start()

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait up to ``timeout`` seconds until all is delivered; return whether it was."""
        until = time.monotonic() + timeout
        with self._events.all_tasks_done:
            while self._events.unfinished_tasks:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._events.all_tasks_done.wait(left)
        return True

    def _deliver(self) -> None:
        while True:
            event = self._events.get()
            for alert in self.sinks:
                try:
                    alert.send(event)
                except Exception:  # noqa: BLE001  (whatever a sink does, the others are served)
                    _LOG.exception("alert %s failed for %s", type(alert).__name__, event.subject)
            self._events.task_done()
