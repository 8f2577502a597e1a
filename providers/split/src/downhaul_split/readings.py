"""How Split reads an attribute where others read it otherwise: what a clause is there."""

from __future__ import annotations

from typing import Final

from downhaul.evaluator.carriers import bucketing_of
from downhaul.flag import TARGETING_KEY, Clause, Dialect, Operator

_SAME: Final = frozenset({Operator.IN_SEGMENT, Operator.SERVES, Operator.PRESENT})
_TEXT: Final = "as text: it looks into no list, and takes any other value for its JSON"
_NUMBER: Final = (
    "as a whole number: a fraction matches nothing, text of a number does, and it looks into no "
    "list"
)
_SETS: Final = frozenset(
    {Operator.HAS_ANY, Operator.HAS_ALL, Operator.SET_EQUALS, Operator.SUBSET_OF}
)
_HOW: Final = {
    **dict.fromkeys((Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS), _TEXT),
    Operator.MATCHES: f"{_TEXT}; the pattern is one of Python's",
    **dict.fromkeys(_SETS, "as a set of texts: text is the set of its letters"),
    **dict.fromkeys(
        (
            Operator.EQUAL,
            Operator.LESS,
            Operator.LESS_OR_EQUAL,
            Operator.GREATER,
            Operator.GREATER_OR_EQUAL,
        ),
        _NUMBER,
    ),
}
_VERSION: Final = "as a version of three numbers: what follows a plus counts for equality"


def read_otherwise(clause: Clause) -> str:
    """Return how Split reads what a clause asks for; empty where the clause means the same there.

    Whoever has text where text is compared, and a whole number where a number is, sees no
    difference.
    """
    same = clause.dialect is Dialect.SPLIT or clause.operator in _SAME
    if same or clause.attribute == TARGETING_KEY or bucketing_of(clause.attribute) is not None:
        return ""
    return f"Split reads {clause.attribute} {_how(clause)}"


def _how(clause: Clause) -> str:
    if clause.operator is not Operator.IN:
        return _HOW.get(clause.operator, _VERSION)
    kinds = {type(one) for one in clause.values}
    said = []
    if str in kinds:
        said.append(_TEXT)
    if kinds & {int, float}:
        said.append(_NUMBER)
    if bool in kinds:
        said.append("as true or false: text of either counts too")
    return ", or ".join(said)
