"""Buckets of one carrier in one rule: one band, or none; and choices that need no bucket at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from downhaul.flag import Bucketing, Clause, NoKey, Operator, Rule, Split
from downhaul_unleash.saying import is_carrier


def one_band_each(clauses: Iterable[Clause]) -> list[Clause]:
    """Return clauses in which no carrier has two upper edges, or two lower ones."""
    made: list[Clause] = []
    for clause in clauses:
        if not is_carrier(clause) or clause.negate or len(clause.values) != 1:
            made.append(clause)
            continue
        for place, other in enumerate(made):
            if replace(other, values=clause.values) == clause:
                pick = min if clause.operator is Operator.LESS else max
                made[place] = replace(clause, values=(pick(clause.values[0], other.values[0]),))
                break
        else:
            made.insert(_place_of(clause, made), clause)
    return made


def _place_of(clause: Clause, made: Sequence[Clause]) -> int:
    """Return where an edge belongs: a lower one before the upper one of its carrier."""
    if clause.operator is Operator.LESS:
        return len(made)
    same = (at for at, one in enumerate(made) if one.attribute == clause.attribute)
    return next(same, len(made))


def is_empty(clauses: Iterable[Clause]) -> bool:
    """Return whether clauses ask for a bucket that is below one edge, and not below a higher."""
    edges = {(one.attribute, one.operator): one.values[0] for one in clauses if is_carrier(one)}
    return any(
        edge <= edges.get((name, Operator.GREATER_OR_EQUAL), 0)
        for (name, operator), edge in edges.items()
        if operator is Operator.LESS
    )


def without_constants(rule: Rule) -> Rule:
    """Return a rule without choices that are the same for everybody: they need no key (rule E7)."""
    gate, serve = rule.gate, rule.serve
    if gate is not None and _is_whole(gate.share, gate.bucketing):
        gate = None
    if isinstance(serve, Split):
        weights = [one for one in serve.weights if one.weight or one.variant is not None]
        serve = replace(serve, weights=tuple(weights))
        first = next((one for one in serve.weights if one.weight), None)
        leads = first is not None and (
            first is serve.weights[0] or serve.bucketing.no_key is not NoKey.FIRST
        )
        if first is not None and leads and _is_whole(first.weight, serve.bucketing):
            serve = serve if first.variant is None else first.variant
    return replace(rule, gate=gate, serve=serve)


def _is_whole(weight: int, how: Bucketing) -> bool:
    return weight >= how.total and how.no_key is not NoKey.MISS
