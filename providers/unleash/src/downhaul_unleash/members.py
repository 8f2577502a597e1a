"""Segments of ours, written out as clauses of the rules that name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from downhaul.flag import (
    TARGETING_KEY,
    Clause,
    Gate,
    Keys,
    Missing,
    NoKey,
    Operator,
    Rule,
    Segment,
)
from downhaul_unleash.shape import MOST_STRATEGIES
from downhaul_unleash.why import CantSay


@dataclass(frozen=True, slots=True)
class Case:
    """Clauses, and maybe a gate, that hold together."""

    clauses: tuple[Clause, ...] = ()
    gates: tuple[Gate, ...] = ()


def written_out(rule: Rule, segments: Mapping[str, Segment]) -> list[Rule]:
    """Return the rules that match whom one does, without a segment. Raises CantSay.

    Each serves what the one serves, so it does not matter to how many of them somebody belongs.
    """
    if not any(one.operator is Operator.IN_SEGMENT for one in rule.clauses):
        return [rule]
    cases = _all(tuple(_clause(one, segments, ()) for one in rule.clauses))
    made = []
    for number, case in enumerate(cases, start=1):
        gates = case.gates if rule.gate is None else (*case.gates, rule.gate)
        if len(gates) > 1:
            raise CantSay("a rule has one gate, and this one would need several")
        gate = gates[0] if gates else None
        identity = f"{rule.id}-{number}" if rule.id and number > 1 else rule.id
        made.append(replace(rule, clauses=case.clauses, gate=gate, id=identity))
    return made


def _clause(clause: Clause, segments: Mapping[str, Segment], within: tuple[str, ...]) -> list[Case]:
    if clause.operator is not Operator.IN_SEGMENT:
        return [Case((clause,))]
    members = [
        case
        for key in clause.values
        if key in segments and key not in within
        for case in _members(segments[key], segments, (*within, key))
    ]
    return _none_of(members) if clause.negate else members


def _members(
    segment: Segment, segments: Mapping[str, Segment], within: tuple[str, ...]
) -> list[Case]:
    listed = [Case((_keys(one),)) for one in segment.included if one.keys]
    excluded = tuple(_not_keys(one) for one in segment.excluded if one.keys)
    made = listed
    for rule in segment.rules:
        cases = _all(tuple(_clause(one, segments, within) for one in rule.clauses))
        gates = () if rule.gate is None else (_closed(rule.gate, segment.key),)
        made += [Case((*excluded, *one.clauses), (*one.gates, *gates)) for one in cases]
    return made


def _keys(one: Keys) -> Clause:
    values = tuple(sorted(one.keys))
    return Clause(TARGETING_KEY, Operator.IN, values, context_kind=one.context_kind)


def _not_keys(one: Keys) -> Clause:
    return replace(_keys(one), negate=True, missing=Missing.FALSE)


def _closed(gate: Gate, key: str) -> Gate:
    """Return a segment's gate as a rule's: who has no key to bucket by is outside, and no error."""
    how = gate.bucketing
    how = replace(how, salt=key if how.salt is None else how.salt)
    if how.no_key is NoKey.ERROR:
        how = replace(how, no_key=NoKey.MISS)
    return Gate(gate.share, how)


def _all(choices: tuple[list[Case], ...]) -> list[Case]:
    """Return the cases in which one case of each holds."""
    count = 1
    for one in choices:
        count *= len(one)
    if count > MOST_STRATEGIES:
        raise CantSay(f"its segments would take {count} strategies, and Unleash takes 30")
    return [
        Case(
            tuple(dict.fromkeys(clause for one in each for clause in one.clauses)),
            tuple(gate for one in each for gate in one.gates),
        )
        for each in product(*choices)
    ]


def _none_of(cases: Iterable[Case]) -> list[Case]:
    made = [Case()]
    for case in cases:
        if case.gates:
            raise CantSay("Unleash can't leave out whom a segment lets in by percentage")
        against = [Case((one,)) for clause in case.clauses for one in _turned(clause)]
        made = _all((made, against))
    return made


def _turned(clause: Clause) -> Iterator[Clause]:
    """Yield clauses of which one holds where a clause doesn't."""
    if clause.operator is Operator.PRESENT or clause.missing is Missing.NOW:
        yield replace(clause, negate=not clause.negate)
    elif not clause.negate:
        yield replace(clause, negate=True, missing=Missing.FALSE)
    else:
        yield replace(clause, negate=False, missing=Missing.NO_MATCH)
        if clause.missing is Missing.NO_MATCH:
            yield Clause(
                clause.attribute, Operator.PRESENT, negate=True, context_kind=clause.context_kind
            )
