"""A matcher, as Split sends it to SDKs, as clauses of ours.

Some matchers are two clauses, and the negation of those is an alternative: :func:`clauses_of`
returns alternatives, each of them clauses that must all match.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Final

import re2

from downhaul.evaluator.operators import compile_pattern
from downhaul.flag import CONTEXT_KIND, TARGETING_KEY, Clause, Dialect, Missing, Operator

Alternatives = tuple[tuple[Clause, ...], ...]

_RESERVED: Final = frozenset({TARGETING_KEY, CONTEXT_KIND})
_LISTS: Final = {
    "WHITELIST": Operator.IN,
    "STARTS_WITH": Operator.STARTS_WITH,
    "ENDS_WITH": Operator.ENDS_WITH,
    "CONTAINS_STRING": Operator.CONTAINS,
    "EQUAL_TO_SET": Operator.SET_EQUALS,
    "PART_OF_SET": Operator.SUBSET_OF,
    "CONTAINS_ALL_OF_SET": Operator.HAS_ALL,
    "CONTAINS_ANY_OF_SET": Operator.HAS_ANY,
    "IN_LIST_SEMVER": Operator.SEMVER_EQUAL,
}
_NUMBERS: Final = {
    "EQUAL_TO": (Operator.EQUAL, Operator.SAME_TIME),
    "GREATER_THAN_OR_EQUAL_TO": (Operator.GREATER_OR_EQUAL, Operator.AT_OR_AFTER),
    "LESS_THAN_OR_EQUAL_TO": (Operator.LESS_OR_EQUAL, Operator.AT_OR_BEFORE),
}
_VERSIONS: Final = {
    "EQUAL_TO_SEMVER": Operator.SEMVER_EQUAL,
    "GREATER_THAN_OR_EQUAL_TO_SEMVER": Operator.SEMVER_GREATER_OR_EQUAL,
    "LESS_THAN_OR_EQUAL_TO_SEMVER": Operator.SEMVER_LESS_OR_EQUAL,
}
_SEGMENTS: Final = ("IN_SEGMENT", "IN_RULE_BASED_SEGMENT")


class NotCarried(ValueError):
    """Something has no like here; the message says what."""


def clauses_of(matchers: Sequence[Mapping[str, Any]]) -> Alternatives:
    """Return what matchers that must all match are here. Raises NotCarried."""
    each = [_one(matcher) for matcher in matchers]
    return tuple(tuple(clause for part in parts for clause in part) for parts in product(*each))


def attribute_of(name: str | None) -> str:
    """Return our name of an attribute; none is the key."""
    if name is None:
        return TARGETING_KEY
    if name in _RESERVED or name.startswith("/"):
        return "/" + name.replace("~", "~0").replace("/", "~1")
    return name


def _one(matcher: Mapping[str, Any]) -> Alternatives:
    kind, negate = matcher["matcherType"], bool(matcher.get("negate"))
    name = (matcher.get("keySelector") or {}).get("attribute")
    if kind == "ALL_KEYS":
        return ((_clause(name, Operator.IN, ()),),) if negate else ((),)
    if kind in _SEGMENTS:
        return _segment(matcher, kind, name, negate=negate)
    made = _clauses(matcher, kind, name)
    if not negate:
        return (made,)
    return tuple((_negated(one),) for one in made)


def _clauses(matcher: Mapping[str, Any], kind: str, name: str | None) -> tuple[Clause, ...]:
    """Return the clauses of one matcher that is not negated; they must all match."""
    if kind in _LISTS:
        words = tuple(matcher["whitelistMatcherData"]["whitelist"])
        return (_clause(name, _LISTS[kind], words),)
    if kind in _NUMBERS:
        data = matcher["unaryNumericMatcherData"]
        return (_ordered(name, _NUMBERS[kind], data["dataType"], data["value"]),)
    if kind == "BETWEEN":
        data = matcher["betweenMatcherData"]
        return (
            _ordered(name, _NUMBERS["GREATER_THAN_OR_EQUAL_TO"], data["dataType"], data["start"]),
            _ordered(name, _NUMBERS["LESS_THAN_OR_EQUAL_TO"], data["dataType"], data["end"]),
        )
    if kind in _VERSIONS:
        return (_clause(name, _VERSIONS[kind], (matcher["stringMatcherData"],)),)
    if kind == "BETWEEN_SEMVER":
        data = matcher["betweenStringMatcherData"]
        return (
            _clause(name, Operator.SEMVER_GREATER_OR_EQUAL, (data["start"],)),
            _clause(name, Operator.SEMVER_LESS_OR_EQUAL, (data["end"],)),
        )
    read = _OTHERS.get(kind)
    if read is None:
        message = f'there is no matcher "{kind}" here'
        raise NotCarried(message)
    return (read(matcher, name),)


def _segment(
    matcher: Mapping[str, Any], kind: str, name: str | None, *, negate: bool
) -> Alternatives:
    """Return membership of the key. By an attribute, the SDK only asks that it be there."""
    key = matcher["userDefinedSegmentMatcherData"]["segmentName"]
    member = Clause("", Operator.IN_SEGMENT, (key,), negate=negate)
    if name is None or kind != "IN_SEGMENT":
        return ((member,),)
    there = Clause(attribute_of(name), Operator.PRESENT, negate=negate)
    return ((there,), (member,)) if negate else ((there, member),)


def _ordered(
    name: str | None, operators: tuple[Operator, Operator], kind: str, value: Any
) -> Clause:
    if kind == "DATETIME":
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=value)
        return _clause(name, operators[1], (moment.isoformat(),))
    if not isinstance(value, int):
        message = f"it compares with {value!r}, which is no whole number"
        raise NotCarried(message)
    return _clause(name, operators[0], (value,))


def _pattern(matcher: Mapping[str, Any], name: str | None) -> Clause:
    pattern = matcher["stringMatcherData"]
    try:
        compile_pattern(pattern)
    except (re2.error, UnicodeError) as error:
        message = f"the pattern {pattern!r} can't be matched in linear time: {error}"
        raise NotCarried(message) from None
    return _clause(name, Operator.MATCHES, (pattern,))


def _boolean(matcher: Mapping[str, Any], name: str | None) -> Clause:
    return _clause(name, Operator.IN, (bool(matcher["booleanMatcherData"]),))


def _depends(matcher: Mapping[str, Any], _name: str | None) -> Clause:
    data = matcher["dependencyMatcherData"]
    return Clause(data["split"], Operator.SERVES, tuple(data["treatments"]))


_OTHERS: Final[Mapping[str, Callable[[Mapping[str, Any], str | None], Clause]]] = {
    "MATCHES_STRING": _pattern,
    "EQUAL_TO_BOOLEAN": _boolean,
    "IN_SPLIT_TREATMENT": _depends,
}


def _clause(name: str | None, operator: Operator, values: tuple[Any, ...]) -> Clause:
    return Clause(
        attribute_of(name), operator, values, missing=Missing.FALSE, dialect=Dialect.SPLIT
    )


def _negated(one: Clause) -> Clause:
    return Clause(
        one.attribute,
        one.operator,
        one.values,
        negate=True,
        missing=one.missing,
        dialect=one.dialect,
    )
