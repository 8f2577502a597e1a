"""What a reader of somebody's flags writes down: the entries of the ledger, part by part."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from downhaul.documents import check_flag
from downhaul.flag import Flag
from downhaul.ledger import Fidelity, LedgerEntry


class NotMeant(Exception):
    """A value that can't mean what stands in its place. ``str()`` is the reason."""


class Entries:
    """The entries of one flag, whose row or table in the source is ``path``.

    An empty ``flag`` is for what belongs to none.
    """

    def __init__(self, flag: str, path: str) -> None:
        self.flag = flag
        self.path = path
        self.made: list[LedgerEntry] = []
        self._told: set[str] = set()
        self.left_out = False

    def told(self, part: str) -> bool:
        """Return whether something was noted of a part."""
        return part in self._told

    def full(self, part: str = "", reason: str = "") -> None:
        """Note what is carried whole, unless something else was noted of it."""
        if part not in self._told:
            self._add(part, Fidelity.FULL, reason, None)

    def partial(self, part: str, reason: str, fragment: Any = None) -> None:
        """Note what is carried but for the reason."""
        self._add(part, Fidelity.PARTIAL, reason, fragment)

    def manual(self, part: str, reason: str, fragment: Any = None) -> None:
        """Note what can't be carried: the flag is left out, for somebody to decide about."""
        self.left_out = True
        self._add(part, Fidelity.MANUAL, reason, fragment)

    def skipped(self, part: str, reason: str, fragment: Any = None) -> None:
        """Note what decides nothing."""
        self._add(part, Fidelity.SKIPPED, reason, fragment)

    def accepted(self, flag: Flag, fragment: Any) -> Flag | None:
        """Return the flag, or None where it is left out or is none that we can keep."""
        problems = () if self.left_out else check_flag(flag)
        if problems:
            self.manual("", f"it can't be a flag here: {'; '.join(map(str, problems))}", fragment)
        return None if self.left_out else flag

    def _add(self, part: str, fidelity: Fidelity, reason: str, fragment: Any) -> None:
        self._told.add(part)
        path = f"{self.path}.{part}" if part else self.path
        self.made.append(LedgerEntry(self.flag, path, fidelity, reason, as_json(fragment)))


def as_json(value: Any) -> Any:
    """Return a database's value as JSON data, for a ledger that is kept and shown."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_json(one) for one in value]
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return repr(value)
