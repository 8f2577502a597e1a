"""Unleash's admin API: where it is, and how its refusals are told.

The server keeps no versions and honours no ``If-Match``. It limits nobody by itself; a proxy or a
hosted instance before it answers 429, with ``Retry-After``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from downhaul.config import Secret
from downhaul.vendors.rest import Asking, Refusal, RestApi, message_of

NAME: Final = "unleash"
_REFUSALS: Final[Mapping[int, Refusal]] = {
    401: Refusal(
        "refuses the admin token (401)", "set `admin_token` to an admin token of this server"
    ),
    403: Refusal(
        "does not let this token do that (403)",
        "use an admin token, or one whose role may change this project and environment",
    ),
    405: Refusal(
        "does not take this change directly (405)",
        "the environment may demand change requests: make the change in Unleash",
    ),
    413: Refusal("takes no body as large as this (413)", "give fewer or shorter targets"),
    **dict.fromkeys(
        (301, 302, 303, 307, 308),
        Refusal("sends elsewhere, where no token is taken", "set `url` to where Unleash itself is"),
    ),
}


class Api:
    """Where the admin API is. ``deadline`` is for a whole verb, in seconds."""

    def __init__(
        self,
        url: str,
        token: Secret,
        *,
        deadline: float = 10.0,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._rest = RestApi(
            url,
            token,
            vendor="Unleash",
            provider=NAME,
            headers=lambda key: {"Authorization": key, "Accept": "application/json"},
            refusals=_REFUSALS,
            refused=frozenset(range(400, 500)) - {404},
            message=_message,
            redact=redact,
            not_found="see `downhaul flags list`, and which project and environment are configured",
            unexpected="the URL must lead to Unleash's API: it ends in /api",
            deadline=deadline,
        )

    def __repr__(self) -> str:
        return f"Api({self._rest.shown(self._rest.url)!r})"

    def begin(self) -> Asking:
        """Return what asks on behalf of one verb, until its deadline."""
        return self._rest.begin()


def quoted(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="")


def _message(body: Any) -> str:
    """Return what the server says is wrong: its details where it gives some."""
    details = body.get("details") if isinstance(body, Mapping) else None
    said = [
        str(one["message"])
        for one in (details if isinstance(details, list) else ())
        if isinstance(one, Mapping) and one.get("message")
    ]
    return "; ".join(dict.fromkeys(said)) or message_of(body)
