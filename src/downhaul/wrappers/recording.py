"""A provider that remembers how it was called: for tests, and for a look at a live process."""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, PositiveInt

from downhaul.config import Settings
from downhaul.context import Context
from downhaul.flag import Flag, FlagKind, FlagSet, Segment
from downhaul.provider import (
    Change,
    ChangeRecords,
    FlagProvider,
    ProviderSnapshot,
)
from downhaul.result import Result
from downhaul.wrappers.wrapper import Shared, Wrapper

T = TypeVar("T")


class RecordingSettings(BaseModel):
    """``[provider.recording]``. ``last`` is how many calls are kept."""

    model_config = ConfigDict(extra="forbid")

    last: PositiveInt = 1000


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the seam: the verb, the key that it named, how it ended, how long it took.

    ``outcome`` is ``ok`` or the name of the error, of a ``resolve`` its reason or error code.
    ``seconds`` are the caller's. Nothing of a context is kept but that somebody asked.
    """

    verb: str
    key: str
    outcome: str
    seconds: float


class RecordingProvider(Wrapper):
    """Counts the calls and keeps the last ones. Takes no lock, and keeps nobody waiting."""

    label = "recording"

    def __init__(self, inner: FlagProvider, last: int = 1000) -> None:
        super().__init__(inner)
        self._calls: deque[Call] = deque(maxlen=last)
        # Each thread counts for itself: no step is shared, so there is no lock to wait for, or to
        # be held by nobody in a forked child.
        self._counts: dict[tuple[str, int], int] = {}

    @property
    def calls(self) -> tuple[Call, ...]:
        """The last calls, the oldest first."""
        return tuple(self._calls.copy())

    def count(self, verb: str) -> int:
        """Return how often a verb was called since the last :meth:`reset`."""
        # A copy is one step of the interpreter; a loop is many, and others count meanwhile.
        return sum(count for (name, _), count in self._counts.copy().items() if name == verb)

    def reset(self) -> None:
        """Forget all calls."""
        self._calls.clear()
        self._counts = {}

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask the inner provider."""
        begun = time.perf_counter()
        result = self.inner.resolve(key, context, kind)
        self._note("resolve", key, str(result.error_code or result.reason), begun)
        return result

    def get(self, key: str) -> Flag | None:
        """Return the flag as the inner provider keeps it."""
        return self._call("get", key, lambda: self.inner.get(key))

    def list(self) -> FlagSet:
        """Return what the inner provider keeps."""
        return self._call("list", "", self.inner.list)

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Write a whole flag."""
        return self._call("put", flag.key, lambda: self.inner.put(flag, change, expected=expected))

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a flag."""
        self._call("delete", key, lambda: self.inner.delete(key, change, expected=expected))

    def switch_on(self, key: str, change: Change) -> Flag:
        """Turn a flag on."""
        return self._call("switch_on", key, lambda: self.inner.switch_on(key, change))

    def switch_off(self, key: str, change: Change) -> Flag:
        """Turn a flag off."""
        return self._call("switch_off", key, lambda: self.inner.switch_off(key, change))

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Set a variant's part of the default split."""
        return self._call(
            "set_rollout", key, lambda: self.inner.set_rollout(key, variant, weight, change)
        )

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Set the targets of a variant."""
        return self._call(
            "set_targets", key, lambda: self.inner.set_targets(key, variant, keys, change)
        )

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Write a whole segment."""
        return self._call(
            "put_segment",
            segment.key,
            lambda: self.inner.put_segment(segment, change, expected=expected),
        )

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a segment."""
        self._call(
            "delete_segment", key, lambda: self.inner.delete_segment(key, change, expected=expected)
        )

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return the inner provider's snapshot."""
        return self._call("snapshot", key, lambda: self.inner.snapshot(key))

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        """Bring a snapshot back."""
        return self._call(
            "restore",
            snapshot.flag,
            lambda: self.inner.restore(snapshot, change, expected=expected),
        )

    def history(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> ChangeRecords:
        """Return the inner provider's history."""
        return self._call(
            "history", key or "", lambda: self.inner.history(key, limit=limit, before=before)
        )

    def within(self, connection: Any) -> Self:
        """Return this provider as one transaction of the inner one's database sees it.

        Its calls are kept with the others, those of a transaction that fails too.
        """
        inside = copy.copy(self)
        inside.inner = cast("Shared", self.inner).within(connection)
        return inside

    def _call(self, verb: str, key: str, call: Callable[[], T]) -> T:
        begun = time.perf_counter()
        try:
            result = call()
        except Exception as error:
            self._note(verb, key, type(error).__name__, begun)
            raise
        self._note(verb, key, "ok", begun)
        return result

    def _note(self, verb: str, key: str, outcome: str, begun: float) -> None:
        self._calls.append(Call(verb, key, outcome, time.perf_counter() - begun))
        mine = verb, threading.get_ident()
        self._counts[mine] = self._counts.get(mine, 0) + 1


def create(inner: FlagProvider, table: Mapping[str, Any], _settings: Settings) -> FlagProvider:
    """Make the wrapper that ``wrap = ["recording"]`` asks for."""
    return RecordingProvider(inner, **table)
