"""What the verbs of rollouts answer with: frozen, and ready to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from downhaul.analysis.model import Finding
from downhaul.rollout.gates.standing import Entry, Gate
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import Phase, State

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Severity(StrEnum):
    """How much a piece of advice weighs."""

    ERROR = "error"
    """The rollout is refused."""
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that a lint found: where in the plan, what, and what to do."""

    severity: Severity
    path: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class RolloutEvent:
    """One thing that happened, out of the history. ``at`` is RFC 3339 in UTC."""

    id: int
    at: str
    action: str
    actor: str
    reason: str
    detail: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as it is kept now. Times are microseconds since 1970 by the store's clock.

    ``now`` is that clock when it was read, so that ages can be told; ``due_at`` is when it will be
    looked at next. ``controllers`` is how many controllers were seen lately; with none, nothing
    moves. ``pending`` are commands that no controller has taken yet. ``gates`` are those before
    what comes next, ``checklist`` is the whole of it.
    """

    id: str
    environment: str
    provider: str
    plan: Plan
    state: State
    created_at: int
    updated_at: int
    due_at: int
    now: int
    actor: str
    reason: str
    controllers: int
    pending: tuple[str, ...] = ()
    epoch: int = 0
    gates: tuple[Gate, ...] = ()
    checklist: tuple[Entry, ...] = ()

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        return self.state.phase

    @property
    def flag(self) -> str:
        """The flag's key."""
        return self.plan.flag

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks said last."""
        return self.state.findings


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a verb: ``applied`` by now, or only recorded for a controller to take.

    ``outcome`` is in words. ``refused`` says that a rule stood in the way, or that the rollout had
    moved on.
    """

    verb: str
    rollout: Rollout
    applied: bool
    outcome: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class SignResult:
    """What somebody signed, in words. Nothing was ``written`` where they had said so before."""

    verb: str
    rollout: Rollout
    outcome: str
    written: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """A user of a rehearsal who was answered otherwise than before: on the way, or after."""

    key: str
    when: str
    before: str | None
    got: str | None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The way back, proved on our evaluator without exposing anyone (rule R8).

    ``population`` is how many contexts were asked; ``exposed`` how many got the variant at each
    step, in order. ``more`` are those who were served more on the way back than at the step,
    ``unlike`` those whose answer after it differs from the one before, ``lost`` those whom a raise
    took the variant from (rule E7): all empty in a good one.
    """

    flag: str
    variant: str
    digest: str
    population: int
    exposed: tuple[int, ...]
    more: tuple[Moved, ...]
    unlike: tuple[Moved, ...]
    at: str = ""
    lost: tuple[Moved, ...] = ()

    @property
    def held(self) -> bool:
        """Whether the way back is proved."""
        return not self.more and not self.unlike and not self.lost
