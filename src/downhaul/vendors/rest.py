"""A vendor's REST API over HTTP: one deadline for a verb, and errors that state the fix.

For providers that manage flags; nothing else of Downhaul imports this. A request is repeated where
that is known to do no harm, after the time that the vendor names, or else after longer and longer
pauses with jitter.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

import requests

from downhaul.config import Secret
from downhaul.errors import DownhaulError, FlagNotFound, ProviderError, Refused, Unreachable
from downhaul.vendors.shapes import Shape

_CONNECT: Final = 3.0  # seconds
_READ: Final = 10.0
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_AT_ONCE: Final = (0.05, 0.2)  # seconds, from and to
_FAILURES: Final = frozenset({429, 500, 502, 503, 504})
_NOT_DONE: Final = frozenset({429, 503})
"""Answers after which a request was not carried out, so that any may be repeated."""

_NOT_FOUND: Final = 404
_EXISTS: Final = 409
_REFUSED: Final = frozenset({400, 409, 422})
_MOST_TOLD: Final = 3  # things that an answer lacks


class Denied(ProviderError):
    """The API does not let this token do that, or not in this way."""


class Exists(Refused):
    """There is one of that name already, or something else stands in the way (409)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """How an answer that says no is told: in which words, with what to do, as which error."""

    message: str
    hint: str
    error: type[DownhaulError] = Denied


def retry_after(answer: requests.Response) -> float | None:
    """Return the seconds that ``Retry-After`` names, as a number or as a date; None without it."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:  # "-0000", which is UTC without a place
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def message_of(body: Any) -> str:
    """Return what an answer says is wrong, in the field ``message``."""
    return str(body.get("message") or "") if isinstance(body, Mapping) else ""


@dataclass(frozen=True, slots=True, repr=False)
class RestApi:
    """Where an API is, and how its answers are to be understood.

    ``vendor`` is its name in messages, ``provider`` that of the provider. ``headers`` carry the
    secret and are made anew for each verb. ``refusals`` say by status how it is told, ``refused``
    are further statuses that are told as Refused, and ``failures`` those after which a request may
    be repeated. ``wait`` and ``message`` read what an answer says of both. ``deadline`` is for a
    whole verb, in seconds. ``redact`` takes secrets out of a text.
    """

    url: str
    token: Secret
    vendor: str
    provider: str
    headers: Callable[[str], Mapping[str, str]] = lambda token: {"Authorization": token}
    refusals: Mapping[int, Refusal] = field(default_factory=dict)
    refused: frozenset[int] = _REFUSED
    failures: frozenset[int] = _FAILURES
    wait: Callable[[requests.Response], float | None] = retry_after
    message: Callable[[Any], str] = message_of
    redact: Callable[[str], str] = str
    not_found: str = "see which place is configured"
    unexpected: str = "see whether the URL leads to the API"
    deadline: float = 10.0

    def __repr__(self) -> str:
        return f"RestApi({self.shown(self.url)!r})"

    def shown(self, text: str) -> str:
        """Return a text without secrets: an answer may say the token back to us."""
        token = self.token.reveal()
        return self.redact(text.replace(token, "***") if token else text)

    def begin(self) -> Asking:
        """Return what asks on behalf of one verb, until its deadline."""
        return Asking(self)


@dataclass(frozen=True, slots=True)
class _Request:
    """One request. ``again`` says that twice is the same as once; ``what`` is what it is about."""

    method: str
    path: str
    body: Any = None
    flag: str | None = None
    query: Mapping[str, Any] | None = None
    again: bool = True
    failures: frozenset[int] | None = None
    content: str | None = None
    what: str = "flag"


class Asking:
    """The requests of one verb, which end together.

    They share a connection, because a kill that greets thrice is late. It is closed at the end of
    a ``with`` block. ``flag`` is the key that an error names, and ``what`` what that is the key
    of; ``failures`` replaces the statuses after which one request may be repeated.
    """

    def __init__(self, api: RestApi) -> None:
        self._api = api
        self._headers = dict(api.headers(api.token.reveal()))
        self._end = time.monotonic() + api.deadline
        self._session = requests.Session()
        self.unsure = False
        """Whether the last request was tried again although it may have been done already."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def renew(self) -> None:
        """Begin the deadline anew: each page of a long list has one of its own."""
        self._end = time.monotonic() + self._api.deadline

    def pause(self, trouble: str) -> None:
        """Wait a moment before a verb is tried again. Raises Unreachable at the deadline."""
        time.sleep(max(0.0, min(random.uniform(*_AT_ONCE), self._end - time.monotonic())))  # noqa: S311  (jitter)
        if time.monotonic() >= self._end:
            raise self._too_late(f"it in time: {trouble}", None)

    def get(
        self,
        path: str,
        *,
        shape: type[Shape] | None = None,
        flag: str | None = None,
        failures: frozenset[int] | None = None,
        what: str = "flag",
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what is there, which must have the ``shape``.

        Raises FlagNotFound for 404 where a flag is asked for, ProviderError for another shape.
        """
        request = _Request("GET", path, None, flag, query, failures=failures, what=what)
        body = self._ask(request)
        if shape is not None:
            self._check(request, body, shape)
        return body

    def put(self, path: str, body: Any, flag: str | None = None) -> Any:
        """Replace something; repeated where it is not known to be done."""
        return self._ask(_Request("PUT", path, body, flag))

    def patch(
        self,
        path: str,
        body: Any,
        flag: str | None = None,
        *,
        again: bool = True,
        failures: frozenset[int] | None = None,
        content: str | None = None,
        what: str = "flag",
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """Change parts of something. ``again`` says that twice is the same as once."""
        return self._ask(_Request("PATCH", path, body, flag, query, again, failures, content, what))

    def post(
        self,
        path: str,
        body: Any,
        flag: str | None = None,
        *,
        again: bool = False,
        shape: type[Shape] | None = None,
        what: str = "flag",
    ) -> Any:
        """Make something, or ask by a body. Only ``again`` says that twice is the same as once."""
        request = _Request("POST", path, body, flag, again=again, what=what)
        answer = self._ask(request)
        if shape is not None:
            self._check(request, answer, shape)
        return answer

    def delete(
        self, path: str, flag: str | None = None, *, again: bool = True, what: str = "flag"
    ) -> Any:
        """Remove something. What is gone at a second try was removed by the first."""
        return self._ask(_Request("DELETE", path, None, flag, again=again, what=what))

    def _ask(self, one: _Request) -> Any:
        api, pause, tried, trouble = self._api, _FIRST_PAUSE, 0, "nothing was answered"
        failures = api.failures if one.failures is None else one.failures
        self.unsure = False
        while (left := self._end - time.monotonic()) > 0:
            tried += 1
            wait = None
            try:
                answer = self._sent(one, left)
            except requests.RequestException as error:
                trouble = _why(error)
                if not _never_sent(error):
                    self.unsure = True
                    if not one.again:
                        break
            else:
                if answer.status_code not in failures:
                    return self._read(answer, one, tried)
                trouble = f"it answers {answer.status_code}"
                self.unsure = self.unsure or answer.status_code >= requests.codes.server_error
                if not one.again and answer.status_code not in _NOT_DONE:
                    break
                wait = api.wait(answer)
            seconds = pause * random.uniform(0.5, 1.0) if wait is None else wait  # noqa: S311  (jitter)
            time.sleep(max(0.0, min(seconds, self._end - time.monotonic())))
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise self._too_late(f"{one.method} {one.path}: {trouble}", one.flag, tried)

    def _sent(self, one: _Request, left: float) -> requests.Response:
        content = {} if one.content is None else {"Content-Type": one.content}
        return self._session.request(
            one.method,
            f"{self._api.url}{one.path}",
            json=one.body,
            params=one.query,
            headers={**self._headers, **content},
            auth=_nothing_else,
            timeout=(min(_CONNECT, left), min(_READ, left)),
            allow_redirects=False,  # another host is not to see the token
        )

    def _read(self, answer: requests.Response, one: _Request, tried: int) -> Any:
        api, code = self._api, answer.status_code
        try:
            body = answer.json() if answer.content else None
            readable = True
        except ValueError:
            body, readable = None, False
        if code in range(200, 300) and (readable or one.method != "GET"):
            return body
        said = api.shown(api.message(body) or answer.reason or "no reason given")
        if code in api.refusals:
            refusal = api.refusals[code]
            message = f"{api.vendor} {refusal.message}: {said}"
            raise self._error(refusal.error, message, refusal.hint, one.flag)
        if code == _NOT_FOUND:
            if one.method == "DELETE" and tried > 1:
                return None
            if one.flag is not None:
                message = f'{api.vendor} has no {one.what} "{one.flag}" here: {said}'
                raise self._error(FlagNotFound, message, api.not_found, one.flag)
        if code in api.refused:
            message, hint = f"{api.vendor} refuses it ({code}): {said}", "change what it names"
            raise self._error(Exists if code == _EXISTS else Refused, message, hint, one.flag)
        asked = api.shown(f"{one.method} {one.path} ({code})")
        message = f"{api.vendor} answers with something unexpected to {asked}: {said}"
        raise self._error(ProviderError, message, api.unexpected, one.flag)

    def _check(self, one: _Request, body: Any, shape: type[Shape]) -> None:
        """Raise ProviderError, naming the endpoint and what is missing, for another shape."""
        wrong = shape.lacks(body)[:_MOST_TOLD]
        if not wrong:
            return
        api, asked = self._api, f"{one.method} {one.path}"
        told = "; ".join(f"{place}: {lack}" for place, lack in wrong)
        places = ", ".join(place for place, _lack in wrong)
        message = f"{api.vendor} answers with something unexpected to {asked}: {told}"
        hint = f"{api.unexpected}; {one.method} {api.url}{one.path} must answer with {places}"
        raise self._error(ProviderError, api.shown(message), api.shown(hint), one.flag)

    def _too_late(self, trouble: str, flag: str | None, tried: int | None = None) -> Unreachable:
        api = self._api
        tries = f"{tried} tries within" if tried is not None else "it was tried for"
        return Unreachable(
            api.shown(f"{api.vendor} did not do {trouble}"),
            hint=f"{tries} {api.deadline:g} s: see whether it is well, and look at the flag "
            "before you repeat it",
            flag=flag,
            provider=api.provider,
        )

    def _error(
        self, kind: type[DownhaulError], message: str, hint: str, flag: str | None
    ) -> DownhaulError:
        return kind(message, hint=hint, flag=flag, provider=self._api.provider)


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
