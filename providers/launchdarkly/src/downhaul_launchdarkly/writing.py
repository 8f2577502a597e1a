"""JSON patches that hold only where nobody wrote in between, read back before they count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from downhaul.errors import ProviderError, Refused, VersionConflict
from downhaul.provider import ABSENT, Change
from downhaul_launchdarkly import shapes
from downhaul_launchdarkly.api import NAME, Asking, Contested, Operation
from downhaul_launchdarkly.comparing import holds
from downhaul_launchdarkly.stored import Stored
from downhaul_launchdarkly.whole import place_of


class Versioned(Protocol):
    """What is kept under a key, at a version."""

    @property
    def key(self) -> str: ...  # noqa: D102  (the class says it)
    @property
    def version(self) -> str: ...  # noqa: D102


_Kept = TypeVar("_Kept", bound=Versioned)


class Moved(Exception):
    """Somebody wrote since it was read, and nothing was done. ``found`` is the version now."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


def amend_flag(
    asking: Asking,
    before: Stored,
    operations: Sequence[Operation],
    change: Change,
    *,
    here: Mapping[str, Any] = MappingProxyType({}),
    about: Mapping[str, Any] = MappingProxyType({}),
    ignore_conflicts: bool = False,
) -> Stored:
    """Do a patch to a flag if it is at the version of ``before``; return it as it is then.

    ``here`` are the fields of the environment that must be so afterwards, ``about`` those of the
    flag. Raises Moved, Refused.
    """
    test = test_of(f"{place_of(before.environment)}/version", before.sent["version"])
    comment = comment_of(change)
    where = before.environment
    return amend(
        asking,
        before,
        lambda: _shown(
            asking.amend(
                before.key, [test, *operations], comment, ignore_conflicts=ignore_conflicts
            ),
            where,
        ),
        lambda: Stored(asking.get(before.key, where), where),
        lambda now: holds(here, now.here) and holds(about, now.document),
    )


def amend(
    asking: Asking,
    before: _Kept,
    patch: Callable[[], _Kept | None],
    read: Callable[[], _Kept],
    holding: Callable[[_Kept], bool],
) -> _Kept:
    """Do a patch, which tests the version of ``before``, and read it back. Raises Moved, Refused.

    ``patch`` returns what the answer shows, or None where that is not enough to look at. Whoever
    writes between the patch and the reading is not taken for a patch that did not hold.
    """
    while True:
        try:
            answer = patch()
        except (Contested, Refused) as refusal:
            unsure = asking.unsure
            now = read()
            if now.version != before.version:
                if unsure and holding(now):
                    return now  # it is done: the answer to an earlier try was lost
                raise Moved(now.version) from None
            if isinstance(refusal, Refused):
                raise
            asking.pause()
            continue
        now = read()
        if holding(now):
            return now
        if answer is not None and now.version != answer.version and holding(answer):
            return answer
        message = f'LaunchDarkly took the change of "{before.key}", and it is not so now'
        hint = "a field was ignored: look at it in LaunchDarkly"
        raise ProviderError(message, hint=hint, flag=before.key, provider=NAME)


def _shown(document: Any, environment: str) -> Stored | None:
    """Return a flag as the answer to a patch shows it; not all show every environment."""
    whole = not shapes.Stored.lacks(document) and environment in document["environments"]
    return Stored(document, environment) if whole else None


def test_of(path: str, value: Any) -> Operation:
    """Return the operation that lets the whole patch fail where a field is another one."""
    return {"op": "test", "path": path, "value": value}


def comment_of(change: Change) -> str:
    """Return who writes, and why, as LaunchDarkly's own audit log shows it."""
    return f"{change.actor}: {change.reason}" if change.reason else change.actor


def expect(key: str, version: str | None, expected: str | None) -> None:
    """Raise VersionConflict where a version is not the one that was expected; None is absent."""
    found = ABSENT if version is None else version
    if expected is not None and found != expected:
        message = f'"{key}" is not at the version that was expected'
        raise VersionConflict(message, expected=expected, found=found, flag=key, provider=NAME)


def conflict(key: str, expected: str, moved: Moved) -> VersionConflict:
    """Return the error for a write that came too late."""
    message = f'"{key}" changed since it was read'
    return VersionConflict(message, expected=expected, found=moved.found, flag=key, provider=NAME)
