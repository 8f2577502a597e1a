"""Where a flag stands between two backends: the six stages of a migration.

The stages are LaunchDarkly's: who is asked, whose answer counts, and who is written to first. They
are data; who serves by them is :mod:`downhaul.wrappers`, who moves them :mod:`downhaul.migrate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from downhaul.evaluator.bucketing import bucket
from downhaul.flag import WHOLE


class Side(StrEnum):
    """One of the two backends between which a flag moves."""

    OLD = "old"
    NEW = "new"

    @property
    def other(self) -> Side:
        """The side that this one is not."""
        return Side.NEW if self is Side.OLD else Side.OLD


class Stage(StrEnum):
    """How far a flag has come, in order. Each stage can be taken back to the one before it."""

    OFF = "off"
    """Only the old side is asked and written to."""
    DUAL_WRITE = "dual-write"
    """The old side is asked; what is written to it is written to the new one too."""
    SHADOW = "shadow"
    """Both are asked and compared; the old side's answer counts."""
    LIVE = "live"
    """Both are asked and compared; the new side's answer counts, and it is written to first."""
    RAMP_DOWN = "ramp-down"
    """The new side is asked; what is written to it is still written to the old one."""
    COMPLETE = "complete"
    """Only the new side is asked and written to."""

    @property
    def reads(self) -> Side:
        """The side whose answer counts."""
        return Side.NEW if self in _NEW_READS else Side.OLD

    @property
    def compares(self) -> bool:
        """Whether the other side is asked too, and its answer compared."""
        return self in (Stage.SHADOW, Stage.LIVE)

    @property
    def writes(self) -> tuple[Side, ...]:
        """The sides that are written to, the authoritative one first."""
        if self in (Stage.OFF, Stage.COMPLETE):
            return (self.reads,)
        return (self.reads, self.reads.other)

    @property
    def before(self) -> Stage:
        """The stage before this one; the first one has none, and is its own."""
        return STAGES[max(0, STAGES.index(self) - 1)]

    @property
    def after(self) -> Stage:
        """The stage after this one; the last one has none, and is its own."""
        return STAGES[min(len(STAGES) - 1, STAGES.index(self) + 1)]


STAGES: Final = tuple(Stage)
"""All stages, in order."""

_NEW_READS: Final = frozenset({Stage.LIVE, Stage.RAMP_DOWN, Stage.COMPLETE})


@dataclass(frozen=True, slots=True)
class Standing:
    """A flag's stage, and for how many it is so.

    ``share`` of all targeting keys, in thousandths of a percent, are at ``stage``; the others, and
    whoever has no key, are still at the stage before it. Writes concern all, and go by ``stage``.

    ``in_step`` says that both sides were seen to serve the same since the flag came to the new one.
    From then on a flag that is off on either side is off (rule M4); until then the new side, where
    flags are made off, says nothing of the kind.
    """

    stage: Stage = Stage.OFF
    share: int = WHOLE
    in_step: bool = False

    def of(self, flag: str, targeting_key: str | None) -> Stage:
        """Return the stage at which a flag stands for one targeting key: always the same one.

        Raising ``share`` only moves keys on, lowering it only moves them back. Raises nothing.
        """
        if self.share >= WHOLE:
            return self.stage
        if not targeting_key:
            return self.stage.before
        try:
            ahead = bucket(cohort_salt(flag), targeting_key) < self.share
        except UnicodeEncodeError:  # half of a surrogate pair, which has no bucket
            return self.stage.before
        return self.stage if ahead else self.stage.before


StandingOf = Callable[[str], Standing]
"""Returns where a flag stands, by its key. Does no I/O and raises nothing."""


def cohort_salt(flag: str) -> str:
    """Return what a flag's cohorts are hashed with.

    It is the migration's own: with the flag's, just those users would move first to whom its
    rollout gives the new variant first.
    """
    return f"downhaul:migration:{flag}"
