"""Who may call the admin API, how often, and which function answers which path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from downhaul_emulators.serving import Request, Response
from downhaul_emulators.split.admin import (
    change_requests,
    definitions,
    flag_sets,
    flags,
    rule_segments,
    segments,
)
from downhaul_emulators.split.admin.call import Call, token_of
from downhaul_emulators.split.refusals import Refusal

if TYPE_CHECKING:
    from downhaul_emulators.split.emulator import SplitEmulator

_BASES: Final = ("/internal/api/v2/", "/api/v3/")  # flag sets are of the third version

# The first that fits answers; a star is any one part of the path.
_ROUTES: Final[tuple[tuple[str, str, Callable[[Call], Response]], ...]] = (
    ("GET", "workspaces", flags.workspaces),
    ("GET", "environments/ws/*", flags.environments),
    ("GET", "trafficTypes/ws/*", flags.traffic_types),
    ("GET", "rolloutStatuses", flags.rollout_statuses),
    ("POST", "splits/ws/*/trafficTypes/*", flags.create),
    ("GET", "splits/ws/*", flags.listed),
    ("GET", "splits/ws/*/environments/*", definitions.listed),
    ("GET", "splits/ws/*/*", flags.read),
    ("DELETE", "splits/ws/*/*", flags.delete),
    ("PATCH", "splits/ws/*/*", flags.patch),
    ("PUT", "splits/ws/*/*/updateDescription", flags.describe),
    ("POST", "tags/ws/*/object/*/objecttype/Split", flags.tag),
    ("GET", "splits/ws/*/*/environments/*", definitions.read),
    ("POST", "splits/ws/*/*/environments/*", definitions.create),
    ("PUT", "splits/ws/*/*/environments/*", definitions.replace),
    ("PATCH", "splits/ws/*/*/environments/*", definitions.patch),
    ("DELETE", "splits/ws/*/*/environments/*", definitions.remove),
    ("PUT", "splits/ws/*/*/environments/*/kill", definitions.kill),
    ("POST", "splits/ws/*/*/environments/*/kill", definitions.kill),
    ("PUT", "splits/ws/*/*/environments/*/restore", definitions.restore),
    ("POST", "splits/ws/*/*/environments/*/restore", definitions.restore),
    ("POST", "segments/ws/*/trafficTypes/*", segments.create),
    ("GET", "segments/ws/*", segments.listed),
    ("GET", "segments/ws/*/environments/*", segments.listed_in),
    ("DELETE", "segments/ws/*/*", segments.delete),
    ("GET", "segments/*/*/keys", segments.keys),
    ("PUT", "segments/*/*/uploadKeys", segments.upload),
    ("PUT", "segments/*/*/upload", segments.upload),
    ("PUT", "segments/*/*/removeKeys", segments.remove_keys),
    ("POST", "segments/*/*", segments.enable),
    ("DELETE", "segments/*/*", segments.disable),
    ("POST", "rule-based-segments/ws/*/trafficTypes/*", rule_segments.create),
    ("GET", "rule-based-segments/ws/*", rule_segments.listed),
    ("GET", "rule-based-segments/ws/*/environments/*", rule_segments.listed_in),
    ("PUT", "rule-based-segments/ws/*/*/environments/*", rule_segments.update),
    ("DELETE", "rule-based-segments/ws/*/*", rule_segments.delete),
    ("POST", "rule-based-segments/*/*", rule_segments.enable),
    ("DELETE", "rule-based-segments/*/*", rule_segments.disable),
    ("POST", "changeRequests/ws/*/environments/*", change_requests.submit),
    ("GET", "changeRequests", change_requests.listed),
    ("GET", "changeRequests/*", change_requests.read),
    ("PUT", "changeRequests/*", change_requests.decide),
    ("POST", "flag-sets", flag_sets.create),
    ("GET", "flag-sets", flag_sets.listed),
    ("GET", "flag-sets/*", flag_sets.read),
    ("DELETE", "flag-sets/*", flag_sets.delete),
)


def answer_admin(service: SplitEmulator, request: Request) -> Response:
    """Answer one request to the admin API."""
    allowed, headers = service.limits.spend()
    try:
        _let_in(service, request, allowed=allowed)
        answer = _route(service, request)
    except Refusal as refusal:
        answer = refusal.answer()
    return replace(answer, headers={**answer.headers, **headers})


def _let_in(service: SplitEmulator, request: Request, *, allowed: bool) -> None:
    if not allowed:
        raise Refusal(429, "Too many requests")
    given = token_of(request)
    if given not in (service.admin_token, service.viewer_token, service.approver_token):
        raise Refusal(401, "Invalid Admin API key")
    if given == service.viewer_token and request.method != "GET":
        raise Refusal(403, "the Admin API key has no role that allows this")


def _route(service: SplitEmulator, request: Request) -> Response:
    path = request.path
    for base in _BASES:
        path = path.removeprefix(base)
    parts = [unquote(one) for one in path.strip("/").split("/")]
    others = False
    for method, pattern, handler in _ROUTES:
        expected = pattern.split("/")
        if len(expected) != len(parts):
            continue
        if all(want in ("*", part) for want, part in zip(expected, parts, strict=True)):
            if method == request.method:
                names = [part for want, part in zip(expected, parts, strict=True) if want == "*"]
                return handler(Call(service, request, tuple(names)))
            others = True
    if others:
        raise Refusal(405, f"{request.method} is not allowed here")
    raise Refusal(404, f"{request.path} does not exist")
