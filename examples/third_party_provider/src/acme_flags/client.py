"""Acme's protocol: four requests, and what its answers mean as errors of Downhaul."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import requests

from downhaul.config import Secret
from downhaul.errors import FlagNotFound, ProviderError, Unreachable, VersionConflict
from downhaul.provider import ABSENT

NAME: Final = "acme"
_DEADLINE: Final = 5.0  # seconds for an answer
_OK, _NO_CONTENT, _NOT_MODIFIED = 200, 204, 304
_REFUSED: Final = (401, 403)
_NOT_FOUND, _MOVED, _CONFLICT = 404, 409, 412


class TokenRefused(ProviderError):
    """The server doesn't know the token: asking again brings nothing."""


class StoreMoved(ProviderError):
    """The store is another than the write was checked against."""


class Acme:
    """The server at a URL. Use from any thread; a ``session`` belongs to one."""

    def __init__(self, url: str, token: Secret) -> None:
        self._url, self._token = url.rstrip("/"), token

    def store(
        self, session: requests.Session, unless: str | None = None
    ) -> tuple[str, Mapping[str, Any]] | None:
        """Return the tag and the content of the whole store; None where its tag is ``unless``."""
        headers = {} if unless is None else {"If-None-Match": unless}
        answer = self._ask(session, "GET", "store", headers)
        if answer.status_code == _NOT_MODIFIED:
            return None
        return answer.headers["ETag"], answer.json()

    def put(
        self,
        kind: str,
        key: str,
        data: Mapping[str, Any],
        expected: str | None,
        seen: str | None = None,
    ) -> dict[str, Any]:
        """Write a flag or a segment, and return it as the server has it now.

        ``expected`` is the version that it must have, ``seen`` the tag that the store must have.
        """
        with requests.Session() as session:
            self._ask(session, "PUT", kind, _conditions(expected, seen), key=key, json=data)
            kept: dict[str, Any] = self._ask(session, "GET", kind, key=key).json()
        return kept

    def delete(self, kind: str, key: str, expected: str | None, seen: str | None = None) -> None:
        """Remove a flag or a segment, on the conditions of :meth:`put`."""
        with requests.Session() as session:
            self._ask(session, "DELETE", kind, _conditions(expected, seen), key=key)

    def _ask(
        self,
        session: requests.Session,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = None,
        json: Any = None,
    ) -> requests.Response:
        authorization = {"Authorization": f"Bearer {self._token.reveal()}"}
        try:
            answer = session.request(
                method,
                f"{self._url}/{path}",
                params=None if key is None else {"key": key},
                headers={**authorization, **(headers or {})},
                json=json,
                timeout=_DEADLINE,
            )
        except requests.RequestException as error:
            # Only the type: a driver's own text may quote what it was given.
            raise Unreachable(
                f"{self._url} did not answer: {type(error).__name__}",
                provider=NAME,
                hint="is the server there? what was known goes on serving",
            ) from None
        if answer.status_code in (_OK, _NO_CONTENT, _NOT_MODIFIED):
            return answer
        raise self._error(answer, key or "", (headers or {}).get("If-Match", ABSENT))

    def _error(self, answer: requests.Response, key: str, expected: str) -> ProviderError:
        if answer.status_code in _REFUSED:
            return TokenRefused(
                f"{self._url} refuses the token", provider=NAME, hint="set `token` in [provider]"
            )
        if answer.status_code == _NOT_FOUND:
            return FlagNotFound(f'there is no "{key}" at {self._url}', flag=key, provider=NAME)
        if answer.status_code == _MOVED:
            return StoreMoved("the store changed meanwhile", provider=NAME, hint="try again")
        if answer.status_code == _CONFLICT:
            found = answer.headers.get("ETag", ABSENT)
            message = f'"{key}" is not at the version that was expected'
            return VersionConflict(message, expected=expected, found=found, flag=key, provider=NAME)
        return Unreachable(f"{self._url} answered {answer.status_code}", provider=NAME)


def _conditions(expected: str | None, seen: str | None) -> dict[str, str]:
    """Return the headers with which the server compares before it writes."""
    store = {} if seen is None else {"Store-Match": seen}
    if expected is None:
        return store
    return store | ({"If-None-Match": "*"} if expected == ABSENT else {"If-Match": expected})
