"""Unleash's dependencies as prerequisites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from downhaul.flag import Flag, FlagKind, Prerequisite
from downhaul_unleash.conditions import condition_of
from downhaul_unleash.engine import DoesNotCompile
from downhaul_unleash.entries import Entries
from downhaul_unleash.source import Dependency, Feature, Strategy
from downhaul_unleash.variants import Table

_CARRIED: Final = frozenset({"feature", "enabled", "variants"})
_NO_GROUP: Final = (
    "has a rollout without groupId, which Unleash hashes with the name of the feature that asks; "
    "here it has its own"
)


@dataclass(frozen=True, slots=True)
class Parent:
    """A feature that others may depend on: its source, its variants, and its flag."""

    source: Feature
    table: Table
    flag: Flag


def prerequisites_of(
    feature: Feature, parents: Mapping[str, Parent], entries: Entries
) -> tuple[Prerequisite, ...] | None:
    """Return a feature's dependencies as prerequisites; None if they can never hold.

    A parent that is not in the document, or that depends on others itself, fails for everybody.
    """
    made: list[Prerequisite] = []
    never = False
    for one in feature.dependencies:
        parent = parents.get(one.feature)
        refusal = _refusal(one, parent)
        if parent is None or refusal:
            never = True
            entries.partial(one.path, f"{refusal}: Unleash answers off to everybody", one.raw)
            continue
        entries.part(one, _differences(one, parent))
        entries.rest(one, _CARRIED, {})
        made.append(_prerequisite(one, parent))
    # A server tells a dependency once for each strategy.
    return None if never else tuple(dict.fromkeys(made))


def _refusal(one: Dependency, parent: Parent | None) -> str:
    if parent is None:
        return f'there is no feature "{one.feature}"'
    if parent.source.dependencies:
        return f'"{one.feature}" depends on a feature itself, and Unleash takes no such parent'
    if one.enabled and one.variants and not _wanted(one, parent):
        return f'"{one.feature}" has none of these variants'
    return ""


def _prerequisite(one: Dependency, parent: Parent) -> Prerequisite:
    if not one.enabled:
        return Prerequisite(one.feature, negate=True)
    return Prerequisite(one.feature, _wanted(one, parent) if one.variants else ())


def _wanted(one: Dependency, parent: Parent) -> tuple[str, ...]:
    """Return our names of the variants, and of a plain on, which Unleash lets pass too."""
    table = parent.table
    if parent.flag.kind is FlagKind.BOOLEAN and table.on in table.values:
        return (table.on,)
    named = {name for (theirs, _), name in table.names.items() if theirs in one.variants}
    plain = {table.on} & table.values.keys()
    return tuple(name for name in table.values if name in named | plain)


def _differences(one: Dependency, parent: Parent) -> tuple[str, ...]:
    reasons: tuple[str, ...] = ()
    if not one.enabled and one.variants and _may_choose(parent.source):
        reasons += ("Unleash also asks what variant the parent has; here it must not be enabled",)
    if any(_hashes_by_name(each, parent.source) for each in parent.source.strategies):
        reasons += (f'"{one.feature}" {_NO_GROUP}',)
    return reasons


def _may_choose(parent: Feature) -> bool:
    """Return whether a parent that is not enabled may still have a variant."""
    own = any(one.variants for one in parent.strategies)
    return bool(parent.variants) or (own and not parent.enabled)


def _hashes_by_name(one: Strategy, parent: Feature) -> bool:
    if one.disabled or one.name != "flexibleRollout" or "groupId" in one.parameters:
        return False
    try:
        condition = condition_of(one, parent.name)
    except DoesNotCompile:
        return False
    gate = None if condition is None else condition.gate
    return gate is not None and 0 < gate.share < gate.bucketing.total
