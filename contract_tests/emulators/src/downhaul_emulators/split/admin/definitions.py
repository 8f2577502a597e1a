"""What a flag is in one environment: treatments, rules, killed or not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from downhaul_emulators.serving import Response
from downhaul_emulators.split.account import Environment
from downhaul_emulators.split.admin.call import Call
from downhaul_emulators.split.admin.patching import patched
from downhaul_emulators.split.matchers import names_in
from downhaul_emulators.split.refusals import Refusal, bad, missing
from downhaul_emulators.split.validation import READ_ONLY, check_definition

_PAGE: Final = 50


def listed(call: Call) -> Response:
    """List the definitions of an environment."""
    workspace, name = call.names
    call.workspace(workspace)
    environment = call.environment(name)
    show = partial(call.account.definition, environment)
    return call.page(list(environment.definitions), _PAGE, show=show)


def read(call: Call) -> Response:
    """Return one definition."""
    environment, name = _found(call)
    if call.service.stale_reads and name in environment.past:
        call.service.stale_reads -= 1
        shown = call.account.definition(environment, name, environment.past[name])
        return Response(200, shown)
    return _shown(call, environment, name)


def create(call: Call) -> Response:
    """Define a flag in an environment."""
    workspace, name, where = call.names
    call.workspace(workspace)
    call.flag(name)
    environment = call.writable(where)
    if name in environment.definitions:
        raise Refusal(409, f"feature flag {name} already has a definition in {environment.name}")
    return _write(call, environment, name, call.body())


def replace(call: Call) -> Response:
    """Write a definition whole."""
    environment, name = _found(call, write=True)
    return _write(call, environment, name, call.body())


def patch(call: Call) -> Response:
    """Change parts of a definition."""
    environment, name = _found(call, write=True)
    before = call.account.definition(environment, name)
    after = patched(before, call.request.body)
    for field in READ_ONLY:
        if after.get(field) != before.get(field):
            raise bad(f"{field} can't be changed")
    return _write(call, environment, name, after)


def kill(call: Call) -> Response:
    """Kill a flag: its default treatment is served to all. Its rules stay as they are."""
    environment, name = _found(call, write=True)
    killed = {**environment.definitions[name], "killed": True}
    call.account.write_definition(environment, name, killed, kill=True)
    return _shown(call, environment, name)


def restore(call: Call) -> Response:
    """End a kill."""
    environment, name = _found(call, write=True)
    restored = {**environment.definitions[name], "killed": False}
    call.account.write_definition(environment, name, restored)
    return _shown(call, environment, name)


def remove(call: Call) -> Response:
    """Remove a definition: SDKs answer ``control`` from then on."""
    environment, name = _found(call, write=True)
    call.account.remove_definition(environment, name)
    return Response(200, body=True)


def check(call: Call, environment: Environment, name: str, body: Mapping[str, Any]) -> None:
    """Refuse a definition that is wrong, or names what the environment lacks."""
    check_definition(body)
    for one in body.get("flagSets") or []:
        if not isinstance(one, dict) or one.get("id") not in call.account.flag_sets:
            raise bad(f"unknown flag set {one!r}")
    for treatment in body["treatments"]:
        for segment in treatment.get("segments") or []:
            _segment(environment, segment)
    for rule in body.get("rules") or []:
        for matcher in rule["condition"]["matchers"]:
            check_matcher_reference(environment, matcher)
            depends = matcher.get("depends")
            if depends and _reaches(environment, depends["splitName"], name):
                raise bad(f"{name} can't depend on itself, through {depends['splitName']}")


def check_matcher_reference(environment: Environment, matcher: Mapping[str, Any]) -> None:
    """Refuse a matcher that names what the environment lacks."""
    kind, named = names_in(matcher) or ("", "")
    if kind == "IN_SEGMENT":
        _segment(environment, named)
    elif kind == "IN_RULE_BASED_SEGMENT" and named not in environment.rule_definitions:
        raise bad(f"rule-based segment {named} does not exist in {environment.name}")
    elif kind == "IN_SPLIT":
        other = environment.definitions.get(named)
        if other is None:
            raise bad(f"feature flag {named} does not exist in {environment.name}")
        treatment = matcher["depends"]["treatment"]
        if treatment not in [one["name"] for one in other["treatments"]]:
            raise bad(f"feature flag {named} has no treatment {treatment}")


def _segment(environment: Environment, name: str) -> None:
    if name not in environment.segments:
        raise bad(f"segment {name} does not exist in {environment.name}")


def _reaches(environment: Environment, start: str, goal: str) -> bool:
    """Whether the flag ``start`` depends on ``goal``, at once or through others."""
    if start == goal:
        return True
    rules = environment.definitions[start]["rules"]
    matchers = [one for rule in rules for one in rule["condition"]["matchers"]]
    named = {one["depends"]["splitName"] for one in matchers if one.get("depends")}
    return any(_reaches(environment, one, goal) for one in named)


def _found(call: Call, *, write: bool = False) -> tuple[Environment, str]:
    workspace, name, where = call.names
    call.workspace(workspace)
    call.flag(name)
    environment = call.writable(where) if write else call.environment(where)
    if name not in environment.definitions:
        raise missing(f"a definition of feature flag {name} in {environment.name}")
    return environment, name


def _write(call: Call, environment: Environment, name: str, body: Mapping[str, Any]) -> Response:
    check(call, environment, name, body)
    call.account.write_definition(environment, name, body)
    return _shown(call, environment, name)


def _shown(call: Call, environment: Environment, name: str) -> Response:
    return Response(200, call.account.definition(environment, name))
