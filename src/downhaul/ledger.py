"""What became of somebody else's flags on the way into our model: nothing is dropped in silence.

A translator answers with a :class:`Translation`: flags, segments, and a ledger with an entry for
each part of the source (rule M1). Whoever imports shows the entries that are not FULL. On the way
out it is an :class:`Exported`, with a ledger of the same sort.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from downhaul.flag import Flag, FlagSet, Segment


class Fidelity(StrEnum):
    """How much of a part was carried over."""

    FULL = "full"
    """Decides as its vendor decides."""
    PARTIAL = "partial"
    """Carried, but for what the reason says."""
    MANUAL = "manual"
    """Not carried: somebody has to decide what stands in for it."""
    SKIPPED = "skipped"
    """Not carried, because nothing here is decided by it."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What became of one part of the source.

    ``flag`` is the source's name of the flag, empty for what belongs to none. ``path`` is the place
    in the source document, such as ``features[3].strategies[0].constraints[1]``. ``fragment`` is
    the part itself, as JSON data, where any of it was not carried. ``loss`` is the class of what is
    lost, in a word (``rebucket``, ``names``), by which a loss can be accepted.
    """

    flag: str
    path: str
    fidelity: Fidelity
    reason: str = ""
    fragment: Any = None
    loss: str = ""

    def __post_init__(self) -> None:
        if self.fidelity is not Fidelity.FULL and not self.reason:
            message = f"{self.path}: what is not carried in full needs a reason"
            raise ValueError(message)

    @property
    def lossy(self) -> bool:
        """Whether somebody should look at it: PARTIAL or MANUAL."""
        return self.fidelity in (Fidelity.PARTIAL, Fidelity.MANUAL)

    def as_mapping(self) -> dict[str, Any]:
        """Return the entry as JSON data."""
        return {
            "flag": self.flag,
            "path": self.path,
            "fidelity": self.fidelity.value,
            "reason": self.reason,
            "fragment": self.fragment,
            "loss": self.loss,
        }

    def __str__(self) -> str:
        where = f"{self.flag} " if self.flag else ""
        return f"{self.fidelity.value.upper()} {where}{self.path}: {self.reason or 'carried whole'}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """The entries, in the order of the source."""

    entries: tuple[LedgerEntry, ...] = ()

    def __iter__(self) -> Iterator[LedgerEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def of(self, flag: str) -> tuple[LedgerEntry, ...]:
        """Return the entries of one flag, by the source's name of it."""
        return tuple(entry for entry in self.entries if entry.flag == flag)

    @property
    def lossy(self) -> tuple[LedgerEntry, ...]:
        """The entries that somebody should look at: PARTIAL and MANUAL."""
        return tuple(entry for entry in self.entries if entry.lossy)

    def counts(self) -> Mapping[Fidelity, int]:
        """Return how many entries there are of each fidelity."""
        found = Counter(entry.fidelity for entry in self.entries)
        return {fidelity: found[fidelity] for fidelity in Fidelity}


@dataclass(frozen=True, slots=True)
class Translation:
    """What a translator makes of a document: flags and segments of ours, and the ledger.

    Raises ValueError for a flag that no entry tells of: a translator that forgets is a defect.
    """

    flags: tuple[Flag, ...] = ()
    segments: tuple[Segment, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        told = {entry.flag for entry in self.ledger}
        forgotten = [flag.key for flag in self.flags if flag.key not in told]
        if forgotten:
            message = f"the ledger says nothing of {_names(forgotten)}"
            raise ValueError(message)

    def flag_set(self, revision: str = "") -> FlagSet:
        """Return the flags and segments as a flag set."""
        return FlagSet.of(self.flags, self.segments, revision)


@dataclass(frozen=True, slots=True)
class Exported:
    """What is made of our flags for somebody else: their document, as JSON data, and the ledger.

    ``path`` of an entry is a place in our own document, such as ``flags[3].rules[0].when[1]``.
    """

    document: Mapping[str, Any]
    ledger: Ledger = field(default_factory=Ledger)


def _names(keys: Iterable[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
