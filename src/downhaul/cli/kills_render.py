"""Kills as data and as lines: who obeys, ends, what a kill would do. Nothing is decided here."""

from __future__ import annotations

from typing import Any, Final

from downhaul.cli import render
from downhaul.control import Blast, KillResult, Receipts, ReviveRequest, StandingKill, drills
from downhaul.control.ends import words as end_words
from downhaul.overlay import Scope

COLUMNS: Final = ("scope", "environment", "since", "by", "obeyed", "why")
_SHOWN: Final = 8  # flags by name


def standing_data(kill: StandingKill) -> dict[str, Any]:
    """Return a kill in force."""
    return {
        **kill.record.as_mapping(),
        "receipts": None if kill.receipts is None else kill.receipts.as_mapping(),
        "ends": None if kill.ends is None else kill.ends.as_mapping(),
        "request": None if kill.request is None else kill.request.as_mapping(),
    }


def standing_row(kill: StandingKill) -> list[str]:
    """Return a kill in force as a row of :data:`COLUMNS`."""
    record, found = kill.record, kill.receipts
    obeyed = "-" if found is None else f"{found.obeyed} of {found.known}"
    return [
        str(record.scope),
        record.environment,
        record.at,
        record.actor,
        obeyed,
        record.reason,
    ]


def standing_notes(kill: StandingKill) -> list[str]:
    """Return what else is to be known of a kill in force, a line each."""
    notes = []
    found, scope = kill.receipts, kill.record.scope
    if found is not None and (found.behind or found.silent or found.forked or found.gone):
        notes.append(f"  {scope}: {found}")
    if kill.ends is not None:
        notes.append(f"  {scope}: until {end_words(kill.ends)}")
    if kill.request is not None:
        asked = kill.request
        how = " as it was" if asked.as_was else ""
        notes.append(
            f'  {scope}: {asked.actor} asks to revive it{how} since {asked.at}: "{asked.reason}"'
        )
    return notes


def request_lines(scope: Scope, asked: ReviveRequest) -> list[str]:
    """Return what was asked, and what is to be done about it."""
    return [
        f"ASKED  {scope}  by {asked.actor}  {asked.at}",
        f'  why      "{asked.reason}"',
        f'  approve  downhaul revive {scope} --approve --reason "..."  (somebody else)',
    ]


def kill_data(
    result: KillResult, receipts: Receipts | None = None, request: ReviveRequest | None = None
) -> dict[str, Any]:
    """Return what a kill or a revive did, with who obeys, and what was asked instead."""
    return {
        **render.kill_data(result),
        "receipts": None if receipts is None else receipts.as_mapping(),
        "ends": None if result.ends is None else result.ends.as_mapping(),
        "blast": blast_data(result.blast),
        "request": None if request is None else request.as_mapping(),
    }


def more_lines(result: KillResult) -> list[str]:
    """Return what a kill's end is, and what a dry run found."""
    lines = []
    if result.ends is not None:
        lines.append(f"  until    {end_words(result.ends)}")
    if result.blast is not None:
        lines += _blast_lines(result.blast)
    return lines


def blast_data(blast: Blast | None) -> dict[str, Any] | None:
    """Return what a kill would do."""
    if blast is None:
        return None
    return {
        "flags": [one.as_mapping() for one in blast.flags],
        "everybody": blast.everybody,
        "part": blast.part,
        "rollouts": [{"flag": flag, "id": rollout} for flag, rollout in blast.rollouts],
        "followers": None if blast.followers is None else blast.followers.as_mapping(),
        "drill": drills.data(blast.drill),
        "ends": None if blast.ends is None else blast.ends.as_mapping(),
    }


def _blast_lines(blast: Blast) -> list[str]:
    lines = []
    nobody = len(blast.flags) - blast.everybody - blast.part
    if len(blast.flags) > 1:
        lines.append(
            f"  affects  {len(blast.flags)} flags: {blast.everybody} for everybody, "
            f"{blast.part} for a part, {nobody} for nobody now"
        )
    for one in sorted(blast.flags, key=lambda one: -one.percent)[:_SHOWN]:
        owner = f"  owner {one.owner}" if one.owner else ""
        safe = one.safe or "each caller's own default"
        lines.append(f"  flag     {one.key}  {one.exposure}  -> {safe}{owner}")
    if len(blast.flags) > _SHOWN:
        lines.append(f"  flag     and {len(blast.flags) - _SHOWN} more")
    lines += [f"  ends     rollout {rollout} of {flag}" for flag, rollout in blast.rollouts]
    if blast.ends is not None:
        lines.append(f"  until    {end_words(blast.ends)}")
    if blast.followers is not None:
        lines.append(f"  reaches  {_reach(blast)}")
    lines.append(f"  drill    {drills.words(blast.drill)}")
    return lines


def _reach(blast: Blast) -> str:
    assert blast.followers is not None  # noqa: S101  (the caller looked)
    many = blast.followers.known
    if not many:
        return "no process that has told that it follows this store"
    names = ", ".join(f"{count} {name}" for name, count in blast.followers.applications)
    silent = len(blast.followers.silent)
    quiet = f"; {silent} of them silent" if silent else ""
    return f"{many} process{'' if many == 1 else 'es'} ({names}){quiet}"
