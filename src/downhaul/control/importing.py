"""Writing many flags at once: everything is checked first, then written one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from downhaul.control.desk import Desk
from downhaul.control.policy import need_a_name, need_right_in_full
from downhaul.control.raising import refuse_raising
from downhaul.control.results import ImportResult, ImportRow, OnConflict
from downhaul.documents import check_flag, check_segment
from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import DocumentError, DownhaulError, UnsupportedCapability, VersionConflict
from downhaul.flag import Flag, Segment
from downhaul.provider import ABSENT, Capability, Change, FlagSet
from downhaul.references import in_order

Progress = Callable[[int, int], None]
"""Called with how many rows are done, and of how many."""


def import_flags(
    desk: Desk,
    flag_set: FlagSet,
    *,
    on_conflict: OnConflict = OnConflict.FAIL,
    reason: str = "",
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportResult:
    """Write every flag and segment of the set, each after those that it names.

    One that exists and is the same is left alone; one that differs is a conflict. Nothing is
    written unless the whole set can be: raises DocumentError, VersionConflict, Refused (it would
    raise what a live rollout lets out) and UnsupportedCapability before the first write. What fails
    later (the backend went away, somebody wrote in between) stops it, and the result says how far
    it came; a second run goes on there.
    """
    need_a_name(desk, "import flags")
    there = desk.provider.list()
    if flag_set.segments and not desk.has(Capability.SEGMENTS):
        raise UnsupportedCapability(Capability.SEGMENTS.value, provider=desk.provider.name)
    change = desk.change(reason)
    rows = [_plan(one, there) for one in in_order(flag_set)]
    conflicts = [row for row in rows if row.action == "replace"]
    if conflicts and on_conflict is OnConflict.FAIL:
        raise _conflict(desk, conflicts, len(rows))
    if on_conflict is OnConflict.SKIP:
        rows = [
            dataclasses.replace(row, action="skip") if row.action == "replace" else row
            for row in rows
        ]
    _check(flag_set, there, rows)
    for row in rows:
        if row.action in ("create", "replace") and row.entity == "flag":
            before, wanted = there.flags.get(row.key), flag_set.flags[row.key]
            refuse_raising(desk, before, wanted)
            need_right_in_full(desk, before, wanted)
    if dry_run:
        return ImportResult(tuple(rows), change, dry_run=True)
    return _write(desk, flag_set, there, rows, change, progress)


def _write(
    desk: Desk,
    flag_set: FlagSet,
    there: FlagSet,
    rows: list[ImportRow],
    change: Change,
    progress: Progress | None,
) -> ImportResult:
    done: list[ImportRow] = []
    error: DownhaulError | None = None
    for index, row in enumerate(rows):
        if error is None and row.action in ("create", "replace"):
            try:
                version = _write_one(desk, flag_set, there, row, change)
                done.append(dataclasses.replace(row, written=True, version=version))
            except DownhaulError as problem:
                error = problem
                done.append(dataclasses.replace(row, error=problem))
        else:
            done.append(row)
        if progress is not None:
            progress(index + 1, len(rows))
    return ImportResult(tuple(done), change, error=error)


def _write_one(
    desk: Desk, flag_set: FlagSet, there: FlagSet, row: ImportRow, change: Change
) -> str:
    if row.entity == "segment":
        segment = dataclasses.replace(flag_set.segments[row.key], version="")
        known = there.segments.get(row.key)
        expected = ABSENT if known is None else known.version or None
        return desk.provider.put_segment(segment, change, expected=expected).version
    flag = dataclasses.replace(flag_set.flags[row.key], version="")
    present = there.flags.get(row.key)
    expected = ABSENT if present is None else present.version or None
    return desk.provider.put(flag, change, expected=expected).version


def _plan(wanted: Flag | Segment, there: FlagSet) -> ImportRow:
    if isinstance(wanted, Flag):
        flag = there.flags.get(wanted.key)
        same = flag is not None and _flag_data(flag) == _flag_data(wanted)
        return _row("flag", wanted.key, flag, same=same)
    segment = there.segments.get(wanted.key)
    same = segment is not None and _segment_data(segment) == _segment_data(wanted)
    return _row("segment", wanted.key, segment, same=same)


def _row(entity: str, key: str, known: Flag | Segment | None, *, same: bool) -> ImportRow:
    if known is None:
        return ImportRow(entity, key, "create")
    return ImportRow(entity, key, "same" if same else "replace", version=known.version)


def _check(flag_set: FlagSet, there: FlagSet, rows: list[ImportRow]) -> None:
    """Check what will be written against what will be there then. Raises DocumentError."""
    written = {(row.entity, row.key) for row in rows if row.action in ("create", "replace")}
    flags = [one for one in flag_set.flags.values() if ("flag", one.key) in written]
    segments = [one for one in flag_set.segments.values() if ("segment", one.key) in written]
    after = FlagSet(
        {**there.flags, **{one.key: one for one in flags}},
        {**there.segments, **{one.key: one for one in segments}},
    )
    problems = [problem for one in segments for problem in check_segment(one, after)]
    problems += [problem for one in flags for problem in check_flag(one, after)]
    if problems:
        raise DocumentError("nothing was imported", problems)


def _conflict(desk: Desk, conflicts: list[ImportRow], total: int) -> VersionConflict:
    names = ", ".join(f'"{row.key}"' for row in conflicts[:5])
    more = f" and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""  # noqa: PLR2004  (as above)
    return VersionConflict(
        f"{len(conflicts)} of {total} exist already in {desk.place} and differ: {names}{more}; "
        "nothing was imported",
        expected=ABSENT,
        found=conflicts[0].version,
        hint="--on-conflict skip leaves them as they are, --on-conflict replace overwrites them",
        flag=conflicts[0].key,
        provider=desk.provider.name,
    )


def _flag_data(flag: Flag) -> dict[str, object]:
    return flag_to_data(dataclasses.replace(flag, version=""))


def _segment_data(segment: Segment) -> dict[str, object]:
    return segment_to_data(dataclasses.replace(segment, version=""))
