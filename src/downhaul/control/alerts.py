"""What people are told of, and who tells them: the sinks that stand in this process alone.

Sinks that a configuration names (chats, pagers, mail, webhooks) are in modules of their own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

from downhaul.announcements.severity import Severity, severity_of

_LOG: Final = logging.getLogger("downhaul.alerts")

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One thing that people should hear of.

    ``what`` names it (:data:`downhaul.announcements.severity.EVENTS` lists them all); ``subject``
    is what it was done to, as a scope is written (``flag-a``, ``tag:agents``, ``*``). ``before``
    and ``after`` are JSON data, ``at`` is RFC 3339. ``id`` is the same each time that one event is
    told: at least once may be twice.
    """

    what: str
    subject: str
    actor: str
    reason: str
    environment: str
    at: str
    before: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    after: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    id: str = ""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return severity_of(self.what, self.after)


class Alert(Protocol):
    """A sink for alerts: a log, a chat, a pager.

    It may have a ``name`` (else its class's), and a method ``hears(event)`` that says which events
    are for it (else all). One whose ``configured`` is true stands in every process that has the
    configuration: of those, one sends.
    """

    def send(self, event: AlertEvent) -> None:
        """Deliver the event. May take its time and may raise: neither reaches the operator."""


def name_of(alert: Alert) -> str:
    """Return the name that a sink is known by."""
    return str(getattr(alert, "name", "") or type(alert).__name__)


def named(alerts: Sequence[Alert]) -> dict[str, Alert]:
    """Return sinks by their names; of two with one name the second is ``NAME-2``."""
    found: dict[str, Alert] = {}
    for alert in alerts:
        name, number = name_of(alert), 2
        while name in found:
            name, number = f"{name_of(alert)}-{number}", number + 1
        found[name] = alert
    return found


def hears(alert: Alert, event: AlertEvent) -> bool:
    """Return whether an event is for a sink; one that can't say hears of everything."""
    asked = getattr(alert, "hears", None)
    if asked is None:
        return True
    try:
        return bool(asked(event))
    except Exception:  # noqa: BLE001  (a sink of somebody's, and a kill that waits)
        _LOG.exception("alert %s can't say whether it hears of %s", name_of(alert), event.what)
        return True


def is_configured(alert: Alert) -> bool:
    """Return whether a sink stands in every process that has the configuration."""
    return bool(getattr(alert, "configured", False))


class LogAlert:
    """Writes each event to the log ``downhaul.alerts``, kills as warnings."""

    name = "log"

    def send(self, event: AlertEvent) -> None:
        """Log who did what to which subject, and why."""
        urgent = event.severity.reaches(Severity.WARNING)
        _LOG.log(
            logging.WARNING if urgent else logging.INFO,
            '%s %s in %s by %s: "%s"',
            event.what,
            event.subject,
            event.environment,
            event.actor,
            event.reason,
        )


class MemoryAlert:
    """Keeps what it is told, for the tests of applications. Safe in threads.

    ``fails`` is raised, in place of keeping the event, as often as it is there.
    """

    def __init__(self, name: str = "memory", *, fails: Sequence[Exception] = ()) -> None:
        self.name = name
        self._fails = list(fails)
        self._events: list[AlertEvent] = []
        self._changed = threading.Condition()

    @property
    def events(self) -> tuple[AlertEvent, ...]:
        """What it was told, in order."""
        with self._changed:
            return tuple(self._events)

    @property
    def told(self) -> list[str]:
        """What it was told in short: ``killed agent``."""
        return [f"{one.what} {one.subject}" for one in self.events]

    def send(self, event: AlertEvent) -> None:
        """Keep the event, or fail as it was asked to."""
        with self._changed:
            if self._fails:
                raise self._fails.pop(0)
            self._events.append(event)
            self._changed.notify_all()

    def wait_for(self, what: str, timeout: float = 10.0) -> AlertEvent:
        """Return the first event of this name, waiting for it. Raises TimeoutError."""
        until = time.monotonic() + timeout
        with self._changed:
            while True:
                for one in self._events:
                    if one.what == what:
                        return one
                left = until - time.monotonic()
                if left <= 0:
                    message = f'not told of "{what}" within {timeout:g} s, but of {self.told}'
                    raise TimeoutError(message)
                self._changed.wait(left)

    def clear(self) -> None:
        """Forget what it was told."""
        with self._changed:
            self._events.clear()
