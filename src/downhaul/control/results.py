"""What the verbs of an operator answer with: what was, what is now, and what to know about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from downhaul.control.diff import Difference, differences
from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import DownhaulError
from downhaul.flag import Flag, Segment
from downhaul.overlay import KillRecord, Scope
from downhaul.provider import Change, ChangeRecord

if TYPE_CHECKING:
    from downhaul.control.receipts import Receipts
    from downhaul.store.drills import DrillRow  # SQLAlchemy stands behind it

WHOLE_PERCENT: Final = 100.0


@dataclass(frozen=True, slots=True)
class FlagResult:
    """One flag written. ``before`` is None for a new one, ``after`` for one that is gone."""

    action: str
    key: str
    before: Flag | None
    after: Flag | None
    change: Change
    warnings: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What the write changed, field by field; empty where all was so already."""
        return differences(_flag_data(self.before), _flag_data(self.after))


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """One segment written. ``before`` is None for a new one, ``after`` for one that is gone."""

    action: str
    key: str
    before: Segment | None
    after: Segment | None
    change: Change
    warnings: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What the write changed, field by field; empty where all was so already."""
        before = None if self.before is None else segment_to_data(self.before)
        after = None if self.after is None else segment_to_data(self.after)
        return differences(before, after)


class AtProvider(StrEnum):
    """What became of a killed flag at a provider that keeps no kills itself (rule K1)."""

    NOT_NEEDED = "not_needed"
    """The kill lives in the provider's own store, or covers no single flag: nothing to do there."""
    SWITCHED_OFF = "switched_off"
    NOT_OFFERED = "not_offered"
    """The provider takes no writes; the overlay alone holds the flag down."""
    OWED = "owed"
    """It failed or took too long. The overlay holds, and a controller goes on trying."""
    LEFT = "left"
    """As ``owed``, but no controller is alive: nobody retries until one is."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a kill. ``at`` is RFC 3339, by the store's clock; ``seconds`` are left until then.

    ``lifts`` says that a controller lifts the kill then, as things stand; else it stays, and people
    are asked. ``why`` says which, in words. ``outcome`` is ``lifted`` or ``asked`` once it came.
    """

    at: str
    seconds: float
    lifts: bool
    why: str
    outcome: str = ""

    def as_mapping(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "at": self.at,
            "seconds": round(self.seconds, 3),
            "lifts": self.lifts,
            "why": self.why,
            "outcome": self.outcome,
        }


@dataclass(frozen=True, slots=True)
class ReviveRequest:
    """Somebody asks for a kill to be lifted by somebody else. ``at`` is RFC 3339."""

    actor: str
    reason: str
    at: str
    as_was: bool = False

    def as_mapping(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"actor": self.actor, "reason": self.reason, "at": self.at, "as_was": self.as_was}


@dataclass(frozen=True, slots=True)
class Affected:
    """A flag that a kill covers: whom it serves what now, and what it would serve.

    ``percent`` is how much of the default gets another variant than the off one. ``safe`` is the
    variant that everybody would get, None where each caller gets its own default.
    """

    key: str
    exposure: str
    percent: float
    safe: str | None
    owner: str = ""

    def as_mapping(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "key": self.key,
            "exposure": self.exposure,
            "percent": self.percent,
            "safe": self.safe,
            "owner": self.owner,
        }


@dataclass(frozen=True, slots=True)
class Blast:
    """What a kill would take away, and from whom.

    ``rollouts`` are the ids of live rollouts that it would end, by flag. ``followers`` are who
    would hear of it, None where that can't be seen; ``ends`` is what would become of it.
    """

    flags: tuple[Affected, ...] = ()
    rollouts: tuple[tuple[str, str], ...] = ()
    followers: Receipts | None = None
    drill: DrillRow | None = None
    ends: Ending | None = None

    @property
    def everybody(self) -> int:
        """How many flags serve everybody now."""
        return sum(one.percent >= WHOLE_PERCENT for one in self.flags)

    @property
    def part(self) -> int:
        """How many serve a part."""
        return sum(0 < one.percent < WHOLE_PERCENT for one in self.flags)


@dataclass(frozen=True, slots=True)
class StandingKill:
    """A kill in force, with who obeys it, its end, and who asks to lift it."""

    record: KillRecord
    receipts: Receipts | None = None
    ends: Ending | None = None
    request: ReviveRequest | None = None


@dataclass(frozen=True, slots=True)
class KillResult:
    """A kill or a revive. ``already`` says that the store held it so before this call.

    ``record`` is the store's word now (None for a local kill or a dry run), ``before`` its word
    until then. ``flag`` is the flag after the call and ``flag_before`` before it, where the scope
    is one flag that could be read; a kill changes no field of it in the provider's own store.
    ``covers`` are the keys of the flags that the scope covers, as far as known. ``took`` is the
    time of the commit in seconds. ``ends`` is the kill's end, where it was given one, and ``blast``
    what a dry run found that it would do.
    """

    scope: Scope
    killed: bool
    environment: str
    reason: str
    actor: str
    already: bool = False
    dry_run: bool = False
    record: KillRecord | None = None
    before: KillRecord | None = None
    flag_before: Flag | None = None
    flag: Flag | None = None
    covers: tuple[str, ...] = ()
    kill_file: Path | None = None
    at_provider: AtProvider = AtProvider.NOT_NEEDED
    took: float = 0.0
    ends: Ending | None = None
    blast: Blast | None = None
    warnings: tuple[str, ...] = ()


class OnConflict(StrEnum):
    """What an import does with a flag that exists already and differs."""

    FAIL = "fail"
    SKIP = "skip"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What an import does with one flag or segment.

    ``action`` is ``create``, ``replace``, ``skip`` (it exists and differs) or ``same``; ``written``
    says whether it was carried out, ``error`` why not.
    """

    entity: str
    key: str
    action: str
    written: bool = False
    version: str = ""
    error: DownhaulError | None = None


@dataclass(frozen=True, slots=True)
class ImportResult:
    """An import, row by row in the order of writing. ``error`` is what stopped it, if any."""

    rows: tuple[ImportRow, ...]
    change: Change
    dry_run: bool = False
    error: DownhaulError | None = None

    def count(self, action: str) -> int:
        """Return how many rows have this action."""
        return sum(1 for row in self.rows if row.action == action)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change, and what it changed field by field."""

    record: ChangeRecord
    differences: tuple[Difference, ...]


def _flag_data(flag: Flag | None) -> dict[str, Any] | None:
    return None if flag is None else flag_to_data(flag)
