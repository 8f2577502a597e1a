"""Plans and runs of migrations as lines for people and data for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from downhaul.encoding import flag_from_data
from downhaul.flag import WHOLE, Flag, Scheme, Split
from downhaul.migrate.applying import Applied, Outcome
from downhaul.migrate.cutover import Moved as Moved  # noqa: PLC0414  (what is shown)
from downhaul.migrate.inventory import Inventory, Row, Worth
from downhaul.migrate.plan import Action, Item, Plan, SideRef
from downhaul.migrate.reverting import Reverted, Undone
from downhaul.staging import Standing
from downhaul.wrappers.standings import Move

SIGNS: Final = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.SAME: "=",
    Action.MANUAL: "!",
    Action.SKIP: "x",
}
_LONG: Final = 76


def plan_rows(plan: Plan) -> list[list[str]]:
    """Return the rows of a plan: sign, key, kind, fidelity, and what is to be known."""
    return [
        [
            SIGNS[one.action],
            one.key,
            one.kind or one.entity,
            one.fidelity.value.upper(),
            _note(one),
        ]
        for one in plan.items
    ]


def plan_summary(plan: Plan) -> str:
    """Return a plan in a sentence."""
    counts = [
        f"{plan.count(Action.CREATE)} to create",
        f"{plan.count(Action.UPDATE)} to update",
        "0 to delete",
    ]
    others = [
        f"{plan.count(action)} {word}"
        for action, word in (
            (Action.MANUAL, "manual"),
            (Action.SKIP, "skipped"),
            (Action.SAME, "unchanged"),
        )
    ]
    return f"Plan: {', '.join(counts)}; {', '.join(others)}."


def blocking_summary(plan: Plan) -> str:
    """Return which losses stand in the way of an apply, or nothing."""
    blocking = plan.blocking()
    if not blocking:
        return ""
    classes = sorted({name for one in blocking for name in one.classes})
    many = "1 is lossy and blocks" if len(blocking) == 1 else f"{len(blocking)} are lossy and block"
    return f"{many} apply: --accept-loss {','.join(classes)}"


def item_lines(plan: Plan, item: Item) -> list[str]:
    """Return one item whole: both sides, and what is lost."""
    lines = [
        "   ".join((SIGNS[item.action], item.key, item.action.value, item.fidelity.value.upper())),
        "",
        f"at {plan.source.name} ({plan.source.provider}):",
        *_document(item.origin),
        f"at {plan.target.name} ({plan.target.provider}), now:",
        *_document(item.before),
        "to be written there:",
        *_document(item.wanted),
    ]
    if item.change:
        lines.append(f"{item.change:.1%} of all users get another variant than before")
    if item.losses:
        lines.append("not carried in full:")
    for loss in item.losses:
        lines.append(f"  {loss.fidelity.value.upper()}  {loss.path}  {loss.reason}")
        if loss.fragment is not None:
            lines += [f"    {line}" for line in _pretty(loss.fragment)]
    if item.reason and not item.losses:
        lines.append(item.reason)
    return lines


def applied_rows(applied: Applied) -> list[list[str]]:
    """Return the rows of a run that a person has to see: all but those that were left."""
    return [
        [one.item.entity, one.item.key, one.outcome.value, one.error]
        for one in applied.rows
        if one.outcome is not Outcome.LEFT
    ]


def applied_summary(applied: Applied) -> str:
    """Return a run in a sentence."""
    if applied.whole and not applied.count(Outcome.WRITTEN):
        return "No changes."
    words = [
        f"{applied.count(outcome)} {outcome.value}"
        for outcome in (Outcome.WRITTEN, Outcome.UNCHANGED, Outcome.FAILED, Outcome.MISSING)
        if applied.count(outcome)
    ]
    return ", ".join(words) or "nothing to write"


def applied_data(applied: Applied) -> dict[str, Any]:
    """Return a run as data."""
    return {
        "rows": [
            {
                "entity": one.item.entity,
                "key": one.item.key,
                "action": one.item.action.value,
                "outcome": one.outcome.value,
                "error": one.error or None,
            }
            for one in applied.rows
        ],
        "whole": applied.whole,
        "stopped": applied.stopped or None,
    }


def reverted_rows(rows: Iterable[Reverted]) -> list[list[str]]:
    """Return the rows of a move that was taken back."""
    return [[one.entity, one.key, one.outcome.value, one.reason] for one in rows]


def reverted_data(rows: Sequence[Reverted]) -> dict[str, Any]:
    """Return a move that was taken back as data."""
    return {
        "rows": [
            {
                "entity": one.entity,
                "key": one.key,
                "outcome": one.outcome.value,
                "reason": one.reason or None,
            }
            for one in rows
        ],
        "whole": not any(one.outcome is Undone.KEPT for one in rows),
    }


def move_row(move: Move, compared: str) -> list[str]:
    """Return a flag on its way as a row; ``compared`` is what was seen of it in production."""
    standing = move.standing
    return [
        move.key,
        f"{standing.stage.value}, retired" if move.retired else standing.stage.value,
        _for(standing),
        "yes" if standing.in_step else "not proved",
        move.old,
        move.new,
        compared,
        move.unsynced or "-",
    ]


def move_data(move: Move) -> dict[str, Any]:
    """Return a flag on its way as data. ``percent`` are the users who are at ``stage``."""
    return {
        "key": move.key,
        "stage": move.standing.stage.value,
        "percent": move.standing.share / 1000,
        "in_step": move.standing.in_step,
        "old": move.old,
        "new": move.new,
        "unsynced": move.unsynced or None,
        "retired": move.retired,
    }


def moved_row(moved: Moved) -> list[str]:
    """Return a flag that was moved as a row."""
    return [
        moved.after.key,
        *(f"{one.standing.stage} {_for(one.standing)}" for one in (moved.before, moved.after)),
    ]


def moved_data(moved: Moved) -> dict[str, Any]:
    """Return a flag that was moved as data."""
    return {"changed": moved.changed, "before": move_data(moved.before), **move_data(moved.after)}


def _for(standing: Standing) -> str:
    return "all" if standing.share >= WHOLE else f"{standing.share / 1000:g} %"


def inventory_row(row: Row) -> list[str]:
    """Return a flag of an inventory as a row."""
    changed = "-" if row.days is None else f"{row.days} d ago"
    return [
        row.key,
        row.kind,
        row.exposure,
        changed,
        row.owner or "-",
        "-" if row.references is None else str(row.references),
        row.worth.value,
    ]


def inventory_notes(found: Inventory) -> list[str]:
    """Return what is to be known beside the rows of an inventory."""
    counts = (
        f"{len(found.rows)} flags: {found.count(Worth.MOVE)} to move",
        f"{found.count(Worth.DONE)} that have done their work",
        f"{found.count(Worth.UNUSED)} that no code asks for",
        f"{found.count(Worth.LOST)} that can't be read whole",
    )
    notes = [", ".join(counts)]
    notes += [f"left out: {one}" for one in found.left]
    for key, references in (found.unknown or {}).items():
        notes.append(f"code asks for {key}, which is not there: {references[0].place}")
    notes += [f"a key that can't be told: {one.place}  {one.dynamic}" for one in found.dynamic]
    notes += [f"not read: {one}" for one in found.problems]
    return notes


def inventory_data(found: Inventory) -> dict[str, Any]:
    """Return an inventory as data."""
    return {
        "flags": [
            {
                "key": one.key,
                "kind": one.kind,
                "type": one.type,
                "on": one.on,
                "exposure": one.exposure,
                "owner": one.owner,
                "tags": list(one.tags),
                "worth": one.worth.value,
                "serves": one.serves,
                "changed": one.changed,
                "days": one.days,
                "references": one.references,
                "losses": one.losses,
            }
            for one in found.rows
        ],
        "left": [one.as_mapping() for one in found.left],
        "unknown": {
            key: [one.place for one in references]
            for key, references in (found.unknown or {}).items()
        },
        "dynamic": [{"place": one.place, "source": one.dynamic} for one in found.dynamic],
        "problems": [str(one) for one in found.problems],
        "files": found.files,
    }


def side_data(side: SideRef) -> dict[str, str]:
    """Return a side as data."""
    return {"name": side.name, "provider": side.provider, "url": side.url}


def _note(item: Item) -> str:
    if item.losses:
        return _short(item.reason)
    if item.reason:
        return _short(item.reason)
    if item.wanted is None or item.entity != "flag":
        return ""
    return ", ".join(_parts(flag_from_data(item.wanted)))


def _parts(flag: Flag) -> list[str]:
    parts = [
        f"{many} {word}{'s' if many != 1 else ''}"
        for many, word in (
            (len(flag.rules), "rule"),
            (sum(len(one.keys) for one in flag.targets), "target"),
            (len(flag.prerequisites), "prerequisite"),
        )
        if many
    ]
    if isinstance(flag.default, Split):
        parts.append(_percentage(flag.default))
    return parts if flag.on else [*parts, "off"]


def _percentage(split: Split) -> str:
    total = split.bucketing.total
    shares = "/".join(f"{100 * one.weight / total:g}" for one in split.weights)
    whose = split.bucketing.scheme
    by = "" if whose is Scheme.DOWNHAUL else f", the users that {whose.value}'s hash chooses"
    return f"{shares} %{by}"


def _document(data: Mapping[str, Any] | None) -> list[str]:
    return ["  (none)", ""] if data is None else [*(f"  {one}" for one in _pretty(data)), ""]


def _pretty(data: Any) -> list[str]:
    return json.dumps(data, indent=2, ensure_ascii=False, default=str).splitlines()


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
