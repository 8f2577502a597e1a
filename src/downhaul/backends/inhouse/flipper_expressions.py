"""Flipper's expressions as rules of ours: a rule for each way in which one can be true.

Read are ``All`` and ``Any`` of comparisons between a property and a constant, of constants, and of
``PercentageOfActors`` of the ``flipper_id``. Times, chance, other features and text in order have
no like here, or none that decides the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from downhaul.backends.inhouse.entries import NotMeant
from downhaul.documents.faults import quoted
from downhaul.flag import TARGETING_KEY, WHOLE, Bucketing, Clause, Gate, Missing, Operator, Rule

_MOST: Final = 64
_ID: Final = "flipper_id"
_ORDER: Final[Mapping[str, Operator]] = {
    "GreaterThan": Operator.GREATER,
    "GreaterThanOrEqualTo": Operator.GREATER_OR_EQUAL,
    "LessThan": Operator.LESS,
    "LessThanOrEqualTo": Operator.LESS_OR_EQUAL,
}
_TURNED: Final[Mapping[str, str]] = {
    "GreaterThan": "LessThan",
    "GreaterThanOrEqualTo": "LessThanOrEqualTo",
    "LessThan": "GreaterThan",
    "LessThanOrEqualTo": "GreaterThanOrEqualTo",
}
Way = tuple[tuple[Clause, ...], int | None]
"""Clauses that must all match, and the share of actors that gets through, if not all."""


def rules_of(data: Any, bucketing: Bucketing) -> tuple[list[Rule], set[str]]:
    """Return rules that match where the expression is true, and the properties that they read.

    Raises NotMeant for what we can't decide as Flipper does.
    """
    ways = _ways(data)
    rules = [
        Rule(
            "on",
            clauses,
            None if share is None else Gate(share, bucketing),
            id=f"expression-{number}",
        )
        for number, (clauses, share) in enumerate(ways, start=1)
    ]
    named = {one.attribute for clauses, _ in ways for one in clauses}
    return rules, named - {TARGETING_KEY}


def _ways(data: Any) -> list[Way]:
    if isinstance(data, bool):
        return [((), None)] if data else []
    name, args = _call(data)
    if name == "Any":
        ways = [way for one in args for way in _ways(one)]
    elif name == "All":
        each = [_ways(one) for one in args]
        _check_many(math.prod(map(len, each)))
        ways = [_both(parts) for parts in itertools.product(*each)]
    elif name == "PercentageOfActors":
        ways = [((), _share(args))]
    elif name == "Boolean":
        ways = _ways(_constant(data))
    else:
        ways = [((_comparison(name, args),), None)]
    _check_many(len(ways))
    return ways


def _check_many(ways: int) -> None:
    if ways > _MOST:
        message = f"it can be true in more than {_MOST} ways"
        raise NotMeant(message)


def _both(parts: tuple[Way, ...]) -> Way:
    shares = [share for _, share in parts if share is not None]
    clauses = tuple(clause for clauses, _ in parts for clause in clauses)
    return clauses, min(shares, default=None)


def _call(data: Any) -> tuple[str, list[Any]]:
    if not isinstance(data, Mapping) or len(data) != 1:
        message = f"{quoted(data)} is no expression that decides anything"
        raise NotMeant(message)
    ((name, args),) = data.items()
    return str(name), list(args) if isinstance(args, list) else [args]


def _share(args: list[Any]) -> int:
    if len(args) != 2 or _property(args[0]) != _ID:  # noqa: PLR2004  (who, and how many)
        message = f"a percentage of actors goes by {_ID} here, and by nothing else"
        raise NotMeant(message)
    value = _constant(args[1])
    if not _is_number(value):
        message = f"{quoted(value)} is no percentage"
        raise NotMeant(message)
    return min(max(math.ceil(float(value) * 1000), 0), WHOLE)


def _comparison(name: str, args: list[Any]) -> Clause:
    if name not in ("Equal", "NotEqual", *_ORDER) or len(args) != 2:  # noqa: PLR2004  (left and right)
        message = f"{name} has no like here"
        raise NotMeant(message)
    left, right = args
    attribute = _property(left)
    if attribute is None:
        name, left, right = _TURNED.get(name, name), right, left
        attribute = _property(left)
    if attribute is None or _property(right) is not None:
        message = f"{name} is read between a property and a constant only"
        raise NotMeant(message)
    value = _constant(right)
    named = TARGETING_KEY if attribute == _ID else attribute
    if name in _ORDER:
        if not _is_number(value):
            message = f"{name} is read with numbers only, not with {quoted(value)}"
            raise NotMeant(message)
        return Clause(named, _ORDER[name], (value,))
    negate = name == "NotEqual"
    # In Ruby a property that is not there is nil, which differs from everything.
    missing = Missing.FALSE if negate else Missing.NO_MATCH
    return Clause(named, Operator.IN, (value,), negate=negate, missing=missing)


def _property(data: Any) -> str | None:
    """Return the name of the property that an argument reads, or None for another one."""
    if not isinstance(data, Mapping):
        return None
    name, args = _call(data)
    if name != "Property":
        return None
    if len(args) != 1 or not isinstance(args[0], str) or not args[0] or args[0].startswith("/"):
        message = f"{quoted(args)} names no property"
        raise NotMeant(message)
    return args[0]


def _constant(data: Any) -> Any:
    if isinstance(data, Mapping):
        name, args = _call(data)
        value: Any = args[0] if len(args) == 1 else None
        if name not in _CASTS or not _CASTS[name](value):
            message = f"{name} of {quoted(value)} is no constant here"
            raise NotMeant(message)
        return min(max(value, 0), 100) if name == "Percentage" else value
    if _is_text(data) or isinstance(data, bool) or _is_number(data):
        return data
    message = f"{quoted(data)} is no constant"
    raise NotMeant(message)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, float) and math.isfinite(value))


_CASTS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "String": _is_text,
    "Number": _is_number,
    "Boolean": lambda value: isinstance(value, bool),
    "Percentage": _is_number,
}
"""Functions that give a constant of one type, and which constants they leave as they are."""
