"""Unleash's features as flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from downhaul.flag import Flag, FlagType
from downhaul_unleash.dependencies import Parent, prerequisites_of
from downhaul_unleash.engine import DoesNotCompile
from downhaul_unleash.entries import Entries
from downhaul_unleash.rules import served
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
    return Parent(feature, table, flag)


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
    if not _TAG.fullmatch(feature.project):
        entries.skipped(f"{feature.path}.project", "no tag can be called so", feature.project)
        return ()
    return (f"project:{feature.project}",)
