"""The instructions of semantic patches, as far as they are emulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul_emulators.launchdarkly.checking import Invalid

_WHOLE: Final = 100_000


def apply(flag: dict[str, Any], one: Mapping[str, Any]) -> None:
    """Do one instruction to a flag. Raises Invalid."""
    kind = one["kind"]
    if kind in ("turnFlagOn", "turnFlagOff"):
        flag["on"] = kind == "turnFlagOn"
    elif kind == "updateOffVariation":
        flag["offVariation"] = _index(flag, one["variationId"])
    elif kind == "updateFallthroughVariationOrRollout":
        flag["fallthrough"] = _serve(flag, one)
    elif kind in ("addTargets", "removeTargets"):
        _target(flag, one, add=kind == "addTargets")
    elif kind == "replaceRules":
        flag["rules"] = [
            {
                "id": f"rule-{flag['version']}-{place}",
                "description": rule.get("description", ""),
                "clauses": [dict(clause) for clause in rule["clauses"]],
                **_serve(flag, rule),
            }
            for place, rule in enumerate(one["rules"])
        ]
    else:
        raise Invalid(f"unknown instruction {kind}")


def _target(flag: dict[str, Any], one: Mapping[str, Any], *, add: bool) -> None:
    index, kind = _index(flag, one["variationId"]), one.get("contextKind", "user")
    lists = flag["targets" if kind == "user" else "contextTargets"]
    asked = set(one["values"])
    for each in lists:
        same = each.get("contextKind", "user") == kind
        if add and same and each["variation"] != index and asked & set(each["values"]):
            raise Invalid("a key may be the target of one variation only")
    found = next((each for each in lists if each["variation"] == index), None)
    if found is None:
        found = {"variation": index, "values": [], "contextKind": kind}
        lists.append(found)
    kept = [value for value in found["values"] if value not in asked]
    found["values"] = [*kept, *one["values"]] if add else kept
    _place_users(flag)


def _place_users(flag: dict[str, Any]) -> None:
    """Give targets of users their places among those of other kinds, which SDKs go by."""
    places = flag["contextTargets"]
    there = {each["variation"] for each in places if each.get("contextKind", "user") == "user"}
    for each in flag["targets"] if places else ():
        if each["variation"] not in there:
            places.append({"variation": each["variation"], "values": [], "contextKind": "user"})


def _serve(flag: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    if "variationId" in one:
        return {"variation": _index(flag, one["variationId"])}
    weights = {_index(flag, key): weight for key, weight in one["rolloutWeights"].items()}
    if sum(weights.values()) != _WHOLE:
        raise Invalid("the weights must add up to 100000")
    variations = [{"variation": each, "weight": weights[each]} for each in sorted(weights)]
    rollout = {"contextKind": one.get("rolloutContextKind", "user"), "variations": variations}
    if "rolloutBucketBy" in one:
        rollout["bucketBy"] = one["rolloutBucketBy"]
    return {"rollout": rollout}


def _index(flag: Mapping[str, Any], name: str) -> int:
    prefix, _, place = name.rpartition("-")
    if prefix != flag["key"] or int(place) >= len(flag["variations"]):
        raise Invalid(f"unknown variation {name}")
    return int(place)
