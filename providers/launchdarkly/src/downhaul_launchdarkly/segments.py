"""Segments of one environment, through the REST API: whole, compared and set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from downhaul.documents import check_segment
from downhaul.errors import DocumentError, FlagNotFound, ProviderError, Refused
from downhaul.evaluator.lowering import lifted_segment
from downhaul.flag import FlagSet, Segment
from downhaul.provider import Change
from downhaul.references import segment_users
from downhaul_launchdarkly import shapes
from downhaul_launchdarkly.api import NAME, Asking, Contested, Operation
from downhaul_launchdarkly.comparing import holds
from downhaul_launchdarkly.rules import NotCarried, segment_of
from downhaul_launchdarkly.whole import set_to
from downhaul_launchdarkly.writing import (
    Moved,
    amend,
    comment_of,
    conflict,
    expect,
    test_of,
)
from downhaul_launchdarkly.written import Writer


class Kept:
    """A segment as the REST API shows it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.key: str = document["key"]
        self.version = str(document["version"])

    def segment(self) -> Segment:
        """Return it in our words. Raises ProviderError for what has no like here."""
        try:
            return lifted_segment(segment_of(self.document))
        except NotCarried as error:
            message = f'segment "{self.key}" has no like here: {error}'
            raise ProviderError(message, provider=NAME, hint="see it in LaunchDarkly") from None


def put(
    asking: Asking,
    environment: str,
    segment: Segment,
    change: Change,
    expected: str | None,
    around: FlagSet,
) -> Segment:
    """Write a whole segment. Raises DocumentError, Refused, VersionConflict."""
    problems = check_segment(segment, around)
    if problems:
        raise DocumentError(f'segment "{segment.key}" is refused', problems)
    while True:
        before = find(asking, environment, segment.key)
        expect(segment.key, None if before is None else before.version, expected)
        try:
            return _written(asking, environment, segment, change, before).segment()
        except Moved as moved:
            if expected is not None:
                raise conflict(segment.key, expected, moved) from None
            asking.pause()


def delete(
    asking: Asking, environment: str, key: str, expected: str | None, around: FlagSet
) -> None:
    """Remove a segment that nothing names. Raises FlagNotFound, Refused, VersionConflict.

    LaunchDarkly compares no version when it removes one: it is compared right before.
    """
    before = find(asking, environment, key)
    if before is None:
        raise FlagNotFound(f'LaunchDarkly has no segment "{key}" here', provider=NAME)
    expect(key, before.version, expected)
    users = segment_users(around, key)
    if users:
        hint = "take it out of their clauses first"
        raise Refused(f'segment "{key}" is named by {", ".join(users)}', provider=NAME, hint=hint)
    try:
        asking.remove_segment(key, environment)
    except Contested as error:
        raise Refused(f'segment "{key}" stays: {error.message}', provider=NAME) from None


def find(asking: Asking, environment: str, key: str) -> Kept | None:
    """Return a segment, or None."""
    try:
        return Kept(asking.segment(key, environment))
    except FlagNotFound:
        return None


def _written(
    asking: Asking, environment: str, segment: Segment, change: Change, before: Kept | None
) -> Kept:
    def read() -> Kept:
        return Kept(asking.segment(segment.key, environment))

    if before is None:
        _wanted(segment, "")  # refused before anything is made
        body = {
            "key": segment.key,
            "name": segment.key,
            "description": segment.description,
            "tags": list(segment.tags),
        }
        try:
            asking.make_segment(environment, body)
        except Contested:
            raise Moved(read().version) from None
        before = read()
    wanted = _wanted(segment, str(before.document.get("salt") or ""))
    if before.segment().rules == segment.rules:
        wanted["rules"] = before.document.get("rules") or []  # with what we don't know of them
    wanted |= {"description": segment.description, "tags": list(segment.tags)}
    operations: list[Operation] = [
        set_to(f"/{name}", before.document.get(name), value)
        for name, value in wanted.items()
        if not holds({name: value}, before.document)
    ]
    if not operations:
        return before
    test = test_of("/version", before.document["version"])
    comment = comment_of(change)
    patch = [test, *operations]
    return amend(
        asking,
        before,
        lambda: _shown(asking.amend_segment(segment.key, environment, patch, comment)),
        read,
        lambda now: holds(wanted, now.document),
    )


def _shown(document: Any) -> Kept | None:
    """Return a segment as the answer to a patch shows it, if it does."""
    return None if shapes.Kept.lacks(document) else Kept(document)


def _wanted(segment: Segment, salt: str) -> dict[str, Any]:
    return Writer(segment, salt).segment(segment)
