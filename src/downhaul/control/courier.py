"""Telling people what waits in an outbox: the part of a controller that delivers.

Each sink has a thread while there is something for it. So a sink that hangs or fails holds up no
other, and is tried again after 1, 2, 4 … 300 seconds; after about sixteen hours it is given up,
which the log says and ``doctor`` shows.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from downhaul.control.alerts import Alert, AlertEvent, hears, named
from downhaul.control.sending import PATIENCE, Sender, retry_in
from downhaul.errors import DownhaulError
from downhaul.store.outbox import Announcement, Delivery, Outbox

HOLD: Final = 60.0
"""Seconds in which no other process sends what this one is sending."""

MOST_TRIES: Final = 200
"""Tries of one announcement at one sink: about sixteen hours."""

TOO_OLD: Final = 7 * 24 * 3600.0
"""Seconds after which what a sink was never told of is no news any more."""

_LOG: Final = logging.getLogger("downhaul.controller")
_WAIT: Final = PATIENCE + 5.0
_MANY: Final = 500  # announcements that are looked at, at once
Count = Callable[[str, float], None]


class Courier:
    """Delivers the announcements of an outbox to sinks. ``count`` counts by name, for metrics."""

    def __init__(self, outbox: Outbox, alerts: Sequence[Alert], count: Count) -> None:
        self._outbox = outbox
        self._lanes = [
            _Lane(outbox, Sender(name, alert), count) for name, alert in named(alerts).items()
        ]
        self._count = count

    def deliver(self, wait: float = _WAIT) -> int:
        """Send what is due, and return how many announcements every sink has taken by then.

        Waits at most ``wait`` seconds; what is in hand after that goes on by itself. Raises
        Unreachable.
        """
        if not self._outbox.waiting(1):
            return 0
        until = time.monotonic() + wait
        for lane in self._lanes:
            lane.begin()
        for lane in self._lanes:
            lane.end(max(0.0, until - time.monotonic()))
        told = self._settle()
        self._count("alerts", told)
        return told

    def _settle(self) -> int:
        """Settle what no sink is left for."""
        rows = self._outbox.waiting(_MANY)
        done = self._outbox.done([one.id for one in rows])
        return sum(self._settle_one(row, done[row.id]) for row in rows)

    def _settle_one(self, row: Announcement, done: dict[str, Delivery]) -> bool:
        event = event_of(row)
        if event is None:
            if self._outbox.settle(row.id):
                _LOG.error("announcement %s can't be read, and is left out", row.id)
            return False
        if any(one.hears(event) and one.name not in done for one in self._lanes):
            return False
        given_up = Delivery.GIVEN_UP in done.values()
        return self._outbox.settle(row.id) and not given_up


class _Lane:
    """One sink, and the thread that serves it while something is due."""

    def __init__(self, outbox: Outbox, sender: Sender, count: Count) -> None:
        self._outbox = outbox
        self._sender = sender
        self._count = count
        self._thread: threading.Thread | None = None
        self._said = ""  # why it waits

    @property
    def name(self) -> str:
        """The sink's name."""
        return self._sender.name

    def hears(self, event: AlertEvent) -> bool:
        """Return whether an event is for the sink."""
        return hears(self._sender.alert, event)

    def begin(self) -> None:
        """Serve the sink, unless that is being done."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(
            target=self._run, name=f"downhaul-courier-{self.name}", daemon=True
        )
        self._thread.start()

    def end(self, timeout: float) -> None:
        """Wait until the sink is served."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while self._serve():  # what came meanwhile, too
                pass
            self._said = ""
        except DownhaulError as error:
            if error.message != self._said:
                _LOG.warning("alert %s waits for the store: %s", self.name, error)
            self._said = error.message
        except Exception:  # noqa: BLE001  (the other sinks are served all the same)
            _LOG.exception("alert %s could not be served", self.name)

    def _serve(self) -> bool:
        """Send what is due; return whether there may be more that is worth a try."""
        sent = False
        for row, event in self._due():
            attempts = self._outbox.claim(row.id, self.name, HOLD)
            if attempts is None:
                continue  # somebody else has it in hand
            if not self._send(row, event, attempts):
                return False
            sent = True
        return sent

    def _due(self) -> list[tuple[Announcement, AlertEvent]]:
        """Return what is due, the worst first; what is not for the sink is done with."""
        found = []
        for row in self._outbox.due(self.name, _MANY):
            event = event_of(row)
            if event is None:
                continue
            if not self.hears(event):
                self._outbox.skip(row.id, self.name)
            elif not row.attempts and row.age > TOO_OLD:
                _LOG.warning(
                    "alert %s is not told of %s %s: that was a week ago",
                    self.name,
                    event.what,
                    event.subject,
                )
                self._outbox.skip(row.id, self.name)
            else:
                found.append((row, event))
        return sorted(found, key=lambda one: -one[1].severity.rank)

    def _send(self, row: Announcement, event: AlertEvent, attempts: int) -> bool:
        """Send one that was claimed; return whether the next one is worth a try."""
        began = time.monotonic()
        why = self._sender.send(event)
        if not why:
            self._outbox.took(row.id, self.name)
            return True
        self._count("alerts_failed", 1)
        if attempts >= MOST_TRIES:
            self._outbox.gave_up(row.id, self.name, why)
            _LOG.error(
                "alert %s is given up for %s %s after %s tries: %s",
                self.name,
                event.what,
                event.subject,
                attempts,
                why,
            )
        else:
            self._outbox.failed(row.id, self.name, why, retry_in(attempts))
        return time.monotonic() - began < PATIENCE


def event_of(row: Announcement) -> AlertEvent | None:
    """Return what people are told, or None for a row that somebody broke."""
    event = row.event
    try:
        return AlertEvent(
            what=str(event["what"]),
            subject=str(event["subject"]),
            actor=str(event["actor"]),
            reason=str(event["reason"]),
            environment=str(event["environment"]),
            at=str(event.get("at") or _rfc3339(row.at)),
            before=dict(event.get("before", {})),
            after={**event["detail"], "id": row.id},
            id=str(event.get("id") or row.id),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _rfc3339(microseconds: int) -> str:
    at = dt.datetime.fromtimestamp(microseconds / 1e6, dt.UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
