"""Changing one flag: create, set, on, off, percent, target, delete.

Each reads the flag, lets the provider's narrow verb write its one field where there is one, and
answers with what was and what is. What a person should know besides (it is off, it is killed) comes
along as warnings, and never stops the write.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Final

from downhaul.backends.edits import with_on, with_rollout, with_targets
from downhaul.control.describe import exposed, has_percentages_in_rules, rising_variant
from downhaul.control.desk import Desk
from downhaul.control.policy import need_a_name, need_right_in_full
from downhaul.control.raising import raises, refuse_raising
from downhaul.control.results import FlagResult, SegmentResult
from downhaul.documents import check_flag, check_segment
from downhaul.errors import DocumentError, DownhaulError, Problem, Refused, VersionConflict
from downhaul.flag import USER, Flag, Segment, weight_of
from downhaul.overlay import KillRegister
from downhaul.provider import ABSENT, Capability, Change
from downhaul.references import named_by

_ATTEMPTS: Final = 10  # of one edit against others who write the same flag at the same time


def create(desk: Desk, flag: Flag, reason: str = "") -> FlagResult:
    """Write a flag that doesn't exist yet. Raises VersionConflict, DocumentError."""
    need_a_name(desk, "create a flag")
    _check(desk, flag, None)
    need_right_in_full(desk, None, flag)
    change = desk.change(reason)
    after = desk.provider.put(dataclasses.replace(flag, version=""), change, expected=ABSENT)
    return FlagResult("created", flag.key, None, after, change, _warnings(desk, after))


def put(desk: Desk, flag: Flag, reason: str = "") -> FlagResult:
    """Write a whole flag in the place of the one there is.

    Its ``version``, where it has one, is the version that it was read at: another one in the store
    by now raises VersionConflict, and nothing is written. Raises FlagNotFound, DocumentError.
    """
    need_a_name(desk, "change a flag")
    before = desk.flag(flag.key)
    _check(desk, flag, before)
    refuse_raising(desk, before, flag)
    need_right_in_full(desk, before, flag)
    change = desk.change(reason)
    expected = flag.version or before.version or None
    after = desk.provider.put(flag, change, expected=expected)
    return FlagResult("set", flag.key, before, after, change, _warnings(desk, after))


def update(desk: Desk, key: str, fields: dict[str, Any], reason: str = "") -> FlagResult:
    """Set fields of a flag (those of :class:`downhaul.flag.Flag`), whoever else writes."""
    if fields != {"on": False}:
        need_a_name(desk, "change a flag")
    change = desk.change(reason)
    before, after = _edit(desk, key, change, lambda flag: dataclasses.replace(flag, **fields))
    return FlagResult("set", key, before, after, change, _warnings(desk, after))


def switch(desk: Desk, key: str, on: bool, reason: str = "") -> FlagResult:
    """Turn a flag on or off; nothing else of it changes."""
    before = desk.flag(key)
    if on:
        need_a_name(desk, "turn a flag on")
        refuse_raising(desk, before, with_on(before, on))
        need_right_in_full(desk, before, with_on(before, on))
    change = desk.change(reason)
    verb = desk.provider.switch_on if on else desk.provider.switch_off
    after = verb(key, change)
    warnings = _kill_warnings(desk, after)
    if on and not exposed(after) and not after.rules and not after.targets:
        warnings += (
            "it is on, and serves its off variant to everybody until its percentage rises",
        )
    return FlagResult("on" if on else "off", key, before, after, change, warnings)


def percent(
    desk: Desk, key: str, share: float, variant: str | None = None, reason: str = ""
) -> FlagResult:
    """Serve ``variant`` to ``share`` percent of all keys by the flag's default split.

    Without ``variant``: ``on`` of a boolean flag, else the only one beside the off variant. Raises
    Refused where that is open or the split can't take it, ValueError for a share outside 0..100 or
    finer than 0.001.
    """
    weight = weight_of(share)
    before = desk.flag(key)
    chosen = variant or rising_variant(before)
    if chosen is None:
        others = [name for name in before.variants if name != before.off_variant]
        raise Refused(
            f'which variant of "{key}" is to serve {share:g} %?',
            hint=f"name one with --variant: {', '.join(others)}",
            flag=key,
        )
    _known_variant(before, chosen)
    wanted = with_rollout(before, chosen, weight)
    if raises(before, wanted):
        need_a_name(desk, "raise a percentage")
    refuse_raising(desk, before, wanted)
    need_right_in_full(desk, before, wanted)
    change = desk.change(reason)
    after = desk.provider.set_rollout(key, chosen, weight, change)
    warnings = _warnings(desk, after)
    if has_percentages_in_rules(after):
        warnings += ("its rules serve shares of their own, which this percentage doesn't move",)
    return FlagResult("percent", key, before, after, change, warnings)


def target(
    desk: Desk,
    key: str,
    variant: str | None = None,
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    keys: Iterable[str] | None = None,
    reason: str = "",
) -> FlagResult:
    """Set who always gets ``variant``: exactly ``keys``, or those there are, some added or removed.

    A key that comes to one variant leaves the others. The variant is open as in :func:`percent`.
    """
    before = desk.flag(key)
    chosen = variant or rising_variant(before)
    if chosen is None:
        others = ", ".join(before.variants)
        raise Refused(
            f'which variant of "{key}" are they to get?', hint=f"name one of {others}", flag=key
        )
    _known_variant(before, chosen)
    added, removed = frozenset(add), frozenset(remove)
    if chosen != before.off_variant or removed or keys is not None:
        need_a_name(desk, "change who gets a variant")
    change = desk.change(reason)
    if keys is not None:
        after = desk.provider.set_targets(key, chosen, frozenset(keys), change)
    elif desk.has(Capability.COMPARE_AND_SET) and desk.has(Capability.WRITE):
        # Two people who add a key each at the same time both get theirs in.
        before, after = _edit(
            desk,
            key,
            change,
            lambda flag: with_targets(flag, chosen, (_targets(flag, chosen) | added) - removed),
        )
    else:
        wanted = (_targets(before, chosen) | added) - removed
        after = desk.provider.set_targets(key, chosen, wanted, change)
    return FlagResult("target", key, before, after, change, _kill_warnings(desk, after))


def deny(desk: Desk, key: str, keys: Iterable[str], reason: str = "") -> FlagResult:
    """Make keys always get the off variant."""
    before = desk.flag(key)
    if before.off_variant is None:
        raise Refused(
            f'"{key}" has no off variant to serve them',
            hint="set one first: flags set --off-variant NAME",
            flag=key,
        )
    return target(desk, key, before.off_variant, add=keys, reason=reason)


def delete(desk: Desk, key: str, reason: str = "") -> FlagResult:
    """Remove a flag; applications get their own default from then on. History keeps it."""
    need_a_name(desk, "delete a flag")
    before = desk.flag(key)
    change = desk.change(reason)
    desk.provider.delete(key, change, expected=before.version or None)
    return FlagResult("deleted", key, before, None, change, _kill_warnings(desk, before))


def put_segment(desk: Desk, segment: Segment, reason: str = "") -> SegmentResult:
    """Write a whole segment, new or in the place of the one there is (as :func:`put`)."""
    need_a_name(desk, "change a segment")
    there = desk.provider.list()
    before = there.segments.get(segment.key)
    problems = check_segment(segment, there)
    if problems:
        raise DocumentError(f'segment "{segment.key}" is refused', problems)
    change = desk.change(reason)
    expected = ABSENT if before is None else segment.version or before.version or None
    after = desk.provider.put_segment(segment, change, expected=expected)
    action = "created" if before is None else "set"
    return SegmentResult(action, segment.key, before, after, change)


def delete_segment(desk: Desk, key: str, reason: str = "") -> SegmentResult:
    """Remove a segment. Raises Refused while a flag or another segment names it."""
    need_a_name(desk, "delete a segment")
    before = desk.segment(key)
    change = desk.change(reason)
    desk.provider.delete_segment(key, change, expected=before.version or None)
    return SegmentResult("deleted", key, before, None, change)


def problems_of(desk: Desk, flag: Flag, before: Flag | None) -> list[Problem]:
    """Return what is wrong with a flag that is to be written in the place of ``before``.

    The others are read only where it names them, or where they may name a variant that is gone.
    """
    alone = not any(named_by(flag)) and (before is None or before.variants == flag.variants)
    return check_flag(flag, None if alone else desk.provider.list())


def _check(desk: Desk, flag: Flag, before: Flag | None) -> None:
    problems = problems_of(desk, flag, before)
    if problems:
        raise DocumentError(f'flag "{flag.key}" is refused', problems)


def _edit(desk: Desk, key: str, change: Change, edit: Callable[[Flag], Flag]) -> tuple[Flag, Flag]:
    """Read, edit and write, again as long as somebody else writes in between."""
    for attempt in range(1, _ATTEMPTS + 1):
        before = desk.flag(key)
        wanted = edit(before)
        _check(desk, wanted, before)
        refuse_raising(desk, before, wanted)
        need_right_in_full(desk, before, wanted)
        if wanted == before:
            return before, before
        try:
            return before, desk.provider.put(wanted, change, expected=before.version or None)
        except VersionConflict:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError  # pragma: no cover  (the last attempt returns or raises)


def _targets(flag: Flag, variant: str) -> frozenset[str]:
    """Return the keys that the narrow verb speaks of: those of kind ``user``."""
    return frozenset().union(
        *(one.keys for one in flag.targets if one.variant == variant and one.context_kind == USER)
    )


def _known_variant(flag: Flag, variant: str) -> None:
    if variant not in flag.variants:
        raise Refused(
            f'"{flag.key}" has no variant "{variant}"',
            hint=f"it has {', '.join(flag.variants)}",
            flag=flag.key,
        )


def _warnings(desk: Desk, flag: Flag) -> tuple[str, ...]:
    off = () if flag.on else ("the flag is off, so everybody gets its off variant",)
    return off + _kill_warnings(desk, flag)


def _kill_warnings(desk: Desk, flag: Flag) -> tuple[str, ...]:
    if desk.control is None:
        return ()
    try:
        overlay = KillRegister().hear(desk.control.kills()).overlay()
    except DownhaulError as error:  # the write itself went through
        return (f"could not look whether it is killed: {error}",)
    kill = overlay.kill_of(flag.key, flag.tags)
    if kill is None:
        return ()
    return (f'killed ({kill.scope}) since {kill.at} by {kill.actor}: "{kill.reason}"',)
