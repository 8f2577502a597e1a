"""Whole flags: put, put away and brought back, each in one patch that tests the version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from downhaul.documents import check_flag
from downhaul.errors import DocumentError, Refused
from downhaul.flag import Flag
from downhaul.provider import Change, ProviderSnapshot
from downhaul_launchdarkly import snapshots
from downhaul_launchdarkly.api import Contested
from downhaul_launchdarkly.desk import Desk
from downhaul_launchdarkly.rules import NotCarried, flag_of
from downhaul_launchdarkly.stored import Stored
from downhaul_launchdarkly.translate import as_sent
from downhaul_launchdarkly.whole import (
    check_names,
    new_flag,
    operations,
    refuse_other_variants,
    wanted_about,
    wanted_document,
)
from downhaul_launchdarkly.writing import Moved, amend_flag, conflict, expect

_AWAY: Final = {"op": "replace", "path": "/archived", "value": True}


def put(desk: Desk, flag: Flag, change: Change, expected: str | None, *, portable: bool) -> Flag:
    """Write a whole flag: made where there is none, else changed where it differs.

    Raises DocumentError, Refused, VersionConflict.
    """

    def attempt(before: Stored | None) -> Stored:
        return _put(desk, flag, before, change, portable=portable)

    return desk.told(_until_still(desk, flag.key, expected, attempt))


def put_away(desk: Desk, key: str, change: Change, expected: str | None) -> None:
    """Archive a flag that no other requires. Raises FlagNotFound, Refused, VersionConflict."""

    def attempt(before: Stored | None) -> Stored:
        state = desk.read(key) if before is None or before.archived else before
        every = desk.asking.flags(desk.environment)
        needed = sorted(one["key"] for one in every if _needs(one, desk.environment, key))
        if needed:
            message = f'flag "{key}" is required by {", ".join(needed)}'
            raise Refused(message, flag=key, hint="take it out of their prerequisites first")
        return amend_flag(desk.asking, state, [_AWAY], change, about={"archived": True})

    desk.read(key)
    _until_still(desk, key, expected, attempt)


def restore(desk: Desk, snapshot: ProviderSnapshot, change: Change, expected: str | None) -> Flag:
    """Bring a snapshot back as a new version; out of the archive too. Raises VersionConflict."""
    key = snapshot.flag

    def attempt(before: Stored | None) -> Stored:
        if before is None:
            message = f'flag "{key}" was deleted in LaunchDarkly, with what chose its users'
            raise Refused(message, flag=key, hint="make it anew: it will have other users")
        return snapshots.restored(desk.asking, snapshot, before, change)

    return desk.told(_until_still(desk, key, expected, attempt))


def _until_still(
    desk: Desk,
    key: str,
    expected: str | None,
    attempt: Callable[[Stored | None], Stored],
) -> Stored:
    """Try on what is there, and again where somebody writes in between, unless that matters."""
    while True:
        before = desk.find(key)
        there = None if before is None or before.archived else before.version
        expect(key, there, expected)
        try:
            return attempt(before)
        except Moved as moved:
            if expected is not None:
                raise conflict(key, expected, moved) from None
            desk.asking.pause()


def _put(
    desk: Desk, flag: Flag, before: Stored | None, change: Change, *, portable: bool
) -> Stored:
    others = desk.required(flag)
    problems = check_flag(flag, desk.around(flag, others))
    if problems:
        raise DocumentError(f'flag "{flag.key}" is refused', problems)
    if before is not None:
        refuse_other_variants(flag, before)
    check_names(flag, before)
    if before is None:
        before = _made(desk, flag, others, portable=portable)
    try:
        old = desk.as_written(before)
    except NotCarried as error:
        message = f'flag "{flag.key}" has something that would be lost: {error}'
        hint = "change it in LaunchDarkly, or remove that there first"
        raise Refused(message, flag=flag.key, hint=hint) from None
    wanted = wanted_document(flag, before, old, others, portable=portable or before.portable)
    about = wanted_about(flag, before, old)
    patch = operations(flag, before, wanted, about)
    if not patch:
        return before
    return amend_flag(desk.asking, before, patch, change, here=wanted, about=about)


def _made(desk: Desk, flag: Flag, others: Mapping[str, Stored], *, portable: bool) -> Stored:
    """Make a flag, off and without rules, once it is sure that all of it can be kept."""
    planned(flag, others, desk.environment, portable=portable)
    try:
        desk.asking.make(flag.key, new_flag(flag))
    except Contested:
        raise Moved(desk.read(flag.key).version) from None
    return desk.read(flag.key)


def planned(
    flag: Flag,
    others: Mapping[str, Stored],
    environment: str = "planned",
    *,
    portable: bool = False,
) -> Stored:
    """Return a new flag as LaunchDarkly would show it. Raises Refused for what it can't keep.

    ``others`` are the flags that it requires.
    """
    check_names(flag)
    made = _planned(new_flag(flag), environment)
    plan = Stored(made, environment)
    wanted = wanted_document(flag, plan, flag_of(plan.sent, {}), others, portable=portable)
    return Stored({**made, "environments": {environment: {**plan.here, **wanted}}}, environment)


def _needs(document: Any, environment: str, key: str) -> bool:
    sent = as_sent(document, environment)
    return any(one["key"] == key for one in sent["prerequisites"] or [])


def _planned(body: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """Return the document that LaunchDarkly will show of a flag that is about to be made."""
    here = {
        "on": False,
        "version": 0,
        "salt": "",
        "offVariation": body["defaults"]["offVariation"],
        "fallthrough": {"variation": body["defaults"]["onVariation"]},
        "targets": [],
        "contextTargets": [],
        "rules": [],
        "prerequisites": [],
    }
    variations = [{**one, "_id": str(place)} for place, one in enumerate(body["variations"])]
    return {**body, "variations": variations, "environments": {environment: here}}
