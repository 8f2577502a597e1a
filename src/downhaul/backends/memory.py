"""The backend in memory: every capability, for tests, tools and examples. Nothing outlives it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from downhaul.backends.changelog import ChangeLog
from downhaul.backends.delivery import Delivery
from downhaul.backends.edits import with_on, with_rollout, with_targets
from downhaul.backends.memory_control import MemoryControl
from downhaul.encoding import (
    Data,
    flag_from_data,
    flag_to_data,
    segment_from_data,
    segment_to_data,
)
from downhaul.errors import DocumentError, FlagNotFound, Refused, VersionConflict
from downhaul.flag import Flag, Segment
from downhaul.provider import (
    ABSENT,
    Capability,
    Change,
    ChangeRecords,
    FlagProvider,
    FlagSet,
    FlagSetDelta,
    Listener,
    ProviderSnapshot,
    ProviderStatus,
    State,
    utc_now,
)
from downhaul.references import segment_users

if TYPE_CHECKING:
    from downhaul.config import Settings

__all__ = ["MemoryControl", "MemoryProvider", "create"]

_T = TypeVar("_T", Flag, Segment)
_NOT_STARTED: Final = ProviderStatus(State.NOT_READY, "not started")
_CLOSED: Final = ProviderStatus(State.NOT_READY, "closed")


class MemoryProvider(FlagProvider):
    """Flags and segments in this process, with all that a backend can do.

    Reading takes no lock: it sees the last whole flag set. Writes are checked as documents are
    (:func:`downhaul.documents.check_flag`) unless ``validate`` is False; the narrow verbs aren't,
    for a flag that something is wrong with must still go off. ``control`` keeps the kills.
    """

    name: str = "memory"
    capabilities: frozenset[Capability] = frozenset(Capability) - {Capability.RESOLVE}

    def __init__(
        self,
        flag_set: FlagSet | None = None,
        *,
        environment: str = "default",
        validate: bool = True,
        control: MemoryControl | None = None,
    ) -> None:
        self.environment = environment
        self._validate = validate
        self._changes = ChangeLog()
        self.control = control or MemoryControl(environment=environment, changes=self._changes)
        self._lock = threading.Lock()
        self._delivery = Delivery()
        self._listener: Listener | None = None
        self._status = _NOT_STARTED
        self._revision = 0
        given = flag_set or FlagSet()
        self._flag_set = FlagSet(
            {key: self._stamped(one) for key, one in given.flags.items()},
            {key: self._stamped(one) for key, one in given.segments.items()},
            given.revision or "0",
        )

    # Evaluating

    def start(self, listener: Listener) -> None:
        """Give the listener the flag set, and every change from now on."""
        with self._lock:
            self._listener = listener
            self._status = ProviderStatus(State.READY, age=0.0)
            self._delivery.add(partial(listener.replaced, self._flag_set))
            self._delivery.add(partial(listener.status_changed, self._status))
        self._delivery.run()

    def wait_ready(self, timeout: float) -> bool:
        """Return whether the provider was started: it is ready at once."""
        return self._status.state is State.READY

    def status(self) -> ProviderStatus:
        """Return READY between start and close."""
        return self._status

    def close(self, timeout: float = 2.0) -> None:
        """Tell the listener nothing any more. The flags stay readable and writable."""
        with self._lock:
            self._listener = None
            self._status = _CLOSED

    def after_fork(self) -> None:
        """Begin with free locks: a thread of the parent may have held them."""
        self._lock = threading.Lock()
        self._delivery.after_fork()
        self._changes.after_fork()

    # Managing

    def get(self, key: str) -> Flag | None:
        """Return the flag, or None."""
        return self._flag_set.flags.get(key)

    def list(self) -> FlagSet:
        """Return all flags and segments."""
        return self._flag_set

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Write a whole flag. Raises DocumentError with every problem, or VersionConflict."""
        flag = _own(flag)
        with self._writing():
            before = self._flag_set.flags.get(flag.key)
            _expect(flag.key, before, expected)
            self._refuse_bad(flag)
            return self._put_flag(flag, before, "create" if before is None else "put", change)

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a flag. Raises FlagNotFound, VersionConflict."""
        with self._writing():
            before = self._flag_of(key)
            _expect(key, before, expected)
            flags = {name: one for name, one in self._flag_set.flags.items() if name != key}
            revision = self._next_revision()
            self._publish(
                FlagSet(flags, self._flag_set.segments, revision),
                FlagSetDelta(flags={key: None}, revision=revision),
            )
            self._record("flag", key, "delete", change, flag_to_data(before), None)

    def switch_on(self, key: str, change: Change) -> Flag:
        """Turn the flag on. Raises FlagNotFound."""
        return self._edit(key, "on", change, partial(with_on, on=True))

    def switch_off(self, key: str, change: Change) -> Flag:
        """Turn the flag off. Raises FlagNotFound."""
        return self._edit(key, "off", change, partial(with_on, on=False))

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Give the variant its part of the default. Raises FlagNotFound, Refused."""
        edit = partial(with_rollout, variant=variant, weight=weight)
        return self._edit(key, "rollout", change, edit)

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Set a variant's targets of kind ``user``. Raises FlagNotFound, Refused."""
        edit = partial(with_targets, variant=variant, keys=keys)
        return self._edit(key, "targets", change, edit)

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Write a whole segment. Raises DocumentError, VersionConflict."""
        segment = segment_from_data(copy.deepcopy(segment_to_data(segment)))
        with self._writing():
            before = self._flag_set.segments.get(segment.key)
            _expect(segment.key, before, expected)
            self._refuse_bad(segment)
            revision = self._next_revision()
            after = replace(segment, version=revision)
            segments = {**self._flag_set.segments, after.key: after}
            self._publish(
                FlagSet(self._flag_set.flags, segments, revision),
                FlagSetDelta(segments={after.key: after}, revision=revision),
            )
            action = "create" if before is None else "put"
            was = None if before is None else segment_to_data(before)
            self._record("segment", after.key, action, change, was, segment_to_data(after))
            return after

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a segment. Raises Refused while it is named, FlagNotFound, VersionConflict."""
        with self._writing():
            before = self._flag_set.segments.get(key)
            if before is None:
                raise FlagNotFound(f'no segment "{key}" in memory', provider=self.name)
            _expect(key, before, expected)
            if users := segment_users(self._flag_set, key):
                raise Refused(
                    f'segment "{key}" is named by {", ".join(users)}',
                    provider=self.name,
                    hint="take it out of their clauses first",
                )
            segments = {name: one for name, one in self._flag_set.segments.items() if name != key}
            revision = self._next_revision()
            self._publish(
                FlagSet(self._flag_set.flags, segments, revision),
                FlagSetDelta(segments={key: None}, revision=revision),
            )
            self._record("segment", key, "delete", change, segment_to_data(before), None)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return the flag's document as it is now. Raises FlagNotFound."""
        flag = self._flag_of(key)
        document = copy.deepcopy(flag_to_data(flag))
        return ProviderSnapshot(key, self.name, flag.version, document, utc_now())

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
        flag = flag_from_data(copy.deepcopy(dict(snapshot.document)))
        with self._writing():
            before = self._flag_set.flags.get(flag.key)
            _expect(flag.key, before, expected)
            return self._put_flag(flag, before, "restore", change)

    def history(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> ChangeRecords:
        """Return the newest changes first: of one flag, or of all flags and segments."""
        entities = ("flag", "segment") if key is None else ("flag",)
        return self._changes.page(entities, key, limit, before)

    # Inside

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock while writing, and tell the listener once it is free again."""
        with self._lock:
            yield
        self._delivery.run()

    def _edit(self, key: str, action: str, change: Change, edit: Callable[[Flag], Flag]) -> Flag:
        with self._writing():
            before = self._flag_of(key)
            return self._put_flag(edit(before), before, action, change)

    def _put_flag(self, flag: Flag, before: Flag | None, action: str, change: Change) -> Flag:
        revision = self._next_revision()
        after = replace(flag, version=revision)
        self._publish(
            FlagSet({**self._flag_set.flags, after.key: after}, self._flag_set.segments, revision),
            FlagSetDelta(flags={after.key: after}, revision=revision),
        )
        was = None if before is None else flag_to_data(before)
        self._record("flag", after.key, action, change, was, flag_to_data(after))
        return after

    def _publish(self, flag_set: FlagSet, delta: FlagSetDelta) -> None:
        self._flag_set = flag_set
        if self._listener is not None:
            self._delivery.add(partial(self._listener.changed, delta))

    def _record(
        self,
        entity: str,
        key: str,
        action: str,
        change: Change,
        before: Data | None,
        after: Data | None,
    ) -> None:
        self._changes.add(
            entity,
            key,
            action,
            change,
            before=before,
            after=after,
            environment=self.environment,
            at=utc_now(),
            version=self._flag_set.revision,
        )

    def _flag_of(self, key: str) -> Flag:
        flag = self._flag_set.flags.get(key)
        if flag is None:
            raise FlagNotFound(f'no flag "{key}" in memory', flag=key, provider=self.name)
        return flag

    def _refuse_bad(self, one: Flag | Segment) -> None:
        if not self._validate:
            return
        from downhaul.documents import check_flag, check_segment  # noqa: PLC0415  (pydantic: only who writes pays)

        if isinstance(one, Flag):
            what, problems = "flag", check_flag(one, self._flag_set)
        else:
            what, problems = "segment", check_segment(one, self._flag_set)
        if problems:
            raise DocumentError(f'{what} "{one.key}" is refused', problems)

    def _next_revision(self) -> str:
        # One counter for all, so that a flag made anew never has a version it had before.
        self._revision += 1
        return str(self._revision)

    def _stamped(self, one: _T) -> _T:
        return one if one.version else replace(one, version=self._next_revision())


def create(settings: Settings) -> MemoryProvider:
    """Return an empty provider for the scheme ``memory:``."""
    return MemoryProvider(environment=settings.environment)


def _own(flag: Flag) -> Flag:
    """Return the flag with variants of its own, which the caller can't change afterwards."""
    return replace(flag, variants=copy.deepcopy(dict(flag.variants)))


def _expect(key: str, found: Flag | Segment | None, expected: str | None) -> None:
    if expected is None:
        return
    version = ABSENT if found is None else found.version
    if version != expected:
        raise VersionConflict(
            f'"{key}" is not at the version that was expected',
            expected=expected,
            found=version,
            flag=key,
            provider=MemoryProvider.name,
        )
