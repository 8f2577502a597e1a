"""A provider that keeps no history of its own, with its writes recorded in the control store (X4).

A vendor's own log names its own user, who is whoever holds the admin token. Who really did what,
why, and what stood there before, is written beside the kills, for history, audit and ``flags
restore``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, cast

from downhaul.context import Context
from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import DownhaulError
from downhaul.flag import Flag, FlagKind, FlagSet, Segment
from downhaul.ledger import Translation
from downhaul.provider import (
    Capability,
    Change,
    ChangeRecords,
    FlagProvider,
    Listener,
    ProviderSnapshot,
    ProviderStatus,
)
from downhaul.result import Result

_log: Final = logging.getLogger("downhaul.control")


class Records(Protocol):
    """A control store that takes records of what was written elsewhere."""

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
    ) -> None:
        """Append to the history. Raises Unreachable."""


def audited(provider: FlagProvider, control: object) -> FlagProvider:
    """Return the provider, with its writes recorded in ``control`` where nothing else does that."""
    if Capability.HISTORY in provider.capabilities or isinstance(provider, Audited):
        return provider
    if Capability.WRITE not in provider.capabilities or not hasattr(control, "record_change"):
        return provider
    return Audited(provider, cast("Records", control))


class Audited(FlagProvider):
    """Passes everything on, and records what was written after it was.

    A record that can't be made is told in the log and fails nothing: the write has happened, and a
    way back must not stop for want of a note.
    """

    def __init__(self, inner: FlagProvider, records: Records) -> None:
        self.inner = inner
        self.name = inner.name
        self.capabilities = inner.capabilities
        self.publishes_within = inner.publishes_within
        self.archives = inner.archives
        self.control = getattr(inner, "control", None)
        self._records = records
        self._seen: dict[str, Flag] = {}

    # Passed on

    def start(self, listener: Listener) -> None:
        """Start the provider."""
        self.inner.start(listener)

    def wait_ready(self, timeout: float) -> bool:
        """Wait for the provider's first payload."""
        return self.inner.wait_ready(timeout)

    def status(self) -> ProviderStatus:
        """Return how the provider stands."""
        return self.inner.status()

    def close(self, timeout: float = 2.0) -> None:
        """Stop the provider."""
        self.inner.close(timeout)

    def after_fork(self) -> None:
        """Let the provider follow again in a forked child."""
        self.inner.after_fork()

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask the provider."""
        return self.inner.resolve(key, context, kind)

    def get(self, key: str) -> Flag | None:
        """Return the flag as the provider keeps it now."""
        flag = self.inner.get(key)
        if flag is not None:
            self._seen[key] = flag
        return flag

    def list(self) -> FlagSet:
        """Return what the provider keeps now."""
        return self.inner.list()

    def check_rollout(
        self, key: str, variant: str, weights: Iterable[int], targets: Iterable[str]
    ) -> None:
        """Ask the provider what it would refuse."""
        self.inner.check_rollout(key, variant, weights, targets)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return the provider's snapshot of a flag."""
        return self.inner.snapshot(key)

    def history(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> ChangeRecords:
        """Return the provider's own history; it has none."""
        return self.inner.history(key, limit=limit, before=before)

    def export(self) -> Translation:
        """Return the provider's flags as they decide there."""
        return self.inner.export()

    def fit(self, flag_set: FlagSet) -> Translation:
        """Return flags as the provider would keep them."""
        return self.inner.fit(flag_set)

    # Recorded

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Write a whole flag, and record it."""
        before = self._before(flag.key)
        after = self.inner.put(flag, change, expected=expected)
        self._flag(flag.key, "create" if before is None else "put", change, before, after)
        return after

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a flag, and record it."""
        before = self._before(key)
        self.inner.delete(key, change, expected=expected)
        self._flag(key, "delete", change, before, None)

    def switch_on(self, key: str, change: Change) -> Flag:
        """Turn a flag on, and record it."""
        return self._edited(key, "on", change, lambda: self.inner.switch_on(key, change))

    def switch_off(self, key: str, change: Change) -> Flag:
        """Turn a flag off, and record it."""
        return self._edited(key, "off", change, lambda: self.inner.switch_off(key, change))

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Set a share, and record it."""
        return self._edited(
            key,
            "rollout",
            change,
            lambda: self.inner.set_rollout(key, variant, weight, change),
        )

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Set targets, and record it."""
        return self._edited(
            key, "targets", change, lambda: self.inner.set_targets(key, variant, keys, change)
        )

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        """Bring a snapshot back, and record it."""
        return self._edited(
            snapshot.flag,
            "restore",
            change,
            lambda: self.inner.restore(snapshot, change, expected=expected),
        )

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Write a segment, and record it."""
        after = self.inner.put_segment(segment, change, expected=expected)
        self._record("segment", segment.key, "put", change, None, segment_to_data(after))
        return after

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a segment, and record it."""
        self.inner.delete_segment(key, change, expected=expected)
        self._record("segment", key, "delete", change, None, None)

    def _before(self, key: str) -> Flag | None:
        """Return what stands there, for the record; what can't be read is no reason to stop."""
        try:
            return self.get(key)
        except DownhaulError as error:
            _log.info("what %s was before can't be recorded: %s", key, error)
            return None

    def _edited(self, key: str, action: str, change: Change, write: Callable[[], Flag]) -> Flag:
        # What takes a flag back waits for nothing: what was seen of it last has to do.
        before = self._seen.get(key) if action == "off" else self._before(key)
        after = write()
        self._flag(key, action, change, before, after)
        return after

    def _flag(
        self, key: str, action: str, change: Change, before: Flag | None, after: Flag | None
    ) -> None:
        if (
            before is not None
            and after is not None
            and replace(before, version="") == replace(after, version="")
        ):
            return
        self._record(
            "flag",
            key,
            action,
            change,
            None if before is None else flag_to_data(before),
            None if after is None else flag_to_data(after),
            "" if after is None else after.version,
        )

    def _record(
        self,
        entity: str,
        key: str,
        action: str,
        change: Change,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        version: str = "",
    ) -> None:
        try:
            self._records.record_change(
                entity, key, action, change, before=before, after=after, version=version
            )
        except DownhaulError as error:
            _log.error(
                "%s of %s %s by %s is done and not recorded: %s",
                action,
                entity,
                key,
                change.actor,
                error,
            )
