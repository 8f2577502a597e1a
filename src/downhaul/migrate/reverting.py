"""Taking back what an apply wrote, and nothing else.

What it made is removed, what it changed is put back as it was: where nobody changed it since, and
where nobody is served by it yet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from downhaul.control.desk import Desk
from downhaul.control.policy import need_a_name
from downhaul.control.raising import refuse_raising
from downhaul.encoding import flag_from_data, segment_from_data
from downhaul.errors import DownhaulError
from downhaul.flag import Flag, FlagSet, Segment
from downhaul.migrate.journal import DONE, STARTED, Entry, Journal
from downhaul.migrate.likeness import digest
from downhaul.migrate.plan import Item, Plan


class Undone(StrEnum):
    """How it went with one flag or segment."""

    REMOVED = "removed"
    RESTORED = "restored"
    GONE = "gone"
    """Somebody removed it already."""
    KEPT = "kept"
    """It is left as it is, and the reason says why."""


@dataclass(frozen=True, slots=True)
class Reverted:
    """One flag or segment, and what became of it."""

    entity: str
    key: str
    outcome: Undone
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Written:
    """What a journal says of one flag or segment that was written."""

    entity: str
    key: str
    created: bool
    before: Mapping[str, Any] | None
    versions: frozenset[str]
    digests: frozenset[str]
    """Of whatever this plan may have left there: an apply that was killed knows no version."""


def revert(
    plan: Plan,
    desk: Desk,
    journal: Journal,
    *,
    serving: Collection[str] = (),
    reason: str = "",
    dry_run: bool = False,
) -> tuple[Reverted, ...]:
    """Take back what the journal of a plan says was written, the last first.

    ``serving`` are the flags by which the target serves somebody already: they are kept. Raises
    what reading raises; what can't be taken back is told in the rows.
    """
    need_a_name(desk, "take a migration back")
    items = {item.name: item for item in plan.items}
    written = _written(journal.read(), items)
    order = list(items)
    written.sort(key=lambda one: order.index((one.entity, one.key)), reverse=True)
    there = desk.provider.list()
    change = desk.change(reason or f"the move from {plan.source.name} taken back")
    rows = []
    for one in written:
        outcome, why = _judged(one, there, serving)
        if outcome in (Undone.REMOVED, Undone.RESTORED) and not dry_run:
            try:
                _undo(one, there, desk, change, outcome)
            except DownhaulError as error:
                outcome, why = Undone.KEPT, str(error)
        rows.append(Reverted(one.entity, one.key, outcome, why))
    return tuple(rows)


def _judged(one: _Written, there: FlagSet, serving: Collection[str]) -> tuple[Undone, str]:
    now = _now(one, there)
    if now is None:
        return Undone.GONE, ""
    if one.entity == "flag" and one.key in serving:
        return Undone.KEPT, "it serves users already: take its stage back first"
    if now.version not in one.versions and digest(now) not in one.digests:
        return Undone.KEPT, "somebody changed it since"
    return (Undone.REMOVED if one.created else Undone.RESTORED), ""


def _undo(one: _Written, there: FlagSet, desk: Desk, change: Any, outcome: Undone) -> None:
    now = _now(one, there)
    assert now is not None  # noqa: S101  (it was judged)
    version = now.version or None
    if outcome is Undone.REMOVED:
        remove = desk.provider.delete if one.entity == "flag" else desk.provider.delete_segment
        remove(one.key, change, expected=version)
        return
    assert one.before is not None  # noqa: S101  (what was there before is noted)
    if isinstance(now, Flag):
        before = replace(flag_from_data(one.before), version="")
        refuse_raising(desk, now, before)
        desk.provider.put(before, change, expected=version)
    else:
        segment = replace(segment_from_data(one.before), version="")
        desk.provider.put_segment(segment, change, expected=version)


def _written(entries: Sequence[Entry], items: Mapping[tuple[str, str], Item]) -> list[_Written]:
    """Return what was written, or may have been, as the journal says it."""
    found: dict[tuple[str, str], _Written] = {}
    for entry in entries:
        known = found.get(entry.name)
        if entry.name not in items:
            continue
        if entry.step == "write" and entry.status == STARTED and known is None:
            digests = _left_by(items[entry.name])
            found[entry.name] = _Written(
                entry.entity, entry.key, entry.created, entry.before, frozenset(), digests
            )
        elif known is not None and entry.status == DONE:
            found[entry.name] = replace(
                known,
                versions=known.versions | ({entry.version} if entry.version else frozenset()),
                digests=known.digests | ({entry.after} if entry.after else frozenset()),
            )
    return list(found.values())


def _left_by(item: Item) -> frozenset[str]:
    """Return the digests of what writing an item may have left: off, or all of it."""
    if item.wanted is None:
        return frozenset()
    if item.entity == "segment":
        return frozenset({digest(segment_from_data(item.wanted))})
    wanted = flag_from_data(item.wanted)
    return frozenset({digest(wanted), digest(replace(wanted, on=False))})


def _now(one: _Written, there: FlagSet) -> Flag | Segment | None:
    many: Any = there.flags if one.entity == "flag" else there.segments
    found: Flag | Segment | None = many.get(one.key)
    return found
