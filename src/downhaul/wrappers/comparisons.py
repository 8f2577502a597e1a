"""How the answers of two backends compare, and what is known of many such comparisons.

Pure: who asks, when and how often is :mod:`downhaul.wrappers.comparing`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final

from downhaul.context import Context
from downhaul.flag import USER
from downhaul.result import ErrorCode, Result

_SHOWN: Final = 80  # characters of a value


class Outcome(StrEnum):
    """What became of one comparison."""

    MATCH = "match"
    VALUE = "value"
    """Another value, or one side leaves it to the caller's default."""
    TYPE = "type"
    """A value of another type; whole numbers and others are two."""
    NOT_FOUND = "not_found"
    """One side, or both, has no such flag."""
    ERROR_OLD = "error_old"
    """The old side could not answer, or has old flags only; no word on the new one."""
    ERROR_NEW = "error_new"
    """The new side could not answer, or has old flags only."""
    EXPECTED = "expected"
    """They differ, and somebody said why."""
    DROPPED = "dropped"
    """Not compared: too many were waiting."""


DIFFERENT: Final = frozenset({Outcome.VALUE, Outcome.TYPE, Outcome.NOT_FOUND})
"""The outcomes that stand against moving on."""

OTHERS: Final = "*"
"""What flags are counted under that come after ten thousand others."""

Counts = Mapping[str, Mapping[Outcome, int]]
"""How often what became of comparisons, by flag."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Flags that are known to differ, by a pattern (``checkout-*``), why, and how long at most.

    ``until`` is the last day, in UTC, on which a difference is expected.
    """

    flag: str
    reason: str
    until: dt.date

    def covers(self, flag: str, today: dt.date) -> bool:
        """Return whether a difference of a flag is expected today."""
        return today <= self.until and fnmatchcase(flag, self.flag)


@dataclass(frozen=True, slots=True)
class Answered:
    """One side's answer, as a report shows it: no identity is in it."""

    provider: str
    variant: str | None
    value: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A comparison that did not match. ``at`` is RFC 3339 in UTC.

    Of who asked there is a salted hash, and the names of the attributes, of other kinds than
    ``user`` as ``KIND.NAME``.
    """

    flag: str
    outcome: Outcome
    at: str
    who: str
    attributes: tuple[str, ...]
    old: Answered
    new: Answered


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared in this process until now. ``since`` is RFC 3339 in UTC.

    ``mismatches`` are the last ones, the oldest first; ``errors`` is what a side said when it last
    could not answer. ``waiting`` is not compared yet. ``comparing`` is False until both sides were
    ready for the first time.
    """

    since: str
    counts: Counts = field(default_factory=lambda: MappingProxyType({}))
    mismatches: tuple[Mismatch, ...] = ()
    errors: Mapping[Outcome, str] = field(default_factory=lambda: MappingProxyType({}))
    waiting: int = 0
    comparing: bool = False

    def total(self, *outcomes: Outcome) -> int:
        """Return how often any of these outcomes came about, over all flags."""
        return sum(one.get(outcome, 0) for one in self.counts.values() for outcome in outcomes)

    def parity(self, flag: str | None = None) -> float | None:
        """Return the share of answered comparisons that matched, of a flag or of all; None: none.

        Expected differences and errors are no answers, for or against.
        """
        counts = self.counts.values() if flag is None else [self.counts.get(flag, {})]
        matched = sum(one.get(Outcome.MATCH, 0) for one in counts)
        differed = sum(one.get(outcome, 0) for one in counts for outcome in DIFFERENT)
        return matched / (matched + differed) if matched + differed else None


def compared(old: Result, new: Result) -> Outcome:
    """Return how two answers to one question compare, whatever is expected."""
    for code, outcome in (
        (old.error_code, Outcome.ERROR_OLD),
        (new.error_code, Outcome.ERROR_NEW),
    ):
        if code not in (None, ErrorCode.FLAG_NOT_FOUND):
            return outcome
    if old.error_code or new.error_code:
        return Outcome.NOT_FOUND
    if not (old.authoritative and new.authoritative):  # the caller's default, on one or on both
        return Outcome.MATCH if old.authoritative is new.authoritative else Outcome.VALUE
    if _type_of(old.value) is not _type_of(new.value):
        return Outcome.TYPE
    return Outcome.MATCH if _same(old.value, new.value) else Outcome.VALUE


def answered(result: Result) -> Answered:
    """Return an answer as a report shows it."""
    code = result.error_code
    value = "" if code is not None else repr(result.value)
    short = value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…"
    return Answered(result.provider, result.variant, short, "" if code is None else str(code))


def names_of(context: Context) -> tuple[str, ...]:
    """Return the names of a context's attributes, and none of their values."""
    return tuple(
        sorted(
            str(name) if kind == USER else f"{kind}.{name}"
            for kind, one in (context.kinds or {context.kind: context}).items()
            for name in one.attributes
        )
    )


def _type_of(value: Any) -> type:
    if isinstance(value, Mapping):
        return dict
    return list if isinstance(value, list | tuple) else type(value)


def _same(old: Any, new: Any) -> bool:
    """Return whether two JSON values are the same, where True is not 1 and 1 is not 1.0."""
    if _type_of(old) is not _type_of(new):
        return False
    if isinstance(old, Mapping):
        return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in old)
    if isinstance(old, list | tuple):
        return len(old) == len(new) and all(map(_same, old, new))
    return bool(old == new)
