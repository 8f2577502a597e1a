"""A clause of any dialect as Unleash compares: by texts, and what that makes of it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from downhaul.evaluator import operators
from downhaul.evaluator.carriers import bucketing_of
from downhaul.flag import TARGETING_KEY, USER, Clause, Dialect, Missing, Operator
from downhaul_unleash.attributes import CURRENT_TIME, text_of
from downhaul_unleash.constraints import read_apart
from downhaul_unleash.why import CantSay

_STRINGS: Final = frozenset({Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS})
_NUMBERS: Final = frozenset(
    {
        Operator.EQUAL,
        Operator.LESS,
        Operator.LESS_OR_EQUAL,
        Operator.GREATER,
        Operator.GREATER_OR_EQUAL,
    }
)
_TIMES: Final = frozenset(
    {
        Operator.SAME_TIME,
        Operator.BEFORE,
        Operator.AFTER,
        Operator.AT_OR_BEFORE,
        Operator.AT_OR_AFTER,
    }
)
_VERSIONS: Final = frozenset(one for one in Operator if one.value.startswith("semver_"))
_TEXTUAL: Final = _STRINGS | {Operator.IN, Operator.MATCHES}
_NO_WORDS: Final = {
    Operator.IN_CIDR: "Unleash's server takes no constraint on networks",
    Operator.HAS_ANY: "Unleash knows no lists",
    Operator.HAS_ALL: "Unleash knows no lists",
    Operator.SET_EQUALS: "Unleash knows no lists",
    Operator.SUBSET_OF: "Unleash knows no lists",
    Operator.SERVES: "a strategy can't ask for another flag",
    Operator.IN_SEGMENT: "a segment is written into its rules first, by `fit`",
}
_FILLED_IN: Final = frozenset({"environment", "appName"})
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SHORT_VERSION: Final = re.compile(r"(\d+)(\.\d+)?([-+].*)?", re.ASCII)
_LARGEST: Final = (1 << 53) - 1
_THOUSAND: Final = 1_000

AS_TEXT: Final = (
    'Unleash compares texts: 5 and "5" are one, and a list is its texts joined by commas'
)
AS_NUMBER: Final = 'Unleash reads numbers from texts, so that "5" is one, and lists are none'
AS_TIME: Final = "Unleash reads times from texts, so that a number is none, and lists are none"
AS_VERSION: Final = "Unleash reads versions in its own way, and none from lists"
PRESENT: Final = "Unleash is told no objects, so that one counts as missing"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A clause as it will decide in Unleash, and what to say where that is not the same."""

    clause: Clause
    reasons: tuple[str, ...] = ()


def spoken(clause: Clause) -> Spoken:
    """Return a clause as Unleash would decide by it. Raises CantSay."""
    if clause.operator in _NUMBERS and bucketing_of(clause.attribute) is not None:
        return Spoken(clause)
    if clause.operator in _NO_WORDS:
        raise CantSay(_NO_WORDS[clause.operator])
    if clause.ignore_case and clause.operator is Operator.IN:
        raise CantSay("Unleash's IN takes no notice of a wish to ignore case")
    reasons = _of_place(clause)
    if clause.operator in _TIMES:
        clause, more = _timed(clause)
        reasons += more
    if clause.operator is Operator.MATCHES:
        reasons += tuple(
            dict.fromkeys(why for one in clause.values for why in read_apart(str(one)))
        )
    if clause.operator is Operator.PRESENT:
        return Spoken(clause, reasons if _is_key(clause) else (*reasons, PRESENT))
    if clause.dialect is Dialect.UNLEASH and all(type(one) is str for one in clause.values):
        return Spoken(clause, reasons)
    if _is_key(clause) and _decides_by_texts(clause):
        return Spoken(clause, reasons)
    values, how = _values(clause)
    return Spoken(replace(clause, values=values, dialect=Dialect.UNLEASH), (*reasons, how))


def _is_key(clause: Clause) -> bool:
    return clause.attribute == TARGETING_KEY and clause.context_kind == USER


def _decides_by_texts(clause: Clause) -> bool:
    """Return whether a clause compares texts as they are, as Unleash does."""
    return (
        clause.operator in _TEXTUAL
        and clause.dialect in (Dialect.NATIVE, Dialect.LAUNCHDARKLY)
        and not clause.ignore_case
        and all(type(one) is str for one in clause.values)
    )


def _of_place(clause: Clause) -> tuple[str, ...]:
    if clause.context_kind != USER:
        key = clause.attribute == TARGETING_KEY
        name = clause.context_kind if key else f"{clause.context_kind}.{clause.attribute}"
        return (f'Unleash has no kinds: it is the property "{name}" there',)
    if clause.attribute in _FILLED_IN:
        return (f'Unleash\'s client fills in "{clause.attribute}" where a context has none',)
    return ()


def _timed(clause: Clause) -> tuple[Clause, tuple[str, ...]]:
    """Return a clause on times; Unleash asks its clock for ``currentTime``, and for no other."""
    now = clause.attribute == CURRENT_TIME and clause.context_kind == USER
    if clause.missing is Missing.NOW:
        if not now:
            raise CantSay(f'Unleash asks its clock for "{CURRENT_TIME}" alone')
        return clause, ()
    if not now:
        return clause, ()
    why = f'Unleash asks its clock where a context has no "{CURRENT_TIME}"'
    return replace(clause, missing=Missing.NOW), (why,)


def _values(clause: Clause) -> tuple[tuple[str, ...], str]:
    """Return the values as texts, without those that never match, and how they are compared."""
    kind = clause.operator
    if kind is Operator.IN:
        return _unique(text for one in clause.values for text in _texts(one)), AS_TEXT
    if kind in _STRINGS or kind is Operator.MATCHES:
        return tuple(one for one in clause.values if type(one) is str), AS_TEXT
    if clause.dialect is Dialect.SPLIT and kind in _TIMES:
        raise CantSay("Split compares times by the day and the minute, and Unleash does not")
    if kind in _NUMBERS:
        found = [operators.number(one, clause.dialect) for one in clause.values]
        return _unique(_number(one) for one in found if one is not None), AS_NUMBER
    if kind in _TIMES:
        moments = [operators.moment(one, clause.dialect) for one in clause.values]
        return _unique(_time(one) for one in moments if one is not None), AS_TIME
    return _unique(_version(one) for one in clause.values if type(one) is str), AS_VERSION


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts that a value may come as: 5 may be 5.0 in a context."""
    if isinstance(value, (list, tuple, dict)):
        return
    text = text_of(value)
    if text is not None:
        yield text
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST:
        yield str(int(value))
    elif type(value) is int and abs(value) <= _LARGEST:
        other = text_of(float(value))
        if other is not None:
            yield other


def _number(value: float) -> str:
    text = text_of(value)
    if text is None:
        raise CantSay("Unleash takes no number that is infinite")
    return text


def _time(microseconds: int) -> str:
    if microseconds % _THOUSAND:
        raise CantSay("Unleash takes no time that is finer than a millisecond")
    try:
        moment = _EPOCH + dt.timedelta(microseconds=microseconds)
    except OverflowError:
        raise CantSay("Unleash takes no time of a year above 9999") from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _version(text: str) -> str:
    """Return a version with all three numbers: LaunchDarkly takes those with one or two."""
    found = _SHORT_VERSION.fullmatch(text)
    if found is None:
        return text
    major, minor, rest = found.groups()
    return f"{major}{minor or '.0'}.0{rest or ''}"


def safe_number(text: str) -> bool:
    """Return whether the server takes a number: it refuses those that JavaScript would round."""
    try:
        exact, rounded = Decimal(text), float(text)
    except (InvalidOperation, ValueError):
        return False
    if not exact.is_finite() or abs(exact) > _LARGEST:
        return False
    return Decimal(repr(rounded)) == exact


def is_text(text: str) -> bool:
    """Return whether PostgreSQL, where Unleash keeps it, takes a text."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
