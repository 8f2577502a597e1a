"""The life of a provider whose vendor's SDK runs in threads of its own.

SDKs block where they start, hang where they close, and are dead in a forked child. Here the SDK is
started in a thread, closed within the caller's time, and made anew after a fork.
"""

from __future__ import annotations

import threading
import time
from typing import Final, Generic, Protocol, TypeVar

from downhaul.provider import FlagProvider, Listener, ProviderStatus, State
from downhaul.result import ErrorCode, Reason, Result

_NOT_STARTED: Final = ProviderStatus(State.NOT_READY, "not started")


class Session(Protocol):
    """One run of an SDK, which tells a listener what it hears."""

    def start(self) -> None:
        """Begin. Blocks for nothing."""

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the first payload; return whether it came."""

    def status(self) -> ProviderStatus:
        """Return how it stands now."""

    def close(self, timeout: float) -> None:
        """End. May take as long as the SDK likes."""


S = TypeVar("S", bound=Session)


class VendorProvider(FlagProvider, Generic[S]):
    """Runs sessions, each made by :meth:`_opened`."""

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._session: S | None = None
        self._closed = False

    def _opened(self, listener: Listener, before: S | None) -> S:
        """Return a session; ``before`` is that of a parent process, whose flags serve meanwhile."""
        raise NotImplementedError

    def start(self, listener: Listener) -> None:
        """Begin to follow the vendor's service, in a thread."""
        self._listener = listener
        self._session = self._opened(listener, None)
        self._session.start()

    def wait_ready(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the service's first payload; return if it came."""
        session = self._session
        return session is not None and session.wait(timeout)

    def status(self) -> ProviderStatus:
        """Return how the service was last heard."""
        session = self._session
        return _NOT_STARTED if session is None else session.status()

    def close(self, timeout: float = 2.0) -> None:
        """Close the SDK within ``timeout`` seconds; what still hangs then is left to a thread."""
        self._closed = True
        if self._session is not None:
            until = time.monotonic() + timeout
            closing = threading.Thread(
                target=self._session.close, args=(timeout,), name="downhaul-close", daemon=True
            )
            closing.start()
            closing.join(max(0.0, until - time.monotonic()))

    def after_fork(self) -> None:
        """Follow the service in a forked child: none of the SDK's threads live here."""
        if self._session is not None and self._listener is not None and not self._closed:
            self._session = self._opened(self._listener, self._session)
            self._session.start()

    def _not_ready(self, key: str) -> Result:
        """Return the answer while there are no flags."""
        status = self.status()
        fatal = status.state is State.FATAL
        code = ErrorCode.PROVIDER_FATAL if fatal else ErrorCode.PROVIDER_NOT_READY
        return self._error(key, code, status.message or f"the service is {status.state}")

    def _error(self, key: str, code: ErrorCode, message: str) -> Result:
        """Return the answer to what could not be decided."""
        return error_of(self.name, key, code, message)


def error_of(provider: str, key: str, code: ErrorCode, message: str) -> Result:
    """Return the answer of a provider to what could not be decided: never a value."""
    return Result(
        None,
        reason=Reason.ERROR,
        error_code=code,
        error_message=message,
        provider=provider,
        authoritative=False,
        flag=key,
    )
