"""A clause of ours as constraints of Unleash, or why there are none that say it.

Unleash ANDs the constraints of a strategy and ORs strategies, so what a clause says is a formula:
alternatives, each of constraints that hold together. What is written is read back by the reader of
Unleash's own documents before it counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, Final

from downhaul.evaluator.carriers import bucketing_of
from downhaul.evaluator.unleash import moment, number
from downhaul.flag import CONTEXT_KIND, TARGETING_KEY, USER, Clause, Missing, Operator
from downhaul_unleash.absence import ANYTHING, TRUE, lacked_by, missing_of
from downhaul_unleash.attributes import attribute_of
from downhaul_unleash.constraints import clause_of
from downhaul_unleash.engine import DoesNotCompile
from downhaul_unleash.shape import Constraint, plain
from downhaul_unleash.source import Constraint as ConstraintSource
from downhaul_unleash.texts import is_text, safe_number, spoken
from downhaul_unleash.why import CantSay

Conjunction = tuple[Constraint, ...]
Formula = tuple[Conjunction, ...]

EVERYBODY: Final[Formula] = ((),)
NOBODY: Final[Formula] = ()

MOST_VALUES: Final = 250
"""The server's limit for the values of one constraint."""
MOST_CONSTRAINTS: Final = 30
"""The server's limit for the constraints of one strategy."""
_LONGEST: Final = 100
_MOST_ALTERNATIVES: Final = 200
"""Beyond this a formula has no strategies that Unleash takes, whatever is still taken from it."""

_LISTS: Final = {
    Operator.IN: "IN",
    Operator.STARTS_WITH: "STR_STARTS_WITH",
    Operator.ENDS_WITH: "STR_ENDS_WITH",
    Operator.CONTAINS: "STR_CONTAINS",
}
_NUMBERS: Final = {
    Operator.EQUAL: "NUM_EQ",
    Operator.LESS: "NUM_LT",
    Operator.LESS_OR_EQUAL: "NUM_LTE",
    Operator.GREATER: "NUM_GT",
    Operator.GREATER_OR_EQUAL: "NUM_GTE",
}
_VERSIONS: Final = {
    Operator.SEMVER_EQUAL: ("SEMVER_EQ",),
    Operator.SEMVER_LESS: ("SEMVER_LT",),
    Operator.SEMVER_LESS_OR_EQUAL: ("SEMVER_EQ", "SEMVER_LT"),
    Operator.SEMVER_GREATER: ("SEMVER_GT",),
    Operator.SEMVER_GREATER_OR_EQUAL: ("SEMVER_EQ", "SEMVER_GT"),
}
_ANY_TIME: Final = "0001-01-01T00:00:00Z"
"""What every other time is after, so that being after it is being a time."""


# --- formulas


def both(one: Formula, other: Formula) -> Formula:
    """Return what holds where both hold. Raises CantSay for more than Unleash could ever take."""
    if len(one) * len(other) > _MOST_ALTERNATIVES:
        raise CantSay(f"it would take {len(one) * len(other)} strategies, and Unleash takes 30")
    found = [_joined(left, right) for left, right in product(one, other)]
    return _without_larger(each for each in found if each is not None)


def either(formulas: Iterable[Formula]) -> Formula:
    """Return what holds where any of them holds."""
    return _without_larger(each for one in formulas for each in one)


def opposite(formula: Formula) -> Formula:
    """Return what holds where a formula doesn't. Raises CantSay: an expression has no opposite."""
    made = EVERYBODY
    for alternative in formula:
        made = both(made, tuple((_turned(one),) for one in alternative))
    return made


def _joined(left: Conjunction, right: Conjunction) -> Conjunction | None:
    """Return all constraints of both, each once; None where they never hold together."""
    made = list(left)
    for one in right:
        if one in made:
            continue
        has_opposite = one["operator"] != "REGEX" or _is_presence(one)
        if has_opposite and _turned(one) in made:
            return None
        made.append(one)
    return tuple(made)


def _without_larger(alternatives: Iterable[Conjunction]) -> Formula:
    """Return the alternatives without those that another says already with fewer constraints."""
    kept: list[tuple[frozenset[str], Conjunction]] = []
    for one in alternatives:
        names = frozenset(json.dumps(each, sort_keys=True) for each in one)
        if any(other <= names for other, _ in kept):
            continue
        kept = [(other, each) for other, each in kept if not names <= other]
        kept.append((names, one))
    return tuple(one for _names, one in kept)


_TURNED: Final = {"IN": "NOT_IN", "NOT_IN": "IN"}


def _turned(one: Constraint) -> Constraint:
    operator = str(one["operator"])
    if _is_presence(one):
        return _absent(str(one["contextName"]))
    if operator == "REGEX":
        raise CantSay(f'Unleash has no opposite of an expression, as on "{one["contextName"]}"')
    lacked = lacked_by(str(one["contextName"]))
    if lacked is not None:
        return _present(lacked)
    if operator in _TURNED:
        return plain({**one, "operator": _TURNED[operator]})
    return plain({**one, "inverted": not one.get("inverted")})


# --- clauses


def said(clause: Clause) -> Formula:
    """Return a clause as a formula. Raises CantSay where Unleash has no words for it."""
    clause = spoken(clause).clause
    name = name_of(clause)
    held = _held(clause, name)
    if not clause.negate:
        return held
    left_out = opposite(held)
    if clause.missing is not Missing.NO_MATCH or clause.operator is Operator.PRESENT:
        return left_out
    return both(left_out, ((_present(name),),))


def name_of(clause: Clause) -> str:
    """Return the name under which Unleash is told an attribute. Raises CantSay."""
    attribute, kind = clause.attribute, clause.context_kind
    if attribute == TARGETING_KEY:
        return "userId" if kind == USER else kind
    if attribute == CONTEXT_KIND:
        raise CantSay("Unleash is not told which kinds a context has")
    name = attribute
    if attribute.startswith("/"):
        if "/" in attribute[1:]:
            raise CantSay(f'Unleash knows no attributes within others, as "{attribute}" is')
        name = attribute[1:].replace("~1", "/").replace("~0", "~")
    if kind != USER:
        return f"{kind}.{name}"
    if attribute_of(name) == TARGETING_KEY:
        raise CantSay(f'"{name}" is the targeting key in Unleash')
    return name


def _present(name: str) -> Constraint:
    return _constraint(name, "REGEX", value=ANYTHING)


def _is_presence(one: Constraint) -> bool:
    return one["operator"] == "REGEX" and one.get("value") == ANYTHING


def _absent(name: str) -> Constraint:
    return plain({"contextName": missing_of(name), "operator": "IN", "values": [TRUE]})


def _held(clause: Clause, name: str) -> Formula:
    """Return the formula of a clause that is not negated: false where the attribute is missing."""
    kind = clause.operator
    if kind is Operator.PRESENT:
        return ((_present(name),),)
    if not clause.values:
        return NOBODY
    if kind in _LISTS:
        return _listed(clause, name)
    if kind is Operator.MATCHES:
        return _matching(clause, name)
    return _compared(kind, name, tuple(map(str, clause.values)))


def _compared(kind: Operator, name: str, texts: tuple[str, ...]) -> Formula:
    if kind in _NUMBERS:
        return _numeric(kind, name, texts)
    if kind not in _VERSIONS:
        return either(_timed(kind, name, text) for text in texts)
    return tuple(
        (_constraint(name, operator, value=text),) for text in texts for operator in _VERSIONS[kind]
    )


def _matching(clause: Clause, name: str) -> Formula:
    several = len(clause.values) > 1
    value = "|".join(f"(?:{one})" for one in clause.values) if several else str(clause.values[0])
    return ((_constraint(name, "REGEX", value=value, ignore_case=clause.ignore_case),),)


def _listed(clause: Clause, name: str) -> Formula:
    texts = list(dict.fromkeys(map(str, clause.values)))
    for text in texts:
        if not text or len(text) > _LONGEST or not is_text(text):
            raise CantSay(f"Unleash takes values of 1 to {_LONGEST} characters, not {text[:120]!r}")
    operator = _LISTS[clause.operator]
    parts = [texts[at : at + MOST_VALUES] for at in range(0, len(texts), MOST_VALUES)]
    return tuple(
        (_constraint(name, operator, values=part, ignore_case=clause.ignore_case),)
        for part in parts
    )


def _numeric(kind: Operator, name: str, texts: tuple[str, ...]) -> Formula:
    for text in texts:
        if not safe_number(text):
            raise CantSay(f"Unleash's server takes no such number: {text!r}")
    if kind is not Operator.EQUAL:
        widest: Callable[..., str] = max if kind in (Operator.LESS, Operator.LESS_OR_EQUAL) else min
        texts = (widest(texts, key=lambda text: number(text) or 0.0),)
    return tuple((_constraint(name, _NUMBERS[kind], value=text),) for text in texts)


def _timed(kind: Operator, name: str, text: str) -> Formula:
    if moment(text) is None:
        raise CantSay(f"{text!r} is no time to Unleash")
    before, after = (
        _constraint(name, operator, value=text) for operator in ("DATE_BEFORE", "DATE_AFTER")
    )
    is_time = _constraint(name, "DATE_AFTER", value=_ANY_TIME)
    return {
        Operator.BEFORE: ((before,),),
        Operator.AFTER: ((after,),),
        Operator.AT_OR_AFTER: ((_turned(before), is_time),),
        Operator.AT_OR_BEFORE: ((_turned(after), is_time),),
        Operator.SAME_TIME: ((_turned(before), _turned(after), is_time),),
    }[kind]


def _constraint(
    name: str,
    operator: str,
    *,
    values: Iterable[str] = (),
    value: str | None = None,
    ignore_case: bool = False,
) -> Constraint:
    """Return a constraint. Raises CantSay where Unleash's engine would read something else."""
    made: dict[str, Any] = {"contextName": name, "operator": operator, "values": list(values)}
    if value is not None:
        made["value"] = value
    if ignore_case:
        made["caseInsensitive"] = True
    source = ConstraintSource(
        "", made, name, operator, tuple(made["values"]), value, ignore_case=ignore_case
    )
    try:
        read = clause_of(source)
    except DoesNotCompile as refusal:
        raise CantSay(refusal.reason) from None
    if read.reasons and (operator != "REGEX" or not read.clause.values):
        raise CantSay("; ".join(read.reasons))
    if not is_text(name) or (value is not None and not is_text(value)):
        raise CantSay(f"Unleash takes no NUL and no half of a character: {name!r} {value!r}")
    return plain(made)


def is_carrier(clause: Clause) -> bool:
    """Return whether a clause compares the bucket that a carrier brings."""
    return clause.operator in _NUMBERS and bucketing_of(clause.attribute) is not None
