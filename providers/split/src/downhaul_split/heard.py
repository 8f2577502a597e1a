"""How Split was last heard. The SDK says nothing of it: it is ready once, and then for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from splitio.api import APIException

from downhaul_split import quiet

_NOT_REPEATED: Final = 414  # "URI too long", after which the SDK's loops end


class Heard:
    """Stands before the SDK's own API for definitions, and tells how each request ended.

    ``told`` gets None for an answer, and the SDK's error for anything else, with the moment (of the
    monotonic clock) at which it was asked: what is answered may be no newer. Once ``closed`` says
    so, nothing is asked any more: a request ends as the one refusal that the SDK doesn't repeat.
    """

    def __init__(
        self,
        api: Any,
        told: Callable[[APIException | None, float], None],
        closed: Callable[[], bool],
    ) -> None:
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
        except APIException as error:
            self._told(error, asked_at)
            raise
        self._told(None, asked_at)
        return found


def status_code(error: APIException) -> int | None:
    """Return the HTTP status of an error of the SDK, or None where nothing was answered."""
    code = getattr(error, "status_code", None) or getattr(error, "_status_code", None)
    return code if isinstance(code, int) else None
