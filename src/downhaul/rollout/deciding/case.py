"""What a decision is made of: what was seen, what is to be done, and the case in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from downhaul.analysis.model import Finding
from downhaul.flag import Flag
from downhaul.rollout.gates.facts import NOTHING, Door, Facts
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import State, Verb

SECOND: Final = 1_000_000  # microseconds

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Operation(StrEnum):
    """What is written at the provider. Targets are absolute, so that twice is as good as once."""

    START = "start"
    """The first step's exposure, and ``on``: the only write of it (rule R3)."""
    RAISE = "raise"
    OFF = "off"
    LOWER = "lower"
    """Blue-green: the variant's part as it was before, in one write (rule R9).

    Where the restore can't follow at once, who was named goes too."""
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Action:
    """One write at the provider: the variant's ``weight`` and who is named, or a restore.

    ``targets`` are targeting keys and ``segments`` segments that get the variant beside those that
    do already. ``leaving`` are targets that go, and ``obsolete`` segments whose rules go: because
    everybody is served, or because nobody is to be. A plan that names segments has ``segments`` in
    all of its acts that raise, if only none: those are written whole.
    """

    operation: Operation
    weight: int = 0
    targets: tuple[str, ...] | None = None
    segments: tuple[str, ...] | None = None
    obsolete: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that nobody has taken yet."""

    id: int
    verb: Verb
    step: int
    actor: str
    reason: str
    overwrite: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Happening:
    """Something for the history; ``announce`` tells people. No actor means the controller."""

    action: str
    reason: str = ""
    actor: str = ""
    detail: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    announce: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a controller sees. ``now`` is the control store's clock, in microseconds since 1970.

    ``flag`` is None where it is not there; ``unreachable`` says why it could not be asked for, and
    then ``flag`` means nothing. ``kill`` is a kill of the flag that stands, or that stood at any
    time since the rollout began. ``findings`` is None where the metric source did not answer;
    ``metrics_error`` says why. ``snapshot`` is the flag as it was before the rollout. ``put_off``
    says that a controller put it off on the way back, and ended before it could keep that.
    ``gates`` is what the plan's gates are looked at with.
    ``missing`` is what writes of this rollout would make of the flag, that were sent and not seen
    to arrive: they may arrive at any time, and are nobody else's then.
    """

    now: int
    flag: Flag | None
    snapshot: Flag
    unreachable: str = ""
    kill: str = ""
    findings: tuple[Finding, ...] | None = ()
    metrics_error: str = ""
    asked: tuple[Asked, ...] = ()
    put_off: bool = False
    gates: Facts = NOTHING
    missing: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A service that is to be asked at a door, and was not yet."""

    hook: str
    door: Door


@dataclass(frozen=True, slots=True)
class Decision:
    """The state to keep, and what to do.

    With an ``action``, ``state`` is kept if it fails, and ``then`` once it was seen to be done:
    with ``afterwards`` for the history. ``done`` maps commands to what became of them. ``fresh``
    asks for a new count of evidence. ``due_in`` is in seconds. ``calls`` are services to be asked.
    """

    state: State
    due_in: float
    action: Action | None = None
    then: State | None = None
    happened: tuple[Happening, ...] = ()
    afterwards: tuple[Happening, ...] = ()
    done: Mapping[int, str] = field(default_factory=dict)
    refused: frozenset[int] = frozenset()
    fresh: bool = False
    calls: tuple[Call, ...] = ()

    @property
    def step(self) -> int:
        """The step that the action is about."""
        return (self.then or self.state).step


class Case:
    """One decision in the making: what has been settled so far."""

    def __init__(self, plan: Plan, state: State, seen: Seen) -> None:
        self.plan = plan
        self.state = state
        self.seen = seen
        self.happened: list[Happening] = []
        self.done: dict[int, str] = {}
        self.refused: set[int] = set()
        self.fresh = False
        self.promoted = ""  # who asked to skip the rest of this bake
        self.calls: list[Call] = []

    def end(
        self,
        due_in: float,
        action: Action | None = None,
        then: State | None = None,
        afterwards: tuple[Happening, ...] = (),
    ) -> Decision:
        """Return the decision: the state as it is now, and what is to be done."""
        return Decision(
            replace(self.state, looked_at=self.seen.now),
            due_in,
            action,
            None if then is None else replace(then, looked_at=self.seen.now),
            tuple(self.happened),
            afterwards,
            self.done,
            frozenset(self.refused),
            self.fresh,
            tuple(self.calls),
        )

    def tell(
        self,
        action: str,
        reason: str = "",
        *,
        actor: str = "",
        announce: bool = True,
        **detail: Any,
    ) -> None:
        """Add to the history; people hear of it too, unless ``announce`` is False."""
        self.happened.append(
            Happening(action, reason, actor, {"step": self.state.step, **detail}, announce=announce)
        )
