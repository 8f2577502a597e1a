"""LaunchDarkly's REST API over HTTP: one deadline for a verb, and errors that state the fix."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import requests

from downhaul.config import Secret
from downhaul.errors import FlagNotFound, ProviderError, Refused, Unreachable

NAME: Final = "launchdarkly"
_VERSION: Final = "20240415"
_SEMANTIC: Final = "application/json; domain-model=launchdarkly.semanticpatch"
_AGAIN: Final = frozenset({409, 429, 500, 502, 503, 504})
_CONNECT, _READ = 3.0, 10.0  # seconds
_LONGEST_PAUSE: Final = 5.0
_HINTS: Final[Mapping[int, tuple[str, str]]] = {
    401: ("refuses the admin token (401)", "set `admin_token` to an API access token"),
    403: ("does not let this token do that (403)", "give the token a role that may change flags"),
    405: (
        "takes no direct change here: the environment requires approvals (405)",
        "kill the flag in Downhaul, which needs no approval, and ask for one in LaunchDarkly",
    ),
}


class Api:
    """The flags of one project, through one access token. ``deadline`` is for a whole verb."""

    def __init__(self, url: str, token: Secret, project: str, deadline: float = 10.0) -> None:
        self._flags = f"{url.rstrip('/')}/api/v2/flags/{quote(project, safe='')}"
        self._token = token
        self._deadline = deadline

    def begin(self) -> Asking:
        """Return what asks on behalf of one verb, until its deadline."""
        return Asking(self._flags, self._token, self._deadline)


class Asking:
    """The requests of one verb, which end together."""

    def __init__(self, flags: str, token: Secret, deadline: float) -> None:
        self._flags = flags
        self._headers = {"Authorization": token.reveal(), "LD-API-Version": _VERSION}
        self._end = time.monotonic() + deadline

    def get(self, key: str, environment: str) -> Any:
        """Return a flag's document. Raises FlagNotFound."""
        return self._ask("GET", key, query={"env": environment})

    def page(self, environment: str, offset: int, limit: int) -> Any:
        """Return one page of the flags."""
        query = {"env": environment, "summary": "0", "limit": limit, "offset": offset}
        return self._ask("GET", None, query=query)

    def patch(self, key: str, body: Any) -> Any:
        """Change a flag, all instructions or none, whatever is scheduled for it."""
        return self._ask("PATCH", key, body, query={"ignoreConflicts": "true"})

    def _ask(
        self, method: str, key: str | None, body: Any = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        pause, trouble = 0.2, "nothing was answered"
        where = self._flags if key is None else f"{self._flags}/{quote(key, safe='')}"
        headers = (
            {**self._headers, "Content-Type": _SEMANTIC} if body is not None else self._headers
        )
        while (left := self._end - time.monotonic()) > 0:
            wait: float | None = None
            try:
                answer = requests.request(
                    method,
                    where,
                    json=body,
                    params=query,
                    headers=headers,
                    auth=_nothing_else,
                    timeout=(min(_CONNECT, left), min(_READ, left)),
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                trouble = f"no answer ({type(error).__name__})"
            else:
                if answer.status_code not in _AGAIN:
                    return _read(answer, key)
                trouble, wait = f"it answers {answer.status_code}", _wait_of(answer)
            seconds = pause * random.uniform(0.5, 1.0) if wait is None else wait  # noqa: S311  (jitter)
            time.sleep(max(0.0, min(seconds, self._end - time.monotonic())))
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise Unreachable(
            f"LaunchDarkly did not do it in time: {trouble}",
            hint="see whether LaunchDarkly is well, and look at the flag before you repeat it",
            flag=key,
            provider=NAME,
        )


def _read(answer: requests.Response, key: str | None) -> Any:
    code = answer.status_code
    try:
        body = answer.json()
    except ValueError:
        body = None
    if code == requests.codes.ok and isinstance(body, dict):
        return body
    said = str(body.get("message")) if isinstance(body, dict) else answer.reason
    if code in _HINTS:
        message, hint = _HINTS[code]
        raise ProviderError(f"LaunchDarkly {message}: {said}", hint=hint, flag=key, provider=NAME)
    if code == requests.codes.not_found and key is not None:
        message = f'LaunchDarkly has no flag "{key}" here: {said}'
        hint = "see which `project` is configured"
        raise FlagNotFound(message, hint=hint, flag=key, provider=NAME)
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
