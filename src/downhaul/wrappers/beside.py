"""What wrappers of two backends share: how the second one is made, and how both are closed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from downhaul.config import Settings
from downhaul.errors import ConfigError
from downhaul.provider import FlagProvider, ProviderStatus

Closing = tuple[str, Callable[[float], None]]
"""What something is called, and what ends it within so many seconds."""

_log: Final = logging.getLogger("downhaul.wrappers")


def told(status: ProviderStatus) -> str:
    """Return a status in one line."""
    return f"{status.state}: {status.message}" if status.message else str(status.state)


def close_together(closing: Iterable[Closing], timeout: float) -> None:
    """End all within ``timeout`` seconds, and return.

    Side by side, because one that hangs must not take the others' time.
    """
    until = time.monotonic() + timeout
    threads = [
        threading.Thread(target=_ended, args=(*one, timeout), name="downhaul-close", daemon=True)
        for one in closing
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(max(0.0, until - time.monotonic()))


def _ended(name: str, end: Callable[[float], None], timeout: float) -> None:
    try:
        end(timeout)
    except Exception:  # noqa: BLE001  (the others are closed all the same)
        _log.exception("%s could not be closed", name)


def around_both(
    settings: Settings, label: str, make: Callable[[FlagProvider], FlagProvider]
) -> FlagProvider:
    """Return what ``make`` makes of the backend that ``[provider.LABEL] to`` names.

    Raises ConfigError, which names that place.
    """
    from downhaul.config.beside import beside  # noqa: PLC0415  (pydantic)
    from downhaul.plugins import build_provider  # noqa: PLC0415  (the plugins know of wrappers)

    aside = beside(settings, label, "to")
    try:
        return make(build_provider(aside))
    except ConfigError as error:
        message = f"[provider.{label}] to: {error.message}"
        origin = error.origin or aside.origins.get("provider.url")
        raise ConfigError(message, error.problems, hint=error.hint, origin=origin) from error
