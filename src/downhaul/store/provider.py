"""A provider on a SQL database: everything but how the backend connects and listens."""

from __future__ import annotations

import copy as copying
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, Self

from sqlalchemy import Connection

from downhaul.backends.edits import with_on, with_rollout, with_targets
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.errors import DownhaulError, Refused
from downhaul.flag import Flag, FlagSet, FlagSetDelta, Segment
from downhaul.provider import (
    Capability,
    Change,
    ChangeRecords,
    FlagProvider,
    Listener,
    ProviderSnapshot,
    ProviderStatus,
    State,
    utc_now,
)
from downhaul.store import reading
from downhaul.store.control import SqlControl
from downhaul.store.database import Database
from downhaul.store.lastknown import FlagCopy
from downhaul.store.watch import Signal, Watcher
from downhaul.store.writer import Writer

_HEAD_START: Final = 0.3  # seconds that the database has to be there; then the copy is read
_TO_READ: Final = 1.5  # seconds more, if it is there, because reading both takes twice as long
_CAPABILITIES: Final = frozenset(Capability) - {Capability.RESOLVE}


class SqlProvider(FlagProvider):
    """Flags in a database. A backend subclasses it to say how it connects and when to look.

    ``control`` keeps the kills in the same database. ``copy`` is the last-known copy of the flags
    on this machine's disk: what is served while the database can't be reached at the start.
    """

    capabilities: frozenset[Capability] = _CAPABILITIES
    archives = True  # the history has every version
    publishes_within = 0.5  # news may be under way when a poll, or a heartbeat, finds none

    def __init__(
        self,
        database: Database,
        environment: str,
        make_signal: Callable[[], Signal],
        *,
        stale_after: float,
        copy: FlagCopy | None = None,
    ) -> None:
        self.database = database
        self.environment = environment
        self._watcher = Watcher(database, environment, make_signal, stale_after=stale_after)
        self._writer = Writer(database, environment, self.name)
        self.control = SqlControl(database, environment, self._watcher)
        self._copy = copy
        self._listener: Listener | None = None
        self._copied_at = 0.0  # when the copy that is served was kept, by this machine's clock
        self._turn = threading.Lock()
        self._fresh = False

    # Evaluating

    def start(self, listener: Listener) -> None:
        """Begin to follow the database. Until it answers, the copy on disk is served, if any."""
        self._listener = listener
        self._watcher.follow(flags=self._deliver, status=lambda _: self._tell_status())
        if self._copy is not None:
            threading.Thread(
                target=self._serve_copy, args=(self._copy,), name="downhaul-load", daemon=True
            ).start()

    def wait_ready(self, timeout: float) -> bool:
        """Wait for the first whole read of the database."""
        return self._watcher.wait_loaded(timeout)

    def status(self) -> ProviderStatus:
        """Return how the database stands; flags out of the copy are STALE."""
        status = self._watcher.status()
        if status.state is State.NOT_READY and self._copied_at:
            message = f"served from the copy on disk: {status.message}"
            age = time.time() - self._copied_at
            return ProviderStatus(State.STALE, message, max(0.0, age))
        if self._copy is not None and self._copy.trouble:
            return replace(status, message=f"{status.message} {self._copy.trouble}".strip())
        return status

    def close(self, timeout: float = 2.0) -> None:
        """Stop following, and write the copy if something is left to write."""
        self._watcher.close(timeout)
        if self._copy is not None:
            self._copy.close(timeout)
        self.database.engine.dispose()

    def after_fork(self) -> None:
        """Follow the database again, on connections of the child's own."""
        self._turn = threading.Lock()
        self._watcher.after_fork()
        if self._copy is not None:
            self._copy.after_fork()

    def _serve_copy(self, copy: FlagCopy) -> None:
        """Give the listener the copy on disk, unless the database comes first."""
        self._watcher.wait_answered(_HEAD_START, _TO_READ)
        copied = None if self._fresh else copy.load()
        if copied is None:
            return
        with self._turn:
            listener = None if self._fresh else self._listener
            if listener is not None:
                self._copied_at = time.time() - copied.age
                self._tell_status()  # first, for how old they are says what may be served of them
                listener.replaced(copied.flag_set)

    def _tell_status(self) -> None:
        if (listener := self._listener) is not None:
            listener.status_changed(self.status())

    def _deliver(self, news: FlagSet | FlagSetDelta) -> None:
        with self._turn:
            self._fresh = True
            listener = self._listener
            if listener is None:
                return
            if isinstance(news, FlagSet):
                listener.replaced(news)
            else:
                listener.changed(news)
        if self._copy is not None:
            self._copy.keep(news, self._watcher.identity)

    # Managing

    def get(self, key: str) -> Flag | None:
        """Return the flag as the database has it now, or None. Raises Unreachable."""
        with self.database.reading() as connection:
            row = reading.kept(connection, self.database.tables, "flag", self.environment, key)
        return None if row is None else self._writer.decoded(key, row)

    def get_many(self, keys: Iterable[str]) -> Mapping[str, Flag | DownhaulError]:
        """Return those of the flags that are there, in one look; an error for a row that is broken.

        Raises Unreachable.
        """
        wanted = tuple(keys)
        with self.database.reading() as connection:
            rows = reading.kept_flags(connection, self.database.tables, self.environment, wanted)
        found: dict[str, Flag | DownhaulError] = {}
        for key, row in rows.items():
            try:
                found[key] = self._writer.decoded(key, row)
            except DownhaulError as error:
                found[key] = error
        return found

    def list(self) -> FlagSet:
        """Return all flags and segments as the database has them now. Raises Unreachable."""
        with self.database.reading() as connection:
            return reading.flag_set(connection, self.database.tables, self.environment)

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Write a whole flag. Raises DocumentError with every problem, or VersionConflict."""
        return self._writer.put(flag, change, expected)

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a flag. Raises FlagNotFound, VersionConflict."""
        self._writer.delete(key, change, expected)

    def switch_on(self, key: str, change: Change) -> Flag:
        """Turn the flag on. Raises FlagNotFound."""
        return self._writer.edit(key, "on", change, partial(with_on, on=True))

    def switch_off(self, key: str, change: Change) -> Flag:
        """Turn the flag off. Raises FlagNotFound."""
        return self._writer.edit(key, "off", change, partial(with_on, on=False))

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Give the variant its part of the default. Raises FlagNotFound, Refused."""
        edit = partial(with_rollout, variant=variant, weight=weight)
        return self._writer.edit(key, "rollout", change, edit)

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Set a variant's targets of kind ``user``. Raises FlagNotFound, Refused."""
        edit = partial(with_targets, variant=variant, keys=keys)
        return self._writer.edit(key, "targets", change, edit)

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Write a whole segment. Raises DocumentError, VersionConflict."""
        return self._writer.put_segment(segment, change, expected)

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a segment. Raises Refused while it is named, FlagNotFound, VersionConflict."""
        self._writer.delete_segment(key, change, expected)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return the flag's document as it is now. Raises FlagNotFound."""
        flag = self.get(key)
        if flag is None:
            raise self._writer.no_flag(key)
        return ProviderSnapshot(key, self.name, flag.version, flag_to_data(flag), utc_now())

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        """Bring a snapshot back as a new version, a deleted flag too. Raises VersionConflict."""
        if snapshot.provider != self.name:
            raise Refused(
                f'a snapshot of provider "{snapshot.provider}" is no document of this one',
                flag=snapshot.flag,
                provider=self.name,
                hint="restore it where it was taken",
            )
        flag = flag_from_data(snapshot.document)
        return self._writer.put(flag, change, expected, restored=True)

    def within(self, connection: Connection) -> Self:
        """Return this provider as one transaction sees it, for managing only.

        What is written through it is committed, or not, with everything else of the transaction.
        """
        inside = copying.copy(self)
        inside.database = self.database.bound(connection)
        inside._writer = Writer(inside.database, self.environment, self.name)  # noqa: SLF001  (of our own class)
        return inside

    def history(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> ChangeRecords:
        """Return the newest changes first: of one flag, or of all flags and segments."""
        entities = ("flag", "segment") if key is None else ("flag",)
        with self.database.reading() as connection:
            return reading.history(
                connection, self.database.tables, self.environment, entities, key, limit, before
            )
