"""Segments, and the keys that each has in an environment."""

from __future__ import annotations

import copy
from typing import Any, Final

from downhaul_emulators.serving import Response
from downhaul_emulators.split.account import Environment
from downhaul_emulators.split.admin.call import Call
from downhaul_emulators.split.changes import KeySet
from downhaul_emulators.split.refusals import Refusal, bad, missing
from downhaul_emulators.split.validation import check_name

_PAGE: Final = 50
_KEYS_PAGE: Final = 100
_UPLOAD: Final = 10_000
_SEGMENT: Final = 100_000


def create(call: Call) -> Response:
    """Create a segment. No environment has it yet."""
    workspace, traffic_type = call.names
    call.workspace(workspace)
    found = call.traffic_type(traffic_type)
    body = call.body({"name": str, "description": str, "owners": list, "tags": list})
    name = body.get("name")
    check_name(name, "segment")
    if name in call.account.segments:
        raise Refusal(409, f"segment {name} already exists")
    made = {
        "name": name,
        "description": body.get("description", ""),
        "trafficType": dict(found),
        "creationTime": call.account.next_number(),
        "tags": None,
    }
    call.account.segments[str(name)] = made
    return Response(200, copy.deepcopy(made))


def listed(call: Call) -> Response:
    """List the segments of a workspace."""
    call.workspace(call.names[0])
    return call.page([copy.deepcopy(one) for one in call.account.segments.values()], _PAGE)


def listed_in(call: Call) -> Response:
    """List the segments that an environment has."""
    workspace, where = call.names
    call.workspace(workspace)
    environment = call.environment(where)
    return call.page([_shown(call, environment, name) for name in environment.segments], _PAGE)


def delete(call: Call) -> Response:
    """Delete a segment that no environment has any more."""
    workspace, name = call.names
    call.workspace(workspace)
    _known(call, name)
    if any(name in one.segments for one in call.account.environments):
        raise Refusal(409, f"segment {name} is still in an environment")
    del call.account.segments[name]
    return Response(200, body=True)


def enable(call: Call) -> Response:
    """Give an environment a segment, without keys. Needs no approval."""
    where, name = call.names
    environment = call.environment(where)
    _known(call, name)
    if name in environment.segments:
        raise Refusal(409, f"segment {name} is in {environment.name} already")
    environment.segments[name] = KeySet()
    call.account.change_keys(environment, name)
    return Response(200, _shown(call, environment, name))


def disable(call: Call) -> Response:
    """Take an empty segment from an environment, unless a flag there names it."""
    where, name = call.names
    environment = call.environment(where)
    if _keys(environment, name).keys:
        raise Refusal(409, f"segment {name} still has keys in {environment.name}")
    for flag, definition in environment.definitions.items():
        if _names(definition, name):
            raise Refusal(409, f"segment {name} is used by feature flag {flag}")
    del environment.segments[name]
    return Response(200, body=True)


def keys(call: Call) -> Response:
    """List the keys of a segment in an environment."""
    where, name = call.names
    environment = call.environment(where)
    found = [{"key": one} for one in _keys(environment, name).keys]
    part, offset, limit = call.part(found, _KEYS_PAGE, _KEYS_PAGE)
    body = {"keys": part, "openChangeRequestId": None, "count": len(found)}
    return Response(200, {**body, "offset": offset, "limit": limit})


def upload(call: Call) -> Response:
    """Add keys to a segment, or replace all its keys."""
    where, name = call.names
    environment = call.writable(where)
    had = _keys(environment, name).keys
    given = _given(call)
    replace = call.request.query.get("replace", "false") == "true"
    remove = set(had) - set(given) if replace else set()
    if len((set(had) - remove) | set(given)) > _SEGMENT:
        raise bad(f"a segment has at most {_SEGMENT} keys")
    call.account.change_keys(environment, name, add=given, remove=remove)
    return Response(200, _shown(call, environment, name))


def remove_keys(call: Call) -> Response:
    """Take keys from a segment."""
    where, name = call.names
    environment = call.writable(where)
    _keys(environment, name)
    given = _given(call)
    gone = len(set(given) & set(_keys(environment, name).keys))
    call.account.change_keys(environment, name, remove=given)
    body = {"code": 200, "message": f"Deleted {gone} keys", "details": None, "transactionId": None}
    return Response(200, body)


def _given(call: Call) -> list[str]:
    given: Any = call.request.body
    if not isinstance(given, list):
        given = call.body({"keys": list, "comment": str, "title": str}).get("keys")
    if not given or not all(isinstance(one, str) and one for one in given):
        raise bad("keys must be a list of strings")
    if len(given) > _UPLOAD:
        raise bad(f"at most {_UPLOAD} keys in one request: {len(given)}")
    return list(given)


def _known(call: Call, name: str) -> dict[str, Any]:
    if name not in call.account.segments:
        raise missing(f"segment {name}")
    return call.account.segments[name]


def _keys(environment: Environment, name: str) -> KeySet:
    if name not in environment.segments:
        raise missing(f"segment {name} in {environment.name}")
    return environment.segments[name]


def _shown(call: Call, environment: Environment, name: str) -> dict[str, Any]:
    segment = call.account.segments[name]
    return {
        "name": name,
        "environment": environment.shown(),
        "trafficType": dict(segment["trafficType"]),
        "creationTime": segment["creationTime"],
    }


def _names(definition: dict[str, Any], segment: str) -> bool:
    if any(segment in (one.get("segments") or ()) for one in definition["treatments"]):
        return True
    matchers = [one for rule in definition["rules"] for one in rule["condition"]["matchers"]]
    return any(one["type"] == "IN_SEGMENT" and one["string"] == segment for one in matchers)
