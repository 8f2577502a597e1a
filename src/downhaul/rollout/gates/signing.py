"""What a person may sign, and when: approvals, rejections, ticks. Pure; nothing is written here.

What is early or late is refused and never kept for later: whoever signs has seen what there is to
see at this door.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from downhaul.control.desk import did_you_mean
from downhaul.errors import Refused
from downhaul.provider import Change
from downhaul.rollout.gates.checks import Scene, look_at
from downhaul.rollout.gates.facts import Door, Facts, SignKind, door_of, last_word
from downhaul.rollout.gates.model import Approval, Item, When
from downhaul.rollout.gates.standing import approvals_of, due, spoken_list
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import Phase, State
from downhaul.store.gates import NewSignoff
from downhaul.store.rollouts import EventRow

Groups = Mapping[str, Iterable[str]]
"""Names that stand for several people, each with who they are."""

NO_GROUPS: Final[Groups] = {}


@dataclass(frozen=True, slots=True)
class At:
    """A rollout as it was read by whoever signs, and who that is."""

    id: str
    digest: str
    plan: Plan
    state: State
    facts: Facts
    now: int
    change: Change

    @property
    def scene(self) -> Scene:
        """What its checklist looks at."""
        return Scene(self.plan, self.state, self.facts, self.now)

    def refuse(self, message: str, hint: str = "") -> Refused:
        """Return the error that says why not."""
        return Refused(message, hint=hint or None, flag=self.plan.flag)


@dataclass(frozen=True, slots=True)
class Signing:
    """What is to be written, and what the history and the person are told.

    ``again`` says that the same person said the same before, so that nothing is to be written.
    """

    kind: SignKind
    name: str
    door: Door
    given: bool
    action: str
    outcome: str
    under: tuple[str, ...] = ()
    again: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)

    def new(self) -> NewSignoff:
        """Return the row that keeps it."""
        door = self.door
        return NewSignoff(self.kind.value, self.name, door.step, door.since, self.given, self.under)

    def event(self, change: Change) -> EventRow:
        """Return what the history says. People hear of approvals and rejections."""
        announce = self.kind is SignKind.APPROVAL
        return EventRow(self.action, change.actor, change.reason, self.detail, announce=announce)


# Approvals


def approval(
    at: At, *, given: bool, step: int | None = None, groups: Groups = NO_GROUPS
) -> Signing:
    """Return the approval (or rejection) of the next step. ``step`` is the index that is meant.

    Raises Refused where nothing is to be approved, or not by this person, or where another step is
    the next one.
    """
    _need_reason(at, "an approval" if given else "a rejection")
    door = _next_door(at, step)
    rules = approvals_of(at.plan, door)
    number, actor = door.step + 1, at.change.actor
    if not rules:
        raise at.refuse(
            f"step {number} needs no approval",
            "the plan says which do: `rollout explain` shows it",
        )
    under = _rights(rules, actor, groups)
    if given:
        _may_approve(at, rules, under, number)
    elif not under and actor != at.facts.author:
        raise at.refuse(
            f"{actor} is not among those who approve step {number}: {_everybody(rules)}",
            f'to hold it, say: downhaul rollout pause {at.id} --reason "..."',
        )
    said = last_word(at.facts, SignKind.APPROVAL, "", door).get(actor)
    word = "approved" if given else "rejected"
    again = said is not None and said.given is given
    outcome = f"step {number} is {word}"
    return Signing(
        SignKind.APPROVAL,
        "",
        door,
        given,
        word,
        f"{actor} said so already: {outcome}" if again else outcome,
        under,
        again,
        {"step": door.step, "under": list(under), "digest": at.digest},
    )


def _next_door(at: At, step: int | None) -> Door:
    door = door_of(at.state)
    if door is None or door.step >= len(at.plan.steps):
        spoken = at.state.phase.value.replace("_", " ")
        what = f"it is {spoken}" if door is None else "its last step is served"
        raise at.refuse(f"there is no step of rollout {at.id} to approve: {what}")
    if step is not None and step > door.step:
        raise at.refuse(
            f"it is too early for step {step + 1}: the next one is step {door.step + 1}",
            "an approval is for the next step alone, by who saw the one before",
        )
    if step is not None and step < door.step:
        raise at.refuse(f"step {step + 1} is behind it: the next one is step {door.step + 1}")
    return door


def _rights(rules: Iterable[Approval], actor: str, groups: Groups) -> tuple[str, ...]:
    """Return the names in the plan by which somebody may speak."""
    names = dict.fromkeys(name for rule in rules for name in rule.by)
    return tuple(name for name in names if name == actor or actor in groups.get(name, ()))


def _may_approve(at: At, rules: Iterable[Approval], under: tuple[str, ...], number: int) -> None:
    actor, rules = at.change.actor, tuple(rules)
    if not under:
        raise at.refuse(
            f"{actor} is not among those who approve step {number}: {_everybody(rules)}",
            "names of groups are told in [rollout.groups] of the configuration",
        )
    mine = [rule for rule in rules if not set(under).isdisjoint(rule.by)]
    if actor == at.facts.author and all(rule.not_author for rule in mine):
        raise at.refuse(
            f"{actor} started this rollout, and step {number} needs somebody else's approval",
            f"ask {_everybody(rules)}",
        )


def _everybody(rules: Iterable[Approval]) -> str:
    return spoken_list(list(dict.fromkeys(name for rule in rules for name in rule.by)), "or")


# Checklists


def tick(at: At, id: str, *, given: bool, step: int | None = None) -> Signing:  # noqa: A002  (the item's own word)
    """Return the tick of an item, or that it is taken back. ``step`` is the one that is served.

    Raises Refused where there is no such item, where it ticks itself, or where it isn't its time.
    """
    item = _item(at, id)
    if item.auto is not None:
        looked = look_at(item, at.scene)
        raise at.refuse(f"{item.id} ticks itself: {looked.message}", looked.hint)
    door = door_of(at.state)
    if not due(at.scene, item.when, door):
        raise at.refuse(f"it is not the time for {item.id} ({item.text}): {_no_time(at, item)}")
    if step is not None and item.when is When.DURING and step != at.state.step:
        raise at.refuse(
            f"it was meant for step {step + 1}, and the rollout is at step {at.state.step + 1}"
        )
    if item.when is not When.DURING or door is None:
        door = Door(0 if item.when is When.BEFORE else len(at.plan.steps), 0)
    words = last_word(at.facts, SignKind.ITEM, item.id, door)
    last = next(reversed(words.values()), None)
    again = (last is not None and last.given) is given
    word = "ticked" if given else "unticked"
    outcome = f"{item.id} ({item.text}) is {'done' if given else 'not done'}"
    if again:
        outcome = f"that was so already: {outcome}"
    detail = {"step": at.state.step, "item": item.id, "text": item.text, "digest": at.digest}
    return Signing(SignKind.ITEM, item.id, door, given, word, outcome, again=again, detail=detail)


def _item(at: At, id: str) -> Item:  # noqa: A002  (as above)
    items = {one.id: one for one in at.plan.gates.checklist}
    if id in items:
        return items[id]
    if not items:
        raise at.refuse(f"the plan of rollout {at.id} has no checklist")
    hint = did_you_mean(id, items) or f"its items are {', '.join(items)}"
    raise at.refuse(f'the checklist of rollout {at.id} has no item "{id}"', hint)


def _no_time(at: At, item: Item) -> str:
    phase = at.state.phase
    if door_of(at.state) is None and phase is not Phase.COMPLETED:
        return f"the rollout is {phase.value.replace('_', ' ')}"
    match item.when:
        case When.BEFORE:
            return "the rollout has started"
        case When.AFTER:
            return "the rollout is not completed"
        case When.DURING if not at.state.started_at:
            return "no step is served yet"
        case _:
            return "no step follows"


def _need_reason(at: At, what: str) -> None:
    if not at.change.reason.strip():
        raise at.refuse(
            f"{what} needs a reason, which everybody reads who meets it",
            'add --reason "what you saw"',
        )
