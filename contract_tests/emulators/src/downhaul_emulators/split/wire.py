"""Definitions of the admin API as the service sends them to SDKs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from downhaul_emulators.split.matchers import matcher_on_wire

SEGMENT_TYPES: Final[Mapping[str, str]] = {
    "standard_segment": "standard",
    "rule_based_segment": "rule-based",
}
"""What SDKs call the types of segments of the admin API."""

_ALL: Final[Mapping[str, Any]] = {
    "keySelector": None,
    "matcherType": "ALL_KEYS",
    "negate": False,
}


def split_of(
    name: str,
    definition: Mapping[str, Any],
    *,
    traffic_type: str,
    seeds: tuple[int, int],
    sets: Sequence[str],
    change_number: int,
) -> dict[str, Any]:
    """Return a definition as one element of ``splitChanges``.

    Individual targets come first, then rules, then the default rule, in the order in which SDKs try
    them. ``seeds`` are those of the split and of the traffic allocation, ``sets`` the names of its
    flag sets.
    """
    treatments = definition["treatments"]
    return {
        "name": name,
        "trafficTypeName": traffic_type,
        "status": "ACTIVE",
        "killed": definition["killed"],
        "defaultTreatment": definition["defaultTreatment"],
        "changeNumber": change_number,
        "algo": 2,
        "seed": seeds[0],
        "trafficAllocation": definition["trafficAllocation"],
        "trafficAllocationSeed": seeds[1],
        "configurations": {
            one["name"]: one["configurations"] for one in treatments if one.get("configurations")
        },
        "conditions": [
            *_targets(treatments, traffic_type),
            *(_rule(one, traffic_type) for one in definition["rules"]),
            _condition("ROLLOUT", [_ALL], definition["defaultRule"], "default rule"),
        ],
        "sets": list(sets),
        "impressionsDisabled": definition["impressionsDisabled"],
        "prerequisites": [],
    }


def archived(split: Mapping[str, Any], change_number: int) -> dict[str, Any]:
    """Return what SDKs are sent of a split that is gone."""
    return {**split, "status": "ARCHIVED", "changeNumber": change_number}


def rule_segment_of(
    name: str, definition: Mapping[str, Any], *, traffic_type: str, change_number: int
) -> dict[str, Any]:
    """Return a rule-based segment as one element of ``splitChanges``."""
    conditions = []
    for rule in definition["rules"]:
        matchers = rule["condition"]["matchers"]
        group = _group([matcher_on_wire(one, traffic_type) for one in matchers])
        conditions.append({"conditionType": "ROLLOUT", "matcherGroup": group})
    return {
        "name": name,
        "trafficTypeName": traffic_type,
        "changeNumber": change_number,
        "status": "ACTIVE",
        "conditions": conditions,
        "excluded": {
            "keys": list(definition["excludedKeys"]),
            "segments": [
                {"name": one["name"], "type": SEGMENT_TYPES[one["type"]]}
                for one in definition["excludedSegments"]
            ],
        },
    }


def _targets(treatments: Sequence[Mapping[str, Any]], traffic_type: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for one in treatments:
        served = [{"treatment": one["name"], "size": 100}]
        if one.get("keys"):
            keys = {"keySelector": None, "matcherType": "WHITELIST", "negate": False}
            data = {"whitelistMatcherData": {"whitelist": list(one["keys"])}}
            found.append(_condition("WHITELIST", [{**keys, **data}], served, "whitelisted"))
        for segment in one.get("segments") or ():
            matcher = matcher_on_wire({"type": "IN_SEGMENT", "string": segment}, traffic_type)
            found.append(_condition("WHITELIST", [matcher], served, "whitelisted segment"))
    return found


def _rule(rule: Mapping[str, Any], traffic_type: str) -> dict[str, Any]:
    matchers = rule["condition"]["matchers"]
    on_wire = [matcher_on_wire(one, traffic_type) for one in matchers]
    label = " and ".join(_label(one) for one in matchers)
    return _condition("ROLLOUT", on_wire, rule["buckets"], label)


def _label(matcher: Mapping[str, Any]) -> str:
    words = [matcher.get("attribute") or "", "not" if matcher.get("negate") else ""]
    words.append(matcher["type"].lower().replace("_", " "))
    return " ".join(word for word in words if word)


def _condition(
    kind: str,
    matchers: Sequence[Mapping[str, Any]],
    buckets: Sequence[Mapping[str, Any]],
    label: str,
) -> dict[str, Any]:
    return {
        "conditionType": kind,
        "matcherGroup": _group(matchers),
        "partitions": [{"treatment": one["treatment"], "size": one["size"]} for one in buckets],
        "label": label,
    }


def _group(matchers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"combiner": "AND", "matchers": list(matchers)}
