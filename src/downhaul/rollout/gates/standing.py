"""Whether the gates of a door are open: one pure function of plan, state, facts and time.

What a program reads is the kind, what a person reads is the message, with what to do. Nothing of
it is kept: who looks reckons it anew, from what was signed and said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from downhaul.rollout.gates.checks import Scene, look_at
from downhaul.rollout.gates.facts import Answer, Door, Facts, SignKind, Signoff, last_word
from downhaul.rollout.gates.model import Approval, Hook, HookWhen, Item, When
from downhaul.rollout.gates.times import UnknownZone, frozen_at, moment_text
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import Phase, State


class GateKind(StrEnum):
    """What a gate is. They are looked at in this order; people come before times and services."""

    CHECKLIST = "checklist"
    APPROVAL = "approval"
    START_TIME = "start_time"
    FREEZE = "freeze"
    HOOK = "hook"
    UNREADABLE = "gate"
    """What is needed to tell could not be read."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate of a door. ``name`` is an item's id or a hook's name.

    ``message`` says why it is closed, or what opened it; ``hint`` what to do about it. ``by_hand``
    says that a person opens it. ``until`` is when it opens by itself, in microseconds since 1970,
    0 where nobody knows. ``ask`` says that its service is to be asked now.
    """

    kind: GateKind
    name: str
    open: bool
    message: str
    hint: str = ""
    by_hand: bool = False
    until: int = 0
    ask: bool = False


def gates_at(plan: Plan, state: State, door: Door, facts: Facts, now: int) -> tuple[Gate, ...]:
    """Return every gate of a door, open or closed, in the order in which they are looked at."""
    gates = plan.gates
    if not gates:
        return ()
    if facts.error:
        return (Gate(GateKind.UNREADABLE, "", open=False, message=facts.error),)
    ends = door.step >= len(plan.steps)
    found: list[Gate] = []
    if not ends:
        found += _items(Scene(plan, state, facts, now), door)
        found += _approvals(plan, door, facts)
        found += _start_time(plan, state, now)
        found += _freezes(plan, now)
    others = all(one.open for one in found)
    found += [_hook(one, door, facts, ask=others) for one in hooks_at(plan, state, door)]
    return tuple(found)


def closed(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    """Return the gates that are closed."""
    return tuple(one for one in gates if not one.open)


# Checklists


class Mark(StrEnum):
    """How an item stands."""

    DONE = "done"
    OPEN = "open"
    LATER = "later"
    """It is not its time yet."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One item as it stands: by whom it was ticked, when and why; or what it found by itself."""

    item: Item
    mark: Mark
    message: str = ""
    hint: str = ""
    by: str = ""
    at: int = 0
    reason: str = ""


def checklist_at(scene: Scene, door: Door | None) -> tuple[Entry, ...]:
    """Return the whole checklist as it stands, at this door or, for None, at none any more."""
    return tuple(_entry(one, scene, door) for one in scene.plan.gates.checklist)


def due(scene: Scene, when: When, door: Door | None) -> bool:
    """Return whether it is the time for such items."""
    started = bool(scene.state.started_at)
    match when:
        case When.BEFORE:
            return not started
        case When.DURING:
            return door is not None and started and 0 < door.step < len(scene.plan.steps)
        case When.AFTER:
            return scene.state.phase is Phase.COMPLETED


def _entry(item: Item, scene: Scene, door: Door | None) -> Entry:
    now = due(scene, item.when, door)
    if item.auto is not None:
        looked = look_at(item, scene)
        good = looked.good or (item.when is When.BEFORE and not now)
        mark = Mark.DONE if good else Mark.OPEN if now else Mark.LATER
        return Entry(item, mark, looked.message, "" if good else looked.hint)
    words = last_word(
        scene.facts, SignKind.ITEM, item.id, door if item.when is When.DURING else None
    )
    last = next(reversed(words.values()), None)
    if last is not None and last.given:
        return Entry(item, Mark.DONE, by=last.actor, at=last.at, reason=last.reason)
    taken = "" if last is None else f"{last.actor} took it back"
    return Entry(item, Mark.OPEN if now else Mark.LATER, taken and _with_reason(taken, last))


def _items(scene: Scene, door: Door) -> Iterator[Gate]:
    for one in scene.plan.gates.checklist:
        if not one.required or one.when is When.AFTER or not due(scene, one.when, door):
            continue
        entry = _entry(one, scene, door)
        done = entry.mark is Mark.DONE
        if one.auto is not None:
            said = entry.message if done else f"{one.id} ({one.text}): {entry.message}"
            yield Gate(GateKind.CHECKLIST, one.id, done, said, entry.hint)
        elif done:
            said = _with_reason(f"{one.id} ticked by {entry.by}", entry)
            yield Gate(GateKind.CHECKLIST, one.id, done, said, by_hand=True)
        else:
            said = f"{one.id} ({one.text}) is not ticked"
            said += f": {entry.message}" if entry.message else ""
            yield Gate(GateKind.CHECKLIST, one.id, done, said, by_hand=True)


def _with_reason(text: str, word: Signoff | Entry | None) -> str:
    return f'{text}: "{word.reason}"' if word is not None and word.reason else text


# Approvals


def approvals_of(plan: Plan, door: Door) -> tuple[Approval, ...]:
    """Return what asks for an approval of the step behind a door."""
    if door.step >= len(plan.steps):
        return ()
    step = plan.steps[door.step]
    # A preview's weight is that of the flag before: it lets nobody in but its audience.
    weight = -1 if step.preview else step.weight
    return tuple(one for one in plan.gates.approvals if one.covers(door.step + 1, weight))


def _approvals(plan: Plan, door: Door, facts: Facts) -> Iterator[Gate]:
    words = last_word(facts, SignKind.APPROVAL, "", door)
    number = door.step + 1
    for rule in approvals_of(plan, door):
        refused = [one for one in words.values() if not one.given]
        given = [one for one in words.values() if counts(one, rule, facts)]
        good = not refused and len(given) >= rule.count
        by = spoken_list([one.actor for one in given])
        if good:
            reasons = "; ".join(f'"{one.reason}"' for one in given if one.reason)
            said = f"step {number} was approved by {by}" + (f": {reasons}" if reasons else "")
        elif refused:
            said = _with_reason(f"step {number} was rejected by {refused[0].actor}", refused[0])
        else:
            said = f"step {number} needs {_who(rule, facts)}"
            said += f"; {by} did" if given else ""
        yield Gate(GateKind.APPROVAL, "", good, said, by_hand=True)


def counts(word: Signoff, rule: Approval, facts: Facts) -> bool:
    """Return whether an approval counts for a rule: given by whom it names, and by no author."""
    if not word.given or (rule.not_author and word.actor == facts.author):
        return False
    return not set(word.under).isdisjoint(rule.by)


def _who(rule: Approval, facts: Facts) -> str:
    names = spoken_list(rule.by, "or")
    who = f"an approval by {names}" if rule.count == 1 else f"{rule.count} approvals by {names}"
    return f"{who}, not by {facts.author}" if rule.not_author and facts.author else who


def spoken_list(names: tuple[str, ...] | list[str], word: str = "and") -> str:
    """Return names as people list them: ``ana, ben or team-leads``."""
    *first, last = names or ("nobody",)
    return f"{', '.join(first)} {word} {last}" if first else last


# Times


def _start_time(plan: Plan, state: State, now: int) -> Iterator[Gate]:
    at = plan.gates.starts_at
    if not at or state.started_at:
        return
    opened = now >= at
    said = f"it starts at {moment_text(at)}"
    yield Gate(GateKind.START_TIME, "", opened, said, until=0 if opened else at)


def _freezes(plan: Plan, now: int) -> Iterator[Gate]:
    if not plan.gates.freezes:
        return
    try:
        found = frozen_at(plan.gates.freezes, now)
    except UnknownZone as error:
        yield Gate(GateKind.FREEZE, "", open=False, message=str(error))
        return
    if found is None:
        yield Gate(GateKind.FREEZE, "", open=True, message="nothing is frozen")
        return
    ends = f"until {moment_text(found.until)}" if found.until else "without an end"
    reason = found.window.reason or str(found.window.weekly or "")
    said = f"frozen {ends}" + (f": {reason}" if reason else "")
    yield Gate(GateKind.FREEZE, "", open=False, message=said, until=found.until)


# Services


def hooks_at(plan: Plan, state: State, door: Door) -> tuple[Hook, ...]:
    """Return the services that are asked at a door."""
    if door.step >= len(plan.steps):
        when = HookWhen.COMPLETE
    else:
        when = HookWhen.STEP if state.started_at else HookWhen.START
    return tuple(one for one in plan.gates.hooks if one.when is when)


def _hook(hook: Hook, door: Door, facts: Facts, *, ask: bool) -> Gate:
    gate = Gate(GateKind.HOOK, hook.name, open=False, message="")
    answer = next((one for one in facts.answers if (one.hook, one.door) == (hook.name, door)), None)
    if answer is not None and answer.confirmed:
        return replace(gate, open=True, message=f"hook {hook.name} confirmed")
    if not ask:
        return replace(gate, message=f"hook {hook.name} is asked once all else is in order")
    return replace(gate, message=f"hook {hook.name} {_said(answer)}", ask=answer is None)


def _said(answer: Answer | None) -> str:
    if answer is None or not answer.attempts:
        return "is being asked"
    tries = "once" if answer.attempts == 1 else f"{answer.attempts} times"
    return f"does not confirm: {answer.outcome} (asked {tries})"


PEOPLE: Final = frozenset({GateKind.CHECKLIST, GateKind.APPROVAL})
"""Gates for which somebody has to do something."""
