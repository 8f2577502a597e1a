"""How Split was last heard. The SDK says nothing of it: it is ready once, and then for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from splitio.api import APIException

from downhaul_split import quiet

_NOT_REPEATED: Final = 414  # "URI too long", after which the SDK's loops end
_REFUSED: Final = frozenset({401, 403})
_UNREAD: Final = "-1"  # the SDK's own mark of a file that it did not read


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing was heard. ``lasting`` is what stays until somebody mends it."""

    message: str
    lasting: bool = False


Told = Callable[[Trouble | None, float], None]
"""Gets None for what was heard and else the trouble, with the moment at which it was asked.

The moment is of the monotonic clock; what is answered may be no newer.
"""


class Heard:
    """Stands before the SDK's own API for definitions, and tells how each request ended.

    Once ``closed`` says so, nothing is asked any more: a request ends as the one refusal that the
    SDK doesn't repeat.
    """

    def __init__(self, api: Any, told: Told, closed: Callable[[], bool]) -> None:
        self._api = api
        self._told = told
        self._closed = closed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def fetch_splits(self, *asked: Any) -> Any:
        """Fetch what changed, as the SDK would."""
        if self._closed():
            quiet.ended()
            message = "closed"
            raise APIException(message, _NOT_REPEATED)
        asked_at = time.monotonic()
        try:
            found = self._api.fetch_splits(*asked)
        except Exception as error:
            self._told(_trouble_of(error), asked_at)
            raise
        self._told(None if _is_changes(found) else _STRANGE, asked_at)
        return found


def watch_file(path: str, splits: Any, told: Told, closed: Callable[[], bool]) -> None:
    """Let the SDK's reading of a JSON file tell how it ended, each time, and end where closed.

    Left alone, the SDK is ready after ten readings that failed, and takes a file for read whose
    text it knows, though it could make nothing of it.
    """
    read = splits._synchronize_json  # noqa: SLF001  (the SDK has no other way in)

    def read_and_tell() -> Any:
        if closed():
            return []
        asked_at = time.monotonic()
        try:
            segments = read()
        except Exception as error:
            splits._current_ff_sha = splits._current_rbs_sha = _UNREAD  # noqa: SLF001  (as above)
            told(Trouble(f"{path} is not read: {reason_of(error)}", lasting=True), asked_at)
            raise
        told(None, asked_at)
        return segments

    splits._synchronize_json = read_and_tell  # noqa: SLF001  (as above)


def reason_of(error: BaseException) -> str:
    """Return what was at the bottom of an error: the SDK raises others over it."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return f"{type(error).__name__}: {error}"


def _trouble_of(error: Exception) -> Trouble:
    code = getattr(error, "status_code", None) or getattr(error, "_status_code", None)
    if code in _REFUSED:
        return Trouble(f"Split refuses the SDK key ({code})", lasting=True)
    if isinstance(code, int):
        return Trouble(f"Split answers {code}")
    return Trouble("Split is not reached") if isinstance(error, APIException) else _STRANGE


_STRANGE: Final = Trouble("Split answers with something else than definitions of flags")


def _is_changes(found: Any) -> bool:
    flags = found.get("ff") if isinstance(found, Mapping) else None
    return isinstance(flags, Mapping) and {"d", "s", "t"} <= flags.keys()
