"""What two answers to one question are to each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from downhaul.result import ErrorCode, Reason, Result
from downhaul.staging import Side


class Outcome(StrEnum):
    """How two answers compare."""

    MATCH = "match"
    VARIANT_ONLY = "variant_only"
    """The values are equal, the names of the variants are not. Counts as a match."""
    REASON_ONLY = "reason_only"
    """Equal but for the reason, of which each vendor has its own. Counts as a match."""
    VALUE = "value"
    """The values differ, or one side serves one and the other leaves it to the caller."""
    TYPE = "type"
    """The values differ in their type: ``1`` and ``true``, ``1`` and ``"1"``. ``1`` is ``1.0``."""
    NOT_FOUND = "not_found"
    """A side, or both, has no such flag."""
    ERROR = "error"
    """A side, or both, could not answer. Never counts as agreement, nor as the opposite."""

    @property
    def agrees(self) -> bool:
        """Whether both sides serve the same."""
        return self in (Outcome.MATCH, Outcome.VARIANT_ONLY, Outcome.REASON_ONLY)


@dataclass(frozen=True, slots=True)
class Compared:
    """An outcome, and for NOT_FOUND, ERROR and TYPE errors the sides that it is of."""

    outcome: Outcome
    sides: tuple[Side, ...] = ()


# An answer, and no failure to answer: by design (rule E8) a split serves the caller's default to
# whoever has no key.
_DECIDED: Final = frozenset({
    ErrorCode.FLAG_NOT_FOUND, ErrorCode.TYPE_MISMATCH, ErrorCode.TARGETING_KEY_MISSING,
})  # fmt: skip


def compared(old: Result, new: Result) -> Compared:
    """Return how the answers of the old and the new side compare. Their order is no matter."""
    both = ((Side.OLD, old), (Side.NEW, new))
    for outcome, is_so in (
        (Outcome.ERROR, _failed),
        (Outcome.NOT_FOUND, _missing),
        (Outcome.TYPE, _of_another_type),
    ):
        sides = tuple(side for side, result in both if is_so(result))
        if sides:
            return Compared(outcome, sides)
    return Compared(_served(old, new))


def _failed(result: Result) -> bool:
    if result.error_code is None:
        return result.reason is Reason.ERROR
    return result.error_code not in _DECIDED


def _missing(result: Result) -> bool:
    return result.error_code is ErrorCode.FLAG_NOT_FOUND


def _of_another_type(result: Result) -> bool:
    return result.error_code is ErrorCode.TYPE_MISMATCH


def _served(old: Result, new: Result) -> Outcome:
    if old.authoritative is not new.authoritative:
        return Outcome.VALUE
    if old.authoritative:
        if json_type(old.value) != json_type(new.value):
            return Outcome.TYPE
        if not same(old.value, new.value):
            return Outcome.VALUE
        named = old.variant is not None and new.variant is not None
        if named and old.variant != new.variant:
            return Outcome.VARIANT_ONLY
    return Outcome.MATCH if old.reason is new.reason else Outcome.REASON_ONLY


def json_type(value: Any) -> str:
    """Return the JSON type of a value; whole numbers and others are one."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal: by structure and by type, whatever the order."""
    if json_type(one) != json_type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)
