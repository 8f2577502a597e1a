"""What flags there are before anything moves: their age, their work, and who asks for them.

A flag that has done its work is not moved but deleted with the code around it; one that code asks
for and no backend has serves a default that somebody forgot.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from downhaul.control.describe import exposure
from downhaul.control.stale import LONG_LIVED, serves_all
from downhaul.errors import Problem
from downhaul.flag import Flag
from downhaul.ledger import LedgerEntry, Translation
from downhaul.migrate.code import Reference, References

_SWITCH: Final = "switch:"


class Worth(StrEnum):
    """What speaks for or against moving a flag."""

    MOVE = "move"
    DONE = "done"
    """It serves one variant to all, and is of a sort that is meant to end: delete the code."""
    UNUSED = "unused"
    """No code asks for it, as far as the code was looked at."""
    LOST = "lost"
    """It can't be read into our words as a whole: the ledger says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One flag. ``changed`` is RFC 3339, None where it isn't known; ``references`` None likewise.

    ``exposure`` says in words who gets what. ``serves`` is the one variant that all get, if so.
    """

    key: str
    kind: str
    type: str
    on: bool
    exposure: str
    owner: str
    tags: tuple[str, ...]
    worth: Worth
    serves: str | None = None
    changed: str | None = None
    days: int | None = None
    references: int | None = None
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """The flags of one backend, and what the code that was looked at says of them.

    ``unknown`` are keys that code asks for and the backend has not; ``dynamic`` are places whose
    key nobody can tell: each may ask for any flag. ``left`` are flags of the backend that could not
    be read at all.
    """

    rows: tuple[Row, ...]
    left: tuple[LedgerEntry, ...] = ()
    unknown: Mapping[str, tuple[Reference, ...]] | None = None
    dynamic: tuple[Reference, ...] = ()
    problems: tuple[Problem, ...] = ()
    files: int = 0

    def count(self, worth: Worth) -> int:
        """Return how many flags are of this worth."""
        return sum(one.worth is worth for one in self.rows)


def inventory_of(
    translation: Translation,
    *,
    changed: Mapping[str, str] | None = None,
    code: References | None = None,
    now: dt.datetime | None = None,
) -> Inventory:
    """Return what there is. ``changed`` says when a flag was last changed (RFC 3339)."""
    moment = now or dt.datetime.now(dt.UTC)
    flags = translation.flag_set().flags
    asked = {} if code is None else code.by_key()
    rows = [
        _row(
            flag,
            (changed or {}).get(key),
            moment,
            None if code is None else len(asked.get(key, ())),
            sum(one.lossy for one in translation.ledger.of(key)),
        )
        for key, flag in flags.items()
    ]
    left = tuple(
        one for one in translation.ledger if one.flag and one.flag not in flags and one.lossy
    )
    known = flags.keys() | {one.flag for one in left}
    unknown = {
        key: found
        for key, found in asked.items()
        if key not in known and not key.startswith(_SWITCH)
    }
    return Inventory(
        tuple(sorted(rows, key=lambda one: one.key)),
        left,
        None if code is None else unknown,
        () if code is None else code.dynamic,
        () if code is None else code.problems,
        0 if code is None else code.files,
    )


def _row(
    flag: Flag, changed: str | None, moment: dt.datetime, references: int | None, losses: int
) -> Row:
    constant, variant = serves_all(flag)
    worth = Worth.MOVE
    if losses:
        worth = Worth.LOST
    elif constant and flag.type not in LONG_LIVED:
        worth = Worth.DONE
    elif references == 0:
        worth = Worth.UNUSED
    return Row(
        key=flag.key,
        kind=flag.kind.value,
        type=flag.type.value,
        on=flag.on,
        exposure=exposure(flag),
        owner=flag.owner,
        tags=flag.tags,
        worth=worth,
        serves=variant if constant else None,
        changed=changed,
        days=None if changed is None else (moment - dt.datetime.fromisoformat(changed)).days,
        references=references,
        losses=losses,
    )
