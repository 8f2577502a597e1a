"""The history of changes, in memory: append-only, newest first when read (rule X4)."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

from downhaul.provider import Change, ChangeRecord


class ChangeLog:
    """What was done to what, by whom, and how it looked before and after."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[ChangeRecord] = []

    def add(
        self,
        entity: str,
        key: str,
        action: str,
        change: Change,
        *,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        environment: str,
        at: str,
        version: str = "",
    ) -> ChangeRecord:
        """Append one record and return it with its id."""
        with self._lock:
            record = ChangeRecord(
                id=len(self._records) + 1,
                change_id=change.id,
                at=at,
                environment=environment,
                entity=entity,
                key=key,
                action=action,
                actor=change.actor,
                marked=change.marked,
                reason=change.reason,
                before=before,
                after=after,
                version=version,
            )
            self._records.append(record)
            return record

    def page(
        self,
        entities: Collection[str],
        key: str | None,
        limit: int,
        before: int | None,
    ) -> list[ChangeRecord]:
        """Return up to ``limit`` records with an id below ``before``, newest first."""
        newest = len(self._records) if before is None else min(before - 1, len(self._records))
        found: list[ChangeRecord] = []
        for index in range(newest - 1, -1, -1):
            if len(found) >= limit:
                break
            record = self._records[index]
            if record.entity in entities and key in (None, record.key):
                found.append(record)
        return found

    def after_fork(self) -> None:
        """Begin with a free lock in a forked child."""
        self._lock = threading.Lock()
