"""JsonLogic as flagd speaks it: the few expressions that both directions know by their shape.

Engines differ in how they compare values of two types. Python's takes ``true`` for ``1``. That for
JavaScript ends the evaluation over an object, over text that says no number, over null alone in a
``cat``, and over ``starts_with`` within ``some``. So what is written asks for the type first, and
compares only what all compare alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from downhaul.documents.faults import Place
from downhaul.evaluator.clauses import path_of
from downhaul.flag import CONTEXT_KIND, TARGETING_KEY

Logic = Any
"""An expression of JsonLogic, as JSON data. ``True`` and ``False`` are constants."""

KEY: Final[Logic] = {"var": TARGETING_KEY}
ELEMENT: Final[Logic] = {"var": ""}
"""The element that ``some``, ``all`` and ``none`` are looking at."""

HAS_KEY: Final[Logic] = {"!!": [KEY]}
NO_KEY: Final[Logic] = {"!": [KEY]}

MOST_WEIGHT: Final = (1 << 31) - 1
"""What the weights of a ``fractional`` may add up to."""

INSIDE: Final = "in"
OUTSIDE: Final = "out"
"""The labels of a ``fractional`` that is asked as a condition."""

BESIDE: Final = ""
"""The label of whom a split leaves to what follows. No variant has an empty name."""

_BOOLEANS: Final = ["true", "false", "True", "False"]
_ODD: Final = ["", "null", "None", "[object Object]", *_BOOLEANS]
"""How engines write what is neither text nor a number nor a list."""
_DIGITS: Final = ["0", "1", "-0", "0.0", "1.0", "-0.0"]


class Inexpressible(Exception):
    """One side has no words for this part of the other's. ``place`` is within what is carried."""

    def __init__(self, reason: str, place: Place = (), fragment: Any = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place
        self.fragment = fragment


def all_of(parts: Iterable[Logic]) -> Logic:
    """Return what is true where every part is."""
    return _joined("and", parts, stop=False)


def any_of(parts: Iterable[Logic]) -> Logic:
    """Return what is true where one part is."""
    return _joined("or", parts, stop=True)


def none_of(part: Logic) -> Logic:
    """Return what is true where the part is not."""
    if isinstance(part, dict) and list(part) == ["!"]:
        return part["!"][0]
    return not part if isinstance(part, bool) else {"!": [part]}


def _joined(word: str, parts: Iterable[Logic], *, stop: bool) -> Logic:
    kept: list[Logic] = []
    for part in parts:
        if part is stop:
            return stop
        if isinstance(part, dict) and list(part) == [word]:
            kept += part[word]
        elif part is not (not stop):
            kept.append(part)
    if not kept:
        return not stop
    return kept[0] if len(kept) == 1 else {word: kept}


def is_text(x: Logic) -> Logic:
    """Return what is true where a value is text."""
    return {"===": [x, _text_of(x)]}


def _text_of(x: Logic) -> Logic:
    return {"cat": ["", x]}  # alone, null ends the evaluation in an engine for JavaScript


def is_number(x: Logic) -> list[Logic]:
    """Return the parts of what is true where a value is a number, in the order to ask them."""
    odd = {"in": [_text_of(x), _ODD]}
    return [none_of(is_text(x)), none_of(odd), none_of(is_list(x))]


def is_list(x: Logic) -> Logic:
    """Return what is true where a value is a list: it is not among its own elements."""
    return {"!": [{"in": [x, each(x)]}]}


def is_no_boolean(x: Logic) -> Logic:
    """Return what is false for true and false, and for text that says so."""
    return {"!": [{"in": [_text_of(x), _BOOLEANS]}]}


def is_no_digit(x: Logic) -> Logic:
    """Return what is false for 0 and 1, and for text that says so."""
    return {"!": [{"in": [_text_of(x), _DIGITS]}]}


def is_there(x: Logic) -> Logic:
    """Return what is true where an attribute is there and not null."""
    return HAS_KEY if x == KEY else {"!==": [x, None]}


def is_missing(x: Logic) -> Logic:
    """Return what is true where an attribute is not there, or null."""
    return NO_KEY if x == KEY else {"===": [x, None]}


def each(x: Logic) -> Logic:
    """Return the elements of a list, or the one value that is no list."""
    return {"merge": [x]}


def on(x: Logic, test: Logic) -> Logic:
    """Return the test of an element as the same test of ``x``."""
    if test == ELEMENT:
        return x
    if isinstance(test, dict):
        return {word: on(x, args) for word, args in test.items()}
    return [on(x, one) for one in test] if isinstance(test, list) else test


def asks(logic: Logic, words: Collection[str]) -> bool:
    """Return whether an expression has one of these operators, at any depth."""
    if isinstance(logic, dict):
        return any(word in words or asks(args, words) for word, args in logic.items())
    return isinstance(logic, list) and any(asks(one, words) for one in logic)


def fractional(parts: Sequence[tuple[str, int]]) -> Logic:
    """Return the split of labels by weight, by the flag's key and the targeting key."""
    return {"fractional": [[label, weight] for label, weight in parts]}


def variable_of(attribute: str) -> Logic | None:
    """Return what reads an attribute of ours, or None where flagd has no name for it."""
    if attribute == CONTEXT_KIND:
        return None
    if attribute == TARGETING_KEY:
        return KEY
    names = path_of(attribute)
    odd = any("." in name for name in names) or names == ("",)
    taken = names[0] in ("$flagd", TARGETING_KEY)
    into_lists = any(name == "length" or name.isdigit() for name in names[1:])
    return None if odd or taken or into_lists else {"var": ".".join(names)}


def attribute_of(x: Logic) -> str | None:
    """Return our name of what a ``var`` reads, or None where it reads what we can't."""
    if not isinstance(x, dict) or list(x) != ["var"]:
        return None
    path = x["var"]
    if isinstance(path, list):
        path = path[0] if len(path) == 1 or path[1:] == [None] else None
    if not isinstance(path, str) or not path:
        return None
    names = path.split(".")
    into_lists = any(name == "length" or name.isdigit() for name in names[1:])
    if into_lists or names[0] in ("$flagd", TARGETING_KEY):
        return TARGETING_KEY if path == TARGETING_KEY else None
    if len(names) == 1 and not path.startswith("/") and path != CONTEXT_KIND:
        return path
    return "/" + "/".join(name.replace("~", "~0").replace("/", "~1") for name in names)
