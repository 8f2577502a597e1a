"""Clauses of ours as matchers of the admin API, or a refusal that says what Split can't say.

A clause of ours does not match where its attribute is missing, negated or not; a negated matcher
of Split does. So a negated clause is two matchers there: the negation, and that there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from downhaul.evaluator.operators import moment
from downhaul.flag import CONTEXT_KIND, TARGETING_KEY, USER, Clause, Dialect, Missing, Operator

Matcher = dict[str, Any]
PRESENT: Final = {"type": "MATCHES_STRING", "string": ".*"}
"""What matches wherever an attribute is there."""

_TEXTS: Final = {
    Operator.IN: "IN_LIST_STRING",
    Operator.STARTS_WITH: "STARTS_WITH_STRING",
    Operator.ENDS_WITH: "ENDS_WITH_STRING",
    Operator.CONTAINS: "CONTAINS_STRING",
    Operator.HAS_ANY: "ANY_OF_SET",
    Operator.HAS_ALL: "ALL_OF_SET",
    Operator.SET_EQUALS: "EQUAL_SET",
    Operator.SUBSET_OF: "PART_OF_SET",
}
_NUMBERS: Final[Mapping[Operator, tuple[str, int]]] = {
    Operator.EQUAL: ("EQUAL_NUMBER", 0),
    Operator.LESS_OR_EQUAL: ("LESS_THAN_OR_EQUAL_NUMBER", 0),
    Operator.GREATER_OR_EQUAL: ("GREATER_THAN_OR_EQUAL_NUMBER", 0),
    Operator.LESS: ("LESS_THAN_OR_EQUAL_NUMBER", -1),
    Operator.GREATER: ("GREATER_THAN_OR_EQUAL_NUMBER", 1),
}
_TIMES: Final = {
    Operator.SAME_TIME: "ON_DATE",
    Operator.AT_OR_AFTER: "ON_OR_AFTER_DATE",
    Operator.AT_OR_BEFORE: "ON_OR_BEFORE_DATE",
}
_VERSIONS: Final = {
    Operator.SEMVER_EQUAL: "EQUAL_TO_SEMVER",
    Operator.SEMVER_GREATER_OR_EQUAL: "GREATER_THAN_OR_EQUAL_TO_SEMVER",
    Operator.SEMVER_LESS_OR_EQUAL: "LESS_THAN_OR_EQUAL_TO_SEMVER",
}


class NotSaid(ValueError):
    """Split can't say something; the message says what."""


def matchers_of(clause: Clause) -> list[Matcher]:
    """Return the matchers that must all match for a clause to. Raises NotSaid."""
    if clause.context_kind != USER:
        message = f'it asks for an attribute of the kind "{clause.context_kind}"'
        raise NotSaid(message)
    if clause.ignore_case:
        message = f"it ignores the case of {clause.attribute}"
        raise NotSaid(message)
    matcher = {**_matcher(clause), "negate": clause.negate}
    if clause.operator in (Operator.IN_SEGMENT, Operator.SERVES):
        return [matcher]
    if clause.attribute.startswith("/") or clause.attribute == CONTEXT_KIND:
        message = f"it asks for {clause.attribute}, which is within another attribute"
        raise NotSaid(message)
    if clause.attribute == TARGETING_KEY:
        return [_by_key(matcher, clause)]
    matcher["attribute"] = clause.attribute
    there = clause.operator is Operator.PRESENT or clause.missing is Missing.FALSE
    if not clause.negate or there:
        return [matcher]
    return [matcher, {**PRESENT, "attribute": clause.attribute, "negate": False}]


def _by_key(matcher: Matcher, clause: Clause) -> Matcher:
    """Refuse: the admin API takes such matchers for attributes only."""
    message = f"it asks whether the targeting key is {clause.operator} {matcher.get('strings', '')}"
    raise NotSaid(message)


def _matcher(clause: Clause) -> Matcher:
    operator, values = clause.operator, clause.values
    if operator in _TEXTS and all(type(one) is str for one in values):
        return {"type": _TEXTS[operator], "strings": list(values)}
    read = _READ.get(operator)
    if read is not None and len(values) == 1:
        made = read(operator, values[0], clause.dialect)
        if made is not None:
            return made
    if operator is Operator.SERVES and len(values) == 1:
        depends = {"splitName": clause.attribute, "treatment": values[0]}
        return {"type": "IN_SPLIT", "depends": depends}
    if operator is Operator.PRESENT:
        return dict(PRESENT)
    message = f"it asks whether {clause.attribute or 'it'} is {operator} {list(values)!r}"
    raise NotSaid(message)


def _number(operator: Operator, value: Any, _dialect: Dialect) -> Matcher | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    kind, beside = _NUMBERS[operator]
    return {"type": kind, "number": value + beside}


def _time(operator: Operator, value: Any, dialect: Dialect) -> Matcher | None:
    """Return a matcher of times, where they are compared by the minute and the day anyway."""
    if dialect is not Dialect.SPLIT:
        return None
    found = moment(value) if isinstance(value, str) else None
    return None if found is None else {"type": _TIMES[operator], "date": found // 1000}


def _version(operator: Operator, value: Any, _dialect: Dialect) -> Matcher | None:
    return {"type": _VERSIONS[operator], "string": value} if isinstance(value, str) else None


def _text(operator: Operator, value: Any, _dialect: Dialect) -> Matcher | None:
    kind = "MATCHES_STRING" if operator is Operator.MATCHES else "IN_SEGMENT"
    return {"type": kind, "string": value} if isinstance(value, str) else None


def _equal(_operator: Operator, value: Any, _dialect: Dialect) -> Matcher | None:
    if isinstance(value, bool):
        return {"type": "BOOLEAN", "bool": value}
    return {"type": "EQUAL_NUMBER", "number": value} if isinstance(value, int) else None


_READ: Final[Mapping[Operator, Callable[[Operator, Any, Dialect], Matcher | None]]] = {
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_TIMES, _time),
    **dict.fromkeys(_VERSIONS, _version),
    Operator.IN: _equal,
    Operator.MATCHES: _text,
    Operator.IN_SEGMENT: _text,
}
