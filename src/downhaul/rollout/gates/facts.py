"""What is known when a gate is looked at: who signed, what services said, what was proved. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from downhaul.rollout.plan import Plan
from downhaul.rollout.state import Phase, State


@dataclass(frozen=True, slots=True)
class Door:
    """The way into a step (an index), or with the number of steps to the end.

    ``since`` is when the step before it was entered, 0 before the first: what was said at a door
    counts for nothing once a step is entered anew.
    """

    step: int
    since: int


_AT_A_DOOR: Final = frozenset({Phase.STARTING, Phase.PROGRESSING, Phase.PAUSED})


def door_of(state: State) -> Door | None:
    """Return the door at which a rollout stands, or None where it goes nowhere any more."""
    if state.phase not in _AT_A_DOOR:
        return None
    return Door(state.step + 1 if state.entered else state.step, state.entered_at)


class SignKind(StrEnum):
    """What somebody signs."""

    APPROVAL = "approval"
    ITEM = "item"


@dataclass(frozen=True, slots=True)
class Signoff:
    """What a person said at a door: that a step may be entered, or that an item is done.

    ``given`` is False for a rejection, and for an item that was unticked. ``under`` are the names
    in the plan that give the right: their own, or those of groups. ``name`` is an item's id.
    ``at`` is microseconds since 1970; ``marked`` says that the actor is only a login name.
    """

    kind: SignKind
    name: str
    door: Door
    given: bool
    actor: str
    under: tuple[str, ...] = ()
    reason: str = ""
    at: int = 0
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said at a door: that it confirms, or why it does not."""

    hook: str
    door: Door
    confirmed: bool
    attempts: int = 0
    outcome: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known. ``author`` is who started the rollout.

    ``rehearsed_at`` and ``killed_at`` are when the way back was last proved, and when the kill
    switch of the flag was last used: microseconds since 1970, 0 for never. ``metrics`` and
    ``alerts`` are None where nobody looked. ``error`` says why nothing could be read; then no gate
    is open.
    """

    author: str = ""
    signoffs: tuple[Signoff, ...] = ()
    answers: tuple[Answer, ...] = ()
    rehearsed_at: int = 0
    killed_at: int = 0
    metrics: bool | None = None
    alerts: bool | None = None
    error: str = ""


NOTHING: Final = Facts()


def last_word(facts: Facts, kind: SignKind, name: str, door: Door | None) -> dict[str, Signoff]:
    """Return the last word of each person, at this door or, for None, at any."""
    found: dict[str, Signoff] = {}
    for one in facts.signoffs:
        if one.kind is kind and one.name == name and door in (None, one.door):
            found.pop(one.actor, None)
            found[one.actor] = one
    return found


def number_of(plan: Plan, door: Door) -> str:
    """Return a door as people say it."""
    return "the end" if door.step >= len(plan.steps) else f"step {door.step + 1}"
