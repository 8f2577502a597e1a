"""Unleash's admin API over HTTP: one deadline for a verb, and errors that state the fix.

The server keeps no versions and honours no ``If-Match``. It limits nobody by itself; a proxy or a
hosted instance before it answers 429, with ``Retry-After``.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import requests

from downhaul.config import Secret
from downhaul.errors import FlagNotFound, ProviderError, Refused, Unreachable

NAME: Final = "unleash"
_CONNECT: Final = 3.0  # seconds
_READ: Final = 10.0
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_TOO_MANY: Final = 429
_FAILURES: Final = frozenset({_TOO_MANY, 500, 502, 503, 504})
_NOT_DONE: Final = frozenset({_TOO_MANY, 503})
"""Answers after which a request was not carried out, so that any may be repeated."""

_HINTS: Final[Mapping[int, tuple[str, str]]] = {
    401: ("refuses the admin token (401)", "set `admin_token` to an admin token of this server"),
    403: (
        "does not let this token do that (403)",
        "use an admin token, or one whose role may change this project and environment",
    ),
    405: (
        "does not take this change directly (405)",
        "the environment may demand change requests: make the change in Unleash",
    ),
    413: ("takes no body as large as this (413)", "give fewer or shorter targets"),
    **dict.fromkeys(
        (301, 302, 303, 307, 308),
        ("sends elsewhere, where no token is taken", "set `url` to where Unleash itself is"),
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
        self._url = url
        self._token = token
        self._deadline = deadline
        self._redact = redact

    def __repr__(self) -> str:
        return f"Api({self._redact(self._url)!r})"

    def begin(self) -> Asking:
        """Return what asks on behalf of one verb, until its deadline."""
        return Asking(self._url, self._token, self._deadline, self._redact)


class Asking:
    """The requests of one verb, which end together."""

    def __init__(
        self, url: str, token: Secret, deadline: float, redact: Callable[[str], str]
    ) -> None:
        self._url = url
        self._headers = {"Authorization": token.reveal(), "Accept": "application/json"}
        self._end = time.monotonic() + deadline
        self._deadline = deadline
        self._redact = redact

    def get(self, path: str, *, flag: str | None = None, **query: Any) -> Any:
        """Return what the server answers. Raises FlagNotFound for 404."""
        return self._ask("GET", path, None, flag, query=query, again=True)

    def put(self, path: str, body: Any, flag: str) -> Any:
        """Replace something; repeated where that is not known to be done."""
        return self._ask("PUT", path, body, flag, again=True)

    def delete(self, path: str, flag: str) -> Any:
        """Remove something. What is gone at a second try was removed by the first."""
        return self._ask("DELETE", path, None, flag, again=True)

    def post(self, path: str, body: Any, flag: str, *, again: bool = False) -> Any:
        """Make something. Only ``again`` says that twice is the same as once."""
        return self._ask("POST", path, body, flag, again=again)

    def _ask(
        self,
        method: str,
        path: str,
        body: Any,
        flag: str | None,
        *,
        query: Mapping[str, Any] | None = None,
        again: bool,
    ) -> Any:
        pause, tried, trouble = _FIRST_PAUSE, 0, "nothing was answered"
        while (left := self._end - time.monotonic()) > 0:
            tried += 1
            wait = None
            try:
                answer = requests.request(
                    method,
                    f"{self._url}{path}",
                    json=body,
                    params=query,
                    headers=self._headers,
                    auth=_nothing_else,
                    timeout=(min(_CONNECT, left), min(_READ, left)),
                    allow_redirects=False,
                )
            except requests.ConnectTimeout as error:
                trouble = _why(error)
            except requests.RequestException as error:
                trouble = _why(error)
                if not again and not _refused(error):
                    break
            else:
                if answer.status_code not in _FAILURES:
                    return self._read(answer, method, path, flag, tried)
                trouble = f"it answers {answer.status_code}"
                if not again and answer.status_code not in _NOT_DONE:
                    break
                wait = _retry_after(answer)
            pause = self._pause(wait, pause)
        raise Unreachable(
            self._redact(f"Unleash did not do {method} {path}: {trouble}"),
            hint=f"{tried} tries within {self._deadline:g} s: see whether the server is well, and "
            "look at the flag before you repeat it",
            flag=flag,
            provider=NAME,
        )

    def _pause(self, wait: float | None, pause: float) -> float:
        """Wait as long as the server says, else longer each time, with jitter; not past the end."""
        left = self._end - time.monotonic()
        seconds = wait if wait is not None else pause * random.uniform(0.5, 1.0)  # noqa: S311  (jitter)
        time.sleep(max(0.0, min(seconds, left)))
        return min(pause * 2, _LONGEST_PAUSE)

    def _read(
        self, answer: requests.Response, method: str, path: str, flag: str | None, tried: int
    ) -> Any:
        code = answer.status_code
        if answer.ok and code not in range(300, 400):
            if not answer.content:
                return None
            try:
                return answer.json()
            except ValueError:
                if method != "GET":
                    return None  # /on and /off answer with no document
                raise self._error(
                    ProviderError,
                    "answers with something else than Unleash would",
                    flag,
                    "the URL must lead to Unleash's API: it ends in /api",
                ) from None
        said = self._redact(_message(answer))
        if code == 404:  # noqa: PLR2004  (HTTP's own number)
            if method == "DELETE" and tried > 1:
                return None
            if flag is None:
                raise self._error(
                    ProviderError,
                    f"has nothing at {path} (404): {said}",
                    flag,
                    "the URL must lead to Unleash's API: it ends in /api",
                )
            raise FlagNotFound(
                f'Unleash has no flag "{flag}" here: {said}',
                hint="see `downhaul flags list`, and which project and environment are configured",
                flag=flag,
                provider=NAME,
            )
        if code in _HINTS:
            message, hint = _HINTS[code]
            raise self._error(ProviderError, f"{message}: {said}", flag, hint)
        raise Refused(
            f"Unleash refuses it ({code}): {said}",
            hint="change what it names, then repeat it",
            flag=flag,
            provider=NAME,
        )

    def _error(
        self, kind: type[ProviderError], message: str, flag: str | None, hint: str
    ) -> ProviderError:
        return kind(f"Unleash {message}", hint=hint, flag=flag, provider=NAME)


def quoted(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="")


def _nothing_else(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from putting what the host's .netrc has in the token's place."""
    return request


def _refused(error: requests.RequestException) -> bool:
    """Return whether no connection came about, so that nothing can have been done."""
    return isinstance(error, requests.ConnectionError) and "NewConnectionError" in repr(error)


def _why(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    return f"no connection ({type(error).__name__})"


def _retry_after(answer: requests.Response) -> float | None:
    """Return for how many seconds the server asks to wait: it says seconds, or until when."""
    text = answer.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:  # "-0000", which is UTC without a place
        until = until.replace(tzinfo=dt.UTC)
    return max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds())


def _message(answer: requests.Response) -> str:
    """Return what the server says is wrong: its details where it gives some."""
    try:
        body = answer.json()
    except ValueError:
        return answer.reason or "no reason given"
    if not isinstance(body, Mapping):
        return answer.reason or "no reason given"
    details = [
        str(one["message"])
        for one in body.get("details") or ()
        if isinstance(one, Mapping) and one.get("message")
    ]
    return "; ".join(dict.fromkeys(details)) or str(body.get("message") or "no reason given")
