"""A definition of the admin API as Split sends it to SDKs: matchers have other names there.

The admin API tells no seeds. What splits users by one is therefore not carried from its documents,
unless the seeds are given from what SDKs are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_LIST: Final = "whitelistMatcherData"
_NUMERIC: Final = "unaryNumericMatcherData"
_LISTS: Final = {
    "EQUAL_SET": "EQUAL_TO_SET",
    "ANY_OF_SET": "CONTAINS_ANY_OF_SET",
    "ALL_OF_SET": "CONTAINS_ALL_OF_SET",
    "PART_OF_SET": "PART_OF_SET",
    "IN_LIST_STRING": "WHITELIST",
    "STARTS_WITH_STRING": "STARTS_WITH",
    "ENDS_WITH_STRING": "ENDS_WITH",
    "CONTAINS_STRING": "CONTAINS_STRING",
    "IN_LIST_SEMVER": "IN_LIST_SEMVER",
}
_UNARY: Final = {
    "ON_DATE": ("EQUAL_TO", "DATETIME", "date"),
    "ON_OR_AFTER_DATE": ("GREATER_THAN_OR_EQUAL_TO", "DATETIME", "date"),
    "ON_OR_BEFORE_DATE": ("LESS_THAN_OR_EQUAL_TO", "DATETIME", "date"),
    "EQUAL_NUMBER": ("EQUAL_TO", "NUMBER", "number"),
    "GREATER_THAN_OR_EQUAL_NUMBER": ("GREATER_THAN_OR_EQUAL_TO", "NUMBER", "number"),
    "LESS_THAN_OR_EQUAL_NUMBER": ("LESS_THAN_OR_EQUAL_TO", "NUMBER", "number"),
}
_RANGES: Final = {"BETWEEN_DATE": "DATETIME", "BETWEEN_NUMBER": "NUMBER"}
_TEXTS: Final = (
    "MATCHES_STRING",
    "EQUAL_TO_SEMVER",
    "GREATER_THAN_OR_EQUAL_TO_SEMVER",
    "LESS_THAN_OR_EQUAL_TO_SEMVER",
)
_ALL_KEYS: Final = {"keySelector": None, "matcherType": "ALL_KEYS", "negate": False}


def as_sent(
    definition: Mapping[str, Any], seeds: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a definition of the admin API in the SDKs' shape.

    ``seeds`` are ``seed``, ``trafficAllocationSeed`` and ``algo``, where they are known.
    """
    treatments = definition["treatments"]
    conditions = [*_targeted(treatments)]
    for one in definition.get("rules") or ():
        matchers = [_matcher(each) for each in one["condition"]["matchers"]]
        conditions.append(_condition("ROLLOUT", matchers, one["buckets"], _label(one)))
    conditions.append(_condition("ROLLOUT", [_ALL_KEYS], definition["defaultRule"], "default rule"))
    named = {one["name"]: one["configurations"] for one in treatments if one.get("configurations")}
    return {
        "name": definition["name"],
        "trafficTypeName": (definition.get("trafficType") or {}).get("name") or "user",
        "status": "ACTIVE",
        "killed": bool(definition.get("killed")),
        "defaultTreatment": definition["defaultTreatment"],
        "trafficAllocation": definition.get("trafficAllocation"),
        "changeNumber": definition.get("lastUpdateTime", ""),
        "conditions": conditions,
        "configurations": named,
        "sets": [one["name"] for one in definition.get("flagSets") or () if "name" in one],
        "algo": 2,
        **(seeds or {}),
    }


def _targeted(treatments: Any) -> list[dict[str, Any]]:
    """Return the conditions for the keys and segments of each treatment."""
    made = []
    for one in treatments:
        all_of_it = [{"treatment": one["name"], "size": 100}]
        if one.get("keys"):
            keys = {"whitelist": list(one["keys"])}
            matcher = {**_ALL_KEYS, "matcherType": "WHITELIST", _LIST: keys}
            made.append(_condition("WHITELIST", [matcher], all_of_it, "whitelisted"))
        for segment in one.get("segments") or ():
            matcher = _matcher({"type": "IN_SEGMENT", "string": segment})
            made.append(_condition("WHITELIST", [matcher], all_of_it, "whitelisted segment"))
    return made


def _condition(kind: str, matchers: Any, partitions: Any, label: str) -> dict[str, Any]:
    return {
        "conditionType": kind,
        "matcherGroup": {"combiner": "AND", "matchers": matchers},
        "partitions": [dict(one) for one in partitions],
        "label": label,
    }


def _label(rule: Mapping[str, Any]) -> str:
    return " and ".join(str(one.get("type")) for one in rule["condition"]["matchers"])


def _matcher(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a matcher in the SDKs' shape. One of an unknown type keeps it, and is told later."""
    kind = one["type"]
    attribute = one.get("attribute")
    wire, data = _wire(kind, one)
    return {
        "keySelector": None if not attribute else {"attribute": attribute},
        "negate": bool(one.get("negate")),
        "matcherType": wire,
        **data,
    }


def _wire(kind: str, one: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    made: tuple[str, dict[str, Any]] = (kind, {})
    if kind in _LISTS:
        made = (_LISTS[kind], {_LIST: {"whitelist": one["strings"]}})
    elif kind in _UNARY:
        wire, data, field = _UNARY[kind]
        made = (wire, {_NUMERIC: {"dataType": data, "value": one[field]}})
    elif kind in _RANGES:
        held = {"dataType": _RANGES[kind], **_ends(one)}
        made = ("BETWEEN", {"betweenMatcherData": held})
    elif kind == "BETWEEN_SEMVER":
        made = (kind, {"betweenStringMatcherData": _ends(one)})
    elif kind in _TEXTS:
        made = (kind, {"stringMatcherData": one["string"]})
    elif kind in ("IN_SEGMENT", "IN_RULE_BASED_SEGMENT"):
        made = (kind, {"userDefinedSegmentMatcherData": {"segmentName": one["string"]}})
    elif kind == "BOOLEAN":
        made = ("EQUAL_TO_BOOLEAN", {"booleanMatcherData": one["bool"]})
    elif kind == "IN_SPLIT":
        depends = one["depends"]
        held = {"split": depends["splitName"], "treatments": [depends["treatment"]]}
        made = ("IN_SPLIT_TREATMENT", {"dependencyMatcherData": held})
    return made


def _ends(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"start": one["between"]["from"], "end": one["between"]["to"]}
