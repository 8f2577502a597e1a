"""Rule-based segments: whom rules match and no exclusion names, in one environment."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from downhaul_emulators.serving import Response
from downhaul_emulators.split.account import Environment
from downhaul_emulators.split.admin.call import Call
from downhaul_emulators.split.admin.definitions import check_matcher_reference
from downhaul_emulators.split.refusals import Refusal, bad, missing
from downhaul_emulators.split.validation import check_condition, check_name
from downhaul_emulators.split.wire import SEGMENT_TYPES

_PAGE: Final = 50
_FIELDS: Final = {
    "title": str,
    "comment": str,
    "rules": list,
    "excludedKeys": list,
    "excludedSegments": list,
}


def create(call: Call) -> Response:
    """Create a rule-based segment. No environment has it yet."""
    workspace, traffic_type = call.names
    call.workspace(workspace)
    found = call.traffic_type(traffic_type)
    body = call.body({"name": str, "description": str, "tags": list})
    name = body.get("name")
    check_name(name, "rule-based segment")
    if name in call.account.rule_segments:
        raise Refusal(409, f"rule-based segment {name} already exists")
    made = {
        "name": name,
        "description": body.get("description", ""),
        "trafficType": dict(found),
        "creationTime": call.account.next_number(),
        "tags": None,
    }
    call.account.rule_segments[str(name)] = made
    return Response(200, copy.deepcopy(made))


def listed(call: Call) -> Response:
    """List the rule-based segments of a workspace."""
    call.workspace(call.names[0])
    return call.page([copy.deepcopy(one) for one in call.account.rule_segments.values()], _PAGE)


def listed_in(call: Call) -> Response:
    """List what the rule-based segments of an environment are there."""
    workspace, where = call.names
    call.workspace(workspace)
    environment = call.environment(where)
    names = environment.rule_definitions
    return call.page([_shown(call, environment, one) for one in names], _PAGE)


def delete(call: Call) -> Response:
    """Delete a rule-based segment that no environment has any more."""
    workspace, name = call.names
    call.workspace(workspace)
    _known(call, name)
    if any(name in one.rule_definitions for one in call.account.environments):
        raise Refusal(409, f"rule-based segment {name} is still in an environment")
    del call.account.rule_segments[name]
    return Response(200, body=True)


def enable(call: Call) -> Response:
    """Give an environment a rule-based segment without rules: it matches nobody."""
    where, name = call.names
    environment = call.environment(where)
    _known(call, name)
    if name in environment.rule_definitions:
        raise Refusal(409, f"rule-based segment {name} is in {environment.name} already")
    call.account.write_rules(environment, name, {})
    return Response(200, _shown(call, environment, name))


def disable(call: Call) -> Response:
    """Take a rule-based segment from an environment, unless a flag there names it."""
    where, name = call.names
    environment = call.writable(where)
    _defined(environment, name)
    for flag, definition in environment.definitions.items():
        for rule in definition["rules"]:
            for matcher in rule["condition"]["matchers"]:
                if (matcher["type"], matcher.get("string")) == ("IN_RULE_BASED_SEGMENT", name):
                    raise Refusal(409, f"rule-based segment {name} is used by {flag}")
    call.account.remove_rules(environment, name)
    return Response(200, body=True)


def update(call: Call) -> Response:
    """Write what a rule-based segment is in an environment, whole."""
    workspace, name, where = call.names
    call.workspace(workspace)
    environment = call.writable(where)
    _defined(environment, name)
    body = call.body(_FIELDS)
    check_rules(environment, body)
    call.account.write_rules(environment, name, body)
    return Response(200, _shown(call, environment, name))


def check_rules(environment: Environment, body: Mapping[str, Any]) -> None:
    """Refuse rules and exclusions that are wrong, or name what the environment lacks."""
    for place, rule in enumerate(body.get("rules") or []):
        if not isinstance(rule, dict) or set(rule) != {"condition"}:
            raise bad(f"rule {place} must have a condition, and nothing else")
        check_condition(rule["condition"], f"rule {place}")
        for matcher in rule["condition"]["matchers"]:
            check_matcher_reference(environment, matcher)
    if not all(isinstance(one, str) and one for one in body.get("excludedKeys") or []):
        raise bad("excludedKeys must be a list of strings")
    for one in body.get("excludedSegments") or []:
        if not isinstance(one, dict) or one.get("type") not in SEGMENT_TYPES:
            raise bad(f"an excluded segment must have a name and a type: {one!r}")
        rules = one["type"] == "rule_based_segment"
        if one.get("name") not in (environment.rule_definitions if rules else environment.segments):
            raise bad(f"segment {one.get('name')!r} does not exist in {environment.name}")


def _known(call: Call, name: str) -> None:
    if name not in call.account.rule_segments:
        raise missing(f"rule-based segment {name}")


def _defined(environment: Environment, name: str) -> None:
    if name not in environment.rule_definitions:
        raise missing(f"rule-based segment {name} in {environment.name}")


def _shown(call: Call, environment: Environment, name: str) -> dict[str, Any]:
    segment = call.account.rule_segments[name]
    return {
        "name": name,
        "environment": environment.shown(),
        "trafficType": dict(segment["trafficType"]),
        "creationTime": segment["creationTime"],
        **copy.deepcopy(environment.rule_definitions[name]),
    }
