"""LaunchDarkly's REST API, as far as it changes flags, over the flags that SDKs are sent."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from downhaul_emulators.launchdarkly import amending, segments
from downhaul_emulators.launchdarkly.checking import Invalid, check_change, check_flag, check_key
from downhaul_emulators.launchdarkly.flags import flag_of
from downhaul_emulators.launchdarkly.instructions import apply
from downhaul_emulators.launchdarkly.shown import about_of, flag_from, shown
from downhaul_emulators.serving import Request, Response

if TYPE_CHECKING:
    from downhaul_emulators.launchdarkly.emulator import LaunchDarklyEmulator

_PATH: Final = re.compile(r"/api/v2/flags/([^/]+)(?:/([^/]+))?")
_SEMANTIC: Final = "domain-model=launchdarkly.semanticpatch"
_PAGE: Final = 20


def answer_rest(service: LaunchDarklyEmulator, request: Request) -> Response:
    """Answer one request to ``/api/v2``."""
    if request.headers.get("authorization") != service.admin_token:
        return _error(401, "unauthorized", "Invalid access token")
    if request.method != "GET" and service.approvals:
        return _error(405, "approval_required", "this environment requires approvals")
    try:
        answer = segments.answer if request.path.startswith(segments.PREFIX) else _flags
        return answer(service, request)
    except amending.Mismatch as error:
        return _error(service.mismatch, "conflict", str(error))
    except (Invalid, KeyError, TypeError, AttributeError) as error:
        return _error(400, "invalid_request", f"{type(error).__name__}: {error}")


def _flags(service: LaunchDarklyEmulator, request: Request) -> Response:  # noqa: PLR0911  (one for each verb)
    found = _PATH.fullmatch(request.path)
    if found is None or found[1] != service.project:
        return _error(404, "not_found", "Invalid resource identifier")
    key = found[2]
    if key is None:
        if request.method == "POST":
            return _create(service, request.body)
        return _list(service, request)
    if key not in service.flags and key not in service.archive:
        return _error(404, "not_found", f"Unknown flag {key}")
    if request.method == "GET":
        return Response(200, shown(service, key))
    if request.method == "DELETE":
        service.archive.pop(key, None)
        if key in service.flags:
            service.delete(key)
        return Response(204)
    if request.method == "PATCH":
        return _patch(service, request, key)
    return _error(405, "method_not_allowed", "Method not allowed")


def _patch(service: LaunchDarklyEmulator, request: Request, key: str) -> Response:
    if service.conflicts and request.query.get("ignoreConflicts") != "true":
        return _error(400, "conflict", "it conflicts with a scheduled change")
    if _SEMANTIC not in request.headers.get("content-type", ""):
        return _amend(service, request, key)
    if request.body.get("environmentKey") != service.environment:
        raise Invalid("unknown environment")
    flag = copy.deepcopy(service.flags[key])
    for one in request.body["instructions"]:
        apply(flag, one)
    check_change(service, service.flags[key], flag)
    service.put(flag)
    return Response(200, shown(service, key))


def _amend(service: LaunchDarklyEmulator, request: Request, key: str) -> Response:
    """Do a JSON patch: all of its operations, or none."""
    before = shown(service, key)
    after = amending.amended(before, amending.operations_of(request.body))
    amending.check_paths(before, after, service.environment)
    flag = flag_from(after, service.environment)
    check_change(service, flag_from(before, service.environment), flag)
    if after["archived"]:
        named = [one["key"] for one in service.flags.values() if _needs(one, key)]
        if named:
            raise Invalid(f"it is a prerequisite of {', '.join(named)}")
        service.put_away(flag)
    else:
        service.put(flag)
    service.about[key] = about_of(after)
    return Response(200, shown(service, key))


def _needs(flag: Mapping[str, Any], key: str) -> bool:
    return any(one["key"] == key for one in flag["prerequisites"])


def _create(service: LaunchDarklyEmulator, body: Mapping[str, Any]) -> Response:
    key = body["key"]
    check_key(key)
    if key in service.flags or key in service.archive:
        return _error(409, "conflict", "A feature with that key already exists")
    variations = body.get("variations") or [{"value": True}, {"value": False}]
    values = [one["value"] for one in variations]
    defaults = body.get("defaults", {})
    made = flag_of(
        key,
        values,
        on=bool(body.get("isFlagOn")),
        offVariation=defaults.get("offVariation", len(values) - 1),
        fallthrough={"variation": defaults.get("onVariation", 0)},
    )
    check_flag(service, made)
    service.about[key] = about_of({**body, "variations": variations})
    service.put(made)
    return Response(201, shown(service, key))


def _list(service: LaunchDarklyEmulator, request: Request) -> Response:
    if request.method != "GET":
        return _error(405, "method_not_allowed", "Method not allowed")
    start = int(request.query.get("offset", "0"))
    size = int(request.query.get("limit", str(_PAGE)))
    keys = sorted(service.flags)
    items = [shown(service, key) for key in keys[start : start + size]]
    return Response(200, {"items": items, "totalCount": len(keys)})


def _error(status: int, code: str, message: str) -> Response:
    return Response(status, {"code": code, "message": message})
