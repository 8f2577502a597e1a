"""What is to be said of a rollout's gates: what is closed, who opens it, and what they type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.rollout.gates.model import Approval, HookWhen, When
from downhaul.rollout.gates.standing import Entry, Gate, GateKind, Mark, closed, spoken_list
from downhaul.rollout.gates.times import Window, moment_text
from downhaul.rollout.plan import Plan
from downhaul.rollout.results import Rollout
from downhaul.rollout.state import GATED
from downhaul.rollout.units import percent_text, span_text

_AT: Final[Mapping[HookWhen, str]] = {
    HookWhen.START: "before the start",
    HookWhen.STEP: "before each next step",
    HookWhen.COMPLETE: "before the end",
}
_MARKS: Final[Mapping[Mark, str]] = {Mark.DONE: "x", Mark.OPEN: " ", Mark.LATER: "-"}


def waiting(rollout: Rollout) -> list[str]:
    """Return what is closed before what comes next, with what to type.

    While a step bakes, only what people can do already: times and services come at its end.
    """
    gates = closed(rollout.gates)
    if rollout.state.hold not in GATED and rollout.state.started_at:
        gates = tuple(one for one in gates if one.by_hand)
    return [_with_command(rollout, one) for one in gates]


def opened(rollout: Rollout) -> list[str]:
    """Return what people opened already, before what comes next."""
    return [one.message for one in rollout.gates if one.open and one.by_hand]


def lines(rollout: Rollout) -> list[str]:
    """Return every gate before what comes next, open or closed."""
    found = []
    for one in rollout.gates:
        mark = "open  " if one.open else "closed"
        found.append(f"{mark}  {one.message if one.open else _with_command(rollout, one)}")
    return found


def command_of(rollout: Rollout, gate: Gate) -> str:
    """Return the command line by which a person opens a gate, or nothing."""
    if not gate.by_hand or gate.open:
        return ""
    if gate.kind is GateKind.CHECKLIST:
        return f"downhaul rollout check {rollout.id} {gate.name}"
    number = rollout.state.step + (2 if rollout.state.entered else 1)
    return f'downhaul rollout approve {rollout.id} --step {number} --reason "..."'


def commands(rollout: Rollout) -> list[str]:
    """Return the command lines by which people open what is closed, each once."""
    found = [command_of(rollout, one) for one in rollout.gates]
    return list(dict.fromkeys(one for one in found if one))


def needs_a_person(rollout: Rollout) -> bool:
    """Return whether it is held until somebody opens a gate."""
    return rollout.state.hold in GATED and any(one.by_hand for one in closed(rollout.gates))


def gate_data(rollout: Rollout) -> list[dict[str, Any]]:
    """Return the gates before what comes next."""
    return [
        {
            "kind": one.kind.value,
            "name": one.name or None,
            "open": one.open,
            "message": one.message,
            "hint": one.hint or None,
            "until": moment_text(one.until) if one.until else None,
            "command": command_of(rollout, one) or None,
        }
        for one in rollout.gates
    ]


def checklist_data(entries: tuple[Entry, ...]) -> list[dict[str, Any]]:
    """Return a checklist as it stands."""
    return [
        {
            "id": one.item.id,
            "text": one.item.text,
            "when": one.item.when.value,
            "auto": None if one.item.auto is None else one.item.auto.value,
            "required": one.item.required,
            "mark": one.mark.value,
            "message": one.message,
            "hint": one.hint or None,
            "by": one.by or None,
            "at": moment_text(one.at) if one.at else None,
            "reason": one.reason,
        }
        for one in entries
    ]


def checklist_lines(entries: tuple[Entry, ...]) -> list[str]:
    """Return a checklist as lines, by when each item is to be done."""
    found: list[str] = []
    width = max((len(one.item.id) for one in entries), default=0)
    for when in dict.fromkeys(one.item.when for one in entries):
        found.append(when.value)
        found += [
            f"  [{_MARKS[one.mark]}] {one.item.id.ljust(width)}  {_told(one)}"
            for one in entries
            if one.item.when is when
        ]
    return found


def plan_lines(plan: Plan) -> list[tuple[str, str]]:
    """Return what a plan says of its gates, each under a word of its own."""
    gates = plan.gates
    found: list[tuple[str, str]] = []
    if gates.starts_at:
        found.append(("starts", f"at {moment_text(gates.starts_at)}"))
    found += [
        (when.value, ", ".join(one.id for one in gates.items(when)))
        for when in When
        if gates.items(when)
    ]
    found += [("approval", _rule(one)) for one in gates.approvals]
    found += [("freeze", _window(one)) for one in gates.freezes]
    found += [("hook", f"{one.name}, {_AT[one.when]}: {one.url}") for one in gates.hooks]
    if plan.template:
        found.append(("template", plan.template))
    return found


def _rule(rule: Approval) -> str:
    steps = [f"step {', '.join(str(one) for one in rule.steps)}"] if rule.steps else []
    if rule.at_least is not None:
        steps.append(f"from {percent_text(rule.at_least)} on")
    who = f"{rule.count} of {spoken_list(rule.by, 'or')}" if rule.count > 1 else (
        f"by {spoken_list(rule.by, 'or')}"
    )  # fmt: skip
    said = f"{' and '.join(steps) or 'each step'} {who}"
    return f"{said}, not by who starts it" if rule.not_author else said


def _window(window: Window) -> str:
    if window.weekly is not None:
        said = str(window.weekly)
    else:
        begin = "now" if window.begin is None else moment_text(window.begin)
        said = f"{begin} to {'ever' if window.end is None else moment_text(window.end)}"
    return f"{said}: {window.reason}" if window.reason else said


def _told(entry: Entry) -> str:
    item = entry.item
    text = item.text if item.required else f"{item.text} (not required)"
    if item.auto is not None and item.limit is not None:
        text += f" ({span_text(item.limit)})"
    said = entry.message
    if entry.by:
        said = f"{entry.by} at {moment_text(entry.at)}"
        said += f': "{entry.reason}"' if entry.reason else ""
    if entry.hint:
        said += f" ({entry.hint})"
    return f"{text}: {said}" if said else text


def _with_command(rollout: Rollout, gate: Gate) -> str:
    do = command_of(rollout, gate) or gate.hint
    return f"{gate.message}: {do}" if do else gate.message
