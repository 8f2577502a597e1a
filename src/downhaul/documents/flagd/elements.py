"""Conditions on the elements of an attribute: ``some``, ``all`` and ``none``.

What our own writing makes is read back here as the clauses that it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.documents.flagd.alternatives import Condition, Not, Some
from downhaul.documents.flagd.logic import (
    ELEMENT,
    Inexpressible,
    Logic,
    asks,
    attribute_of,
    is_list,
    is_no_boolean,
    is_no_digit,
    is_number,
    is_text,
    on,
)
from downhaul.documents.flagd.versions import version_condition
from downhaul.flag import TARGETING_KEY, Clause, Operator

_ORDER: Final[Mapping[str, Operator]] = {
    "<": Operator.LESS,
    "<=": Operator.LESS_OR_EQUAL,
    ">": Operator.GREATER,
    ">=": Operator.GREATER_OR_EQUAL,
}
_OWN: Final = frozenset({"starts_with", "ends_with", "sem_ver"})
_NEEDS_TWO: Final = "no clause here asks this of the elements of a list"


def quantified(word: str, args: list[Logic]) -> Condition:
    """Return what ``some``, ``all`` or ``none`` of a list asks. Raises Inexpressible."""
    if len(args) != 2:  # noqa: PLR2004  (a list, and what is asked of it)
        raise Inexpressible(_NEEDS_TWO, fragment=args)
    many, test = args
    if isinstance(many, dict) and list(many) == ["merge"] and word == "some":
        inner = many["merge"]
        one = inner[0] if isinstance(inner, list) and len(inner) == 1 else inner
        return _each(_name(one), test)
    name = _name(many)
    if word == "all":
        return Clause(name, Operator.SUBSET_OF, _values(test))
    found = Clause(name, Operator.HAS_ANY, _values(test))
    return Not(found) if word == "none" else found


def alike(args: list[Logic]) -> tuple[list[Condition], list[Logic]]:
    """Take out of an ``or`` what asks the same of a value and of the elements of a list.

    Returns what that comes to, and the parts that are left.
    """
    found: list[Condition] = []
    for one in args:
        many, test = _within_list(one)
        if many is None:
            continue
        on_value = on(many, test)
        parts = on_value["or"] if isinstance(on_value, dict) and "or" in on_value else [on_value]
        if all(part in args for part in parts):
            args = [part for part in args if part != one and part not in parts]
            found.append(_each(_name(many), test))
    return found, args


def _within_list(logic: Logic) -> tuple[Logic, Logic]:
    """Return the list and the test of ``and[is a list, some[list, test]]``; None for others."""
    parts = logic["and"] if isinstance(logic, dict) and list(logic) == ["and"] else []
    if isinstance(parts, list) and len(parts) == 2:  # noqa: PLR2004  (a guard, and what it guards)
        guard, asked = parts
        many = asked["some"] if isinstance(asked, dict) and list(asked) == ["some"] else []
        if isinstance(many, list) and len(many) == 2 and guard == is_list(many[0]):  # noqa: PLR2004
            return (many[0], many[1]) if asks(many[1], _OWN) else (None, None)
    return None, None


def without_guards(args: list[Logic]) -> list[Logic]:
    """Return the parts of an ``and`` without those that say of a list only that it is one."""
    lists = [one[word][:1] for one in args for word in _quantifiers(one)]
    return [one for one in args if not any(one == is_list(x) for (x,) in lists)]


def _quantifiers(logic: Logic) -> list[str]:
    known = isinstance(logic, dict) and list(logic) in (["some"], ["all"])
    words = list(logic) if known else []
    return [word for word in words if isinstance(logic[word], list) and logic[word]]


def twins(value: Any) -> tuple[Any, ...]:
    """Return a value and what Python's equality takes for the same: True is 1."""
    if isinstance(value, bool):
        return (value, int(value))
    if isinstance(value, (int, float)) and value in (0, 1):
        return (value, bool(value))
    return (value,)


def _name(logic: Logic) -> str:
    name = attribute_of(logic)
    if name is None or name == TARGETING_KEY:
        raise Inexpressible("clauses here read one attribute by its name", fragment=logic)
    return name


def _each(name: str, test: Logic) -> Condition:
    """Return what is true where the test holds for one element, or for the value that is none."""
    word, args = _operation(test)
    if word == "or":
        return Some(tuple(_each(name, one) for one in args))
    if word == "in":
        return Clause(name, Operator.IN, _listed(args))
    if test == is_text(ELEMENT):
        return Clause(name, Operator.CONTAINS, ("",))
    if word in ("starts_with", "ends_with"):
        return Clause(name, Operator(word), (_operand(args, str),))
    if word == "and":
        return _guarded(name, args)
    raise Inexpressible(_NEEDS_TWO, fragment=test)


def _guarded(name: str, args: list[Logic]) -> Condition:
    if len(args) == 2 and (exact := _exact(args)) is not None:  # noqa: PLR2004  (a test and its guard)
        return Clause(name, Operator.IN, exact)
    if args[:1] == [is_text(ELEMENT)] and len(args) == 2:  # noqa: PLR2004  (as above)
        return _any(args[1], lambda word, inner: _of_text(name, word, inner))
    if args[:-1] == is_number(ELEMENT):
        return _any(args[-1], lambda word, inner: _of_number(name, word, inner))
    raise Inexpressible(_NEEDS_TWO, fragment=args)


def _exact(args: list[Logic]) -> tuple[Any, ...] | None:
    """Return the values of an ``in`` whose guard keeps True and 1 apart."""
    test, guard = args
    if not isinstance(test, dict) or list(test) != ["in"] or not isinstance(test["in"], list):
        return None
    values = test["in"][1] if len(test["in"]) == 2 and test["in"][0] == ELEMENT else None  # noqa: PLR2004
    if not isinstance(values, list) or not values:
        return None
    booleans = [isinstance(one, bool) for one in values]
    numbers = [isinstance(one, (int, float)) and not isinstance(one, bool) for one in values]
    if guard == is_no_digit(ELEMENT) and all(booleans):
        return tuple(values)
    return tuple(values) if guard == is_no_boolean(ELEMENT) and all(numbers) else None


def _any(logic: Logic, read: Any) -> Condition:
    word, args = _operation(logic)
    if word == "or":
        return Some(tuple(_any(one, read) for one in args))
    made: Condition = read(word, args)
    return made


def _of_text(name: str, word: str, args: list[Logic]) -> Condition:
    if word == "in" and len(args) == 2 and args[1] == ELEMENT and isinstance(args[0], str):  # noqa: PLR2004
        return Clause(name, Operator.CONTAINS, (args[0],))
    if word == "sem_ver" and len(args) == 3 and args[0] == ELEMENT:  # noqa: PLR2004  (x, operator, y)
        return version_condition(name, args[1], args[2])
    raise Inexpressible(_NEEDS_TWO, fragment={word: args})


def _of_number(name: str, word: str, args: list[Logic]) -> Condition:
    value = _operand(args, (int, float))
    if word not in _ORDER or isinstance(value, bool):
        raise Inexpressible(_NEEDS_TWO, fragment={word: args})
    return Clause(name, _ORDER[word], (value,))


def _values(test: Logic) -> tuple[Any, ...]:
    """Return the values among which a test asks an element to be."""
    word, args = _operation(test)
    if word == "or":
        return tuple(value for one in args for value in _values(one))
    if word == "in":
        return _listed(args)
    if word == "and" and len(args) == 2 and (exact := _exact(args)) is not None:  # noqa: PLR2004
        return exact
    raise Inexpressible(_NEEDS_TWO, fragment=test)


def _listed(args: list[Logic]) -> tuple[Any, ...]:
    values = args[1] if len(args) == 2 and args[0] == ELEMENT else None  # noqa: PLR2004
    if (
        not isinstance(values, list)
        or not values
        or any(one is None or isinstance(one, (dict, list)) for one in values)
    ):
        raise Inexpressible(_NEEDS_TWO, fragment=args)
    return tuple(twin for one in values for twin in twins(one))


def _operand(args: list[Logic], kind: Any) -> Any:
    if len(args) != 2 or args[0] != ELEMENT or not isinstance(args[1], kind):  # noqa: PLR2004
        raise Inexpressible(_NEEDS_TWO, fragment=args)
    return args[1]


def _operation(logic: Logic) -> tuple[str, list[Logic]]:
    if not isinstance(logic, dict) or len(logic) != 1:
        raise Inexpressible(_NEEDS_TWO, fragment=logic)
    ((word, args),) = logic.items()
    return word, args if isinstance(args, list) else [args]
