"""A feature's strategies as rules: the first that matches enables it and serves its variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from downhaul.flag import Clause, Rule, Serve, Split, Weight
from downhaul_unleash.conditions import Condition, condition_of
from downhaul_unleash.entries import Entries
from downhaul_unleash.marks import BY, PARAMETER
from downhaul_unleash.segments import Segments, constraint_clauses
from downhaul_unleash.source import Feature, Override, Strategy, Variant
from downhaul_unleash.variants import Table, choice, override_clause

_CARRIED: Final = frozenset(
    {"name", "parameters", "constraints", "segments", "variants", "title", "disabled"}
)
_KNOWN: Final = {
    "id": "the server's number of the strategy",
    "sortOrder": "the order of the document is the order of evaluation",
    "featureName": "the feature that the strategy stands in",
}
_PARAMETERS: Final = {
    "flexibleRollout": {"rollout", "stickiness", "groupId"},
    "gradualRolloutUserId": {"percentage", "groupId"},
    "gradualRolloutSessionId": {"percentage", "groupId"},
    "gradualRolloutRandom": {"percentage"},
    "userWithId": {"userIds"},
    "remoteAddress": {"IPs"},
    "applicationHostname": {"hostNames"},
}
_CUSTOM: Final = (
    "is a strategy of your own code, which Unleash asks; here it serves nobody: write what it asks "
    "as a rule"
)
_FOR_VARIANTS: Final = frozenset({"stickiness", "groupId"})


@dataclass(frozen=True, slots=True)
class Served:
    """What a feature serves: rules, and a default for whom none of them matches."""

    rules: tuple[Rule, ...]
    default: Serve


def served(feature: Feature, table: Table, segments: Segments, entries: Entries) -> Served:
    """Return a feature's strategies and variants as rules and a default.

    Raises DoesNotCompile where the engine can't compile one of them.
    """
    _note_variants(feature, feature.variants, feature.variants, table, entries)
    active = [one for one in feature.strategies if not one.disabled]
    for one in feature.strategies:
        if one.disabled:
            reason = (
                "a disabled strategy: servers leave it out of what they serve, and so does this"
            )
            entries.skipped(one.path, reason, one.raw)
    if not feature.strategies:
        rules = _overridden(feature, table, "everybody", Condition())
        return Served(tuple(rules), _feature_choice(feature, table))
    rules = []
    last: Serve = table.off
    for number, one in enumerate(active, start=1):
        made, default = strategy_rules(feature, one, number, table, segments, entries)
        rules += made
        if number == len(active) and default is not None:
            rules.pop()
            last = default
    return Served(tuple(rules), last)


def strategy_rules(
    feature: Feature,
    one: Strategy,
    number: int,
    table: Table,
    segments: Segments,
    entries: Entries,
) -> tuple[list[Rule], Serve | None]:
    """Return a strategy's rules, and what a default would be that does what the last one does."""
    own = condition_of(one, feature.name)
    # What doesn't compile keeps the feature off, in a strategy that nobody knows here too.
    noted = entries if own is not None else Entries()
    constraints = constraint_clauses(one.constraints, noted)
    named = segments.clauses(one)
    if own is None:
        entries.manual(one.path, f'"{one.name}" {_CUSTOM}', one.raw)
        return [], None
    condition = Condition((*own.clauses, *constraints, *named), own.gate)
    entries.part(one, own.reasons)
    entries.rest(one, _CARRIED, _KNOWN)
    _note_parameters(one, entries)
    rule_id = f"{one.name}-{number}"
    rules: list[Rule] = []
    clauses = condition.clauses
    if one.variants:
        group = one.parameters.get("groupId", feature.name)
        stickiness = one.parameters.get("stickiness", "default")
        _note_variants(feature, one.variants, (), table, entries, stickiness)
        serve = choice(one.variants, group, stickiness, table)
    else:
        serve = _feature_choice(feature, table)
        rules = _overridden(feature, table, rule_id, condition, one.title)
        if rules and condition.draws:
            clauses += _no_override(feature)
    rules.append(Rule(serve, clauses, condition.gate, rule_id, one.title))
    return rules, _as_default(rules[-1], table)


def _as_default(rule: Rule, table: Table) -> Serve | None:
    """Return the default that does what a last rule for all contexts does, if there is one."""
    if rule.clauses:
        return None
    if rule.gate is None:
        return rule.serve
    if not isinstance(rule.serve, str):
        return None
    rest = rule.gate.bucketing.total - rule.gate.share
    return Split(
        (Weight(rule.serve, rule.gate.share), Weight(table.off, rest)), rule.gate.bucketing
    )


def _feature_choice(feature: Feature, table: Table) -> Serve:
    if not feature.variants:
        return table.plain_on()
    return choice(feature.variants, feature.name, feature.variants[0].stickiness, table)


def _overridden(
    feature: Feature, table: Table, rule_id: str, condition: Condition, title: str = ""
) -> list[Rule]:
    """Return the rules that give overrides their variants, before the hash is asked."""
    rules: list[Rule] = []
    before: tuple[Clause, ...] = ()
    for variant, override in _overrides(feature):
        rules.append(
            Rule(
                table.name_of(variant),
                (*condition.clauses, *before, override_clause(override)),
                condition.gate,
                f"{rule_id}-override-{len(rules) + 1}",
                title,
            )
        )
        if condition.draws:
            # A gate that draws would be asked again by the next rule: who was refused once is out.
            before += (override_clause(override, negate=True),)
    return rules


def _no_override(feature: Feature) -> tuple[Clause, ...]:
    return tuple(override_clause(one, negate=True) for _, one in _overrides(feature))


def _overrides(feature: Feature) -> list[tuple[Variant, Override]]:
    return [(variant, one) for variant in feature.variants for one in variant.overrides]


# --- what the ledger says of variants and parameters

_VARIANT: Final = frozenset({"name", "weight", "payload", "stickiness", "overrides", "weightType"})


def _note_variants(
    feature: Feature,
    variants: tuple[Variant, ...],
    overriding: tuple[Variant, ...],
    table: Table,
    entries: Entries,
    stickiness: str | None = None,
) -> None:
    said = variants[0].stickiness if overriding and variants else stickiness
    total = sum(one.weight for one in variants)
    for one in variants:
        reasons = list(table.reasons.get(one.path, ()))
        if not total:
            reasons.append("no variant has a weight, so whoever is enabled gets none of them")
        entries.part(one, reasons)
        entries.rest(one, _VARIANT, {})
        if one.stickiness is not None and one.stickiness != (said or "default"):
            reason = f"Unleash buckets all variants of this list by {said or 'default'!r}"
            entries.skipped(f"{one.path}.stickiness", reason, one.stickiness)
        for override in one.overrides:
            if overriding:
                entries.part(override)
            else:
                reason = "Unleash takes no notice of overrides in a strategy's variants"
                entries.skipped(override.path, reason, override.raw)
    if feature.strategies and overriding and all(one.variants for one in feature.strategies):
        reason = "every strategy has variants of its own, so Unleash never serves these"
        entries.skipped(f"{feature.path}.variants", reason, list(feature.raw.get("variants", ())))


def _note_parameters(one: Strategy, entries: Entries) -> None:
    carried = _PARAMETERS.get(one.name, set()) | (_FOR_VARIANTS if one.variants else set())
    carried |= {PARAMETER, BY}
    for name, value in one.parameters.items():
        if name not in carried and value:
            reason = f"Unleash takes no notice of it with {one.name}"
            entries.skipped(f"{one.path}.parameters.{name}", reason, value)
