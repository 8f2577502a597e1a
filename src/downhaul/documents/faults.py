"""What is wrong with a document, before it is known where the document came from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from downhaul.errors import Problem

Place = tuple[str | int, ...]
"""Where something stands in a document: names of fields and positions in lists."""

_LONGEST = 60
"""Characters of a value that a message quotes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at one place."""

    place: Place
    message: str
    hint: str | None = None

    def under(self, place: Place) -> Fault:
        """Return the fault as seen from above: at ``place``, and from there as before."""
        return Fault((*place, *self.place), self.message, self.hint)


def path_of(place: Place) -> str:
    """Write a place as ``flags[3].rules[0].when[1].values``; odd names as ``variants["a b"]``."""
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():
            path += f".{part}" if path else part
        else:
            path += f"[{quoted(part)}]"
    return path


def problems_of(
    faults: Iterable[Fault], origin: str = "", line_of: Callable[[Place], int | None] | None = None
) -> list[Problem]:
    """Return the faults as problems, with the file and, where it is known, the line."""
    problems = []
    for fault in faults:
        line = line_of(fault.place) if line_of is not None else None
        where = f"{origin}:{line}" if origin and line is not None else origin
        problems.append(Problem(path_of(fault.place), fault.message, where, fault.hint))
    return problems


def quoted(value: Any) -> str:
    """Return a value as a message quotes it: short, and printable whatever it holds."""
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def did_you_mean(word: Any, known: Iterable[str], *, all_of: str = "") -> str | None:
    """Return a hint: the nearest known word, or else, after ``all_of``, all that are known."""
    known = [one for one in known if one]
    close = difflib.get_close_matches(str(word)[:_LONGEST], known, n=1)
    if close:
        return f"did you mean {quoted(close[0])}?"
    if not all_of or not known:
        return None
    few = ", ".join(quoted(one) for one in known[:12])
    return f"{all_of}: {few}{', ...' if len(known) > 12 else ''}"  # noqa: PLR2004  (what fits a line)
