"""Unleash's features as flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from downhaul.evaluator.lowering import lifted
from downhaul.flag import Flag, FlagType
from downhaul.references import clauses_of
from downhaul_unleash.dependencies import Parent, prerequisites_of
from downhaul_unleash.engine import DoesNotCompile
from downhaul_unleash.entries import Entries
from downhaul_unleash.recognising import is_marked, recognised
from downhaul_unleash.rules import served
from downhaul_unleash.saying import is_carrier
from downhaul_unleash.segments import Segments
from downhaul_unleash.source import Feature
from downhaul_unleash.variants import table_of

_TYPES: Final = {
    "release": FlagType.RELEASE,
    "experiment": FlagType.EXPERIMENT,
    "operational": FlagType.OPERATIONAL,
    "kill-switch": FlagType.KILL_SWITCH,
    "permission": FlagType.PERMISSION,
}
_CARRIED: Final = frozenset(
    {
        "name",
        "enabled",
        "type",
        "description",
        "project",
        "strategies",
        "variants",
        "dependencies",
    }
)
_KNOWN: Final = {
    "impressionData": "Downhaul sends no impression events",
    "stale": "a mark of people's; `flags stale` finds what nothing asks for",
    "createdAt": "when it was made",
    "lastSeenAt": "when it was last asked for",
    "segments": "Unleash's engine reads segments of strategies only",
}
_CARRIED_ALONE: Final = (
    "some of its rules compare a bucket in a way that is no split here: they match where it is "
    "sent along alone"
)
_TAG: Final = re.compile(r"[^\s,\x00-\x1f\x7f]([^,\x00-\x1f\x7f]{0,180}[^\s,\x00-\x1f\x7f])?")


def flag_of(feature: Feature, segments: Segments, entries: Entries) -> Parent:
    """Return a feature as a flag, without its dependencies, and note every part of it."""
    table = table_of(feature)
    noted = Entries(feature.name)
    try:
        made = served(feature, table, segments, noted)
        rules, default = made.rules, made.default
        entries.full(feature.path)
    except DoesNotCompile as refusal:
        rules, default, noted = (), table.off, Entries(feature.name)
        reason = (
            f"Unleash's engine can't compile {refusal.path}, because {refusal.reason}, and so "
            "keeps the feature off for everybody; here it serves its off variant to everybody"
        )
        entries.partial(feature.path, reason, feature.raw)
    entries.made += noted.made
    ours = recognised(feature, table) if is_marked(feature) else None
    flag = Flag(
        key=feature.name,
        default=default,
        kind=table.kind,
        variants=dict(table.values),
        off_variant=table.off,
        on=feature.enabled,
        rules=rules,
        tags=_tags(feature, entries),
        description=feature.description,
        type=_type(feature, entries),
    )
    entries.rest(feature, _CARRIED, _KNOWN)
    flag = lifted(flag) if ours is None else _as_written(flag, ours)
    if any(is_carrier(one) for one in clauses_of(flag)):
        entries.partial(feature.path, _CARRIED_ALONE, feature.raw)
    return Parent(feature, table, flag)


def _as_written(flag: Flag, ours: Flag) -> Flag:
    """Return the flag that Downhaul wrote, with what Unleash says of it beside its strategies."""
    return replace(
        flag,
        default=ours.default,
        variants=ours.variants,
        off_variant=ours.off_variant,
        targets=ours.targets,
        rules=ours.rules,
    )


def with_dependencies(one: Parent, parents: Mapping[str, Parent], entries: Entries) -> Flag:
    """Return a flag with its feature's dependencies."""
    needed = prerequisites_of(one.source, parents, entries)
    if needed is None:
        return replace(one.flag, rules=(), default=one.table.off)
    return replace(one.flag, prerequisites=needed)


def _type(feature: Feature, entries: Entries) -> FlagType:
    found = _TYPES.get(feature.type or "release")
    if found is None:
        entries.partial(f"{feature.path}.type", "no type of ours: release here", feature.type)
        return FlagType.RELEASE
    return found


def _tags(feature: Feature, entries: Entries) -> tuple[str, ...]:
    """Return the project as a tag, so that a project can be listed, and killed, as one."""
    if feature.project is None:
        return ()
    if not is_tag(feature.project):
        entries.skipped(f"{feature.path}.project", "no tag can be called so", feature.project)
        return ()
    return (f"project:{feature.project}",)


def is_tag(text: str) -> bool:
    """Return whether a flag of ours may have a tag of this name."""
    return _TAG.fullmatch(text) is not None
