"""Clauses, segments and gates, compiled into predicates of a context."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from downhaul.context import Context
from downhaul.evaluator.bucketing import bucketable, chooser
from downhaul.evaluator.operators import LIST_OPERATORS, LISTS, tester
from downhaul.flag import (
    CONTEXT_KIND,
    TARGETING_KEY,
    Bucketing,
    Clause,
    Dialect,
    Missing,
    NoKey,
    Operator,
    Scheme,
    Segment,
)

Predicate = Callable[[Context], bool]
Read = Callable[[Context], Any]


class Surroundings(Protocol):
    """What a clause may ask of the flag set that its flag lives in."""

    clock: Callable[[], dt.datetime]
    """Gives the time of evaluation, for contexts that carry none."""

    def segment(self, key: str) -> Predicate | None:
        """Return the test of membership, or None if there is no such segment (or it is a cycle)."""

    def served(self, key: str) -> Callable[[Context], str | None] | None:
        """Return what gives the variant that another flag serves, or None as above."""


def path_of(attribute: str) -> tuple[str, ...]:
    """Split ``/address/city`` into its names; any other attribute is one name."""
    if not attribute.startswith("/"):
        return (attribute,)
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in attribute[1:].split("/"))


def reader(attribute: str, kind: str) -> Read:
    """Return what reads an attribute of one context kind; None is missing."""
    if attribute == CONTEXT_KIND:
        return lambda context: list(context.kinds or (context.kind,))
    if attribute == TARGETING_KEY:

        def read_key(context: Context) -> Any:
            part = context if context.kind == kind else context.of_kind(kind)
            return None if part is None else part.targeting_key

        return read_key
    path = path_of(attribute)
    if len(path) > 1:
        return _nested(path, kind)
    (name,) = path

    def read(context: Context) -> Any:
        part = context if context.kind == kind else context.of_kind(kind)
        return None if part is None else part.attributes.get(name)

    return read


def _nested(path: tuple[str, ...], kind: str) -> Read:
    def read(context: Context) -> Any:
        part = context.of_kind(kind)
        value: Any = None if part is None else part.attributes
        for name in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(name)
        return value

    return read


def compile_clause(clause: Clause, around: Surroundings) -> Predicate:
    """Return the predicate of one clause. It never raises for any context."""
    if clause.operator is Operator.IN_SEGMENT:
        return _in_segment(clause, around)
    if clause.operator is Operator.SERVES:
        return _serves(clause, around)
    if clause.operator is Operator.PRESENT:
        read = reader(clause.attribute, clause.context_kind)
        negate = clause.negate
        return lambda context: (read(context) is not None) is not negate
    return _attribute(clause, around)


def _attribute(clause: Clause, around: Surroundings) -> Predicate:
    read = reader(clause.attribute, clause.context_kind)
    test = tester(clause)
    negate = clause.negate
    missing = clause.missing
    when_missing = negate if missing is Missing.FALSE else False
    whole = clause.operator in LIST_OPERATORS or clause.dialect is Dialect.SPLIT
    clock = around.clock  # and not around itself, which would keep its whole flag set alive
    words = plain_words(clause)
    if words is not None:

        def among(context: Context) -> bool:
            value = read(context)
            if type(value) is str:
                return (value in words) is not negate
            if value is None:
                return when_missing
            return _any_of(value, test) is not negate

        return among

    def matches(context: Context) -> bool:
        value = read(context)
        if value is None:
            if missing is not Missing.NOW:
                return when_missing
            value = context.at or clock()
        if whole:
            return test(value) is not negate
        return _any_of(value, test) is not negate

    return matches


def plain_words(clause: Clause) -> frozenset[str] | None:
    """Return the values where a clause only asks for one of some strings, as most do; else None."""
    plain = (
        clause.operator is Operator.IN
        and not clause.ignore_case
        and clause.dialect not in (Dialect.SPLIT, Dialect.UNLEASH)
        and clause.missing is not Missing.NOW
        and all(type(value) is str for value in clause.values)
    )
    return frozenset(clause.values) if plain else None


def _any_of(value: Any, test: Callable[[Any], bool]) -> bool:
    if isinstance(value, LISTS):
        return any(map(test, value))
    return test(value)


def _in_segment(clause: Clause, around: Surroundings) -> Predicate:
    found = [around.segment(key) for key in clause.values if isinstance(key, str)]
    members = tuple(one for one in found if one is not None)
    negate = clause.negate
    return lambda context: any(member(context) for member in members) is not negate


def _serves(clause: Clause, around: Surroundings) -> Predicate:
    served = around.served(clause.attribute)
    if served is None:
        return lambda _context: False
    wanted = frozenset(clause.values)
    negate = clause.negate
    return lambda context: (served(context) in wanted) is not negate


def compile_segment(segment: Segment, around: Surroundings) -> Predicate:
    """Return the test of membership: included keys, then excluded keys, then rules."""
    included = tuple((one.context_kind, one.keys) for one in segment.included)
    excluded = tuple((one.context_kind, one.keys) for one in segment.excluded)
    rules = tuple(
        (
            tuple(compile_clause(clause, around) for clause in rule.clauses),
            None if rule.gate is None else opens(rule.gate.bucketing, segment.key, rule.gate.share),
        )
        for rule in segment.rules
    )

    def member(context: Context) -> bool:
        if _listed(context, included):
            return True
        if _listed(context, excluded):
            return False
        for clauses, gate in rules:
            if all(clause(context) for clause in clauses) and (
                gate is None or gate(context) is True
            ):
                return True
        return False

    return member


def _listed(context: Context, lists: tuple[tuple[str, frozenset[str]], ...]) -> bool:
    for kind, keys in lists:
        part = context.of_kind(kind)
        if part is not None and part.targeting_key in keys:
            return True
    return False


def bucket_key(bucketing: Bucketing) -> Callable[[Context], str | None]:
    """Return what reads the string to hash: the first attribute of ``by`` that can be bucketed."""
    kind = bucketing.context_kind
    if bucketing.by == (TARGETING_KEY,):

        def targeting_key(context: Context) -> str | None:
            part = context if context.kind == kind else context.of_kind(kind)
            return None if part is None else part.targeting_key

        return targeting_key
    reads = tuple(reader(name, kind) for name in bucketing.by)
    scheme = bucketing.scheme

    def first(context: Context) -> str | None:
        for read in reads:
            found = bucketable(read(context), scheme)
            if found is not None:
                return found
        return None

    return first


def opens(bucketing: Bucketing, key: str, share: int) -> Callable[[Context], bool | None]:
    """Return what says whether a gate of ``share`` lets a context in; None is no key (rule E8)."""
    pick = index_of(bucketing, key, (share,))

    def gate(context: Context) -> bool | None:
        index = pick(context)
        return None if index is None else index == 0

    return gate


def index_of(
    bucketing: Bucketing, key: str, weights: tuple[int, ...], *, closed: bool = False
) -> Callable[[Context], int | None]:
    """Return what gives the index of the weight that a context falls to.

    ``len(weights)`` is none of them, None is that there was no key to bucket by. A choice that
    is the same for every bucket needs no key (rule E7: 0 and 100 %).
    """
    constant = constant_choice(bucketing, weights)
    if constant is not None:
        return lambda _context: constant
    choose = chooser(bucketing, key, weights, closed=closed)
    if bucketing.scheme is Scheme.RANDOM:
        return lambda _context: choose("")
    read = bucket_key(bucketing)
    without: Callable[[Context], int | None] = _without_key(bucketing, key, weights)

    def pick(context: Context) -> int | None:
        found = read(context)
        return without(context) if found is None else choose(found)

    return pick


def constant_choice(bucketing: Bucketing, weights: tuple[int, ...]) -> int | None:
    """Return the index that every context gets, or None where the bucket decides."""
    if bucketing.no_key is NoKey.MISS:
        return None  # even at 100 %, a strategy that finds no key serves nobody
    if bucketing.no_key is NoKey.FIRST and not weights[0]:
        return None  # a context without the kind falls to the first weight, even to one of zero
    for index, weight in enumerate(weights):
        if weight >= bucketing.total:
            return index
        if weight:
            return None
    return len(weights)


def _without_key(
    bucketing: Bucketing, key: str, weights: tuple[int, ...]
) -> Callable[[Context], int | None]:
    if bucketing.no_key is NoKey.MISS:
        return lambda _context: len(weights)
    if bucketing.no_key is NoKey.RANDOM:
        choose = chooser(Bucketing(Scheme.RANDOM, total=bucketing.total), key, weights)
        return lambda _context: choose("")
    if bucketing.no_key is NoKey.FIRST:
        heavy = next((i for i, weight in enumerate(weights) if weight), len(weights))
        kind = bucketing.context_kind
        # LaunchDarkly gives a context without the kind bucket -1, which is below every edge, and
        # one without the attribute bucket 0, which is not below an edge at 0.
        return lambda context: 0 if context.of_kind(kind) is None else heavy
    return lambda _context: None
