"""Prerequisites of ours as dependencies of Unleash, or why they are none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from downhaul.flag import Flag, FlagKind, Prerequisite
from downhaul_unleash.why import CantSay

Dependency = dict[str, Any]


FindFlag = Callable[[str], Flag | None]
"""Gives a flag by its key, or None where there is none."""


def dependencies_of(flag: Flag, find: FindFlag) -> list[Dependency]:
    """Return a flag's prerequisites as dependencies, by name, each once. Raises CantSay."""
    made: list[Dependency] = []
    for one in flag.prerequisites:
        found = _dependency(one, find(one.flag))
        if found in made:
            continue
        if any(found["feature"] == each["feature"] for each in made):
            raise CantSay(f'Unleash takes one dependency on "{one.flag}"')
        made.append(found)
    return in_order(made)


def _dependency(one: Prerequisite, parent: Flag | None) -> Dependency:
    if parent is None:
        raise CantSay(f'there is no flag "{one.flag}", which it requires')
    if parent.prerequisites:
        raise CantSay(f'"{one.flag}" requires a flag itself, and Unleash knows one level alone')
    if one.while_off:
        raise CantSay(f'Unleash takes "{one.flag}" for failed while it is off')
    wanted = _wanted(one, parent)
    if one.negate and wanted:
        raise CantSay(f'Unleash can\'t ask that "{one.flag}" serves none of some variants')
    return {"feature": one.flag, "enabled": not one.negate, "variants": wanted}


def _wanted(one: Prerequisite, parent: Flag) -> list[str]:
    """Return the variants of the parent that will do; none are named where being enabled does."""
    served = [name for name in one.variants if name in parent.variants]
    if one.variants and not served:
        raise CantSay(f'"{one.flag}" has none of the variants that it must serve')
    if parent.kind is FlagKind.BOOLEAN:
        if served not in ([], ["on"]):
            raise CantSay(f'"{one.flag}" would have to serve off while it is on')
        return []
    if parent.off_variant in served:
        raise CantSay(f'"{one.flag}" would have to serve its off variant while it is on')
    if served:
        return served
    return [name for name in parent.variants if name != parent.off_variant]


def in_order(dependencies: Iterable[Mapping[str, Any]]) -> list[Dependency]:
    """Return dependencies in the form of ours, by name: the server keeps no order of them."""
    return sorted(map(_kept, dependencies), key=lambda one: str(one["feature"]))


def _kept(one: Mapping[str, Any]) -> Dependency:
    enabled = one.get("enabled") is not False
    return {"feature": one["feature"], "enabled": enabled, "variants": list(one["variants"] or ())}
