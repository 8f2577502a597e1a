"""What the verbs of an operator answer with: what was, what is now, and what to know about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from downhaul.control.diff import Difference, differences
from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import DownhaulError
from downhaul.flag import Flag, Segment
from downhaul.overlay import KillRecord, Scope
from downhaul.provider import Change, ChangeRecord


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
class KillResult:
    """A kill or a revive. ``already`` says that the store held it so before this call.

    ``record`` is the store's word now (None for a local kill or a dry run), ``before`` its word
    until then. ``flag`` is the flag after the call and ``flag_before`` before it, where the scope
    is one flag that could be read; a kill changes no field of it in the provider's own store.
    ``covers`` are the keys of the flags that the scope covers, as far as known. ``took`` is the
    time of the commit in seconds.
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
