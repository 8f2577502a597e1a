"""What no document may hold, whatever it says: what some store, format or reader can't carry."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any, Final

from downhaul.documents.faults import Fault, Place, quoted

DEEPEST: Final = 64
"""How far lists and objects may nest."""

_WIDEST: Final = 1 << 63


def insane(data: Any) -> Iterator[Fault]:
    """Yield a fault for each value, at any depth, that is no JSON data within our limits.

    Numbers are finite and integers fit 64 bits; text is valid Unicode without NUL. Doesn't recurse.
    """
    # A place is a chain of (parent, name), written out only where something is wrong.
    stack: list[tuple[Any, _Chain, int]] = [(data, None, 0)]
    while stack:
        value, chain, depth = stack.pop()
        kind = type(value)
        if kind is dict or kind is list:
            if depth >= DEEPEST:
                yield Fault(_place(chain), f"nests deeper than {DEEPEST} levels")
                continue
            if kind is list:
                parts = [(one, (chain, index), depth + 1) for index, one in enumerate(value)]
            else:
                parts = [(one, (chain, name), depth + 1) for name, one in value.items()]
                for name in value:
                    if bad_name := _wrong_name(name):
                        yield Fault(_place(chain), bad_name)
            stack.extend(reversed(parts))
        elif wrong := _wrong(value):
            yield Fault(_place(chain), *wrong)


_Chain = tuple[Any, Any] | None


def _place(chain: _Chain) -> Place:
    place: list[str | int] = []
    while chain is not None:
        chain, name = chain
        place.append(name if isinstance(name, (str, int)) else str(name))
    return tuple(reversed(place))


def _wrong_name(name: Any) -> str | None:
    if type(name) is not str:
        return f"the name of a field is text, not {quoted(name)}"
    wrong = _wrong(name)
    return f"in the name {quoted(name)}: {wrong[0]}" if wrong else None


def _wrong(value: Any) -> tuple[str, str | None] | None:
    kind = type(value)
    if kind is str:
        return _wrong_text(value)
    if value is None or kind is bool:
        return None
    if kind is int:
        return None if -_WIDEST <= value < _WIDEST else ("the integer does not fit 64 bits", None)
    if kind is float:
        return None if math.isfinite(value) else (f"{value} is no number of a document", None)
    if isinstance(value, (dt.date, dt.time)):
        hint = f'put it in quotes, with an offset: "{_suggested(value)}"'
        return "a date is written as text", hint
    return f"{kind.__name__} is no JSON data", None


def _wrong_text(text: str) -> tuple[str, str | None] | None:
    if text.isascii():
        return ("holds the character NUL", None) if "\0" in text else None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair", "write the whole character"
    return ("holds the character NUL", None) if "\0" in text else None


def _suggested(value: dt.date | dt.time) -> str:
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).isoformat()
    return (
        f"{value.isoformat()}T00:00:00Z" if isinstance(value, dt.date) else "2026-01-31T09:00:00Z"
    )
