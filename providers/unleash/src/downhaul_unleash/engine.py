"""What the engine of Unleash's SDKs takes for text, a number, a date or a version.

The engine (Yggdrasil) writes each strategy as one line of a small language and compiles that. What
doesn't compile switches its whole feature off, so a translation has to know what does. The sources
are ``strategy_upgrade.rs`` and ``strategy_grammar.pest`` of github.com/Unleash/yggdrasil.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from downhaul.evaluator.operators import semver
from downhaul.evaluator.unleash import moment
from downhaul.flag import Dialect


class DoesNotCompile(Exception):
    """The engine can't compile the feature, and so answers it as off, for everybody."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


class Shape(StrEnum):
    """How the engine compares with a value: by what it looks like, whatever the operator's name."""

    DATE = "date"
    SEMVER = "version"
    NUMBER = "number"


_QUOTED: Final = re.compile(r'(?:\\"|(?!\\"|").)*', re.DOTALL)
_DATE: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
_FRAGMENT: Final = r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
_SEMVER: Final = re.compile(rf"\d+\.\d+\.\d+(?:-{_FRAGMENT})?(?:\+{_FRAGMENT})?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE: Final = re.compile(r"\+?\d+", re.ASCII)
_MOST: Final = (1 << 64) - 1


def quoted(text: str, path: str) -> str:
    """Return what the engine reads for a text that it puts in quotes as it is."""
    if not _QUOTED.fullmatch(text) or _ends_open(text):
        raise DoesNotCompile(path, f"the engine can't read {text!r} in quotes")
    return text.replace('\\"', '"')


def escaped(text: str, path: str) -> str:
    """Return what the engine reads for a text whose quotes it escapes first: the same text."""
    if _ends_open(text):
        raise DoesNotCompile(path, f"the engine takes the end of {text!r} for a quote")
    return text


def _ends_open(text: str) -> bool:
    return text.endswith("\\")  # it swallows the closing quote


def shape_of(text: str, path: str) -> tuple[Shape, str]:
    """Return how the engine compares with an unquoted value, and the value."""
    bare = text.strip(" \t")
    if _DATE.fullmatch(bare):
        if moment(bare) is not None:
            return Shape.DATE, bare
    elif _SEMVER.fullmatch(bare):
        if semver(bare, Dialect.UNLEASH) is not None:
            return Shape.SEMVER, bare
    elif _NUMBER.fullmatch(bare):
        return Shape.NUMBER, bare
    raise DoesNotCompile(path, f"{text!r} is no number, no date and no version to the engine")


def percentage(text: str | None) -> int | None:
    """Return a rollout as the engine reads it: a whole number, or None, which serves nobody."""
    if text is None or not _WHOLE.fullmatch(text) or len(text) > 40:  # noqa: PLR2004  (any zeros)
        return None
    found = int(text)
    return found if found <= _MOST else None
