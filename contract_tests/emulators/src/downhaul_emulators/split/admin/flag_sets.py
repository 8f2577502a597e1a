"""Flag sets: names under which SDKs may ask for some flags only."""

from __future__ import annotations

import copy
import re
from typing import Any, Final

from downhaul_emulators.serving import Response
from downhaul_emulators.split.account import id_of
from downhaul_emulators.split.admin.call import Call
from downhaul_emulators.split.refusals import Refusal, bad, missing

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,49}")  # what SDKs let through as a set's name
_PAGE: Final = 50


def create(call: Call) -> Response:
    """Create a flag set."""
    body = call.body({"name": str, "description": str, "workspace": dict})
    call.workspace(body.get("workspace", {}).get("id", ""))
    name = body.get("name", "")
    if _NAME.fullmatch(name) is None:
        raise bad(f"the name of a flag set has lower case letters, digits and _ only: {name!r}")
    if any(one["name"] == name for one in call.account.flag_sets.values()):
        raise Refusal(409, f"flag set {name} already exists")
    made: dict[str, Any] = {
        "id": id_of("flag set", name),
        "name": name,
        "description": body.get("description", ""),
        "workspace": {"id": call.account.workspace["id"], "type": "workspace"},
        "createdAt": str(call.account.next_number()),
        "type": "FlagSet",
    }
    call.account.flag_sets[made["id"]] = made
    return Response(200, copy.deepcopy(made))


def listed(call: Call) -> Response:
    """List the flag sets of a workspace."""
    call.workspace(call.request.query.get("workspace_id", ""))
    found = [copy.deepcopy(one) for one in call.account.flag_sets.values()]
    return call.marked(found, _PAGE)


def read(call: Call) -> Response:
    """Return one flag set."""
    return Response(200, copy.deepcopy(_known(call)))


def delete(call: Call) -> Response:
    """Delete a flag set that no definition is in."""
    found = _known(call)
    for environment in call.account.environments:
        for name, definition in environment.definitions.items():
            if any(one["id"] == found["id"] for one in definition["flagSets"]):
                raise Refusal(409, f"feature flag {name} is in the flag set {found['name']}")
    del call.account.flag_sets[found["id"]]
    return Response(200, body=True)


def _known(call: Call) -> dict[str, Any]:
    if call.names[0] not in call.account.flag_sets:
        raise missing(f"flag set {call.names[0]}")
    return call.account.flag_sets[call.names[0]]
