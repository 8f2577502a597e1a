"""Flags as Split can say them, by carriers.

A default that is split by a carrier keeps it at 0 % and at 100 %, where no clause would be needed:
who raises it later raises the same users.
"""

from __future__ import annotations

from dataclasses import replace

from downhaul.evaluator.carriers import carrier_of
from downhaul.evaluator.lowering import lowered
from downhaul.flag import (
    TARGETING_KEY,
    USER,
    Bucketing,
    Clause,
    Flag,
    NoKey,
    Operator,
    Rule,
    Split,
    Target,
)
from downhaul_split.native import is_own


def lowered_flag(flag: Flag) -> Flag:
    """Return a flag without splits but for Split's own percentages. Raises CantLower."""
    edged = _edged(flag)
    return lowered(flag, is_own) if edged is None else edged


def with_listed_keys(flag: Flag) -> Flag:
    """Return a flag with targets for the first of its rules that are for some keys and no others.

    The admin API has matchers for attributes only.
    """
    rules = list(flag.rules)
    targets = list(flag.targets)
    while rules and (keys := _keys_of(rules[0])):
        seen = {key for one in targets if one.context_kind == USER for key in one.keys}
        new = keys - seen
        if new:
            targets.append(Target(str(rules[0].serve), new))
        rules.pop(0)
    return replace(flag, rules=tuple(rules), targets=tuple(targets))


def _keys_of(rule: Rule) -> frozenset[str]:
    if len(rule.clauses) != 1 or rule.gate is not None or not isinstance(rule.serve, str):
        return frozenset()
    (one,) = rule.clauses
    plain = one.operator is Operator.IN and not one.negate and not one.ignore_case
    if not plain or one.attribute != TARGETING_KEY or one.context_kind != USER:
        return frozenset()
    listed = all(type(value) is str and value for value in one.values)
    return frozenset(one.values) if listed else frozenset()


def _edged(flag: Flag) -> Flag | None:
    """Return the flag with the carrier kept, where all of its default's users get one variant."""
    default = flag.default
    if not isinstance(default, Split) or is_own(default.bucketing):
        return None
    how, weights = default.bucketing, default.weights
    at = next((at for at, one in enumerate(weights) if one.weight == how.total), None)
    if at is None or weights[at].variant is None:
        return None
    everybody = str(weights[at].variant)
    before = [one.variant for one in weights[:at] if one.variant is not None]
    after = [one.variant for one in weights[at + 1 :] if one.variant is not None]
    misses = how.no_key is NoKey.MISS  # without a bucket nobody is served what all others are
    bands = [(everybody, how.total)]
    rest = flag.off_variant if misses or not after else after[0]
    if before and not after:
        bands, rest = [(before[0], 0), *bands], flag.off_variant if misses else everybody
    if not misses and rest == everybody:
        bands.pop()
    if rest is None or not bands:
        return None
    made = lowered(replace(flag, default=rest), is_own)
    return replace(made, rules=(*made.rules, *(_band(flag, how, *one) for one in bands)))


def _band(flag: Flag, how: Bucketing, variant: str, edge: int) -> Rule:
    return Rule(variant, (Clause(carrier_of(how, flag.key), Operator.LESS, (edge,)),))
