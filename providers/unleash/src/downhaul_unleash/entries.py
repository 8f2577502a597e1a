"""The ledger of one translation, as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from downhaul.ledger import Fidelity, Ledger, LedgerEntry
from downhaul_unleash.source import Part, Remark


class Entries:
    """Entries about one flag, or about what belongs to none (an empty name)."""

    def __init__(self, flag: str = "") -> None:
        self.flag = flag
        self.made: list[LedgerEntry] = []

    def part(self, part: Part, reasons: Iterable[str] = ()) -> None:
        """Note a part that is carried: whole, or but for these reasons."""
        said = "; ".join(reasons)
        if said:
            self.partial(part.path, said, part.raw)
        else:
            self.made.append(LedgerEntry(self.flag, part.path, Fidelity.FULL))

    def full(self, path: str) -> None:
        """Note what is carried whole."""
        self.made.append(LedgerEntry(self.flag, path, Fidelity.FULL))

    def partial(self, path: str, reason: str, fragment: Any) -> None:
        """Note what is carried but for the reason."""
        self.made.append(LedgerEntry(self.flag, path, Fidelity.PARTIAL, reason, fragment))

    def manual(self, path: str, reason: str, fragment: Any) -> None:
        """Note what is not carried, and somebody must decide about."""
        self.made.append(LedgerEntry(self.flag, path, Fidelity.MANUAL, reason, fragment))

    def skipped(self, path: str, reason: str, fragment: Any) -> None:
        """Note what is left out because it decides nothing here."""
        self.made.append(LedgerEntry(self.flag, path, Fidelity.SKIPPED, reason, fragment))

    def rest(self, part: Part, carried: frozenset[str], known: Mapping[str, str]) -> None:
        """Note the fields of a part that nothing was made of, with what is known of them."""
        for name, value in part.raw.items():
            if name in carried or value is None or value is False or value in ("", [], {}):
                continue
            reason = known.get(name, "Unleash's engine takes no notice of this field")
            self.skipped(f"{part.path}.{name}", reason, value)


def entry_of(remark: Remark) -> LedgerEntry:
    """Return the entry for something that reading the document met."""
    fidelity = Fidelity.PARTIAL if remark.lossy else Fidelity.SKIPPED
    return LedgerEntry(remark.flag, remark.path, fidelity, remark.reason, remark.fragment)


def ledger_of(entries: Iterable[LedgerEntry]) -> Ledger:
    """Return the ledger of all entries."""
    return Ledger(tuple(entries))
