"""How Split's SDK for Python reads the values of a context.

A matcher of text gets JSON for whatever is no text; a matcher of numbers and times takes whole
numbers, and text of one; a set may be a list, or the letters of a text. Nothing is taken as any of
its elements. Each difference from our own reading would be a decision that turns round when a flag
leaves Split (rule E9).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_SECOND: Final = 1_000_000  # microseconds
_LONGEST: Final = 400
_LONGEST_VERSION: Final = 256


def text_of(value: Any) -> str | None:
    """Return a value as its matchers of text get it; None for what they pass over."""
    if isinstance(value, str):
        return value
    if isinstance(value, dt.datetime):
        value = _seconds(value)
    try:
        return None if value is None else json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return None


def boolean(value: Any) -> bool | None:
    """Return a value as its matcher of booleans gets it: True and False, and text of either."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    return {"true": True, "false": False}.get(value.lower().strip(" \t\r\n"))


def number(value: Any) -> int | None:
    """Return a whole number, and what is text of one; nothing else is a number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, dt.datetime):
        return _seconds(value)
    return whole_in(value) if isinstance(value, str) else None


def whole_in(text: str) -> int | None:
    """Return the whole number that a text says."""
    if len(text) > _LONGEST or "_" in text:  # Python reads 1_000; nobody else does
        return None
    try:
        return int(text)
    except ValueError:
        return None


def moment(value: Any) -> int | None:
    """Return a time in microseconds since 1970: the SDK takes it in whole seconds."""
    found = number(value)
    return None if found is None else found * _SECOND


def elements(value: Any) -> frozenset[str | None] | None:
    """Return the elements of a list, with None for what is no text; None for what is no list."""
    if isinstance(value, (str, list, tuple, set, frozenset, Mapping)):
        if any(isinstance(one, (list, set, Mapping)) for one in value):
            return None  # the SDK can't hold them in a set
        return frozenset(one if isinstance(one, str) else None for one in value)
    return None


@dataclass(frozen=True, slots=True)
class Version:
    """A version. Equal is who has the same text; order leaves out what follows the ``+``."""

    text: str
    numbers: tuple[int, int, int]
    before: tuple[str, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __lt__(self, other: Version) -> bool:
        return self._compared(other) < 0

    def __le__(self, other: Version) -> bool:
        return self._compared(other) <= 0

    def __gt__(self, other: Version) -> bool:
        return self._compared(other) > 0

    def __ge__(self, other: Version) -> bool:
        return self._compared(other) >= 0

    def _compared(self, other: Version) -> int:
        if self.numbers != other.numbers:
            return 1 if self.numbers > other.numbers else -1
        if bool(self.before) is not bool(other.before):
            return -1 if self.before else 1
        for mine, theirs in zip(self.before, other.before, strict=False):
            if mine != theirs:
                if mine.isnumeric() and theirs.isnumeric():
                    return 1 if int(mine) > int(theirs) else -1
                return 1 if mine > theirs else -1  # a number beside a word goes by its letters
        return len(self.before) - len(other.before)


def version(value: Any) -> Version | None:
    """Read a version as the SDK does: three numbers, then what follows ``-``, then ``+``."""
    text = text_of(value)
    if text is None or len(text) > _LONGEST_VERSION:
        return None
    rest, plus, metadata = text.partition("+")
    release, minus, before = rest.partition("-")
    parts = release.split(".")
    if len(parts) != 3 or (plus and not metadata) or (minus and not before):  # noqa: PLR2004  (major, minor, patch)
        return None
    try:
        major, minor, patch = map(int, parts)
        words = tuple(
            str(int(one)) if one.isnumeric() else one
            for one in (before.split(".") if minus else ())
        )
    except ValueError:
        return None
    kept = f"{major}.{minor}.{patch}{'-' if words else ''}{'.'.join(words)}{plus}{metadata}"
    return Version(kept, (major, minor, patch), words)


def _seconds(value: dt.datetime) -> int | None:
    return None if value.utcoffset() is None else int(value.timestamp())
