"""Flags and segments of ours in the terms of LaunchDarkly's rules: its own hash, or none.

A split that LaunchDarkly would hash itself stays one. Any other, and every gate, becomes clauses on
the bucket that whoever asks brings along (see ``downhaul.evaluator.lowering``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from downhaul.errors import Refused
from downhaul.evaluator.carriers import carrier_of
from downhaul.evaluator.lowering import CantLower, lowered, lowered_segment
from downhaul.flag import (
    CONTEXT_KIND,
    TARGETING_KEY,
    WHOLE,
    Bucketing,
    Clause,
    Flag,
    NoKey,
    Operator,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Split,
)
from downhaul.references import clauses_of

_HIGHEST_SEED: Final = 2**31 - 1
_KEYS: Final = frozenset({NoKey.ERROR, NoKey.FIRST})
_TWO: Final = 2
EVERYBODY: Final = Clause(CONTEXT_KIND, Operator.IN, ("multi",), negate=True)
"""A clause that all contexts match: none is of a kind with that name."""

IsNative = Callable[[Bucketing], bool]


def spelled(flag: Flag, salt: str, before: Flag | None = None) -> Flag:
    """Return a flag that decides the same, as LaunchDarkly's rules can say it. Raises Refused.

    ``salt`` is what LaunchDarkly hashes the flag's users with. A plain split is its own affair,
    unless ``before``, the flag as it is there, has that split by carried buckets already.
    """
    native = _native(flag.key, salt, before)
    splits = [*(one.serve for one in flag.rules), flag.default]
    leaving = {one.bucketing for one in splits if isinstance(one, Split) and _leaves(one)}

    def kept(how: Bucketing) -> bool:
        return native(how) and how not in leaving

    try:
        made = lowered(_with_firsts(_opened(flag, kept), kept), kept)
    except CantLower as error:
        message = f'LaunchDarkly cannot keep flag "{flag.key}" as it is: {error}'
        hint = "let the rule serve one variant, or a split over all of its users"
        raise Refused(message, flag=flag.key, hint=hint) from None
    return _ended(made)


def spelled_segment(segment: Segment, salt: str) -> Segment:
    """Return a segment with the same members, as LaunchDarkly's rules can say it."""
    native = _native(segment.key, salt, None)
    plain = replace(segment, rules=tuple(_member_rules(segment, native)))
    made = lowered_segment(plain, native)
    rules = tuple(replace(one, clauses=one.clauses or (EVERYBODY,)) for one in made.rules)
    return replace(made, rules=rules)


def is_plain(how: Bucketing) -> bool:
    """Return whether whose hash it is, is left to the backend."""
    return how.no_key in _KEYS and how == Bucketing(
        context_kind=how.context_kind, no_key=how.no_key
    )


def seed_of(salt: str | None) -> int | None:
    """Return the seed that a salt is in LaunchDarkly, or None where it is none."""
    if salt is None or not salt.isascii() or not salt.isdigit():
        return None
    seed = int(salt) if len(salt) < len(str(_HIGHEST_SEED)) + 1 else _HIGHEST_SEED + 1
    return seed if seed <= _HIGHEST_SEED and str(seed) == salt else None


def _native(key: str, salt: str, before: Flag | None) -> IsNative:
    carried = set() if before is None else {one.attribute for one in clauses_of(before)}

    def native(how: Bucketing) -> bool:
        if is_plain(how):
            return carrier_of(how, key) not in carried
        if how.scheme is not Scheme.LAUNCHDARKLY or how.seed is not None or how.total != WHOLE:
            return False
        if how.salt != f"{key}.{salt}" and seed_of(how.salt) is None:
            return False
        if how.by == (TARGETING_KEY,):
            return how.no_key in _KEYS
        return len(how.by) == 1 and how.no_key is NoKey.FIRST

    return native


def _leaves(split: Split) -> bool:
    return any(one.variant is None for one in split.weights)


def _with_firsts(flag: Flag, native: IsNative) -> Flag:
    """Return a flag with a rule for each share of nobody that comes first, where that says much.

    Whoever lacks a whole kind of context is given it, in LaunchDarkly: rules for no bucket at all
    keep that in mind.
    """
    rules = [made for rule in flag.rules for made in _firsts(flag.key, rule, native)]
    if isinstance(flag.default, Split):
        rules += _firsts(flag.key, Rule(flag.default), native)[:-1]
    return replace(flag, rules=tuple(rules))


def _firsts(key: str, rule: Rule, native: IsNative) -> list[Rule]:
    """Return the rules that stand for one; the last of them is the rule itself, or what is left."""
    gate = rule.gate
    if gate is not None and not gate.share and gate.bucketing.no_key is NoKey.FIRST:
        shut = replace(rule, clauses=(*rule.clauses, _below(key, gate.bucketing, 0)), gate=None)
        outside = [] if gate.outside is None else [replace(rule, serve=gate.outside, gate=None)]
        return [*_firsts(key, shut, native), *outside]
    split = rule.serve
    if not isinstance(split, Split) or native(split.bucketing):
        return [rule]
    first = split.weights[0]
    if first.weight or first.variant is None or split.bucketing.no_key is not NoKey.FIRST:
        return [rule]
    clauses = (*rule.clauses, _below(key, split.bucketing, 0))
    rest = replace(split, weights=split.weights[1:])
    return [replace(rule, serve=first.variant, clauses=clauses), replace(rule, serve=rest)]


def _below(key: str, how: Bucketing, edge: int) -> Clause:
    name = carrier_of(how, key)
    return Clause(name, Operator.LESS, (edge,), context_kind=how.context_kind)


def _opened(flag: Flag, native: IsNative) -> Flag:
    """Return a flag whose default's two shares are a rule and the rest, even where one is nobody's.

    So whose hash it is stays written there at 0 % and at 100 %, for whoever moves it on.
    """
    default = flag.default
    if not isinstance(default, Split) or native(default.bucketing):
        return flag
    if len(default.weights) != _TWO or default.bucketing.no_key is NoKey.MISS:
        return flag
    first, rest = default.weights
    if first.variant is None or rest.variant is None:
        return flag
    edge = _below(flag.key, default.bucketing, first.weight)
    return replace(flag, rules=(*flag.rules, Rule(first.variant, (edge,))), default=rest.variant)


def _ended(flag: Flag) -> Flag:
    """Return a flag whose first rule for everybody is its default: no later one has a say."""
    for place, rule in enumerate(flag.rules):
        if not rule.clauses and rule.gate is None:
            return replace(flag, rules=flag.rules[:place], default=rule.serve)
    return flag


def _member_rules(segment: Segment, native: IsNative) -> Iterator[SegmentRule]:
    for rule in segment.rules:
        gate = rule.gate
        if gate is None or native(gate.bucketing) or gate.share < gate.bucketing.total:
            yield rule
        else:
            yield rule if gate.bucketing.no_key is NoKey.MISS else replace(rule, gate=None)
