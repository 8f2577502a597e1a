"""Clauses of ours as matchers of the admin API, or a refusal that says what Split can't say.

A clause of ours does not match where its attribute is missing, negated or not; a negated matcher
of Split does. So a negated clause is two matchers there: the negation, and that there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from downhaul.evaluator.carriers import bucketing_of
from downhaul.evaluator.operators import moment
from downhaul.flag import CONTEXT_KIND, TARGETING_KEY, USER, Clause, Dialect, Missing, Operator

Matcher = dict[str, Any]
PRESENT: Final = {"type": "MATCHES_STRING", "string": ".*"}
"""What matches wherever an attribute is there."""

_LARGEST: Final = 1 << 62  # 64 bits, and some to spare for what is beside it
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


def alternatives_of(clause: Clause) -> list[list[Matcher]]:
    """Return lists of matchers: a clause matches where all of one list do. Raises NotSaid."""
    if len(clause.values) <= 1 or clause.operator in _TEXTS:
        with suppress(NotSaid):
            return [matchers_of(clause)]
    each = [matchers_of(replace(clause, values=(one,))) for one in clause.values]
    if not each:
        return [matchers_of(clause)]  # which says why not
    if not clause.negate:
        return each
    needed: list[Matcher] = []
    for one in chain.from_iterable(each):
        if one not in needed:
            needed.append(one)
    return [needed]


def matchers_of(clause: Clause) -> list[Matcher]:
    """Return the matchers that must all match for a clause to. Raises NotSaid."""
    matcher = {**_matcher(clause), "negate": clause.negate}
    if clause.operator in (Operator.IN_SEGMENT, Operator.SERVES):
        return [matcher]
    carries = bucketing_of(clause.attribute) is not None  # whatever kind it is the bucket of
    if clause.context_kind != USER and not carries:
        message = f'it asks for an attribute of the kind "{clause.context_kind}"'
        raise NotSaid(message)
    if clause.ignore_case:
        message = f"it ignores the case of {clause.attribute}"
        raise NotSaid(message)
    if clause.attribute.startswith("/") or clause.attribute == CONTEXT_KIND:
        message = f"it asks for {clause.attribute}, which is within another attribute"
        raise NotSaid(message)
    if clause.attribute == TARGETING_KEY:
        return [_by_key(matcher, clause)]
    if clause.missing is Missing.NOW:
        message = f"it takes the time of asking for {clause.attribute}"
        raise NotSaid(message)
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
    if operator in _TEXTS and values and all(map(_is_text, values)):
        return {"type": _TEXTS[operator], "strings": list(values)}
    if operator is Operator.SEMVER_EQUAL and len(values) > 1 and all(map(_is_text, values)):
        return {"type": "IN_LIST_SEMVER", "strings": list(values)}
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
    whole = _whole(value)
    if whole is None:
        return None
    kind, beside = _NUMBERS[operator]
    return {"type": kind, "number": whole + beside}


def _time(operator: Operator, value: Any, dialect: Dialect) -> Matcher | None:
    """Return a matcher of times, where they are compared by the minute and the day anyway."""
    if dialect is not Dialect.SPLIT:
        return None
    found = moment(value) if isinstance(value, str) else None
    return None if found is None else {"type": _TIMES[operator], "date": found // 1000}


def _version(operator: Operator, value: Any, _dialect: Dialect) -> Matcher | None:
    return {"type": _VERSIONS[operator], "string": value} if _is_text(value) else None


def _pattern(_operator: Operator, value: Any, _dialect: Dialect) -> Matcher | None:
    """Return a matcher of a pattern that Split's SDK can read too: it is Python's there."""
    if not _is_text(value):
        return None
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        message = f"Split's SDK can't read the pattern {value!r}: {error}"
        raise NotSaid(message) from None
    return {"type": "MATCHES_STRING", "string": value}


def _segment(_operator: Operator, value: Any, _dialect: Dialect) -> Matcher | None:
    return {"type": "IN_SEGMENT", "string": value} if _is_text(value) else None


def _whole(value: Any) -> int | None:
    """Return a whole number, as Split keeps one, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if abs(value) < _LARGEST else None


def _is_text(value: Any) -> bool:
    return type(value) is str and bool(value)


def _equal(_operator: Operator, value: Any, _dialect: Dialect) -> Matcher | None:
    if isinstance(value, bool):
        return {"type": "BOOLEAN", "bool": value}
    whole = _whole(value)
    return None if whole is None else {"type": "EQUAL_NUMBER", "number": whole}


_READ: Final[Mapping[Operator, Callable[[Operator, Any, Dialect], Matcher | None]]] = {
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_TIMES, _time),
    **dict.fromkeys(_VERSIONS, _version),
    Operator.IN: _equal,
    Operator.MATCHES: _pattern,
    Operator.IN_SEGMENT: _segment,
}
