"""Asking a server over HTTP for JSON: in time, with secrets that nobody sees, and clear errors."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import requests

from downhaul.analysis.options import Address, Kept
from downhaul.analysis.patience import within
from downhaul.config.secret import without
from downhaul.config.urls import redacted
from downhaul.errors import ConfigError, DownhaulError, Unreachable

T = TypeVar("T")

_LATER: Final = 0.5  # seconds: whoever waits leaves first, so that the place gets its rest
_PIECE: Final = 65_536
_LARGEST: Final = 64 * 1024 * 1024  # bytes of an answer
_LONG: Final = 300  # characters of what a server says is wrong

_GOOD: Final = range(200, 300)
_ELSEWHERE: Final = range(300, 400)
_TOO_OFTEN: Final = 429
_HINTS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("does not understand the question", "see what the plan's metrics name"),
    401: ("does not know who asks", "see the credentials in the plan's metrics"),
    403: ("does not let these credentials ask", "give them the right to read metrics"),
    404: ("has nothing there", "see whether metrics.url leads to the right place"),
    405: ("takes no such request", "see whether metrics.url leads to the right place"),
    422: ("can't answer the question", "see what the plan's metrics name"),
}
"""What an answer means that another try won't change."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. ``at`` is the server's clock in seconds since 1970, where it told it."""

    data: Any
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Web:
    """A server. ``name`` is what messages call it.

    ``credentials`` are headers with secrets, looked up for each look; ``timeout`` is for a whole
    look, in seconds.
    """

    name: str
    address: Address
    timeout: float
    headers: Mapping[str, str | Kept] = field(default_factory=dict)
    credentials: Callable[[], Mapping[str, str]] = dict

    def look(self, work: Callable[[Asking], T]) -> T:
        """Return what ``work`` makes of its questions, which end together.

        Raises Unreachable where they take longer than the timeout, ConfigError for a variable that
        is not set.
        """
        url, secret = _without_userinfo(self.address.url())
        secret |= self.credentials()
        plain = {}
        for name, value in self.headers.items():
            if isinstance(value, Kept):
                secret[name] = value.reveal(f"metrics.headers.{name}").reveal()
            else:
                plain[name] = value
        for name, value in secret.items():
            if not value.isprintable() or not value.isascii():  # requests' own error quotes it
                message = f"the secret for the header {name} is not one line of plain text"
                raise ConfigError(message, hint="see the variable or the file that it is kept in")
        end = time.monotonic() + self.timeout
        asking = Asking(self.name, url, {**plain, **secret}, tuple(secret.values()), end)
        return within(self.timeout, asking.place, lambda: work(asking))


class Asking:
    """The questions of one look."""

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str],
        secrets: tuple[str, ...],
        end: float,
    ) -> None:
        parts = urlsplit(url)
        self.place = f"{name} at {parts.scheme}://{parts.netloc}"
        self._url = url
        self._headers = headers
        self._secrets = (*secrets, *(one.partition(" ")[2] for one in secrets if " " in one))
        self._end = end

    def left(self) -> float:
        """Return how many seconds are left."""
        return max(0.05, self._end - time.monotonic())

    def get(self, path: str, params: Any = None) -> Answer:
        """Return what is there. The path is behind that of the URL; an empty one is the URL."""
        return self._ask("GET", path, params=params)

    def post(self, path: str, *, form: Any = None, body: Any = None) -> Answer:
        """Return the answer to a form or a JSON body."""
        return self._ask("POST", path, data=form, json=body)

    def shown(self, path: str) -> str:
        """Return a URL fit to be shown."""
        return self.plain(redacted(self._url_of(path)))

    def _url_of(self, path: str) -> str:
        return f"{self._url.rstrip('/')}{path}" if path else self._url

    def plain(self, text: str) -> str:
        """Return a text without the secrets of this look."""
        return without(text, self._secrets)

    def _ask(self, method: str, path: str, **parts: Any) -> Answer:
        left = self.left()
        try:
            with requests.request(
                method,
                self._url_of(path),
                headers={"Accept": "application/json", **self._headers},
                auth=_nothing_else,
                timeout=left + _LATER,
                allow_redirects=False,  # another host is not to see the secrets
                stream=True,
                **parts,
            ) as answer:
                content = self._content(answer)
                return self._read(answer, content)
        except requests.RequestException as error:
            raise Unreachable(f"{self.place}: {_why(error)}", hint=_what_to_do(error)) from None

    def _content(self, answer: requests.Response) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for piece in answer.iter_content(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > _LARGEST:
                message = f"{self.place} answers with more than {_LARGEST >> 20} MiB"
                raise Unreachable(message, hint="narrow the plan's metrics down, such as by where")
            if time.monotonic() > self._end:
                raise Unreachable(f"{self.place} did not answer in time")
        return b"".join(pieces)

    def _read(self, answer: requests.Response, content: bytes) -> Answer:
        code = answer.status_code
        try:
            data = json.loads(content)
        except ValueError:
            data = None
        if code in _GOOD and data is not None:
            return Answer(data, _date(answer))
        if code in _GOOD:
            what = "nothing" if not content.strip() else "something that is no JSON"
            hint = "see whether metrics.url leads to the API, and not to a page or a proxy"
            raise Unreachable(f"{self.place} answers with {what}", hint=hint)
        raise self._error(answer, self.plain(_said(data))[:_LONG])

    def _error(self, answer: requests.Response, said: str) -> DownhaulError:
        code = answer.status_code
        why = f": {said}" if said else ""
        if code in _HINTS:
            message, hint = _HINTS[code]
            return ConfigError(f"{self.place} {message} ({code}){why}", hint=hint)
        if code in _ELSEWHERE:
            message = f"{self.place} sends us elsewhere ({code}), and secrets don't go there"
            return ConfigError(message, hint="write the URL that it leads to as metrics.url")
        if code == _TOO_OFTEN:
            return Unreachable(
                f"{self.place} was asked too often ({code}){why}",
                hint=f"{_when(answer)}; a longer interval in the plan asks less often",
            )
        return Unreachable(f"{self.place} answers {code}{why}", hint="see whether it is well")


def basic(user: str, password: str) -> str:
    """Return the value of a header that says who asks."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _without_userinfo(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without user and password, and the header that says them instead."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    user, _, password = userinfo.partition(":")
    header = {"Authorization": basic(unquote(user), unquote(password))}
    return urlunsplit(parts._replace(netloc=host)), header


def _said(data: Any) -> str:
    """Return what an answer says is wrong, in the fields that servers have for that."""
    if not isinstance(data, Mapping):
        return ""
    for name in ("error", "message", "errors", "detail"):
        found = data.get(name)
        if isinstance(found, str) and found:
            return " ".join(found.split())
        if isinstance(found, list) and found:
            return "; ".join(" ".join(str(one).split()) for one in found)
    return ""


def _when(answer: requests.Response) -> str:
    for name in ("Retry-After", "X-RateLimit-Reset"):
        text = answer.headers.get(name, "").strip()
        if text.isascii() and text.isdigit():
            return f"it says to come back in {text} s"
    return "it does not say when to come back"


def _date(answer: requests.Response) -> float | None:
    try:
        return parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return None


def _nothing_else(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from putting what the host's .netrc has beside our credentials."""
    return request


def _why(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    return f"no connection ({type(error).__name__})"  # its words name the whole URL


def _what_to_do(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "name the authority that signed it in REQUESTS_CA_BUNDLE"
    return "is it running, and is metrics.url right?"
