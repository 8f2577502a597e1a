"""What a client tells of itself, as events of an OpenFeature provider.

Changes come from ``Flags.on_change``. How the client stands is looked at, because it may change
without anybody's word: data grows stale by being old.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Final

from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode

from downhaul.client import Flags
from downhaul.provider import ProviderStatus, State

_log: Final = logging.getLogger("downhaul")
_EVERYTHING: Final = "*"
_SWITCH: Final = "switch:"

Emit = Callable[[ProviderEvent, ProviderEventDetails], None]


class Herald:
    """Emits a client's events between ``start`` and ``stop``; looks at its status now and then.

    ``every`` is in seconds. One thread, a daemon; a forked child gets one of its own.
    """

    def __init__(self, flags: Flags, emit: Emit, every: float) -> None:
        self._flags = flags
        self._emit = emit
        self._every = every
        self._told = State.NOT_READY
        self._unsubscribe: Callable[[], None] | None = None
        self._halt = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, told: State) -> None:
        """Emit from now on; ``told`` is the state that everybody knows of."""
        self.stop(0.0)
        self._told = told
        self._halt, self._wake = threading.Event(), threading.Event()
        self._unsubscribe = self._flags.on_change(self._changed)
        self._follow()
        _living.add(self)

    def stop(self, timeout: float) -> None:
        """Emit nothing any more. Waits up to ``timeout`` seconds for the thread."""
        _living.discard(self)
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._halt.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        self._thread = None

    def after_fork(self) -> None:
        """Look again in a forked child, where the parent's thread and locks do not live."""
        self._halt, self._wake = threading.Event(), threading.Event()
        self._follow()

    def _follow(self) -> None:
        self._thread = threading.Thread(
            target=self._look,
            args=(self._halt, self._wake),
            name="downhaul-openfeature",
            daemon=True,
        )
        self._thread.start()

    def _look(self, halt: threading.Event, wake: threading.Event) -> None:
        while not halt.is_set():
            wake.wait(self._every)
            wake.clear()
            if halt.is_set():
                return
            status = self._flags.status().provider
            if status.state is not self._told:
                self._told = status.state
                self._emit(*_event_of(status))

    def _changed(self, keys: Iterable[str]) -> None:
        """Tell of flags. Everything comes without keys; switches are no flags of OpenFeature's."""
        told = {key for key in keys if not key.startswith(_SWITCH)}
        if not told:
            return
        if _EVERYTHING in told:
            details = ProviderEventDetails(message="any flag may have changed")
        else:
            details = ProviderEventDetails(flags_changed=sorted(told))
        self._emit(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, details)
        self._wake.set()


def _event_of(status: ProviderStatus) -> tuple[ProviderEvent, ProviderEventDetails]:
    if status.state is State.READY:
        return ProviderEvent.PROVIDER_READY, ProviderEventDetails()
    message = status.message or f"the backend is {status.state}"
    if status.state is State.STALE:
        age = "" if status.age is None else f" (data {status.age:.0f} s old)"
        return ProviderEvent.PROVIDER_STALE, ProviderEventDetails(message=f"{message}{age}")
    # Never PROVIDER_FATAL: the SDK would then answer the application's defaults without asking,
    # and a kill would not hold. What is fatal is told by the results and by the message.
    code = ErrorCode.GENERAL if status.state is State.FATAL else ErrorCode.PROVIDER_NOT_READY
    return ProviderEvent.PROVIDER_ERROR, ProviderEventDetails(message=message, error_code=code)


_living: weakref.WeakSet[Herald] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for herald in tuple(_living):
        try:
            herald.after_fork()
        except Exception:  # noqa: BLE001  (the child's other providers must follow theirs)
            _log.exception("an OpenFeature provider tells no events in this forked child")


os.register_at_fork(after_in_child=_after_fork_in_child)
