"""Clauses of ours, of any dialect, as LaunchDarkly's operators say them, and what differs then.

A clause becomes alternatives, each of one or more clauses of LaunchDarkly's. More than one can't
stand in a rule, and neither can what holds for a missing attribute: a segment says those, because
somebody is outside of it whatever they lack.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from downhaul.evaluator import split, unleash
from downhaul.evaluator.operators import moment, number, semver
from downhaul.flag import TARGETING_KEY, Clause, Dialect, Missing, Operator
from downhaul_launchdarkly.losses import (
    BUILDS,
    CASE,
    DIGITS,
    LISTS,
    NUMBERS,
    SECONDS,
    SINGLE,
    TEXTS,
    TIMES,
    VERSIONS,
    Unsayable,
)
from downhaul_launchdarkly.rules import ANONYMOUS
from downhaul_launchdarkly.written import SAID, problem_of

NOTHING: Final = "downhaul:nothing"
"""A value that no attribute has: whoever is asked not to have it has the attribute."""


@dataclass(frozen=True, slots=True)
class Restated:
    """What a clause is in LaunchDarkly: it holds where all clauses of an alternative do.

    No alternative is never, one without clauses is always. ``outside`` turns it round, for whoever
    lacks the attribute too. ``losses`` say how it differs.
    """

    alternatives: tuple[tuple[Clause, ...], ...]
    outside: bool = False
    beside: tuple[Clause, ...] = ()
    losses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Test:
    """What the comparison itself is, before anything is negated."""

    alternatives: tuple[tuple[Clause, ...], ...]
    losses: tuple[str, ...] = ()


def restated(clause: Clause) -> Restated:
    """Return a clause in LaunchDarkly's words. Raises Unsayable."""
    if clause.operator is Operator.SERVES:
        raise Unsayable("a clause asks what another flag serves, which no clause can there")
    problem = problem_of(clause.attribute)
    if problem is not None:
        raise Unsayable(problem)
    if clause.attribute == ANONYMOUS and not _asks_who_is_anonymous(clause):
        raise Unsayable(f'"{ANONYMOUS}" is there for everybody, and False where nobody said so')
    if clause.missing is Missing.NOW:
        raise Unsayable("a clause takes the time of asking for an attribute that is missing")
    if clause.operator is Operator.PRESENT:
        there = _present(clause)
        return Restated(((there,),), outside=clause.negate)
    test = _test_of(clause)
    if not clause.negate:
        return Restated(test.alternatives, losses=test.losses)
    if clause.missing is Missing.FALSE:
        return Restated(test.alternatives, outside=True, losses=test.losses)
    if len(test.alternatives) == 1 and len(test.alternatives[0]) == 1:
        ((only,),) = test.alternatives
        return Restated(((replace(only, negate=True),),), losses=test.losses)
    return Restated(test.alternatives, outside=True, beside=(_present(clause),), losses=test.losses)


def _asks_who_is_anonymous(clause: Clause) -> bool:
    same = clause.operator is Operator.IN and clause.values == (True,)
    return same and not (clause.negate and clause.missing is Missing.NO_MATCH)


def _present(clause: Clause) -> Clause:
    return replace(
        _their(clause, Operator.IN, [NOTHING]), negate=True, dialect=Dialect.LAUNCHDARKLY
    )


def _their(clause: Clause, operator: Operator, values: Iterable[Any]) -> Clause:
    return Clause(
        clause.attribute,
        operator,
        tuple(values),
        context_kind=clause.context_kind,
        dialect=Dialect.LAUNCHDARKLY,
    )


def _test_of(clause: Clause) -> _Test:
    own = clause.dialect is Dialect.LAUNCHDARKLY and clause.operator in SAID
    if own and not clause.ignore_case and clause.operator is not Operator.EQUAL:
        return _Test(((_their(clause, clause.operator, clause.values),),) if clause.values else ())
    one = _TESTS.get(clause.operator)
    if one is None:
        raise Unsayable(f'there is no operator "{clause.operator}" there')
    made = one(clause)
    if clause.dialect is Dialect.SPLIT:
        made = replace(made, losses=(*made.losses, LISTS))
    if clause.attribute == TARGETING_KEY:
        made = replace(made, losses=tuple(one for one in made.losses if one not in _OF_NO_KEY))
    return made


_OF_NO_KEY: Final = frozenset({LISTS, TEXTS, DIGITS})
"""What is said of other values than a targeting key can have."""


def _one(clause: Clause, operator: Operator, values: Iterable[Any], *losses: str) -> _Test:
    """Return the test by one operator; without values it never holds."""
    given = tuple(values)
    if not given:
        return _Test(())
    same = not losses and operator is clause.operator and given == clause.values
    if same and clause.dialect is Dialect.NATIVE and not clause.ignore_case:
        return _Test(((replace(clause, negate=False, missing=Missing.NO_MATCH),),))
    return _Test(((_their(clause, operator, given),),), losses)


# --- equality and texts


def _equal(clause: Clause) -> _Test:
    if clause.ignore_case:
        return _alike(clause)
    if clause.dialect not in (Dialect.SPLIT, Dialect.UNLEASH):
        return _one(clause, Operator.IN, clause.values)
    if clause.dialect is Dialect.SPLIT and any(isinstance(one, bool) for one in clause.values):
        known = [one for one in clause.values if isinstance(one, bool)]
        texts = [str(one).lower() for one in known]
        return _one(clause, Operator.IN, [*known, *texts], "values: only true and false are so")
    read = split.text_of if clause.dialect is Dialect.SPLIT else unleash.text_of
    values, losses = list[Any](), tuple[str, ...]()
    for text in dict.fromkeys(map(read, clause.values)):
        if isinstance(text, str):
            numbers = () if clause.attribute == TARGETING_KEY else _numbers_of(text)
            losses = (DIGITS,) if numbers else losses
            values += [text, *numbers, *_BOOLEANS.get(text, ())]
    return _one(clause, Operator.IN, values, *losses)


_BOOLEANS: Final[Mapping[str, tuple[bool, ...]]] = {"true": (True,), "false": (False,)}


def _numbers_of(text: str) -> tuple[float, ...]:
    """Return the numbers that clients write as a text: LaunchDarkly tells them from it."""
    try:
        found = float(text)
        whole = int(text) if re.fullmatch(r"-?\d{1,300}", text, re.ASCII) else None
    except ValueError:
        return ()
    if whole is not None and str(whole) == text:
        return (whole,)
    return (found,) if math.isfinite(found) and str(found) == text else ()


def _texts(clause: Clause) -> _Test:
    losses = (TEXTS,) if clause.dialect in (Dialect.SPLIT, Dialect.UNLEASH) else ()
    values = [one for one in clause.values if isinstance(one, str)]
    if clause.ignore_case:
        shape = _SHAPES[clause.operator]
        patterns = [shape.format(re.escape(one)) for one in values]
        return _one(clause, Operator.MATCHES, patterns, *losses, CASE)
    return _one(clause, clause.operator, values, *losses)


_SHAPES: Final = {
    Operator.IN: "(?i)^(?:{})$",
    Operator.STARTS_WITH: "(?i)^(?:{})",
    Operator.ENDS_WITH: "(?i)(?:{})$",
    Operator.CONTAINS: "(?i){}",
}


def _patterns(clause: Clause) -> _Test:
    losses = (TEXTS,) if clause.dialect in (Dialect.SPLIT, Dialect.UNLEASH) else ()
    values = []
    for one in clause.values:
        if isinstance(one, str):
            plain = not clause.ignore_case or one.startswith("(?i)")
            pattern = one if plain else f"(?i){one}"
            _check_pattern(pattern)
            values.append(pattern)
    return _one(clause, Operator.MATCHES, values, *losses)


def _check_pattern(pattern: str) -> None:
    """Raise Unsayable for a pattern that the SDK, which uses Python's own, can't read."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise Unsayable(f"a pattern is none to LaunchDarkly's SDK: {error}") from None


def _alike(clause: Clause) -> _Test:
    """Return equality whatever the case: of texts by a pattern, of other values by the values."""
    texts = _texts(replace(clause, operator=Operator.IN))
    others = [one for one in clause.values if not isinstance(one, str)]
    if clause.dialect in (Dialect.SPLIT, Dialect.UNLEASH):
        read = split.text_of if clause.dialect is Dialect.SPLIT else unleash.text_of
        said = [one for one in map(read, clause.values) if isinstance(one, str)]
        texts, others = _texts(replace(clause, operator=Operator.IN, values=tuple(said))), []
    more = _one(clause, Operator.IN, others)
    return _Test(texts.alternatives + more.alternatives, texts.losses)


# --- numbers, times, versions


def _numbers(clause: Clause) -> _Test:
    if clause.dialect is Dialect.UNLEASH:
        read: Callable[[Any], Any] = lambda one: unleash.number(unleash.text_of(one))  # noqa: E731  (one reading of two)
    else:
        read = lambda one: number(one, clause.dialect)  # noqa: E731
    found = [read(one) for one in clause.values]
    values = [_short(one) for one in found if one is not None and math.isfinite(one)]
    if len(values) < len([one for one in found if one is not None]):
        raise Unsayable("a clause compares with infinity, which is no value there")
    losses = (NUMBERS,) if clause.dialect in (Dialect.SPLIT, Dialect.UNLEASH) else ()
    if clause.operator is Operator.EQUAL and clause.dialect is Dialect.NATIVE:
        return _one(clause, Operator.EQUAL, values)
    operator = Operator.IN if clause.operator is Operator.EQUAL else clause.operator
    return _one(clause, operator, values, *losses)


def _short(value: float) -> float:
    """Return a whole number as one, so that a document shows 10 and not 10.0."""
    return int(value) if float(value).is_integer() and abs(value) < _EXACT else value


_EXACT: Final = 2**53


def _times(clause: Clause) -> _Test:
    if clause.dialect is Dialect.SPLIT:
        return _seconds(clause)
    if clause.dialect is Dialect.UNLEASH:
        found = [unleash.moment(unleash.text_of(one)) for one in clause.values]
        known = [one // 1000 for one in found if one is not None]
    else:
        known = [
            one for value in clause.values if (one := moment(value, clause.dialect)) is not None
        ]
    losses = () if clause.dialect is Dialect.LAUNCHDARKLY else (TIMES,)
    before, after = clause.operator in _BEFORE, clause.operator in _AFTER
    if not (before or after):  # the same time
        return _Test(
            tuple(
                (
                    _their(clause, Operator.AFTER, [_instant(one - 1)]),
                    _their(clause, Operator.BEFORE, [_instant(one + 1)]),
                )
                for one in known
            ),
            (*losses, LISTS),
        )
    if clause.operator in (Operator.BEFORE, Operator.AFTER):
        if clause.dialect is Dialect.LAUNCHDARKLY:
            return _one(clause, clause.operator, clause.values)
        return _one(clause, clause.operator, map(_instant, known), *losses)
    step = 1 if before else -1
    operator = Operator.BEFORE if before else Operator.AFTER
    return _one(clause, operator, [_instant(one + step) for one in known], *losses)


_BEFORE: Final = frozenset({Operator.BEFORE, Operator.AT_OR_BEFORE})
_AFTER: Final = frozenset({Operator.AFTER, Operator.AT_OR_AFTER})
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _instant(microseconds: int) -> str:
    """Return a time as LaunchDarkly reads it. Raises Unsayable for a year of no four digits."""
    try:
        at = _EPOCH + dt.timedelta(microseconds=microseconds)
    except OverflowError:
        raise Unsayable("a clause compares with a time before the year 1 or after 9999") from None
    spec = "microseconds" if at.microsecond else "seconds"
    return at.isoformat(timespec=spec).replace("+00:00", "Z")


def _seconds(clause: Clause) -> _Test:
    """Return a time of Split's, which is compared in whole minutes or days, as its seconds."""
    known = [one for one in map(_split_second, clause.values) if one is not None]
    if clause.operator is Operator.SAME_TIME:
        days = [one // _DAY * _DAY for one in known]
        alternatives = tuple(
            (
                _their(clause, Operator.GREATER_OR_EQUAL, [one]),
                _their(clause, Operator.LESS, [one + _DAY]),
            )
            for one in days
        )
        return _Test(alternatives, (SECONDS,))
    operator, more = _EDGES[clause.operator]
    return _one(clause, operator, [(one // _MINUTE + more) * _MINUTE for one in known], SECONDS)


_DAY: Final = 86_400
_MINUTE: Final = 60
_EDGES: Final = {
    Operator.BEFORE: (Operator.LESS, 0),
    Operator.AT_OR_BEFORE: (Operator.LESS, 1),
    Operator.AT_OR_AFTER: (Operator.GREATER_OR_EQUAL, 0),
    Operator.AFTER: (Operator.GREATER_OR_EQUAL, 1),
}


def _split_second(value: Any) -> int | None:
    """Return a time of a rule in whole seconds: as the context has it, or RFC 3339."""
    found = split.moment(value)
    found = moment(value) if found is None else found
    return None if found is None else found // 1_000_000


def _versions(clause: Clause) -> _Test:
    readable = [one for one in clause.values if semver(one, clause.dialect) is not None]
    losses: tuple[str, ...] = () if clause.dialect is Dialect.LAUNCHDARKLY else (VERSIONS,)
    if clause.dialect is Dialect.SPLIT:
        losses = (VERSIONS, BUILDS)
        readable = [one for one in readable if semver(one) is not None]
    parts = _ORDERS[clause.operator]
    tests = [_one(clause, operator, readable, *losses) for operator in parts]
    return _Test(tuple(one for each in tests for one in each.alternatives), losses)


_ORDERS: Final = {
    Operator.SEMVER_EQUAL: (Operator.SEMVER_EQUAL,),
    Operator.SEMVER_LESS: (Operator.SEMVER_LESS,),
    Operator.SEMVER_GREATER: (Operator.SEMVER_GREATER,),
    Operator.SEMVER_LESS_OR_EQUAL: (Operator.SEMVER_LESS, Operator.SEMVER_EQUAL),
    Operator.SEMVER_GREATER_OR_EQUAL: (Operator.SEMVER_GREATER, Operator.SEMVER_EQUAL),
}


# --- sets


def _sets(clause: Clause) -> _Test:
    if clause.operator is Operator.HAS_ANY:
        whole = _equal(replace(clause, operator=Operator.IN))
        return _Test(whole.alternatives, (*whole.losses, SINGLE))
    together: tuple[Clause, ...] = ()
    losses: tuple[str, ...] = (SINGLE,)
    for value in clause.values:
        one = _equal(replace(clause, operator=Operator.IN, values=(value,)))
        if len(one.alternatives) != 1:
            raise Unsayable("a clause wants all of several values, one of which nobody has")
        together += one.alternatives[0]
        losses += one.losses
    return _Test((together,), tuple(dict.fromkeys(losses)))


_TESTS: Final[Mapping[Operator, Callable[[Clause], _Test]]] = {
    Operator.IN: _equal,
    Operator.STARTS_WITH: _texts,
    Operator.ENDS_WITH: _texts,
    Operator.CONTAINS: _texts,
    Operator.MATCHES: _patterns,
    **dict.fromkeys(
        (
            Operator.EQUAL,
            Operator.LESS,
            Operator.LESS_OR_EQUAL,
            Operator.GREATER,
            Operator.GREATER_OR_EQUAL,
        ),
        _numbers,
    ),
    **dict.fromkeys(
        (
            Operator.SAME_TIME,
            Operator.BEFORE,
            Operator.AFTER,
            Operator.AT_OR_BEFORE,
            Operator.AT_OR_AFTER,
        ),
        _times,
    ),
    **dict.fromkeys(_ORDERS, _versions),
    Operator.HAS_ANY: _sets,
    Operator.HAS_ALL: _sets,
}
