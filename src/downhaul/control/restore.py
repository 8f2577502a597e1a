"""Looking back at what was changed, and bringing an earlier version of a flag back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from downhaul.control.desk import Desk
from downhaul.control.diff import differences
from downhaul.control.flags import problems_of
from downhaul.control.policy import need_a_name, need_right_in_full
from downhaul.control.raising import refuse_raising
from downhaul.control.results import FlagResult, HistoryEntry
from downhaul.encoding import flag_from_data
from downhaul.errors import DocumentError, FlagNotFound, UnsupportedCapability
from downhaul.provider import ABSENT, Capability, ChangeRecord

_PAGE: Final = 200  # records fetched at a time


def history(
    desk: Desk, key: str | None = None, *, limit: int = 20, before: int | None = None
) -> list[HistoryEntry]:
    """Return the newest changes first, each with what it changed; ``before`` is an id to page from.

    Raises UnsupportedCapability where neither the provider nor a control store keeps a history.
    """
    records = _fetch(desk, key, limit, before)
    return [HistoryEntry(one, differences(one.before, one.after)) for one in records]


def restore(desk: Desk, key: str, version: str, reason: str = "") -> FlagResult:
    """Write the flag as it was at ``version``, as a new version; a deleted flag comes back.

    Raises FlagNotFound where history knows no such version, DocumentError where what it refers to
    is gone by now, VersionConflict where somebody writes at the same time.
    """
    need_a_name(desk, "restore a flag")
    known: list[str] = []
    document = None
    for record in _pages(desk, key):
        if record.entity != "flag" or record.after is None:
            continue
        if record.version == version:
            document = record.after
            break
        known.append(record.version)
    if document is None:
        raise _no_such_version(desk, key, version, known)
    flag = dataclasses.replace(flag_from_data({**document, "key": key}), version="")
    before = desk.provider.get(key)
    problems = problems_of(desk, flag, before)
    if problems:
        raise DocumentError(
            f'version {version} of "{key}" no longer fits what is there now',
            problems,
            hint="bring back what it refers to first",
        )
    refuse_raising(desk, before, flag)
    need_right_in_full(desk, before, flag)
    change = desk.change(reason or f"restored version {version}")
    expected = ABSENT if before is None else before.version or None
    after = desk.provider.put(flag, change, expected=expected)
    return FlagResult("restored", key, before, after, change)


def _no_such_version(desk: Desk, key: str, version: str, known: list[str]) -> FlagNotFound:
    if not known:
        return FlagNotFound(
            f'there is no history of a flag "{key}" in {desk.place}',
            hint=desk.unknown_flag(key).hint,
            flag=key,
            provider=desk.provider.name,
        )
    return FlagNotFound(
        f'"{key}" was never at version {version}',
        hint=f"its versions are {', '.join(known[:10])}{', …' if len(known) > 10 else ''}",  # noqa: PLR2004  (a line's worth)
        flag=key,
        provider=desk.provider.name,
    )


def _fetch(desk: Desk, key: str | None, limit: int, before: int | None) -> list[ChangeRecord]:
    """Return a page of the one history, or of the provider's and the control store's as one."""
    own = desk.has(Capability.HISTORY)
    if desk.control is not None and desk.shares_store():
        return desk.control.changes(key, limit=limit, before=before)
    if own and desk.control is None:
        return desk.provider.history(key, limit=limit, before=before)
    if desk.control is None:
        raise UnsupportedCapability(
            Capability.HISTORY.value,
            provider=desk.provider.name,
            hint="look in the backend's own history, or keep flags in sqlite: or postgresql:",
        )
    kills = desk.control.changes(key, limit=limit, before=before)
    if not own:
        return kills
    # Ids of two stores can't page one list, so `before` pages each by its own ids.
    both = [*desk.provider.history(key, limit=limit, before=before), *kills]
    return sorted(both, key=lambda one: one.at, reverse=True)[:limit]


def _pages(desk: Desk, key: str) -> Iterator[ChangeRecord]:
    """Give every record of the flag, newest first: the provider's, or else what we recorded."""
    own = desk.has(Capability.HISTORY)
    if not own and desk.control is None:
        raise UnsupportedCapability(Capability.HISTORY.value, provider=desk.provider.name)
    history = desk.provider.history if own or desk.control is None else desk.control.changes
    before: int | None = None
    while True:
        page = history(key, limit=_PAGE, before=before)
        yield from page
        if len(page) < _PAGE:
            return
        before = page[-1].id
