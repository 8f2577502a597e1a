"""LaunchDarkly's REST API, as far as it changes flags, over the flags that SDKs are sent."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from downhaul_emulators.launchdarkly.flags import flag_of
from downhaul_emulators.serving import Request, Response

if TYPE_CHECKING:
    from downhaul_emulators.launchdarkly.emulator import LaunchDarklyEmulator

_PATH: Final = re.compile(r"/api/v2/flags/([^/]+)(?:/([^/]+))?")
_SEMANTIC: Final = "domain-model=launchdarkly.semanticpatch"
_PAGE: Final = 20
_WHOLE: Final = 100_000


class _Invalid(ValueError):
    pass


def answer_rest(service: LaunchDarklyEmulator, request: Request) -> Response:  # noqa: PLR0911  (one for each verb)
    """Answer one request to ``/api/v2/flags``."""
    if request.headers.get("authorization") != service.admin_token:
        return _error(401, "unauthorized", "Invalid access token")
    found = _PATH.fullmatch(request.path)
    if found is None or found[1] != service.project:
        return _error(404, "not_found", "Invalid resource identifier")
    key = found[2]
    if request.method == "POST" and key is None:
        return _create(service, request.body)
    if request.method == "GET" and key is None:
        return _list(service, request)
    if key not in service.flags:
        return _error(404, "not_found", f"Unknown flag {key}")
    if request.method == "GET":
        return Response(200, _shown(service, key))
    if request.method == "DELETE":
        service.delete(key)
        return Response(204)
    if request.method == "PATCH":
        return _patch(service, request, key)
    return _error(405, "method_not_allowed", "Method not allowed")


def _patch(service: LaunchDarklyEmulator, request: Request, key: str) -> Response:
    if _SEMANTIC not in request.headers.get("content-type", ""):
        return _error(400, "invalid_request", "only semantic patches are emulated")
    if service.approvals:
        return _error(405, "approval_required", "this environment requires approvals")
    if service.conflicts and request.query.get("ignoreConflicts") != "true":
        return _error(400, "conflict", "it conflicts with a scheduled change")
    if request.body.get("environmentKey") != service.environment:
        return _error(400, "invalid_request", "unknown environment")
    flag = copy.deepcopy(service.flags[key])
    try:
        for one in request.body["instructions"]:
            _apply(flag, one)
    except (_Invalid, KeyError, TypeError) as error:
        return _error(400, "invalid_request", str(error))
    service.put(flag)
    return Response(200, _shown(service, key))


def _create(service: LaunchDarklyEmulator, body: Any) -> Response:
    if body["key"] in service.flags:
        return _error(409, "conflict", "A feature with that key already exists")
    variations = body.get("variations") or [{"value": True}, {"value": False}]
    values = [one["value"] for one in variations]
    off = body.get("defaults", {}).get("offVariation", len(values) - 1)
    on = body.get("defaults", {}).get("onVariation", 0)
    fallthrough = {"variation": on}
    made = flag_of(body["key"], values, on=False, offVariation=off, fallthrough=fallthrough)
    service.about[body["key"]] = {
        "tags": body.get("tags", []),
        "description": body.get("description", ""),
    }
    service.put(made)
    return Response(201, _shown(service, body["key"]))


def _list(service: LaunchDarklyEmulator, request: Request) -> Response:
    start = int(request.query.get("offset", "0"))
    size = int(request.query.get("limit", str(_PAGE)))
    keys = sorted(service.flags)
    items = [_shown(service, key) for key in keys[start : start + size]]
    return Response(200, {"items": items, "totalCount": len(keys)})


def _shown(service: LaunchDarklyEmulator, key: str) -> dict[str, Any]:
    flag = copy.deepcopy(service.flags[key])
    values = flag.pop("variations")
    rules = [{**one, "_id": one.get("id", "")} for one in flag["rules"]]
    return {
        "key": key,
        "name": key,
        "tags": [],
        "description": "",
        **service.about.get(key, {}),
        "variations": [{"_id": f"{key}-{place}", "value": one} for place, one in enumerate(values)],
        "environments": {service.environment: {**flag, "rules": rules}},
    }


def _apply(flag: dict[str, Any], one: Mapping[str, Any]) -> None:
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
        raise _Invalid(f"unknown instruction {kind}")


def _target(flag: dict[str, Any], one: Mapping[str, Any], *, add: bool) -> None:
    index, kind = _index(flag, one["variationId"]), one.get("contextKind", "user")
    lists = flag["targets" if kind == "user" else "contextTargets"]
    asked = set(one["values"])
    for each in lists:
        same = each.get("contextKind", "user") == kind
        if add and same and each["variation"] != index and asked & set(each["values"]):
            raise _Invalid("a key may be the target of one variation only")
    found = next((each for each in lists if each["variation"] == index), None)
    if found is None:
        found = {"variation": index, "values": [], "contextKind": kind}
        lists.append(found)
    kept = [value for value in found["values"] if value not in asked]
    found["values"] = [*kept, *one["values"]] if add else kept


def _serve(flag: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    if "variationId" in one:
        return {"variation": _index(flag, one["variationId"])}
    weights = {_index(flag, key): weight for key, weight in one["rolloutWeights"].items()}
    if sum(weights.values()) != _WHOLE:
        raise _Invalid("the weights must add up to 100000")
    variations = [{"variation": each, "weight": weights[each]} for each in sorted(weights)]
    rollout = {"contextKind": one.get("rolloutContextKind", "user"), "variations": variations}
    if "rolloutBucketBy" in one:
        rollout["bucketBy"] = one["rolloutBucketBy"]
    return {"rollout": rollout}


def _index(flag: Mapping[str, Any], name: str) -> int:
    prefix, _, place = name.rpartition("-")
    if prefix != flag["key"] or int(place) >= len(flag["variations"]):
        raise _Invalid(f"unknown variation {name}")
    return int(place)


def _error(status: int, code: str, message: str) -> Response:
    return Response(status, {"code": code, "message": message})
