"""LaunchDarkly's REST API over HTTP: one deadline for a verb, and errors that state the fix."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import quote

import requests

from downhaul.config import Secret
from downhaul.errors import FlagNotFound, ProviderError, Refused, Unreachable

NAME: Final = "launchdarkly"
_VERSION: Final = "20240415"
_SEMANTIC: Final = "application/json; domain-model=launchdarkly.semanticpatch"
_JSON: Final = "application/json"
_BUSY: Final = frozenset({429, 503})
_FAILING: Final = _BUSY | {500, 502, 504}
_CONFLICT: Final = 409
_AGAIN: Final = _FAILING | {_CONFLICT}
_CONNECT, _READ = 3.0, 10.0  # seconds
_LONGEST_PAUSE: Final = 5.0
_PAGE: Final = 100
_HINTS: Final[Mapping[int, tuple[str, str]]] = {
    401: ("refuses the admin token (401)", "set `admin_token` to an API access token"),
    403: ("does not let this token do that (403)", "give the token a role that may change flags"),
    405: (
        "takes no direct change here: the environment requires approvals (405)",
        "kill the flag in Downhaul, which needs no approval, and ask for one in LaunchDarkly",
    ),
}

Operation = dict[str, Any]
"""One operation of a JSON patch."""


class Contested(ProviderError):
    """Somebody else was there: a request at the same time, or a ``test`` that failed (409)."""


class Api:
    """What one project holds, through one access token. ``deadline`` is for a whole verb."""

    def __init__(self, url: str, token: Secret, project: str, deadline: float = 10.0) -> None:
        self._base = f"{url.rstrip('/')}/api/v2"
        self._project = quote(project, safe="")
        self._token = token
        self._deadline = deadline

    def begin(self) -> Asking:
        """Return what asks on behalf of one verb, until its deadline."""
        return Asking(self._base, self._project, self._token, self._deadline)


class Asking:
    """The requests of one verb, which end together. Each may raise Unreachable, ProviderError.

    They share a connection, because a kill that greets thrice is late. It is closed at the end of
    a ``with`` block.
    """

    def __init__(self, base: str, project: str, token: Secret, deadline: float) -> None:
        self._base = base
        self._project = project
        self._headers = {"Authorization": token.reveal(), "LD-API-Version": _VERSION}
        self._end = time.monotonic() + deadline
        self._session = requests.Session()
        self.unsure = False
        """Whether the last request was tried again although it may have been done already."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    # Flags

    def get(self, key: str, environment: str) -> Any:
        """Return a flag's document. Raises FlagNotFound."""
        return self._ask("GET", self._flag(key), key, query={"env": environment})

    def flags(self, environment: str) -> Iterator[Any]:
        """Yield the documents of all flags that are not archived, page by page to the end."""
        return self._pages(f"flags/{self._project}", {"env": environment, "summary": "0"})

    def patch(self, key: str, body: Any) -> Any:
        """Change a flag, all instructions or none, whatever is scheduled for it."""
        query = {"ignoreConflicts": "true"}
        return self._ask("PATCH", self._flag(key), key, body, query, content=_SEMANTIC)

    def amend(
        self,
        key: str,
        operations: Sequence[Operation],
        comment: str,
        *,
        ignore_conflicts: bool = False,
    ) -> Any:
        """Do a JSON patch to a flag, whole or not at all. Raises Contested, Refused.

        Unless conflicts are ignored, LaunchDarkly refuses what a scheduled change, or one that
        waits for an approval, would then fail on.
        """
        body = {"patch": operations, "comment": comment}
        query = {"ignoreConflicts": "true"} if ignore_conflicts else None
        return self._ask("PATCH", self._flag(key), key, body, query, again=_FAILING)

    def make(self, key: str, body: Mapping[str, Any]) -> None:
        """Make a flag, off in every environment. Raises Contested where there is one."""
        self._ask("POST", f"flags/{self._project}", key, body, again=_BUSY)

    # Segments

    def segment(self, key: str, environment: str) -> Any:
        """Return a segment's document. Raises FlagNotFound."""
        return self._ask("GET", self._segment(key, environment), key, what="segment")

    def segments(self, environment: str) -> Iterator[Any]:
        """Yield the documents of all segments of an environment."""
        return self._pages(f"segments/{self._project}/{quote(environment, safe='')}", {})

    def amend_segment(
        self, key: str, environment: str, operations: Sequence[Operation], comment: str
    ) -> Any:
        """Do a JSON patch to a segment, whole or not at all. Raises Contested, Refused."""
        body = {"patch": operations, "comment": comment}
        path = self._segment(key, environment)
        return self._ask("PATCH", path, key, body, again=_FAILING, what="segment")

    def make_segment(self, environment: str, body: Mapping[str, Any]) -> None:
        """Make a segment that holds nobody. Raises Contested where there is one."""
        path = f"segments/{self._project}/{quote(environment, safe='')}"
        self._ask("POST", path, body["key"], body, again=_BUSY, what="segment")

    def remove_segment(self, key: str, environment: str) -> None:
        """Remove a segment. Raises Contested where something of LaunchDarkly's still names it."""
        path = self._segment(key, environment)
        self._ask("DELETE", path, key, again=_BUSY, what="segment")

    # The way there

    def pause(self) -> None:
        """Wait a moment before the verb is tried again. Raises Unreachable at its deadline."""
        time.sleep(max(0.0, min(random.uniform(0.05, 0.2), self._end - time.monotonic())))  # noqa: S311  (jitter)
        if time.monotonic() >= self._end:
            raise _too_late("somebody else writes it all the time", None)

    def _flag(self, key: str) -> str:
        return f"flags/{self._project}/{quote(key, safe='')}"

    def _segment(self, key: str, environment: str) -> str:
        return f"segments/{self._project}/{quote(environment, safe='')}/{quote(key, safe='')}"

    def _pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Any]:
        offset = 0
        while True:
            body = self._ask("GET", path, None, query={**query, "limit": _PAGE, "offset": offset})
            yield from body["items"]
            offset += len(body["items"])
            if not body["items"] or offset >= body.get("totalCount", offset + 1):
                return

    def _ask(
        self,
        method: str,
        path: str,
        key: str | None,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        *,
        content: str = _JSON,
        again: frozenset[int] = _AGAIN,
        what: str = "flag",
    ) -> Any:
        """Ask until it is answered. What may have been done is not repeated unless that is safe."""
        pause, trouble = 0.2, "nothing was answered"
        self.unsure = False
        headers = {**self._headers, "Content-Type": content} if body is not None else self._headers
        while (left := self._end - time.monotonic()) > 0:
            wait: float | None = None
            try:
                answer = self._session.request(
                    method,
                    f"{self._base}/{path}",
                    json=body,
                    params=query,
                    headers=headers,
                    auth=_nothing_else,
                    timeout=(min(_CONNECT, left), min(_READ, left)),
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                trouble = f"no answer ({type(error).__name__})"
                self.unsure = True
                if again == _BUSY and not isinstance(error, requests.ConnectTimeout):
                    raise _too_late(trouble, key) from None
            else:
                if answer.status_code not in again:
                    return _read(answer, key, what)
                trouble, wait = f"it answers {answer.status_code}", _wait_of(answer)
                self.unsure = self.unsure or answer.status_code >= requests.codes.server_error
            seconds = pause * random.uniform(0.5, 1.0) if wait is None else wait  # noqa: S311  (jitter)
            time.sleep(max(0.0, min(seconds, self._end - time.monotonic())))
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise _too_late(trouble, key)


def _too_late(trouble: str, key: str | None) -> Unreachable:
    return Unreachable(
        f"LaunchDarkly did not do it in time: {trouble}",
        hint="see whether LaunchDarkly is well, and look at the flag before you repeat it",
        flag=key,
        provider=NAME,
    )


def _read(answer: requests.Response, key: str | None, what: str) -> Any:
    code = answer.status_code
    try:
        body = answer.json()
    except ValueError:
        body = None
    if code == requests.codes.no_content:
        return None
    if code in (requests.codes.ok, requests.codes.created) and isinstance(body, dict):
        return body
    said = str(body.get("message")) if isinstance(body, dict) else answer.reason
    if code in _HINTS:
        message, hint = _HINTS[code]
        raise ProviderError(f"LaunchDarkly {message}: {said}", hint=hint, flag=key, provider=NAME)
    if code == requests.codes.not_found and key is not None:
        message = f'LaunchDarkly has no {what} "{key}" here: {said}'
        hint = "see which `project` is configured"
        raise FlagNotFound(message, hint=hint, flag=key, provider=NAME)
    if code in (_CONFLICT, requests.codes.precondition_failed):
        hint = "read it again and repeat the change on what is there now"
        raise Contested(f"LaunchDarkly refuses it: {said}", hint=hint, flag=key, provider=NAME)
    if code in (400, 422):
        hint = "change what it names, then repeat it"
        raise Refused(f"LaunchDarkly refuses it: {said}", hint=hint, flag=key, provider=NAME)
    message = f"LaunchDarkly answers with something unexpected ({code}): {said}"
    hint = "`admin_url` and `project` must lead to LaunchDarkly's REST API"
    raise ProviderError(message, hint=hint, flag=key, provider=NAME)


def _wait_of(answer: requests.Response) -> float | None:
    after = answer.headers.get("Retry-After", "")
    if after.isascii() and after.isdigit():
        return float(after)
    reset = answer.headers.get("X-Ratelimit-Reset", "")  # milliseconds since 1970
    return (
        max(0.0, int(reset) / 1000 - time.time()) if reset.isascii() and reset.isdigit() else None
    )


def _nothing_else(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from putting what the host's .netrc has in the token's place."""
    return request
