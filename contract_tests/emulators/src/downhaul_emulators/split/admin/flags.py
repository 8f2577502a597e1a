"""Flags, workspaces, environments: what is the same in every environment."""

from __future__ import annotations

import copy
from typing import Any, Final

from downhaul_emulators.serving import Response
from downhaul_emulators.split.account import ROLLOUT_STATUSES
from downhaul_emulators.split.admin.call import Call
from downhaul_emulators.split.admin.patching import patched
from downhaul_emulators.split.refusals import Refusal, bad
from downhaul_emulators.split.validation import check_name

_PAGE: Final = 50
_PATCHABLE: Final = ("description", "tags", "rolloutStatus")


def workspaces(call: Call) -> Response:
    """List the workspaces."""
    shown = {**call.account.workspace, "requiresTitleAndComments": call.service.titles}
    return call.page([shown], 200, 10)


def environments(call: Call) -> Response:
    """List the environments of a workspace: all of them, without pages."""
    call.workspace(call.names[0])
    found = [{**one.shown(), "production": one.production} for one in call.account.environments]
    return Response(200, found)


def traffic_types(call: Call) -> Response:
    """List the traffic types of a workspace: all of them, without pages."""
    call.workspace(call.names[0])
    found = [{**one, "displayAttributeId": None} for one in call.account.traffic_types]
    return Response(200, found)


def rollout_statuses(call: Call) -> Response:
    """List what a flag's rollout status may be."""
    call.workspace(call.request.query.get("wsId", ""))
    return Response(200, [dict(one) for one in ROLLOUT_STATUSES])


def create(call: Call) -> Response:
    """Create a flag. No environment knows of it yet."""
    workspace, traffic_type = call.names
    call.workspace(workspace)
    found = call.traffic_type(traffic_type)
    body = call.body({"name": str, "description": str, "owners": list, "tags": list})
    name = body.get("name")
    check_name(name, "feature flag")
    if name in call.account.flags:
        raise Refusal(409, f"feature flag {name} already exists")
    about: dict[str, Any] = {"description": body.get("description", "")}
    call.account.create_flag(str(name), found, **about)
    return Response(200, copy.deepcopy(call.account.flags[str(name)]))


def listed(call: Call) -> Response:
    """List the flags of a workspace, or those with a tag."""
    call.workspace(call.names[0])
    flags = list(call.account.flags.values())
    if tag := call.request.query.get("tag"):
        flags = [one for one in flags if {"name": tag} in (one["tags"] or ())]
    if part := call.request.query.get("name"):
        flags = [one for one in flags if part in one["name"]]
    return call.page(flags, _PAGE, show=copy.deepcopy)


def read(call: Call) -> Response:
    """Return one flag."""
    workspace, name = call.names
    call.workspace(workspace)
    return Response(200, copy.deepcopy(call.flag(name)))


def delete(call: Call) -> Response:
    """Delete a flag, and its definition from every environment."""
    workspace, name = call.names
    call.workspace(workspace)
    call.flag(name)
    for environment in call.account.environments:
        if name in environment.definitions:
            call.writable(environment.id)
    call.account.delete_flag(name)
    return Response(200, body=True)


def patch(call: Call) -> Response:
    """Change a flag's description, tags or rollout status."""
    workspace, name = call.names
    call.workspace(workspace)
    before = call.flag(name)
    after = patched(before, call.request.body)
    for field in set(before) | set(after):
        if after.get(field) != before.get(field) and field not in _PATCHABLE:
            raise bad(f"{field} can't be changed")
    if after["rolloutStatus"] != before["rolloutStatus"]:
        after["rolloutStatus"] = _status(after["rolloutStatus"])
        after["rolloutStatusTimestamp"] = call.account.next_number()
    call.account.flags[name] = after
    return Response(200, copy.deepcopy(after))


def _status(given: Any) -> dict[str, str]:
    """Return the rollout status with the id that was given."""
    asked = given.get("id") if isinstance(given, dict) else given
    for one in ROLLOUT_STATUSES:
        if one["id"] == asked:
            return dict(one)
    raise bad(f"unknown rollout status {asked!r}")


def describe(call: Call) -> Response:
    """Change a flag's description, which is the whole body."""
    workspace, name = call.names
    call.workspace(workspace)
    if not isinstance(call.request.body, str):
        raise bad("the description must be a string")
    call.flag(name)["description"] = call.request.body
    return Response(200, copy.deepcopy(call.flag(name)))


def tag(call: Call) -> Response:
    """Give a flag these tags and no others."""
    workspace, name = call.names
    call.workspace(workspace)
    body = call.request.body
    if not isinstance(body, list) or not all(isinstance(one, str) and one for one in body):
        raise bad("tags must be a list of strings")
    call.flag(name)["tags"] = [{"name": one} for one in body]
    return Response(200, copy.deepcopy(call.flag(name)["tags"]))
