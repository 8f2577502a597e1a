"""Rules about single users as targets, where that decides the same.

A backend without targets says them with rules: whoever is listed gets the flag, and whoever is on
another list is left out of all else. One that has targets often has no such rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from downhaul.flag import TARGETING_KEY, Clause, Flag, Missing, Operator, Rule, Target


def with_targets_said(flag: Flag) -> Flag:
    """Return a flag that decides the same for everybody, with targets for rules about keys.

    A rule for listed keys becomes a target if all rules before it serve the same variant. Keys that
    every rule that is left leaves out become targets of the default, if that is one variant.
    """
    listed: list[Target] = []
    left: list[Rule] = []
    for rule in flag.rules:
        target = _target_of(rule)
        if target is not None and all(one.serve == target.variant for one in left):
            listed.append(target)
        else:
            left.append(rule)
    denied = _left_out(left) if isinstance(flag.default, str) else {}
    for kind, keys in denied.items():
        listed.append(Target(str(flag.default), keys, kind))
        left = [_without(rule, kind, keys) for rule in left]
    if not listed:
        return flag
    return replace(flag, targets=(*flag.targets, *listed), rules=tuple(left))


def _target_of(rule: Rule) -> Target | None:
    """Return the target that a rule is, or None where it is more than that."""
    if rule.gate is not None or not isinstance(rule.serve, str) or len(rule.clauses) != 1:
        return None
    (clause,) = rule.clauses
    if clause.negate or not _is_list(clause):
        return None
    return Target(rule.serve, frozenset(clause.values), clause.context_kind)


def _left_out(rules: Sequence[Rule]) -> dict[str, frozenset[str]]:
    """Return the keys that every one of some rules leaves out, by context kind."""
    each = [_denied(rule) for rule in rules]
    if not each:
        return {}
    kinds = set.intersection(*(set(found) for found in each))
    shared = {kind: frozenset.intersection(*(found[kind] for found in each)) for kind in kinds}
    return {kind: keys for kind, keys in sorted(shared.items()) if keys}


def _denied(rule: Rule) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for clause in rule.clauses:
        if _denies(clause):
            kind = clause.context_kind
            found[kind] = found.get(kind, frozenset()) | frozenset(clause.values)
    return found


def _without(rule: Rule, kind: str, keys: frozenset[str]) -> Rule:
    """Return a rule that no longer says of some keys that it leaves them out."""
    clauses = []
    for clause in rule.clauses:
        if not _denies(clause) or clause.context_kind != kind:
            clauses.append(clause)
        elif rest := tuple(one for one in clause.values if one not in keys):
            clauses.append(replace(clause, values=rest))
    return replace(rule, clauses=tuple(clauses))


def _denies(clause: Clause) -> bool:
    # Where a missing key matches no negated clause either, leaving the clause out would let it in.
    return clause.negate and clause.missing is Missing.FALSE and _is_list(clause)


def _is_list(clause: Clause) -> bool:
    return (
        clause.attribute == TARGETING_KEY
        and clause.operator is Operator.IN
        and not clause.ignore_case
        and bool(clause.values)
        and all(type(one) is str and one for one in clause.values)
    )
