"""Outcomes of requests under the variant that was served (rule R10).

The caller's path is a clock read and an append to a bounded queue. A thread of its own writes what
waits, in batches; what the queue can't take is dropped and counted. Nothing here raises into the
caller's code, and nothing of a context is kept but a keyed hash of its targeting key.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import math
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from downhaul.context import ContextLike, as_context
from downhaul.result import Reason, Result

if TYPE_CHECKING:
    from downhaul.store.requests import RequestRow

_log: Final = logging.getLogger("downhaul.requests")

CAPACITY: Final = 10_000
"""Outcomes that wait to be written, at most; what comes on top is dropped and counted."""

BATCH: Final = 500
EVERY: Final = 0.5  # seconds between two batches
_GROWTH: Final = 25  # rows more in the next batch, after a store was slow
_LONGEST: Final = 10.0  # seconds between two tries at a store that is away
_BREATH: Final = 0.02  # seconds between two tries at the end
_SUBJECT: Final = 16  # bytes of a subject's hash
_HASH_KEY: Final = 64  # bytes of a key that blake2b takes
_SPLIT: Final = frozenset({Reason.SPLIT, Reason.DEFAULT, Reason.STATIC})
_SERVED_BY: Final = {
    Reason.TARGETING_MATCH: "target",
    Reason.DISABLED: "off",
    Reason.KILLED: "kill",
}


class Sink(Protocol):
    """Where batches go: what is needed of :class:`downhaul.store.requests.RequestLog`."""

    @property
    def identity(self) -> str:
        """The store's identity, which keys the hash of subjects; empty until it was reached."""

    def write(self, rows: list[RequestRow]) -> None:
        """Append rows. May raise."""


@dataclass(frozen=True, slots=True)
class Logged:
    """What became of observed outcomes: ``written``, ``waiting``, and ``dropped``.

    Dropped are those that no queue could take, or that there is no store for.
    """

    written: int = 0
    waiting: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    flag: str
    variant: str
    served_by: str
    success: bool
    error: bool
    latency_ms: float | None
    key: str
    version: str


class Observation:
    """One request, from its beginning to its end: a context manager, plain or asynchronous.

    An exception that leaves the block is an error and goes on its way; everything else is a
    success, unless :meth:`failed` was called. ``latency_ms`` is measured unless it is set.
    """

    __slots__ = ("_context", "_error", "_journal", "_result", "_started", "_success", "latency_ms")

    def __init__(self, journal: Journal, result: Result, context: ContextLike) -> None:
        self._journal = journal
        self._result = result
        self._context = context
        self._success = True
        self._error = False
        self._started = time.perf_counter()
        self.latency_ms: float | None = None

    @property
    def result(self) -> Result:
        """What was served."""
        return self._result

    def failed(self, *, error: bool = False) -> None:
        """Say that the request did not do what it was for; with ``error``, that it broke."""
        self._success = False
        self._error = self._error or error

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        took = (time.perf_counter() - self._started) * 1000.0
        broke = kind is not None and issubclass(kind, Exception)
        if kind is not None and not broke:
            return  # cancelled, or the process ends: nobody knows how it would have gone
        self._journal.note(
            self._result,
            self._context,
            success=self._success and not broke,
            error=self._error or broke,
            latency_ms=took if self.latency_ms is None else self.latency_ms,
        )

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


class Journal:
    """Takes outcomes from callers and writes them in batches. ``make_sink`` is asked once."""

    def __init__(
        self,
        make_sink: Callable[[], Sink | None],
        *,
        capacity: int = CAPACITY,
        every: float = EVERY,
    ) -> None:
        self._make_sink = make_sink
        self._capacity = capacity
        self._every = every
        self._begin()

    def _begin(self) -> None:
        """Start with nothing: at first, and in a forked child, whose parent writes its own."""
        self._waiting: deque[_Outcome] = deque()
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._sink: Sink | None = None
        self._prefix = uuid.uuid4().hex
        self._numbered = 0
        self._dropped = 0
        self._written = 0
        self._batch: list[RequestRow] = []
        self._size = BATCH
        self._away = False
        self._deadline = 0.0

    def note(
        self,
        result: Result,
        context: ContextLike,
        *,
        success: bool,
        error: bool,
        latency_ms: float | None,
    ) -> None:
        """Take one outcome. Never waits, never raises."""
        try:
            if not result.flag or result.variant is None or "override" in result.metadata:
                return  # nothing was served that anybody rolls out
            if len(self._waiting) >= self._capacity or self._closing.is_set():
                self._dropped += 1
                return
            self._waiting.append(
                _Outcome(
                    result.flag,
                    result.variant,
                    _served_by(result),
                    bool(success),
                    bool(error),
                    _milliseconds(latency_ms),
                    _key(context),
                    result.flag_version,
                )
            )
            if self._thread is None:
                self._start()
            if len(self._waiting) >= BATCH and not self._away:
                self._wake.set()
        except Exception:  # noqa: BLE001  (an outcome is worth no application's request)
            self._dropped += 1
            _log.exception("an outcome could not be noted")

    def logged(self) -> Logged:
        """Return what became of the outcomes so far."""
        return Logged(self._written, len(self._waiting) + len(self._batch), self._dropped)

    def close(self, timeout: float) -> None:
        """Write what waits, within ``timeout`` seconds; what is left then is dropped.

        A store that does not answer is tried again for half of that time.
        """
        self._deadline = time.monotonic() + timeout / 2
        self._closing.set()
        self._wake.set()
        with self._starting:  # a thread that is being started can't be waited for yet
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def after_fork(self) -> None:
        """Begin anew in a forked child."""
        self._begin()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="downhaul-observe", daemon=True)
            self._thread.start()
            _open.add(self)

    def _run(self) -> None:
        try:
            self._sink = self._make_sink()
        except Exception:  # noqa: BLE001  (without a log an application goes on)
            _log.exception("there is no request log")
        delay = self._every
        while True:
            ending = self._closing.is_set()
            if not ending:
                self._wake.wait(delay)
                self._wake.clear()
            taken = self._flush()
            delay = self._every if taken else min(_LONGEST, delay * 2)
            if not ending:
                continue
            if (taken and not self._waiting) or time.monotonic() > self._deadline:
                break
            time.sleep(_BREATH)
        self._dropped += len(self._waiting) + len(self._batch)
        self._waiting.clear()
        self._batch = []

    def _flush(self) -> bool:
        """Write everything that waits; return whether the store took it."""
        while self._waiting or self._batch:
            if self._sink is None:
                self._dropped += len(self._waiting)
                self._waiting.clear()
                return True
            identity = self._sink.identity
            if not identity:
                self._away = True
                return False  # the store was not reached yet, and subjects' hashes need its key
            if not self._batch:
                self._batch = self._take(identity)
            piece = self._batch[: self._size]
            try:
                self._sink.write(piece)
            except Exception as error:  # noqa: BLE001  (the store is away: the batch waits with the rest)
                if _was_slow(error) and len(piece) > 1:
                    self._size = len(piece) // 2
                    continue
                if not self._away:
                    _log.warning("outcomes wait, as they can't be written: %s", error)
                self._away = True
                return False
            self._away = False
            self._size = min(BATCH, self._size + _GROWTH)
            self._written += len(piece)
            self._batch = self._batch[len(piece) :]
        return True

    def _take(self, identity: str) -> list[RequestRow]:
        from downhaul.store.requests import RequestRow  # noqa: PLC0415  (SQLAlchemy)

        rows = []
        key = identity.encode()[:_HASH_KEY]
        for _ in range(min(BATCH, len(self._waiting))):
            one = self._waiting.popleft()
            self._numbered += 1
            rows.append(
                RequestRow(
                    # The same row bears the same id however often it is sent.
                    id=f"{self._prefix}-{self._numbered}",
                    flag=_text(one.flag),
                    variant=_text(one.variant),
                    served_by=one.served_by,
                    success=one.success,
                    error=one.error,
                    latency_ms=one.latency_ms,
                    subject=_hashed(one.key, key),
                    flag_version=_text(one.version),
                )
            )
        return rows


def _was_slow(error: Exception) -> bool:
    """Return whether fewer rows at once may be taken."""
    from downhaul.store.requests import SlowWrite  # noqa: PLC0415  (SQLAlchemy)

    return isinstance(error, SlowWrite)


def _served_by(result: Result) -> str:
    """Return what decided: only ``split`` forms arms, because only there chance chose."""
    if "rule" in result.metadata:
        return "rule"
    if "prerequisite" in result.metadata:
        return "off"
    return "split" if result.reason in _SPLIT else _SERVED_BY.get(result.reason, "other")


def _milliseconds(latency: Any) -> float | None:
    """Return a latency that a database takes, or None: one odd row must not hold up the rest."""
    if latency is None:
        return None
    found = float(latency)
    return found if 0 <= found < math.inf else None


def _text(text: str) -> str:
    """Return text that every database takes: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _key(context: Any) -> str:
    if context is None:
        return ""
    if type(context) is str:
        return context
    try:
        return as_context(context).targeting_key or ""
    except Exception:  # noqa: BLE001  (what is no context has no key)
        return ""


def _hashed(text: str, key: bytes) -> str:
    """Return a hash that only this store's own rows can be matched by."""
    if not text:
        return ""
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=_SUBJECT, key=key).hexdigest()


_open: weakref.WeakSet[Journal] = weakref.WeakSet()


def _at_exit() -> None:
    """Write what an application that forgot to close has left; all together within two seconds."""
    until = time.monotonic() + 2.0
    for journal in tuple(_open):
        journal.close(max(0.0, until - time.monotonic()))


atexit.register(_at_exit)
