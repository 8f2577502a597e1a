"""flagd's conditions as ours.

JsonLogic compares across types: text that says a number is that number, true is 1, and what is
missing is 0. What of it a clause can ask is asked; the rest is remarked. The reading is that of
flagd's engine for Python.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from downhaul.documents.faults import Fault, Place, quoted
from downhaul.documents.flagd import elements
from downhaul.documents.flagd.alternatives import All, Condition, Not, Share, Some
from downhaul.documents.flagd.logic import BESIDE, Inexpressible, Logic, attribute_of, is_text
from downhaul.documents.flagd.parts import parts_of
from downhaul.documents.flagd.versions import version_condition
from downhaul.flag import TARGETING_KEY, Clause, Dialect, Missing, Operator

_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ORDER: Final[Mapping[str, tuple[Operator, Callable[[Any, Any], bool]]]] = {
    "<": (Operator.LESS, operator.lt),
    "<=": (Operator.LESS_OR_EQUAL, operator.le),
    ">": (Operator.GREATER, operator.gt),
    ">=": (Operator.GREATER_OR_EQUAL, operator.ge),
}
_TIMES: Final[Mapping[str, tuple[Operator, int]]] = {
    "<": (Operator.BEFORE, 0),
    "<=": (Operator.BEFORE, 1),
    ">": (Operator.AT_OR_AFTER, 1),
    ">=": (Operator.AT_OR_AFTER, 0),
}
"""How a comparison of flagd's clock, which goes by whole seconds, is one of ours."""

_CLOCK: Final = {"var": "$flagd.timestamp"}
_NOWHERE: Final = "/$flagd/timestamp"
"""An attribute that no context has, because flagd keeps the name; the time stands in for it."""

_LISTS: Final = "a list or an object in {} is compared as a whole in flagd, here by its elements"
_NUMBERS: Final = "in flagd text that says a number, true and false count as numbers in {}"
_VERSIONS: Final = 'flagd takes "1.2", "v1.2.3" and numbers for versions too in {}'
_BRACKETS: Final = "here text that begins with [ counts as a list in {}"


class Asking:
    """Reads the conditions of one flag, and gathers what differs, and what is wrong."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._remarks: dict[str, dict[str, None]] = {}

    def remarks(self) -> list[str]:
        """Return what is only almost alike, in the order in which it was met."""
        return [text.format(", ".join(map(quoted, names))) for text, names in self._remarks.items()]

    def condition(self, logic: Logic, place: Place) -> Condition:
        """Return a condition of flagd's as ours. Raises Inexpressible."""
        if logic is None or isinstance(logic, (bool, str, int, float)):
            return bool(logic)
        word, args = operation(logic)
        if word in ("if", "?:", "and", "or", "!", "!!"):
            return self._joined(word, args, place)
        if word == "fractional":
            return self._share(logic, bool, place)
        if word in ("==", "!=", "===", "!=="):
            found = self._equality(args, strict=len(word) == len("==="), place=place)
            return Not(found) if word.startswith("!") else found
        return self._comparison(word, args, logic)

    def _comparison(self, word: str, args: list[Logic], logic: Logic) -> Condition:
        if word == "var":
            return self._truthy(logic)
        if word in _ORDER:
            return self._between(word, args)
        if word == "in":
            return self._in(args)
        if word in ("starts_with", "ends_with"):
            return self._text(Operator(word), args)
        if word == "sem_ver":
            return self._version(args)
        if word in ("some", "all", "none"):
            return elements.quantified(word, args)
        raise Inexpressible(f"no clause here does what {quoted(word)} does", fragment=logic)

    # Truth

    def _joined(self, word: str, args: list[Logic], place: Place) -> Condition:
        if word in ("!", "!!"):
            return self._truth(word, args, place)
        if word == "and":
            parts = [self.condition(one, place) for one in elements.without_guards(args)]
            return All(tuple(parts)) if parts else False
        if word == "or":
            parts, rest = elements.alike(args)
            return Some((*parts, *(self.condition(one, place) for one in rest)))
        return self._if(args, place)

    def _if(self, args: list[Logic], place: Place) -> Condition:
        if not args:
            return False
        first = self.condition(args[0], place)
        if len(args) == 1:
            return first
        then, otherwise = self.condition(args[1], place), self._if(args[2:], place)
        return Some((All((first, then)), All((Not(first), otherwise))))

    def _truth(self, word: str, args: list[Logic], place: Place) -> Condition:
        logic = args[0] if args else None
        if word == "!":
            return Not(self.condition(logic, place))
        if isinstance(logic, dict) and list(logic) == ["fractional"]:
            parts = parts_of(logic["fractional"], place, self.faults)
            if parts and any(one.label == BESIDE for one in parts):
                shares = tuple((bool(one.label), one.weight) for one in parts)
                return Share(shares, split=json.dumps(logic))
        return self.condition(logic, place)

    def _truthy(self, logic: Logic) -> Condition:
        name = self._attribute(logic)
        there = Clause(name, Operator.PRESENT)
        if name == TARGETING_KEY:
            return there
        self._remark(_LISTS, name)
        return All((there, Not(Clause(name, Operator.IN, ("", 0, False)))))

    def _share(self, logic: Logic, hit: Callable[[Any], bool], place: Place) -> Condition:
        parts = parts_of(logic["fractional"], place, self.faults)
        if not parts:
            return False
        return Share(tuple((hit(one.label), one.weight) for one in parts))

    # Equality

    def _equality(self, args: list[Logic], *, strict: bool, place: Place) -> Condition:
        one, other = (*args[:2], None, None)[:2]
        if attribute_of(one) == TARGETING_KEY and is_text(one) == {"===": args}:
            return Clause(TARGETING_KEY, Operator.PRESENT)
        if not isinstance(one, (dict, list)):
            one, other = other, one
        if isinstance(other, (dict, list)):
            raise Inexpressible("a clause here compares an attribute with values", fragment=args)
        if _is_fractional(one):
            if not isinstance(other, str):
                raise Inexpressible("its split is compared with what is no text", fragment=args)
            return self._share(one, lambda label: label == other, place)
        name = self._attribute(one)
        if other is None and strict:
            return Clause(name, Operator.PRESENT, negate=True)
        if name == TARGETING_KEY:
            return _key_equals(other)
        self._remark(_LISTS, name)
        return _same(name, other) if strict else self._alike(name, other)

    def _alike(self, name: str, value: Any) -> Condition:
        """Return what is true where JsonLogic's ``==`` is, but for text that says a number."""
        missing = Clause(name, Operator.PRESENT, negate=True)
        if value is None:
            return Some((missing, Clause(name, Operator.IN, (0, False))))
        number = number_in(value)
        if number is None:
            return Clause(name, Operator.IN, (value,))
        values: list[Any] = [number, *([bool(number)] if number in (0, 1) else [])]
        if isinstance(value, str):
            return Clause(name, Operator.IN, (value, *values))
        self._remark(_NUMBERS, name)
        among = Clause(name, Operator.IN, (*values, str(number)))
        return Some((among, missing)) if number == 0 else among

    # Order, text, versions, lists

    def _between(self, word: str, args: list[Logic]) -> Condition:
        if len(args) > 2 and args[2] is not None:  # noqa: PLR2004  (1 < x < 3)
            return All((self._order(word, args[:2]), self._order(word, args[1:3])))
        return self._order(word, args[:2])

    def _order(self, word: str, args: list[Logic]) -> Condition:
        if len(args) == 2 and _is_number(args[0]):  # noqa: PLR2004  (left and right)
            word, args = _FLIPPED[word], args[::-1]
        if len(args) != 2 or not _is_number(args[1]):  # noqa: PLR2004  (as above)
            raise Inexpressible("clauses here compare an attribute with numbers", fragment=args)
        logic, value = args
        if logic == _CLOCK:
            return _time(word, value)
        name = self._attribute(logic)
        kind, compare = _ORDER[word]
        self._remark(_NUMBERS, name)
        found = Clause(name, kind, (value,))
        if name == TARGETING_KEY:
            raise Inexpressible("the targeting key is no number here", fragment=args)
        self._remark(_LISTS, name)
        missing = Clause(name, Operator.PRESENT, negate=True)
        return Some((found, missing)) if compare(0, value) else found

    def _in(self, args: list[Logic]) -> Condition:
        needle, haystack = (*args[:2], None, None)[:2]
        if isinstance(haystack, list):
            name = self._attribute(needle)
            if name == TARGETING_KEY:
                return Some(tuple(_same_key(one) for one in haystack))
            self._remark(_LISTS, name)
            return Some(tuple(_same(name, one) for one in haystack))
        name = self._attribute(haystack)
        if not isinstance(needle, str):
            raise Inexpressible("clauses here look for text in an attribute", fragment=args)
        contains = Clause(name, Operator.CONTAINS, (needle,))
        if name == TARGETING_KEY:
            return contains
        self._remark(_BRACKETS, name)
        # Text that contains it, or a list that has it. A list is text that begins so to Split's
        # dialect, the one in which nothing is taken by its elements.
        bracket = Clause(name, Operator.STARTS_WITH, ("[",), dialect=Dialect.SPLIT)
        listed = Clause(name, Operator.HAS_ANY, (needle,))
        return Some((listed, All((contains, Not(bracket)))))

    def _text(self, kind: Operator, args: list[Logic]) -> Condition:
        if len(args) != 2 or not isinstance(args[1], (str, dict)):  # noqa: PLR2004  (text, and what it begins with)
            return False
        if not isinstance(args[1], str):
            raise Inexpressible("clauses here compare an attribute with values", fragment=args)
        name = self._attribute(args[0])
        if name != TARGETING_KEY:
            self._remark(_LISTS, name)
        return Clause(name, kind, (args[1],))

    def _version(self, args: list[Logic]) -> Condition:
        if len(args) != 3:  # noqa: PLR2004  (version, operator, version)
            return False
        name = self._attribute(args[0])
        self._remark(_VERSIONS, name)
        if name != TARGETING_KEY:
            self._remark(_LISTS, name)
        return version_condition(name, args[1], args[2])

    def _attribute(self, logic: Logic) -> str:
        name = attribute_of(logic)
        if name is None:
            raise Inexpressible("clauses here read one attribute by its name", fragment=logic)
        return name

    def _remark(self, text: str, name: str) -> None:
        self._remarks.setdefault(text, {})[name] = None


def operation(logic: Logic) -> tuple[str, list[Logic]]:
    """Return an expression's operator and arguments. Raises Inexpressible for what is none."""
    if not isinstance(logic, dict) or len(logic) != 1:
        raise Inexpressible("a list or an object stands where a condition should", fragment=logic)
    ((word, args),) = logic.items()
    return word, args if isinstance(args, list) else [args]


def number_in(value: Any) -> float | int | None:
    """Return the number that JsonLogic makes of a value; None where there is none."""
    if isinstance(value, (int, float)):
        found = float(value) if isinstance(value, float) else int(value)
    else:
        try:
            found = float(value)
        except (TypeError, ValueError):
            return None
    if isinstance(found, float):
        if not math.isfinite(found):
            return None
        found = int(found) if found.is_integer() and abs(found) < 1 << 63 else found
    return found


def _same(name: str, value: Any) -> Condition:
    """Return what is true where JsonLogic's ``===`` is; Python's takes True for 1."""
    if value is None:
        return Clause(name, Operator.PRESENT, negate=True)
    if isinstance(value, (dict, list)):
        raise Inexpressible("a clause here compares with text, numbers, true and false")
    return Clause(name, Operator.IN, elements.twins(value))


def _key_equals(value: Any) -> Condition:
    """Return what compares the targeting key, which is text and missing where it is empty."""
    missing = Clause(TARGETING_KEY, Operator.PRESENT, negate=True)
    if value is None:
        return missing
    if isinstance(value, str) and value:
        return Clause(TARGETING_KEY, Operator.IN, (value,))
    raise Inexpressible("the targeting key is text here, and missing where it is empty")


def _same_key(value: Any) -> Condition:
    if value is None:
        return Clause(TARGETING_KEY, Operator.PRESENT, negate=True)
    if value == "":
        raise Inexpressible("an empty targeting key is a missing one here")
    return Clause(TARGETING_KEY, Operator.IN, (value,)) if isinstance(value, str) else False


def _time(word: str, seconds: float) -> Condition:
    kind, later = _TIMES[word]
    if not float(seconds).is_integer():
        raise Inexpressible("flagd's clock goes by whole seconds, and this is none")
    try:
        at = dt.datetime.fromtimestamp(int(seconds) + later, dt.UTC)
    except (OverflowError, ValueError, OSError):
        raise Inexpressible("this is no time that a clause can name") from None
    text = at.isoformat().replace("+00:00", "Z")
    return Clause(_NOWHERE, kind, (text,), missing=Missing.NOW)


def _is_fractional(logic: Logic) -> bool:
    return isinstance(logic, dict) and list(logic) == ["fractional"]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
