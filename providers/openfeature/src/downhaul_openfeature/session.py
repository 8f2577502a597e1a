"""One life of an OpenFeature provider in one process: made, initialized, listened to, shut down.

Everything of the provider that may block runs in a daemon thread: its constructor, ``initialize``,
``shutdown``. Its events are heard directly and not through OpenFeature's API, whose registry is one
for the whole process and whose threads do not live in a forked child.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from openfeature.api import get_evaluation_context
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.provider import FeatureProvider

from downhaul.provider import FlagSet, Listener, ProviderStatus, State
from downhaul_openfeature.names import Make

_log: Final = logging.getLogger("downhaul")

OnChange = Callable[[list[str] | None], None]
"""Gets the keys of the flags that changed, or None where the provider doesn't say which."""


class Session:
    """Makes the provider once, and keeps what its events say of how it stands.

    ``redact`` takes secrets out of what the provider says.
    """

    def __init__(
        self, make: Make, listener: Listener, on_change: OnChange, redact: Callable[[str], str]
    ) -> None:
        self._make = make
        self._listener = listener
        self._on_change = on_change
        self._redact = redact
        self.provider: FeatureProvider | None = None
        self._lock = threading.Lock()
        self._status = ProviderStatus(State.NOT_READY, "starting")
        self._confirmed: float | None = None  # when it was last said to be in step, monotonic
        self._settled = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="downhaul-openfeature", daemon=True)

    def start(self) -> None:
        """Make and initialize the provider, in a thread."""
        self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Wait until it serves, or never will; return whether it serves."""
        self._settled.wait(timeout)
        return self._confirmed is not None and not self._closed

    def status(self) -> ProviderStatus:
        """Return how the provider stands, with the age of what it serves."""
        status, confirmed = self._status, self._confirmed
        if confirmed is None or status.state is State.NOT_READY:
            return status
        age = 0.0 if status.state is State.READY else time.monotonic() - confirmed
        return ProviderStatus(status.state, status.message, age)

    def close(self, timeout: float) -> None:
        """Shut the provider down within ``timeout`` seconds, or leave that to a daemon thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._status = ProviderStatus(State.NOT_READY, "closed")
        self._settled.set()
        end = threading.Thread(
            target=self._end, args=(timeout / 2,), name="downhaul-openfeature-end", daemon=True
        )
        end.start()
        end.join(timeout)

    def _run(self) -> None:
        try:
            provider = self._make()
        except Exception as error:  # noqa: BLE001  (a constructor's failure is told, not raised)
            self._move(State.FATAL, f"the provider cannot be made: {_why(error)}")
            return
        self.provider = provider
        try:
            if hasattr(provider, "attach"):
                provider.attach(self._heard)
            if hasattr(provider, "initialize"):
                provider.initialize(get_evaluation_context())
        except Exception as error:  # noqa: BLE001  (as above)
            code = error.error_code if isinstance(error, OpenFeatureError) else None
            fatal = code is ErrorCode.PROVIDER_FATAL
            message = f"the provider cannot be initialized: {_why(error)}"
            self._move(State.FATAL if fatal else State.ERROR, message)
            return
        self._move(State.READY, "")

    def _end(self, patience: float) -> None:
        """Shut down after the start, or into it where it takes too long: that may end it."""
        self._thread.join(patience)
        provider = self.provider
        if provider is None:
            return
        try:
            if hasattr(provider, "shutdown"):
                provider.shutdown()
            if hasattr(provider, "detach"):
                provider.detach()
        except Exception as error:  # noqa: BLE001  (nobody could do anything about it any more)
            _log.warning("an OpenFeature provider failed to shut down: %s", self._said(_why(error)))

    def _heard(
        self, provider: FeatureProvider, event: ProviderEvent, details: ProviderEventDetails
    ) -> None:
        """Take up an event: status as requirement 5.3.5 of OpenFeature's specification has it."""
        message = details.message or ""
        if event is ProviderEvent.PROVIDER_READY:
            self._move(State.READY, "")
        elif event is ProviderEvent.PROVIDER_STALE:
            self._move(State.STALE, message)
        elif event is ProviderEvent.PROVIDER_ERROR:
            fatal = details.error_code is ErrorCode.PROVIDER_FATAL
            self._move(State.FATAL if fatal else State.ERROR, message)
        elif not self._closed:
            self._on_change(details.flags_changed)

    def _move(self, state: State, message: str) -> None:
        with self._lock:
            if self._closed:
                return
            first = self._confirmed is None and state is State.READY
            if state is State.READY or (state is State.STALE and self._status.state is State.READY):
                self._confirmed = time.monotonic()
            self._status = status = ProviderStatus(state, self._said(message))
        if first:
            self._listener.replaced(FlagSet())  # which flags there are, nobody can ask
        if first or state is State.FATAL:
            self._settled.set()
        self._listener.status_changed(status)

    def _said(self, text: str) -> str:
        return self._redact(text)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
