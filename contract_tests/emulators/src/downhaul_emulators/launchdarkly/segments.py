"""The part of LaunchDarkly's REST API that keeps segments."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from downhaul_emulators.launchdarkly.amending import amended, operations_of
from downhaul_emulators.launchdarkly.checking import Invalid, check_clauses, check_key
from downhaul_emulators.serving import Request, Response

if TYPE_CHECKING:
    from downhaul_emulators.launchdarkly.emulator import LaunchDarklyEmulator

PREFIX: Final = "/api/v2/segments/"
_PATH: Final = re.compile(r"/api/v2/segments/([^/]+)/([^/]+)(?:/([^/]+))?")
_PAGE: Final = 20
_FIXED: Final = ("key", "version")


def answer(service: LaunchDarklyEmulator, request: Request) -> Response:  # noqa: PLR0911  (one for each verb)
    """Answer one request about segments."""
    found = _PATH.fullmatch(request.path)
    if found is None or (found[1], found[2]) != (service.project, service.environment):
        return _error(404, "not_found", "Invalid resource identifier")
    key = found[3]
    if key is None:
        return _make(service, request) if request.method == "POST" else _list(service, request)
    if key not in service.segments:
        return _error(404, "not_found", f"Unknown segment {key}")
    if request.method == "GET":
        return Response(200, _shown(service.segments[key]))
    if request.method == "DELETE":
        named = [flag["key"] for flag in service.flags.values() if _names(flag, key)]
        if named:
            return _error(409, "conflict", f"it is used by {', '.join(named)}")
        service.delete_segment(key)
        return Response(204)
    if request.method == "PATCH":
        return _amend(service, request, key)
    return _error(405, "method_not_allowed", "Method not allowed")


def _make(service: LaunchDarklyEmulator, request: Request) -> Response:
    key = request.body["key"]
    check_key(key)
    if key in service.segments:
        return _error(409, "conflict", "A segment with that key already exists")
    made = {
        "key": key,
        "name": request.body["name"],
        "description": request.body.get("description", ""),
        "tags": request.body.get("tags", []),
        "included": [],
        "excluded": [],
        "includedContexts": [],
        "excludedContexts": [],
        "rules": [],
        "salt": f"salt-of-{key}",
        "unbounded": False,
        "deleted": False,
    }
    return Response(201, _shown(service.put_segment(made)))


def _amend(service: LaunchDarklyEmulator, request: Request, key: str) -> Response:
    before = _shown(service.segments[key])
    after = amended(before, operations_of(request.body))
    for name in _FIXED:
        if before[name] != after.get(name):
            raise Invalid(f"no patch changes {name}")
    rules = [
        {
            **{part: value for part, value in one.items() if part != "_id"},
            "id": one.get("_id") or f"rule-{before['version']}-{place}",
        }
        for place, one in enumerate(after["rules"])
    ]
    for one in rules:
        check_clauses(service, one["clauses"])
    for name in ("included", "excluded"):
        if not all(isinstance(value, str) and value for value in after[name]):
            raise Invalid(f"{name} holds keys")
    return Response(200, _shown(service.put_segment({**after, "rules": rules})))


def _list(service: LaunchDarklyEmulator, request: Request) -> Response:
    if request.method != "GET":
        return _error(405, "method_not_allowed", "Method not allowed")
    start = int(request.query.get("offset", "0"))
    size = int(request.query.get("limit", str(_PAGE)))
    keys = sorted(service.segments)
    items = [_shown(service.segments[key]) for key in keys[start : start + size]]
    return Response(200, {"items": items, "totalCount": len(keys)})


def _shown(segment: Mapping[str, Any]) -> dict[str, Any]:
    rules = [
        {**{name: value for name, value in one.items() if name != "id"}, "_id": one.get("id", "")}
        for one in segment.get("rules") or []
    ]
    return copy.deepcopy(
        {"name": segment["key"], "tags": [], "description": "", **segment, "rules": rules}
    )


def _names(flag: Mapping[str, Any], key: str) -> bool:
    clauses = (clause for rule in flag["rules"] for clause in rule["clauses"])
    return any(one["op"] == "segmentMatch" and key in one["values"] for one in clauses)


def _error(status: int, code: str, message: str) -> Response:
    return Response(status, {"code": code, "message": message})
