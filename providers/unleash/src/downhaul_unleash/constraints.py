"""Unleash's constraints as clauses that decide as the engine decides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

import re2

from downhaul.evaluator.carriers import PREFIX, bucketing_of
from downhaul.evaluator.operators import compile_pattern
from downhaul.flag import TARGETING_KEY, USER, Clause, Dialect, Missing, Operator
from downhaul_unleash.absence import TRUE, lacked_by
from downhaul_unleash.attributes import CURRENT_TIME, attribute_of
from downhaul_unleash.engine import DoesNotCompile, Shape, escaped, quoted, shape_of
from downhaul_unleash.source import Constraint

_LISTS: Final = {
    "IN": Operator.IN,
    "NOT_IN": Operator.IN,
    "STR_STARTS_WITH": Operator.STARTS_WITH,
    "STR_ENDS_WITH": Operator.ENDS_WITH,
    "STR_CONTAINS": Operator.CONTAINS,
    "IN_CIDR": Operator.IN_CIDR,
}
_REGEX: Final = "REGEX"
_ORDER: Final = {
    "NUM_EQ": "==",
    "NUM_GT": ">",
    "NUM_GTE": ">=",
    "NUM_LT": "<",
    "NUM_LTE": "<=",
    "DATE_AFTER": ">",
    "DATE_BEFORE": "<",
    "SEMVER_EQ": "==",
    "SEMVER_GT": ">",
    "SEMVER_GTE": ">=",
    "SEMVER_LT": "<",
    "SEMVER_LTE": "<=",
}
_COMPARE: Final = {
    Shape.NUMBER: {
        "==": Operator.EQUAL,
        ">": Operator.GREATER,
        ">=": Operator.GREATER_OR_EQUAL,
        "<": Operator.LESS,
        "<=": Operator.LESS_OR_EQUAL,
    },
    Shape.DATE: {
        "==": Operator.SAME_TIME,
        ">": Operator.AFTER,
        ">=": Operator.AT_OR_AFTER,
        "<": Operator.BEFORE,
        "<=": Operator.AT_OR_BEFORE,
    },
    Shape.SEMVER: {
        "==": Operator.SEMVER_EQUAL,
        ">": Operator.SEMVER_GREATER,
        ">=": Operator.SEMVER_GREATER_OR_EQUAL,
        "<": Operator.SEMVER_LESS,
        "<=": Operator.SEMVER_LESS_OR_EQUAL,
    },
}
_SAID: Final = {"NUM": Shape.NUMBER, "DATE": Shape.DATE, "SEMVER": Shape.SEMVER}
_CASELESS: Final = frozenset({"STR_STARTS_WITH", "STR_ENDS_WITH", "STR_CONTAINS", _REGEX})


@dataclass(frozen=True, slots=True)
class Carried:
    """A constraint's clause, and what to say where it is not the whole of it."""

    clause: Clause
    reasons: tuple[str, ...] = ()


def clause_of(one: Constraint) -> Carried:
    """Return a constraint as a clause. Raises DoesNotCompile where the engine can't compile it."""
    quoted(one.context_name, one.path)
    lacked = lacked_by(one.context_name)
    if lacked is not None and one.operator == "IN" and one.values == (TRUE,) and not one.inverted:
        return Carried(Clause(attribute_of(lacked), Operator.PRESENT, negate=True))
    if one.operator in _LISTS:
        return _list(one)
    if one.operator == _REGEX:
        return _pattern(one)
    if one.operator in _ORDER:
        return _ordered(one)
    raise DoesNotCompile(one.path, f'the engine knows no operator "{one.operator}"')


def _list(one: Constraint) -> Carried:
    values = tuple(escaped(value, one.path) for value in one.values)
    if not values and one.operator not in ("IN", "NOT_IN"):
        raise DoesNotCompile(one.path, f"the engine can't compile {one.operator} without values")
    reasons = _unread(one, one.value is not None and "value")
    if one.operator == "IN_CIDR":
        values, dropped = networks(values)
        reasons += tuple(f"{text!r} is no network: it matches nobody" for text in dropped)
    negate = one.inverted is not (one.operator == "NOT_IN")
    return Carried(_clause(one, _LISTS[one.operator], values, negate=negate), reasons)


def _pattern(one: Constraint) -> Carried:
    pattern = escaped(one.value or "", one.path)
    reasons = _unread(one, bool(one.values) and "values")
    try:
        compile_pattern(pattern, ignore_case=one.ignore_case)
    except (re2.error, UnicodeError):
        # The engine's expressions run in linear time too, and it takes what it can't read for no
        # match. What only one of the two reads is rare, but it is there.
        reasons += (f"{pattern!r} is no regular expression that runs in linear time: no match",)
        return Carried(_clause(one, Operator.MATCHES, ()), reasons)
    return Carried(_clause(one, Operator.MATCHES, (pattern,)), reasons + read_apart(pattern))


_ASCII_HERE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[dDwWsSbB]")
_SETS: Final = re.compile(r"\[[^\]]*(?:&&|--|~~|\[(?!:))")


def read_apart(pattern: str) -> tuple[str, ...]:
    """Return what of a pattern Unleash reads in another way, as the ledger says it."""
    reasons: tuple[str, ...] = ()
    if _ASCII_HERE.search(pattern):
        reasons += (r"\d, \w, \s and \b go by ASCII here, and by Unicode in Unleash",)
    if _SETS.search(pattern):
        reasons += ("sets within a character class mean something in Unleash, and nothing here",)
    return reasons


def _ordered(one: Constraint) -> Carried:
    family, _, _ = one.operator.partition("_")
    reasons = _unread(one, bool(one.values) and "values")
    if one.value is None:
        raise DoesNotCompile(one.path, f"the engine needs a value for {one.operator}")
    if family == "SEMVER" and one.value.startswith("v"):
        # The engine writes "false" for the whole constraint, inverted or not.
        reasons += (f"Unleash reads no version in {one.value!r}: it matches nobody",)
        return Carried(Clause(TARGETING_KEY, Operator.IN, dialect=Dialect.UNLEASH), reasons)
    shape, value = shape_of(one.value, one.path)
    if shape is not _SAID[family]:
        reasons += (f"{value!r} is compared as a {shape.value}, as Unleash does it",)
    operator = _COMPARE[shape][_ORDER[one.operator]]
    clause = _clause(one, operator, (value,))
    return Carried(_carried(clause) or clause, reasons)


def _carried(clause: Clause) -> Clause | None:
    """Return a clause on the bucket that a carrier brings as ours, which compares integers."""
    kind, dot, rest = clause.attribute.rpartition(f".{PREFIX}")
    attribute = f"{PREFIX}{rest}" if dot else clause.attribute
    how = bucketing_of(attribute)
    (value,) = clause.values
    if how is None or not value.isdecimal() or how.context_kind != (kind or USER):
        return None
    return Clause(
        attribute,
        clause.operator,
        (int(value),),
        negate=clause.negate,
        context_kind=how.context_kind,
        missing=Missing.FALSE if clause.negate else Missing.NO_MATCH,
    )


def _unread(one: Constraint, field: str | bool) -> tuple[str, ...]:
    reasons: tuple[str, ...] = ()
    if one.context_name == CURRENT_TIME and one.operator not in _ORDER:
        reasons += ("without currentTime Unleash asks its clock; here the field is then missing",)
    if field:
        reasons += (f'Unleash takes no notice of "{field}" with {one.operator}',)
    if one.ignore_case and one.operator not in _CASELESS:
        reasons += (f'Unleash takes no notice of "caseInsensitive" with {one.operator}',)
    return reasons


def _clause(
    one: Constraint, operator: Operator, values: tuple[str, ...], *, negate: bool | None = None
) -> Clause:
    timed = one.context_name == CURRENT_TIME and operator in _COMPARE[Shape.DATE].values()
    return Clause(
        attribute=attribute_of(one.context_name),
        operator=operator,
        values=values,
        negate=one.inverted if negate is None else negate,
        ignore_case=one.ignore_case and one.operator in _CASELESS,
        missing=Missing.NOW if timed else Missing.FALSE,
        dialect=Dialect.UNLEASH,
    )


def networks(values: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the networks among these values, and what is none; the engine passes those over."""
    good = tuple(value for value in values if _is_network(value))
    return good, tuple(value for value in values if value not in good)


def _is_network(text: str) -> bool:
    if text != text.strip():
        return False
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
