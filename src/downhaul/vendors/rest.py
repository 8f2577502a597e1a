"""A vendor's REST API over HTTP: one deadline for a verb, and errors that state the fix.

For providers that manage flags by ``requests``, which they depend on themselves; nothing else of
Downhaul imports this. A request is repeated where that is known to do no harm, after the time that
the vendor names, or else after longer and longer pauses with jitter.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import requests

from downhaul.config import Secret
from downhaul.errors import FlagNotFound, ProviderError, Refused, Unreachable

_CONNECT: Final = 3.0  # seconds
_READ: Final = 10.0
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_FAILURES: Final = frozenset({429, 500, 502, 503, 504})
_NOT_DONE: Final = frozenset({429, 503})
"""Answers after which a request was not carried out, so that any may be repeated."""

_NOT_FOUND: Final = 404
_REFUSED: Final = frozenset({400, 409, 422})


class Denied(ProviderError):
    """The API does not let this token do that, or not in this way."""


def retry_after(answer: requests.Response) -> float | None:
    """Return the seconds that ``Retry-After`` names, as a number or as a date; None without it."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def message_of(body: Any) -> str:
    """Return what an answer says is wrong, in the field ``message``."""
    return str(body.get("message") or "") if isinstance(body, Mapping) else ""


@dataclass(frozen=True, slots=True)
class RestApi:
    """Where an API is, and how its answers are to be understood.

    ``vendor`` is its name in messages, ``provider`` that of the provider. ``headers`` carry the
    secret and are made anew for each verb. ``hints`` are a message and what to do, by status, for
    what is told as Denied;
    ``failures`` are statuses after which a request may be repeated. ``deadline`` is for a whole
    verb, in seconds.
    """

    url: str
    token: Secret
    vendor: str
    provider: str
    headers: Callable[[str], Mapping[str, str]] = lambda token: {"Authorization": token}
    hints: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    failures: frozenset[int] = _FAILURES
    wait: Callable[[requests.Response], float | None] = retry_after
    message: Callable[[Any], str] = message_of
    not_found: str = "see which place is configured"
    unexpected: str = "see whether the URL leads to the API"
    deadline: float = 10.0

    def begin(self) -> Asking:
        """Return what asks on behalf of one verb, until its deadline."""
        return Asking(self)


class Asking:
    """The requests of one verb, which end together."""

    def __init__(self, api: RestApi) -> None:
        self._api = api
        self._headers = dict(api.headers(api.token.reveal()))
        self._end = time.monotonic() + api.deadline

    def renew(self) -> None:
        """Begin the deadline anew: each page of a long list has one of its own."""
        self._end = time.monotonic() + self._api.deadline

    def get(self, path: str, *, flag: str | None = None, **query: Any) -> Any:
        """Return what is there. Raises FlagNotFound for 404 where a flag is asked for."""
        return self._ask("GET", path, None, flag, query, again=True)

    def put(self, path: str, body: Any, *, flag: str | None = None) -> Any:
        """Replace something; repeated where it is not known to be done."""
        return self._ask("PUT", path, body, flag, None, again=True)

    def patch(self, path: str, body: Any, *, flag: str | None = None, again: bool = True) -> Any:
        """Change parts of something. ``again`` says that twice is the same as once."""
        return self._ask("PATCH", path, body, flag, None, again=again)

    def post(self, path: str, body: Any, *, flag: str | None = None, again: bool = False) -> Any:
        """Make something. Only ``again`` says that twice is the same as once."""
        return self._ask("POST", path, body, flag, None, again=again)

    def delete(self, path: str, *, flag: str | None = None) -> Any:
        """Remove something. What is gone at a second try was removed by the first."""
        return self._ask("DELETE", path, None, flag, None, again=True)

    def _ask(
        self,
        method: str,
        path: str,
        body: Any,
        flag: str | None,
        query: Mapping[str, Any] | None,
        *,
        again: bool,
    ) -> Any:
        api, pause, tried, trouble = self._api, _FIRST_PAUSE, 0, "nothing was answered"
        while (left := self._end - time.monotonic()) > 0:
            tried += 1
            wait = None
            try:
                answer = requests.request(
                    method,
                    f"{api.url}{path}",
                    json=body,
                    params=query,
                    headers=self._headers,
                    auth=_nothing_else,
                    timeout=(min(_CONNECT, left), min(_READ, left)),
                    allow_redirects=False,  # another host is not to see the token
                )
            except requests.RequestException as error:
                trouble = _why(error)
                if not again and not _never_sent(error):
                    break
            else:
                if answer.status_code not in api.failures:
                    return self._read(answer, method, path, flag, tried)
                trouble = f"it answers {answer.status_code}"
                if not again and answer.status_code not in _NOT_DONE:
                    break
                wait = api.wait(answer)
            seconds = pause * random.uniform(0.5, 1.0) if wait is None else wait  # noqa: S311  (jitter)
            time.sleep(max(0.0, min(seconds, self._end - time.monotonic())))
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise Unreachable(
            f"{api.vendor} did not do {method} {path}: {trouble}",
            hint=f"{tried} tries within {api.deadline:g} s: see whether it is well, and look at "
            "the flag before you repeat it",
            flag=flag,
            provider=api.provider,
        )

    def _read(
        self, answer: requests.Response, method: str, path: str, flag: str | None, tried: int
    ) -> Any:
        api, code = self._api, answer.status_code
        try:
            body = answer.json() if answer.content else None
            readable = True
        except ValueError:
            body, readable = None, False
        if code in range(200, 300) and (readable or method != "GET"):
            return body
        said = api.message(body) or answer.reason or "no reason given"
        if code in api.hints:
            message, hint = api.hints[code]
            told = f"{api.vendor} {message}: {said}"
            raise Denied(told, hint=hint, flag=flag, provider=api.provider)
        if code == _NOT_FOUND:
            if method == "DELETE" and tried > 1:
                return None
            if flag is not None:
                message = f'{api.vendor} has no flag "{flag}" here: {said}'
                raise FlagNotFound(message, hint=api.not_found, flag=flag, provider=api.provider)
        if code in _REFUSED:
            message, hint = f"{api.vendor} refuses it ({code}): {said}", "change what it names"
            raise Refused(message, hint=hint, flag=flag, provider=api.provider)
        message = f"{api.vendor} answers with something unexpected to {method} {path} ({code})"
        raise ProviderError(
            f"{message}: {said}", hint=api.unexpected, flag=flag, provider=api.provider
        )


def _nothing_else(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from putting what the host's .netrc has in the token's place."""
    return request


def _never_sent(error: requests.RequestException) -> bool:
    """Return whether no connection came about, so that nothing can have been done."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    return isinstance(error, requests.ConnectionError) and "NewConnectionError" in repr(error)


def _why(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    return f"no connection ({type(error).__name__})"
