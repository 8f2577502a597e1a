"""Kills and their history in memory, for the backend in memory and for tests."""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from downhaul.backends.changelog import ChangeLog
from downhaul.backends.delivery import Delivery
from downhaul.overlay import KillRecord, Scope
from downhaul.provider import Change, ChangeRecord, KillListener, ProviderStatus, State


class MemoryControl:
    """A control store in this process: a register of kills with sequence numbers (rule K3).

    ``clock`` gives seconds since the epoch; sequence numbers are its microseconds, raised where
    needed so that each record stands above the one before it.
    """

    def __init__(
        self,
        *,
        environment: str = "default",
        identity: str | None = None,
        clock: Callable[[], float] = time.time,
        changes: ChangeLog | None = None,
    ) -> None:
        self.identity = identity or f"memory-{uuid.uuid4().hex}"
        self.environment = environment
        self._clock = clock
        self._changes = ChangeLog() if changes is None else changes
        self._lock = threading.Lock()
        self._delivery = Delivery()
        self._listener: KillListener | None = None
        self._words: dict[tuple[Scope, str], KillRecord] = {}
        self._last = 0
        self._status = ProviderStatus(State.NOT_READY, "not started")

    def start(self, listener: KillListener) -> None:
        """Give the listener all kills, and every word from now on."""
        with self._lock:
            self._listener = listener
            self._status = ProviderStatus(State.READY, age=0.0)
            self._delivery.add(partial(listener.kills, list(self._words.values())))
        self._delivery.run()

    def wait_ready(self, timeout: float) -> bool:
        """Return whether the store was started: it is ready at once."""
        return self._status.state is State.READY

    def status(self) -> ProviderStatus:
        """Return READY between start and close."""
        return self._status

    def close(self, timeout: float = 2.0) -> None:
        """Tell the listener nothing any more. Kills can still be read and recorded."""
        with self._lock:
            self._listener = None
            self._status = ProviderStatus(State.NOT_READY, "closed")

    def after_fork(self) -> None:
        """Begin with free locks: a thread of the parent may have held them."""
        self._lock = threading.Lock()
        self._delivery.after_fork()
        self._changes.after_fork()

    def now(self) -> int:
        """Return the time in microseconds since 1970."""
        return int(self._clock() * 1_000_000)

    def kills(self) -> list[KillRecord]:
        """Return the last record of each scope, revives included, oldest first."""
        return sorted(self._words.copy().values(), key=lambda record: record.sequence)

    def record_kill(
        self,
        scope: Scope,
        change: Change,
        *,
        killed: bool,
        lift_others: bool = False,
        everywhere: bool = False,
        waits: bool = False,
    ) -> KillRecord:
        """Commit a kill or a revive and return it; the standing record where it says the same."""
        environment = "*" if everywhere else self.environment
        with self._lock:
            before = self._words.get((scope, environment))
            said = before is not None and before.killed is killed
            if before is not None and said and not lift_others:
                return before
            sequence = self._last = max(self._last + 1, int(self._clock() * 1_000_000))
            carried = 0 if before is None else before.lifts
            record = KillRecord(
                scope=scope,
                sequence=sequence,
                killed=killed,
                actor=change.actor,
                reason=change.reason,
                at=_rfc3339(sequence),
                environment=environment,
                store=self.identity,
                lifts=sequence if lift_others and not killed else carried,
                waits=waits and not killed,
            )
            self._words = {**self._words, (scope, environment): record}
            self._note(record, before, change)
            if self._listener is not None:
                self._delivery.add(partial(self._listener.kills, [record]))
        self._delivery.run()
        return record

    def record_change(
        self,
        entity: str,
        key: str,
        action: str,
        change: Change,
        *,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        version: str = "",
        everywhere: bool = False,
    ) -> None:
        """Append to the history what has no record of its own."""
        self._changes.add(
            entity,
            key,
            action,
            change,
            before=before,
            after=after,
            environment="*" if everywhere else self.environment,
            at=_rfc3339(int(self._clock() * 1_000_000)),
            version=version,
        )

    def changes(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> list[ChangeRecord]:
        """Return the newest changes first, of kills and of what shares the history."""
        return self._changes.page(("flag", "segment", "kill"), key, limit, before)

    def _note(self, record: KillRecord, before: KillRecord | None, change: Change) -> None:
        self._changes.add(
            "kill",
            str(record.scope),
            "kill" if record.killed else "revive",
            change,
            before=None if before is None else before.as_mapping(),
            after=record.as_mapping(),
            environment=record.environment,
            at=record.at,
            version=str(record.sequence),
        )


def _rfc3339(microseconds: int) -> str:
    # Not fromtimestamp(): a float of seconds loses the last microsecond.
    at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
