"""Matchers: which fields each type takes in the admin API, and what SDKs are sent of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from downhaul_emulators.split.refusals import bad

_ALWAYS: Final = frozenset({"type", "negate", "attribute"})
_VALUES: Final = frozenset({"string", "strings", "bool", "number", "date", "between", "depends"})


@dataclass(frozen=True, slots=True)
class _Kind:
    """``wire`` is the SDKs' name, ``value`` the field that carries what is matched against."""

    wire: str
    value: str
    data: Callable[[Any], dict[str, Any]]
    attribute: bool = True


def _list(values: Any) -> dict[str, Any]:
    return {"whitelistMatcherData": {"whitelist": list(values)}}


def _unary(kind: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {"unaryNumericMatcherData": {"dataType": kind, "value": value}}


def _range(kind: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {
        "betweenMatcherData": {"dataType": kind, "start": value["from"], "end": value["to"]}
    }


def _segment(name: Any) -> dict[str, Any]:
    return {"userDefinedSegmentMatcherData": {"segmentName": name}}


def _text(value: Any) -> dict[str, Any]:
    return {"stringMatcherData": value}


def _versions(value: Any) -> dict[str, Any]:
    return {"betweenStringMatcherData": {"start": value["from"], "end": value["to"]}}


def _depends(value: Any) -> dict[str, Any]:
    return {
        "dependencyMatcherData": {"split": value["splitName"], "treatments": [value["treatment"]]}
    }


_KINDS: Final[Mapping[str, _Kind]] = {
    "IN_SEGMENT": _Kind("IN_SEGMENT", "string", _segment, attribute=False),
    "IN_RULE_BASED_SEGMENT": _Kind("IN_RULE_BASED_SEGMENT", "string", _segment, attribute=False),
    "IN_SPLIT": _Kind("IN_SPLIT_TREATMENT", "depends", _depends, attribute=False),
    "EQUAL_SET": _Kind("EQUAL_TO_SET", "strings", _list),
    "ANY_OF_SET": _Kind("CONTAINS_ANY_OF_SET", "strings", _list),
    "ALL_OF_SET": _Kind("CONTAINS_ALL_OF_SET", "strings", _list),
    "PART_OF_SET": _Kind("PART_OF_SET", "strings", _list),
    "ON_DATE": _Kind("EQUAL_TO", "date", _unary("DATETIME")),
    "ON_OR_AFTER_DATE": _Kind("GREATER_THAN_OR_EQUAL_TO", "date", _unary("DATETIME")),
    "ON_OR_BEFORE_DATE": _Kind("LESS_THAN_OR_EQUAL_TO", "date", _unary("DATETIME")),
    "BETWEEN_DATE": _Kind("BETWEEN", "between", _range("DATETIME")),
    "BOOLEAN": _Kind("EQUAL_TO_BOOLEAN", "bool", lambda value: {"booleanMatcherData": value}),
    "EQUAL_NUMBER": _Kind("EQUAL_TO", "number", _unary("NUMBER")),
    "LESS_THAN_OR_EQUAL_NUMBER": _Kind("LESS_THAN_OR_EQUAL_TO", "number", _unary("NUMBER")),
    "GREATER_THAN_OR_EQUAL_NUMBER": _Kind("GREATER_THAN_OR_EQUAL_TO", "number", _unary("NUMBER")),
    "BETWEEN_NUMBER": _Kind("BETWEEN", "between", _range("NUMBER")),
    "IN_LIST_STRING": _Kind("WHITELIST", "strings", _list),
    "STARTS_WITH_STRING": _Kind("STARTS_WITH", "strings", _list),
    "ENDS_WITH_STRING": _Kind("ENDS_WITH", "strings", _list),
    "CONTAINS_STRING": _Kind("CONTAINS_STRING", "strings", _list),
    "MATCHES_STRING": _Kind("MATCHES_STRING", "string", _text),
    "EQUAL_TO_SEMVER": _Kind("EQUAL_TO_SEMVER", "string", _text),
    "GREATER_THAN_OR_EQUAL_TO_SEMVER": _Kind("GREATER_THAN_OR_EQUAL_TO_SEMVER", "string", _text),
    "LESS_THAN_OR_EQUAL_TO_SEMVER": _Kind("LESS_THAN_OR_EQUAL_TO_SEMVER", "string", _text),
    "BETWEEN_SEMVER": _Kind("BETWEEN_SEMVER", "between", _versions),
    "IN_LIST_SEMVER": _Kind("IN_LIST_SEMVER", "strings", _list),
}

MATCHER_TYPES: Final = tuple(_KINDS)
"""Every type of matcher that the admin API takes."""


def check_matcher(matcher: Any) -> None:
    """Refuse a matcher with an unknown type, or without the fields of its type, or with others."""
    if not isinstance(matcher, dict):
        raise bad("a matcher must be an object")
    kind = _KINDS.get(str(matcher.get("type")))
    if kind is None:
        raise bad(f"unknown matcher type {matcher.get('type')!r}")
    if unknown := set(matcher) - _ALWAYS - _VALUES:
        raise bad(f"unknown field of a matcher: {min(unknown)}")
    if not isinstance(matcher.get("negate", False), bool):
        raise bad("negate must be a boolean")
    if kind.attribute and not _is_text(matcher.get("attribute")):
        raise bad(f"{matcher['type']} needs an attribute")
    if kind.value not in matcher:
        raise bad(f"{matcher['type']} needs the field {kind.value}")
    if foreign := {one for one in _VALUES & set(matcher) if matcher[one]} - {kind.value}:
        raise bad(f"{matcher['type']} takes no field {min(foreign)}")
    versions = matcher["type"] == "BETWEEN_SEMVER"
    if not _fits(kind.value, matcher[kind.value], versions=versions):
        raise bad(f"the field {kind.value} of {matcher['type']} has the wrong type")


def matcher_on_wire(matcher: Mapping[str, Any], traffic_type: str) -> dict[str, Any]:
    """Return a matcher of the admin API as SDKs are sent it."""
    kind = _KINDS[matcher["type"]]
    attribute = matcher.get("attribute") or None
    selector = {"trafficType": traffic_type, "attribute": attribute}
    return {
        "keySelector": selector if attribute or kind.attribute else None,
        "matcherType": kind.wire,
        "negate": bool(matcher.get("negate")),
        **kind.data(matcher[kind.value]),
    }


def names_in(matcher: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what a matcher refers to (its type and a name), None where to nothing."""
    if matcher["type"] in ("IN_SEGMENT", "IN_RULE_BASED_SEGMENT"):
        return matcher["type"], matcher["string"]
    if matcher["type"] == "IN_SPLIT":
        return matcher["type"], matcher["depends"]["splitName"]
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _fits(field: str, value: Any, *, versions: bool) -> bool:
    if field == "string":
        return _is_text(value)
    if field == "strings":
        return isinstance(value, list) and bool(value) and all(map(_is_text, value))
    if field == "bool":
        return isinstance(value, bool)
    if field == "between":
        ends = _is_text if versions else _is_whole
        return (
            isinstance(value, dict)
            and set(value) == {"from", "to"}
            and all(ends(one) for one in value.values())
        )
    if field == "depends":
        return (
            isinstance(value, dict)
            and set(value) == {"splitName", "treatment"}
            and all(map(_is_text, value.values()))
        )
    return _is_whole(value)
