"""Changes that somebody asks for and somebody else approves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from downhaul_emulators.serving import Response
from downhaul_emulators.split.account import Environment, id_of
from downhaul_emulators.split.admin import definitions, rule_segments
from downhaul_emulators.split.admin.call import Call, token_of
from downhaul_emulators.split.refusals import Refusal, bad, missing

_PAGE: Final = 100
_ON_FLAGS: Final = ("CREATE", "UPDATE", "KILL", "RESTORE", "ARCHIVE")
_ON_SEGMENTS: Final = ("CREATE", "ARCHIVE")
_WHOLE: Final = ("CREATE", "UPDATE")
_DECISIONS: Final = ("APPROVED", "REJECTED", "WITHDRAWN")
_FIELDS: Final = {
    "split": dict,
    "segment": dict,
    "ruleBasedSegment": dict,
    "operationType": str,
    "title": str,
    "comment": str,
    "approvers": list,
    "rolloutStatus": dict,
}


def submit(call: Call) -> Response:
    """Ask for a change. It is checked now, and made when it is approved."""
    workspace, where = call.names
    call.workspace(workspace)
    environment = call.environment(where)
    body = call.body(_FIELDS)
    if not body.get("title"):
        raise bad("title is mandatory")
    kinds = [one for one in ("split", "segment", "ruleBasedSegment") if body.get(one)]
    if len(kinds) != 1:
        raise bad("a change request is about one of split, segment and ruleBasedSegment")
    _check(call, environment, kinds[0], body)
    number = call.account.next_number()
    made: dict[str, Any] = {
        "split": None,
        "segment": None,
        "ruleBasedSegment": None,
        kinds[0]: copy.deepcopy(body[kinds[0]]),
        "id": id_of("change request", str(number)),
        "status": "REQUESTED",
        "title": body["title"],
        "comment": None,
        "workspace": {"id": call.account.workspace["id"], "type": "workspace"},
        "approvers": list(body.get("approvers") or []),
        "operationType": body["operationType"],
        "comments": [],
        "rolloutStatus": body.get("rolloutStatus"),
        "rolloutStatusTimestamp": None,
    }
    made[kinds[0]]["environment"] = environment.shown()
    _comment(call, made, body.get("comment", ""), "SUBMITTER")
    call.account.change_requests[made["id"]] = {"shown": made, "token": token_of(call.request)}
    return Response(200, copy.deepcopy(made))


def listed(call: Call) -> Response:
    """List change requests of one status: those that wait, unless another is asked for."""
    query = call.request.query
    status = query.get("status", "REQUESTED")
    found = [one["shown"] for one in call.account.change_requests.values()]
    found = [one for one in found if one["status"] == status]
    if where := query.get("environmentId"):
        found = [one for one in found if _about(one)["environment"]["id"] == where]
    return call.marked(copy.deepcopy(found), _PAGE)


def read(call: Call) -> Response:
    """Return one change request."""
    return Response(200, copy.deepcopy(_known(call)["shown"]))


def decide(call: Call) -> Response:
    """Approve, reject or withdraw a change request; approved, the change is made."""
    known = _known(call)
    shown = known["shown"]
    body = call.body({"status": str, "comment": str})
    status = body.get("status")
    if status not in _DECISIONS:
        raise bad(f"status must be one of {', '.join(_DECISIONS)}")
    if shown["status"] != "REQUESTED":
        raise Refusal(409, f"the change request is {shown['status']} already")
    own = known["token"] == token_of(call.request)
    if own != (status == "WITHDRAWN"):
        raise Refusal(403, "who asked for a change may withdraw it, and only others decide on it")
    if status == "APPROVED":
        _make(call, shown)
    shown["status"] = "PUBLISHED" if status == "APPROVED" else status
    _comment(call, shown, body.get("comment", ""), "SUBMITTER" if own else "APPROVER")
    return Response(200, copy.deepcopy(shown))


def _check(call: Call, environment: Environment, kind: str, body: Mapping[str, Any]) -> None:
    operation, about = body.get("operationType"), body[kind]
    if operation not in (_ON_SEGMENTS if kind == "segment" else _ON_FLAGS):
        raise bad(f"unknown operationType {operation!r}")
    name = about.get("name")
    if kind == "segment":
        if name not in environment.segments:
            raise missing(f"segment {name} in {environment.name}")
        if not all(isinstance(one, str) and one for one in about.get("keys") or [""]):
            raise bad("keys must be a list of strings")
    elif kind == "ruleBasedSegment":
        if name not in environment.rule_definitions:
            raise missing(f"rule-based segment {name} in {environment.name}")
        rule_segments.check_rules(environment, about)
    else:
        call.flag(str(name))
        if (name in environment.definitions) == (operation == "CREATE"):
            word = "already has" if operation == "CREATE" else "has no"
            raise Refusal(409, f"feature flag {name} {word} a definition in {environment.name}")
        if operation in _WHOLE:
            definitions.check(call, environment, str(name), about)


def _make(call: Call, shown: Mapping[str, Any]) -> None:
    about, operation = _about(shown), shown["operationType"]
    environment = call.environment(about["environment"]["id"])
    account, name = call.account, about["name"]
    if shown["segment"]:
        change = "add" if operation == "CREATE" else "remove"
        account.change_keys(environment, name, **{change: about["keys"]})
    elif shown["ruleBasedSegment"]:
        account.write_rules(environment, name, about)
    elif operation == "ARCHIVE":
        account.remove_definition(environment, name)
    elif operation in _WHOLE:
        account.write_definition(environment, name, about)
    else:
        killed = {**environment.definitions[name], "killed": operation == "KILL"}
        account.write_definition(environment, name, killed, kill=operation == "KILL")


def _about(shown: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shown["split"] or shown["segment"] or shown["ruleBasedSegment"]
    return found


def _comment(call: Call, shown: dict[str, Any], text: str, role: str) -> None:
    said = {"comment": text, "user": "admin-api-key", "role": role}
    shown["comments"].append({**said, "timestamp": call.account.next_number()})


def _known(call: Call) -> dict[str, Any]:
    if call.names[0] not in call.account.change_requests:
        raise missing(f"change request {call.names[0]}")
    return call.account.change_requests[call.names[0]]
