"""Strategies that Downhaul wrote whole, read as the flag that they are.

Marks say what each strategy stands for. They are believed only if writing what they say gives the
strategies that are there: whoever changed one of them by hand made it their own, and it is read as
Unleash decides by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from downhaul.evaluator.carriers import bucketing_of, carrier_of
from downhaul.evaluator.lowering import lifted
from downhaul.flag import (
    Clause,
    Flag,
    FlagKind,
    Missing,
    Operator,
    Rule,
    Serve,
    Split,
    Target,
    Weight,
)
from downhaul_unleash.absence import ANYTHING
from downhaul_unleash.composing import composed
from downhaul_unleash.engine import DoesNotCompile
from downhaul_unleash.entries import Entries
from downhaul_unleash.hashes import own_hash
from downhaul_unleash.marks import BY, Mark, Sort, mark_of
from downhaul_unleash.rules import strategy_rules
from downhaul_unleash.saying import is_carrier
from downhaul_unleash.segments import Segments
from downhaul_unleash.shape import TARGETS, Strategy, is_list, normal
from downhaul_unleash.source import Feature
from downhaul_unleash.source import Strategy as StrategySource
from downhaul_unleash.variants import Table
from downhaul_unleash.why import CantSay

_NONE: Final = Segments((), {}, frozenset())
_ANY_SPLIT: Final = Split(())
"""Stands for a default while rules are lifted, so that none of them becomes part of it."""


def is_marked(feature: Feature) -> bool:
    """Return whether any strategy bears a mark of ours."""
    return any(mark_of(one.parameters) is not None for one in feature.strategies)


def recognised(feature: Feature, table: Table) -> Flag | None:
    """Return the flag that Downhaul wrote, on, or None where somebody else had a hand in it."""
    try:
        parts = _parts(feature, table)
        if parts is None:
            return None
        plain = _assembled(feature, table, parts)
        actual = [_comparable(each) for each in parts.marked]
        for candidate in (_lifted(plain, parts), _gated(plain), plain):
            flag = _with_percentage(candidate, parts)
            made = [one for one in composed(flag) if mark_of(one["parameters"]) is not None]
            if [_comparable(one) for one in made] == actual:
                return _plainly(flag)
    except (CantSay, DoesNotCompile):
        return None
    return None


@dataclass(frozen=True, slots=True)
class _Read:
    mark: Mark
    strategy: Strategy
    rule: Rule


@dataclass(frozen=True, slots=True)
class _Parts:
    """A flag's strategies, told apart: those with marks, and lists of users by variant."""

    reads: tuple[_Read, ...]
    lists: tuple[tuple[str, frozenset[str]], ...]

    @property
    def marked(self) -> list[Strategy]:
        return [one.strategy for one in self.reads]

    def of(self, *sorts: Sort) -> list[_Read]:
        """Return the reads of some sorts, in order."""
        return [one for one in self.reads if one.mark.sort in sorts]


def _parts(feature: Feature, table: Table) -> _Parts | None:
    if feature.variants:
        return None
    reads: list[_Read] = []
    lists: list[tuple[str, frozenset[str]]] = []
    for number, one in enumerate(feature.strategies, start=1):
        if one.disabled or one.segments or one.name != "flexibleRollout":
            return None
        mark = mark_of(one.parameters)
        strategy = normal(one.raw)
        rule = _rule_of(feature, one, number, table)
        if mark is not None:
            reads.append(_Read(mark, strategy, rule))
        elif is_list({**strategy, "title": strategy["title"] or TARGETS}):
            lists.append((str(rule.serve), frozenset(one.constraints[0].values)))
        else:
            return None
    return _Parts(tuple(reads), tuple(lists))


def _rule_of(feature: Feature, one: StrategySource, number: int, table: Table) -> Rule:
    rules, _default = strategy_rules(feature, one, number, table, _NONE, Entries())
    return rules[-1]


def _assembled(feature: Feature, table: Table, parts: _Parts) -> Flag:
    off = _off_variant(table, parts)
    rules = _rules(feature.name, parts.of(Sort.RULE, Sort.NO_RULE), off)
    ended = _rules(feature.name, parts.of(Sort.ROLLOUT, Sort.NO_ROLLOUT), off)
    default: Serve = off if off is not None else ""
    if ended and not ended[-1].clauses:
        default = ended.pop().serve
    values = {
        name: value
        for name, value in table.values.items()
        if table.kind is FlagKind.BOOLEAN or name != table.off
    }
    if table.kind is FlagKind.BOOLEAN:
        values = {"on": True, "off": False}
    if not default:
        raise CantSay("nobody said what is served at the end")
    return Flag(
        key=feature.name,
        default=default,
        kind=table.kind,
        variants=values,
        off_variant=off,
        on=True,
        rules=(*rules, *ended),
        targets=_targets(parts, off),
    )


def _lifted(flag: Flag, parts: _Parts) -> Flag:
    """Return a flag with its splits, those of rules apart from that of the default."""
    last = len(_rules(flag.key, parts.of(Sort.RULE, Sort.NO_RULE), flag.off_variant))
    rules = lifted(replace(flag, rules=flag.rules[:last], default=_ANY_SPLIT)).rules
    ended = lifted(replace(flag, rules=flag.rules[last:]))
    return replace(flag, rules=(*rules, *ended.rules), default=ended.default)


def _gated(flag: Flag) -> Flag:
    """Return a flag in which each rule has its own gate or split."""
    rules = [
        each
        for one in flag.rules
        for each in lifted(replace(flag, rules=(one,), default=_ANY_SPLIT)).rules
    ]
    return replace(flag, rules=tuple(rules))


def _off_variant(table: Table, parts: _Parts) -> str | None:
    if table.kind is FlagKind.BOOLEAN:
        return "off"
    return next((str(one.rule.serve) for one in parts.of(Sort.OFF)), None)


def _rules(key: str, reads: Sequence[_Read], off: str | None) -> list[Rule]:
    """Return the rules of strategies, each once: copies differ in what they leave out alone."""
    made: list[tuple[Mark, Rule]] = []
    for one in reads:
        if one.mark.sort is Sort.ROLLOUT and one.strategy["parameters"]["rollout"] == "0":
            continue
        clauses = _together(one.rule.clauses[: one.mark.own])
        gate = one.rule.gate if one.mark.serves else None
        if gate is not None:
            attribute = carrier_of(gate.bucketing, key)
            below = Clause(attribute, Operator.LESS, (gate.share,))
            clauses = _before_carriers(clauses, below)
        serve = one.rule.serve if one.mark.serves or off is None else off
        description = _description(one)
        rule = Rule(serve, clauses, description=description)
        if not made or made[-1] != (one.mark, rule):
            made.append((one.mark, rule))
    return [rule for _mark, rule in made]


def _together(clauses: tuple[Clause, ...]) -> tuple[Clause, ...]:
    """Return clauses in which what asks whether there is an attribute stands with what needs it."""
    made: list[Clause] = []
    for clause in clauses:
        asks = clause.operator is Operator.MATCHES and clause.values == (ANYTHING,)
        if not asks or clause.ignore_case:
            made.append(clause)
        elif made and _may_lack(made[-1], clause.attribute):
            made[-1] = replace(made[-1], missing=Missing.NO_MATCH)
        else:
            made.append(Clause(clause.attribute, Operator.PRESENT))
    return tuple(made)


def _may_lack(clause: Clause, attribute: str) -> bool:
    """Return whether a clause matches who lacks the attribute, so that it is asked for beside."""
    return (
        clause.attribute == attribute
        and clause.negate
        and clause.missing is Missing.FALSE
        and clause.operator is not Operator.PRESENT
    )


def _before_carriers(clauses: tuple[Clause, ...], gate: Clause) -> tuple[Clause, ...]:
    """Return clauses with a gate where a gate is: before what a split asks of its own carrier."""
    place = next((at for at, one in enumerate(clauses) if is_carrier(one)), len(clauses))
    return (*clauses[:place], gate, *clauses[place:])


def _description(one: _Read) -> str:
    return str(one.strategy["title"]).partition(" ")[2]


def _targets(parts: _Parts, off: str | None) -> tuple[Target, ...]:
    users: dict[str, frozenset[str]] = {}
    denied = frozenset(
        user
        for one in parts.reads
        if one.mark.denies
        for each in one.strategy["constraints"][-one.mark.denies :]
        for user in each["values"]
    )
    if denied and off is not None:
        users[off] = denied
    for variant, listed in parts.lists:
        users[variant] = users.get(variant, frozenset()) | listed
    return tuple(Target(variant, keys) for variant, keys in users.items())


def _with_percentage(flag: Flag, parts: _Parts) -> Flag:
    """Return a flag whose default is by the hash that its percentage names, at 0 and 100 % too."""
    named = [(one, one.strategy["parameters"].get(BY)) for one in parts.of(Sort.ROLLOUT)]
    if not named or flag.off_variant is None:
        return flag
    first, name = named[0]
    how = None if name is None else bucketing_of(name)
    if how is None:
        return flag
    if isinstance(flag.default, Split):
        weights = {one.variant: one.weight for one in flag.default.weights}
        weight = weights.get(str(first.rule.serve), 0) if len(weights) > 1 else how.total
    else:
        weight = how.total if flag.default == first.rule.serve else 0
    variant = str(first.rule.serve)
    both = (Weight(variant, weight), Weight(flag.off_variant, how.total - weight))
    return replace(flag, default=Split(both, how))


def _plainly(flag: Flag) -> Flag:
    """Return a flag that serves one variant where Unleash's own percentage of it is 0 or 100."""
    split = flag.default
    if isinstance(split, str) or split.bucketing != own_hash(flag.key):
        return flag
    full = [one.variant for one in split.weights if one.weight == split.bucketing.total]
    return replace(flag, default=full[0]) if full and full[0] is not None else flag


def _comparable(one: Strategy) -> Any:
    """Return what decides of a strategy: neither its title, nor the number in its mark."""
    mark = mark_of(one["parameters"])
    parameters = {name: value for name, value in one["parameters"].items() if name != "downhaul"}
    place = None if mark is None else (mark.sort, mark.own, mark.denies)
    variants = [(each["name"], each["weight"], each.get("payload")) for each in one["variants"]]
    return place, parameters, one["constraints"], variants
