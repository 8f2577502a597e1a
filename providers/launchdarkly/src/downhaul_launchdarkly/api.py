"""LaunchDarkly's REST API: where its documents are, and how its refusals are told."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import quote

import requests

from downhaul.config import Secret
from downhaul.errors import ProviderError
from downhaul.vendors import rest
from downhaul.vendors.rest import Refusal, RestApi, retry_after
from downhaul.vendors.shapes import Shape
from downhaul_launchdarkly.shapes import FlagPage, Kept, SegmentPage, Stored

NAME: Final = "launchdarkly"
_VERSION: Final = "20240415"
_SEMANTIC: Final = "application/json; domain-model=launchdarkly.semanticpatch"
_FAILING: Final = frozenset({429, 500, 502, 503, 504})
_LASTING: Final = _FAILING | {409}
"""After a conflict, what reads, or touches its own fields only, is asked for again."""

_PAGE: Final = 100
_BUSY: Final = "somebody else writes it all the time"

Operation = dict[str, Any]
"""One operation of a JSON patch."""


class Contested(ProviderError):
    """Somebody else was there: a request at the same time, or a ``test`` that failed (409)."""


_REFUSALS: Final[Mapping[int, Refusal]] = {
    401: Refusal("refuses the admin token (401)", "set `admin_token` to an API access token"),
    403: Refusal(
        "does not let this token do that (403)", "give the token a role that may change flags"
    ),
    405: Refusal(
        "takes no direct change here: the environment requires approvals (405)",
        "kill the flag in Downhaul, which needs no approval, and ask for one in LaunchDarkly",
    ),
    **dict.fromkeys(
        (409, 412),
        Refusal(
            "refuses it", "read it again and repeat the change on what is there now", Contested
        ),
    ),
}


class Api:
    """What one project holds, through one access token. ``deadline`` is for a whole verb."""

    def __init__(self, url: str, token: Secret, project: str, deadline: float = 10.0) -> None:
        self._project = quote(project, safe="")
        self._rest = RestApi(
            f"{url.rstrip('/')}/api/v2",
            token,
            vendor="LaunchDarkly",
            provider=NAME,
            headers=lambda key: {"Authorization": key, "LD-API-Version": _VERSION},
            refusals=_REFUSALS,
            wait=_wait_of,
            not_found="see which `project` is configured",
            unexpected="`admin_url` and `project` must lead to LaunchDarkly's REST API",
            deadline=deadline,
        )

    def begin(self) -> Asking:
        """Return what asks on behalf of one verb, until its deadline."""
        return Asking(self._rest.begin(), self._project)


class Asking:
    """The requests of one verb, which end together. Each may raise Unreachable, ProviderError.

    Their connection is closed at the end of a ``with`` block.
    """

    def __init__(self, asked: rest.Asking, project: str) -> None:
        self._rest = asked
        self._project = project

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rest.close()

    @property
    def unsure(self) -> bool:
        """Whether the last request was tried again although it may have been done already."""
        return self._rest.unsure

    def pause(self) -> None:
        """Wait a moment before the verb is tried again. Raises Unreachable at its deadline."""
        self._rest.pause(_BUSY)

    # Flags

    def get(self, key: str, environment: str) -> Any:
        """Return a flag's document. Raises FlagNotFound."""
        path = self._flag(key)
        query = {"env": environment}
        return self._rest.get(path, shape=Stored, flag=key, failures=_LASTING, query=query)

    def flags(self, environment: str) -> Iterator[Any]:
        """Yield the documents of all flags that are not archived, page by page to the end."""
        return self._pages(f"/flags/{self._project}", FlagPage, env=environment, summary="0")

    def patch(self, key: str, body: Any) -> Any:
        """Change a flag, all instructions or none, whatever is scheduled for it."""
        return self._rest.patch(
            self._flag(key),
            body,
            key,
            failures=_LASTING,
            content=_SEMANTIC,
            query={"ignoreConflicts": "true"},
        )

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
        return self._rest.patch(self._flag(key), body, key, query=query)

    def make(self, key: str, body: Mapping[str, Any]) -> None:
        """Make a flag, off in every environment. Raises Contested where there is one."""
        self._rest.post(f"/flags/{self._project}", body, key)

    # Segments

    def segment(self, key: str, environment: str) -> Any:
        """Return a segment's document. Raises FlagNotFound."""
        path = self._segment(key, environment)
        return self._rest.get(path, shape=Kept, flag=key, failures=_LASTING, what="segment")

    def segments(self, environment: str) -> Iterator[Any]:
        """Yield the documents of all segments of an environment."""
        return self._pages(self._segments(environment), SegmentPage)

    def amend_segment(
        self, key: str, environment: str, operations: Sequence[Operation], comment: str
    ) -> Any:
        """Do a JSON patch to a segment, whole or not at all. Raises Contested, Refused."""
        body = {"patch": operations, "comment": comment}
        return self._rest.patch(self._segment(key, environment), body, key, what="segment")

    def make_segment(self, environment: str, body: Mapping[str, Any]) -> None:
        """Make a segment that holds nobody. Raises Contested where there is one."""
        self._rest.post(self._segments(environment), body, body["key"], what="segment")

    def remove_segment(self, key: str, environment: str) -> None:
        """Remove a segment. Raises Contested where something of LaunchDarkly's still names it."""
        self._rest.delete(self._segment(key, environment), key, again=False, what="segment")

    # The way there

    def _flag(self, key: str) -> str:
        return f"/flags/{self._project}/{quote(key, safe='')}"

    def _segments(self, environment: str) -> str:
        return f"/segments/{self._project}/{quote(environment, safe='')}"

    def _segment(self, key: str, environment: str) -> str:
        return f"{self._segments(environment)}/{quote(key, safe='')}"

    def _pages(self, path: str, shape: type[Shape], **query: str) -> Iterator[Any]:
        offset = 0
        while True:
            part = {**query, "limit": _PAGE, "offset": offset}
            body = self._rest.get(path, shape=shape, failures=_LASTING, query=part)
            yield from body["items"]
            offset += len(body["items"])
            whole = body.get("totalCount")
            if not body["items"] or (whole is not None and offset >= whole):
                return


def _wait_of(answer: requests.Response) -> float | None:
    after = retry_after(answer)
    if after is not None:
        return after
    reset = answer.headers.get("X-Ratelimit-Reset", "")  # milliseconds since 1970
    return (
        max(0.0, int(reset) / 1000 - time.time()) if reset.isascii() and reset.isdigit() else None
    )
