"""What the admin API takes as a flag's definition: its fields, names, sizes and references."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from downhaul_emulators.split.matchers import check_matcher
from downhaul_emulators.split.refusals import bad

MAX_TREATMENTS: Final = 20
WHOLE: Final = 100

# Words that the vendor's guide to treatments reserves; "control" is what SDKs answer on their own.
RESERVED: Final = frozenset(
    (
        "all",
        "and",
        "between",
        "contain",
        "contains",
        "control",
        "datetime",
        "does",
        "end",
        "ends",
        "false",
        "has",
        "have",
        "if",
        "in",
        "is",
        "match",
        "matches",
        "not",
        "number",
        "set",
        "split",
        "start",
        "starts",
        "string",
        "then",
        "treatment",
        "true",
        "with",
    )
)

WRITABLE: Final = frozenset(
    {
        "treatments",
        "defaultTreatment",
        "baselineTreatment",
        "trafficAllocation",
        "rules",
        "defaultRule",
        "killed",
        "flagSets",
        "impressionsDisabled",
        "comment",
        "title",
    }
)
READ_ONLY: Final = frozenset(
    {
        "id",
        "name",
        "environment",
        "trafficType",
        "creationTime",
        "lastUpdateTime",
        "lastTrafficReceivedAt",
        "changeNumber",
    }
)

_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
_TREATMENT_FIELDS: Final = frozenset({"name", "configurations", "description", "keys", "segments"})


def check_name(name: Any, what: str) -> None:
    """Refuse a name that does not begin with a letter, or has other than letters, digits, - and _.

    ``what`` says in the message whose name it is.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        message = "must start with a letter, and have letters, digits, hyphens and underscores only"
        raise bad(f"the name of a {what} {message}: {name!r}")


def check_definition(body: Any) -> None:
    """Refuse a definition that lacks a mandatory field, has an unknown one, or contradicts itself.

    What it refers to (segments, other flags) is not looked up here.
    """
    if not isinstance(body, dict):
        raise bad("a feature flag definition must be an object")
    if unknown := set(body) - WRITABLE - READ_ONLY:
        raise bad(f"unknown field {min(unknown)}")
    for field in ("treatments", "defaultTreatment", "defaultRule"):
        if body.get(field) in (None, [], ""):
            raise bad(f"{field} is mandatory")
    names = _treatments(body["treatments"])
    _served(body, names)
    _percentage(body.get("trafficAllocation", WHOLE))
    for field in ("killed", "impressionsDisabled"):
        if not isinstance(body.get(field, False), bool):
            raise bad(f"{field} must be a boolean")


def check_condition(condition: Any, where: str) -> None:
    """Refuse what is no list of matchers, joined by AND."""
    if not isinstance(condition, dict) or set(condition) - {"combiner", "matchers"}:
        raise bad(f"the condition of {where} must have matchers")
    if condition.get("combiner", "AND") != "AND":
        raise bad("the only combiner is AND")
    matchers = condition.get("matchers")
    if not isinstance(matchers, list) or not matchers:
        raise bad(f"the condition of {where} must have matchers")
    for matcher in matchers:
        check_matcher(matcher)


def _served(body: Mapping[str, Any], names: Collection[str]) -> None:
    """Refuse what is served, by default or by a rule, where it is no treatment."""
    for field in ("defaultTreatment", "baselineTreatment"):
        if body.get(field) is not None and body[field] not in names:
            raise bad(f"{field} is not one of the treatments")
    _buckets(body["defaultRule"], names, "defaultRule")
    rules = body.get("rules") or []
    if not isinstance(rules, list):
        raise bad("rules must be a list")
    for place, rule in enumerate(rules):
        _rule(rule, names, f"rule {place}")


def _treatments(treatments: Any) -> Collection[str]:
    if not isinstance(treatments, list) or not all(isinstance(one, dict) for one in treatments):
        raise bad("treatments must be a list of objects")
    if len(treatments) > MAX_TREATMENTS:
        raise bad(f"a feature flag has at most {MAX_TREATMENTS} treatments")
    names: list[str] = []
    keys: set[str] = set()
    for one in treatments:
        if unknown := set(one) - _TREATMENT_FIELDS:
            raise bad(f"unknown field of a treatment: {min(unknown)}")
        check_name(one.get("name"), "treatment")
        if one["name"].lower() in RESERVED:
            raise bad(f"{one['name']} is a reserved word, and can't be the name of a treatment")
        if one["name"] in names:
            raise bad(f"there are two treatments {one['name']}")
        names.append(one["name"])
        _targets(one, keys)
        _configurations(one)
    return names


def _targets(treatment: Mapping[str, Any], keys: set[str]) -> None:
    for field in ("keys", "segments"):
        values = treatment.get(field) or []
        if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
            raise bad(f"{field} of the treatment {treatment['name']} must be a list of strings")
        if field == "keys":
            if twice := keys.intersection(values):
                raise bad(f"the key {min(twice)} is a target of two treatments")
            keys.update(values)


def _configurations(treatment: Mapping[str, Any]) -> None:
    text = treatment.get("configurations")
    if text in (None, ""):
        return
    if not isinstance(text, str):
        raise bad(f"configurations of the treatment {treatment['name']} must be a string of JSON")
    try:
        json.loads(text)
    except ValueError:
        name = treatment["name"]
        raise bad(f"configurations of the treatment {name} must be a string of JSON") from None


def _rule(rule: Any, names: Collection[str], where: str) -> None:
    if not isinstance(rule, dict) or set(rule) - {"condition", "buckets"}:
        raise bad(f"{where} must have a condition and buckets, and nothing else")
    check_condition(rule.get("condition"), where)
    _buckets(rule.get("buckets"), names, where)


def _buckets(buckets: Any, names: Collection[str], where: str) -> None:
    if not isinstance(buckets, list) or not buckets:
        raise bad(f"{where} must have buckets")
    total = 0
    for one in buckets:
        if not isinstance(one, dict) or set(one) != {"treatment", "size"}:
            raise bad(f"each bucket of {where} must have a treatment and a size")
        if one["treatment"] not in names:
            raise bad(f"{where} serves {one['treatment']!r}, which is not one of the treatments")
        total += _percentage(one["size"])
    if total != WHOLE:
        raise bad(f"the sizes of {where} must add up to {WHOLE}: {total}")


def _percentage(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= WHOLE:
        raise bad(f"a percentage must be an integer from 0 to {WHOLE}: {value!r}")
    return value
