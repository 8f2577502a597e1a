"""Results of the operator as data for programs and as lines for people. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from downhaul.control import FlagResult, HistoryEntry, ImportResult, KillResult, SegmentResult
from downhaul.control.describe import exposure
from downhaul.control.diff import Difference
from downhaul.control.results import AtProvider
from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.flag import Flag, Segment
from downhaul.overlay import KillRecord, Overlay
from downhaul.provider import Change


def change_data(change: Change) -> dict[str, Any]:
    """Return who did it and why."""
    return {
        "id": change.id,
        "actor": change.actor,
        "marked": change.marked,
        "reason": change.reason,
    }


def difference_data(found: Iterable[Difference]) -> list[dict[str, Any]]:
    """Return differences, field by field."""
    return [{"path": one.path, "before": one.before, "after": one.after} for one in found]


def summary_data(flag: Flag, overlay: Overlay) -> dict[str, Any]:
    """Return a flag as a list shows it."""
    kill = overlay.kill_of(flag.key, flag.tags)
    return {
        "key": flag.key,
        "kind": flag.kind.value,
        "type": flag.type.value,
        "on": flag.on,
        "exposure": exposure(flag),
        "killed": kill is not None,
        "tags": list(flag.tags),
        "owner": flag.owner,
        "version": flag.version,
    }


def write_data(result: FlagResult | SegmentResult) -> dict[str, Any]:
    """Return what one write did."""
    if isinstance(result, FlagResult):
        before = None if result.before is None else flag_to_data(result.before)
        after = None if result.after is None else flag_to_data(result.after)
    else:
        before = None if result.before is None else segment_to_data(result.before)
        after = None if result.after is None else segment_to_data(result.after)
    return {
        "action": result.action,
        "key": result.key,
        "changed": bool(result.differences),
        "before": before,
        "after": after,
        "differences": difference_data(result.differences),
        "change": change_data(result.change),
        "warnings": list(result.warnings),
    }


def write_lines(result: FlagResult | SegmentResult) -> list[str]:
    """Return what one write did: what it is now, and what changed in it."""
    after = result.after
    if after is None:
        return [f"{result.key}  {result.action}"]
    now = f"  {exposure(after)}" if isinstance(after, Flag) else ""
    version = f"  version {after.version}" if after.version else ""
    if not result.differences:
        return [f"{result.key}  {result.action}: was so already{now}{version}"]
    lines = [f"{result.key}  {result.action}{now}{version}"]
    if result.before is not None:
        lines += [f"  {one}" for one in result.differences]
    return lines


def kill_record_data(record: KillRecord | None) -> dict[str, Any] | None:
    """Return a store's word on a scope."""
    return None if record is None else record.as_mapping()


def kill_data(result: KillResult) -> dict[str, Any]:
    """Return what a kill or a revive did, or would do."""
    return {
        "scope": str(result.scope),
        "killed": result.killed,
        "already": result.already,
        "dry_run": result.dry_run,
        "environment": result.environment,
        "actor": result.actor,
        "reason": result.reason,
        "record": kill_record_data(result.record),
        "before": kill_record_data(result.before),
        "kill_file": None if result.kill_file is None else str(result.kill_file),
        "at_provider": result.at_provider.value,
        "covers": list(result.covers),
        "flag_before": None if result.flag_before is None else flag_to_data(result.flag_before),
        "flag": None if result.flag is None else flag_to_data(result.flag),
        "commit_ms": round(result.took * 1000, 3),
        "warnings": list(result.warnings),
    }


def kill_lines(result: KillResult) -> list[str]:
    """Return what a kill or a revive did, where it stands now, and how to undo it."""
    verb = "KILLED" if result.killed else "REVIVED"
    if result.dry_run:
        verb = "would be " + verb.lower()
    elif result.already and result.killed:
        verb = "already killed"
    where = "all environments" if result.environment == "*" else result.environment
    if result.kill_file is not None:
        where = "this machine"
    head = [verb, str(result.scope), where]
    record = result.record or (result.before if result.already else None)
    if record is not None:
        since = "since " if result.already and result.killed else ""
        head += [f"by {record.actor}", f"{since}{record.at}"]
    else:
        head.append(f"by {result.actor}")
    lines = ["  ".join(head)]
    reason = record.reason if record is not None else result.reason
    lines.append(f'  why      "{reason}"')
    lines += _kill_details(result)
    if result.killed and not result.dry_run:
        local = " --local" if result.kill_file is not None else ""
        lines.append(f'  undo     downhaul revive {_argument(result)}{local} --reason "..."')
    return lines


def _kill_details(result: KillResult) -> list[str]:
    lines = []
    if result.flag_before is not None:
        lines.append(f"  was      {exposure(result.flag_before)}")
    if result.flag is not None and not result.killed and result.flag != result.flag_before:
        lines.append(f"  now      {exposure(result.flag)}")
    elif result.killed and result.flag is not None and result.flag.off_variant is not None:
        lines.append(f"  serves   {result.flag.off_variant}, to everybody")
    if len(result.covers) > 1 or (result.covers and result.flag is None):
        shown = ", ".join(result.covers[:8]) + (", …" if len(result.covers) > 8 else "")  # noqa: PLR2004  (a line)
        count = "1 flag" if len(result.covers) == 1 else f"{len(result.covers)} flags"
        lines.append(f"  covers   {count}: {shown}")
    if result.kill_file is not None:
        lines.append(f"  written  {result.kill_file}  {result.took * 1000:.1f} ms")
    elif result.record is not None and not (result.already and result.killed):
        lines.append(f"  overlay  committed  {result.took * 1000:.1f} ms")
    if result.at_provider is AtProvider.SWITCHED_OFF:
        lines.append("  backend  switched off")
    elif result.at_provider is AtProvider.OWED:
        lines.append("  backend  not switched off yet; a controller goes on trying")
    elif result.at_provider is AtProvider.NOT_OFFERED and not result.dry_run:
        lines.append("  backend  takes no writes; the overlay alone holds it down")
    return lines


def _argument(result: KillResult) -> str:
    match result.scope.kind.value:
        case "tag" | "switch" as kind:
            text = f"--{kind} {result.scope.name}"
        case "everything":
            text = "--all"
        case _:
            text = result.scope.name
    return text + (
        " --all-environments" if result.environment == "*" and result.kill_file is None else ""
    )


def import_data(result: ImportResult) -> dict[str, Any]:
    """Return what an import did, row by row."""
    return {
        "dry_run": result.dry_run,
        "rows": [
            {
                "entity": row.entity,
                "key": row.key,
                "action": row.action,
                "written": row.written,
                "version": row.version,
                "error": None if row.error is None else str(row.error),
            }
            for row in result.rows
        ],
        "change": change_data(result.change),
        "stopped_by": None if result.error is None else str(result.error),
    }


def history_data(entries: Iterable[HistoryEntry]) -> list[dict[str, Any]]:
    """Return changes, newest first."""
    return [
        {
            "id": one.record.id,
            "change_id": one.record.change_id,
            "at": one.record.at,
            "environment": one.record.environment,
            "entity": one.record.entity,
            "key": one.record.key,
            "action": one.record.action,
            "actor": one.record.actor,
            "marked": one.record.marked,
            "reason": one.record.reason,
            "version": one.record.version,
            "before": _plain(one.record.before),
            "after": _plain(one.record.after),
            "differences": difference_data(one.differences),
        }
        for one in entries
    ]


def history_lines(entries: Iterable[HistoryEntry]) -> list[str]:
    """Return changes as paragraphs: who did what when, why, and each field that changed."""
    lines = []
    for one in entries:
        record = one.record
        actor = f"{record.actor} (login name)" if record.marked else record.actor
        version = f"  version {record.version}" if record.version else ""
        lines.append(
            f"{record.at}  {record.entity} {record.key}  {record.action}  {actor}{version}"
        )
        if record.reason:
            lines.append(f'  "{record.reason}"')
        if record.entity != "kill" and record.before is not None and record.after is not None:
            lines += [f"  {difference}" for difference in one.differences]
    return lines


def segment_data(segment: Segment) -> dict[str, Any]:
    """Return a segment's document."""
    return segment_to_data(segment)


def _plain(document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if document is None else dict(document)
