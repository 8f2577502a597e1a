"""Flags without hashes: splits and gates as clauses on the buckets that carriers bring, and back.

A backend that knows neither a scheme nor a gate still takes the first of its rules that matches. So
a quarter of all users is a rule for those whose bucket is below a quarter, and what the rest gets
comes after it. :func:`lowered` writes a flag so, :func:`lifted` reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from downhaul.evaluator.carriers import bucketing_of, carrier_of
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    Gate,
    NoKey,
    Operator,
    Rule,
    Segment,
    SegmentRule,
    Serve,
    Split,
    Weight,
)

IsNative = Callable[[Bucketing], bool]
"""Whether a backend hashes so by itself, so that a split by it can stay one."""


class CantLower(ValueError):
    """A split or a gate that no clauses say; the message says which and why."""


def nothing_is_native(_bucketing: Bucketing) -> bool:
    """Return False: no split stays one."""
    return False


# --- splits and gates as clauses


def lowered(flag: Flag, native: IsNative = nothing_is_native) -> Flag:
    """Return a flag that decides the same for whoever brings their buckets, by clauses alone.

    Its gates are clauses, and so are its splits but for those that are ``native``. The default
    comes last and has no clauses, so it serves one variant, or a native split. Raises CantLower.
    """
    rules = [made for rule in flag.rules for made in _rule(flag.key, rule, native)]
    default = flag.default
    if isinstance(default, Split) and not native(default.bucketing):
        parts = list(_parts(flag.key, default))
        default = _rest(default) or flag.off_variant or ""
        if not default:
            message = "its default leaves some users without a variant, and there is no off variant"
            raise CantLower(message)
        while parts and parts[-1].serve == default:
            parts.pop()
        rules += [Rule(one.serve, one.clauses) for one in parts]
    return replace(flag, rules=tuple(rules), default=default)


def lowered_segment(segment: Segment, native: IsNative = nothing_is_native) -> Segment:
    """Return a segment with the same members, whose gates are clauses but for native ones."""
    rules = tuple(
        one
        if one.gate is None or native(one.gate.bucketing)
        else SegmentRule((*one.clauses, *_below(segment.key, one.gate.bucketing, one.gate.share)))
        for one in segment.rules
        if one.gate is None or one.gate.share or native(one.gate.bucketing)
    )
    return replace(segment, rules=rules)


def _rule(key: str, rule: Rule, native: IsNative) -> Iterator[Rule]:
    clauses = rule.clauses
    gate = rule.gate
    if gate is not None:
        if gate.outside is not None and _falls_through(rule.serve):
            message = f'rule "{rule.id}" serves "{gate.outside}" outside, and falls through inside'
            raise CantLower(message)
        clauses += _below(key, gate.bucketing, gate.share)
    if gate is None or gate.share:
        yield from _served(key, replace(rule, clauses=clauses, gate=None), native)
    if gate is not None and gate.outside is not None:
        yield replace(rule, serve=gate.outside, gate=None, id=_suffixed(rule, "outside"))


def _served(key: str, rule: Rule, native: IsNative) -> Iterator[Rule]:
    if not isinstance(rule.serve, Split) or native(rule.serve.bucketing):
        yield rule
        return
    for number, part in enumerate(_parts(key, rule.serve), start=1):
        identity = rule.id if number == 1 else _suffixed(rule, str(number))
        yield replace(rule, serve=part.serve, clauses=(*rule.clauses, *part.clauses), id=identity)


@dataclass(frozen=True, slots=True)
class _Part:
    serve: str
    clauses: tuple[Clause, ...]


def _parts(key: str, split: Split) -> Iterator[_Part]:
    """Yield what a split serves in the order of its edges, each to the buckets below its own."""
    how = split.bucketing
    passed = 0  # the edge below which somebody falls through, and no later part may match
    edges = accumulate(one.weight for one in split.weights)
    for one, edge in zip(split.weights, edges, strict=True):
        if one.variant is None:
            passed = edge
        elif one.weight:
            clauses = _below(key, how, edge)
            if passed:
                clauses = (_clause(key, how, Operator.GREATER_OR_EQUAL, passed), *clauses)
            yield _Part(one.variant, clauses)


def _below(key: str, how: Bucketing, edge: int) -> tuple[Clause, ...]:
    return (_clause(key, how, Operator.LESS, edge),)


def _clause(key: str, how: Bucketing, operator: Operator, edge: int) -> Clause:
    return Clause(carrier_of(how, key), operator, (edge,), context_kind=how.context_kind)


def _rest(split: Split) -> str | None:
    """Return the variant of a split's last buckets, or None where some are left without one."""
    if _falls_through(split):
        return None
    return next(one.variant for one in reversed(split.weights) if one.weight)


def _falls_through(serve: Serve) -> bool:
    if isinstance(serve, str):
        return False
    if serve.bucketing.no_key is NoKey.MISS:
        return True  # whoever has no key
    named = sum(one.weight for one in serve.weights if one.variant is not None)
    return named < serve.bucketing.total


def _suffixed(rule: Rule, suffix: str) -> str:
    return f"{rule.id}-{suffix}" if rule.id else ""


# --- clauses as splits and gates


def lifted(flag: Flag) -> Flag:
    """Return a flag whose clauses on carriers are gates and splits again, so that it reads as such.

    Rules that differ in nothing but the edge of one carrier are the parts of one split; those that
    come last, for all users, are the default's.
    """
    rules = list(_joined(flag.rules))
    default = flag.default
    if rules and isinstance(default, str):
        last = rules[-1]
        if _is_for_all(last, default == flag.off_variant) and isinstance(last.serve, Split):
            default = _filled(last.serve, default)
            rules.pop()
    return replace(flag, rules=tuple(_gated(one) for one in rules), default=default)


def _is_for_all(rule: Rule, off: bool) -> bool:
    """Return whether a rule's split can be the default's; ``off`` says that the rest is off.

    A default whose bucketing finds no key is off, where a rule goes on to what comes after it.
    """
    if rule.clauses or rule.gate is not None or not isinstance(rule.serve, Split):
        return False
    return off or rule.serve.bucketing.no_key is not NoKey.MISS


def lifted_segment(segment: Segment) -> Segment:
    """Return a segment whose clauses on carriers are gates again."""
    made = []
    for rule in segment.rules:
        clauses, gate = _gate_in(rule.clauses) if rule.gate is None else (rule.clauses, rule.gate)
        made.append(SegmentRule(clauses, gate))
    return replace(segment, rules=tuple(made))


@dataclass(frozen=True, slots=True)
class _Band:
    """A rule for the buckets ``low``..``high`` - 1 of one carrier, beside its other clauses."""

    rule: Rule
    how: Bucketing
    low: int
    high: int

    def alike(self, other: _Band) -> bool:
        """Return whether both are for the same users but for their buckets."""
        mine, theirs = (
            (one.how, one.rule.clauses, one.rule.gate, one.rule.description)
            for one in (self, other)
        )
        return mine == theirs


class _Run:
    """Bands that follow one another, as the split that they are."""

    def __init__(self, first: _Band) -> None:
        self._first = first
        self._weights: list[Weight] = []
        self._reached = 0
        self.add(first)

    def takes(self, band: _Band) -> bool:
        """Return whether a band is the next part of the same split."""
        after = band.high > self._reached and (not band.low or band.low >= self._reached)
        return after and band.alike(self._first)

    def add(self, band: _Band) -> None:
        """Take in the next part."""
        start = max(band.low, self._reached)
        if start > self._reached:
            self._weights.append(Weight(None, start - self._reached))
        self._weights.append(Weight(str(band.rule.serve), max(0, band.high - start)))
        self._reached = max(start, band.high)

    def rule(self) -> Rule:
        """Return the rule that serves the split."""
        weights = list(self._weights)
        rest = self._first.how.total - self._reached
        if rest > 0:
            weights.append(Weight(None, rest))
        return replace(self._first.rule, serve=Split(tuple(weights), self._first.how))


def _joined(rules: Iterable[Rule]) -> Iterator[Rule]:
    run: _Run | None = None
    for rule in rules:
        band = _band_of(rule)
        if band is not None and run is not None and run.takes(band):
            run.add(band)
            continue
        if run is not None:
            yield run.rule()
        run = None if band is None else _Run(band)
        if band is None:
            yield rule
    if run is not None:
        yield run.rule()


def _band_of(rule: Rule) -> _Band | None:
    """Return what a rule asks of the last carrier among its clauses, or None where it asks none."""
    if not isinstance(rule.serve, str):
        return None
    edges = [_edge_of(one) for one in rule.clauses]
    last = next((one for one in reversed(edges) if one is not None and one.is_upper), None)
    if last is None:
        return None
    low, high, others = 0, last.how.total, []
    for clause, edge in zip(rule.clauses, edges, strict=True):
        if edge is None or edge.how != last.how:
            others.append(clause)
        elif edge.is_upper:
            high = min(high, edge.at)
        else:
            low = max(low, edge.at)
    return _Band(replace(rule, clauses=tuple(others)), last.how, low, high)


@dataclass(frozen=True, slots=True)
class _Edge:
    how: Bucketing
    at: int
    is_upper: bool


def _edge_of(clause: Clause) -> _Edge | None:
    """Return what a clause says of a carrier's bucket, or None for any other clause."""
    side = _SIDES.get(clause.operator)
    if side is None or clause.negate or len(clause.values) != 1:
        return None
    how = bucketing_of(clause.attribute)
    (edge,) = clause.values
    if how is None or isinstance(edge, bool) or not isinstance(edge, (int, float)):
        return None
    if not float(edge).is_integer():
        return None
    is_upper, beside = side
    return _Edge(how, int(edge) + beside, is_upper)


_SIDES: Final = {
    Operator.LESS: (True, 0),
    Operator.LESS_OR_EQUAL: (True, 1),
    Operator.GREATER_OR_EQUAL: (False, 0),
    Operator.GREATER: (False, 1),
}
"""Whether an operator bounds from above, and how far its number is from the edge."""


def _filled(split: Split, default: str) -> Split:
    """Return a default's split: who fell through it was served ``default``, be it nobody yet."""
    weights = tuple(
        Weight(default, one.weight) if one.variant is None else one for one in split.weights
    )
    rest = () if any(one.variant == default for one in weights) else (Weight(default, 0),)
    return replace(split, weights=weights + rest)


def _gated(rule: Rule) -> Rule:
    """Return a rule with a gate for what is one: the only part of a split, or a carrier beside."""
    if rule.gate is not None:
        return rule
    clauses, gate = _gate_in(rule.clauses)
    if gate is not None:
        return replace(rule, clauses=clauses, gate=gate)
    if isinstance(rule.serve, Split):
        first, *rest = rule.serve.weights
        if first.variant is not None and all(one.variant is None for one in rest):
            gate = Gate(first.weight, rule.serve.bucketing)
            return replace(rule, serve=first.variant, gate=gate)
    return rule


def _gate_in(clauses: tuple[Clause, ...]) -> tuple[tuple[Clause, ...], Gate | None]:
    """Return clauses without the first that a gate says, and that gate."""
    for place, clause in enumerate(clauses):
        edge = _edge_of(clause)
        if edge is not None and edge.is_upper:
            others = clauses[:place] + clauses[place + 1 :]
            if not any(_edge_of(one) for one in others if _same_carrier(one, clause)):
                return others, Gate(min(edge.at, edge.how.total), edge.how)
    return clauses, None


def _same_carrier(one: Clause, other: Clause) -> bool:
    return one.attribute == other.attribute
