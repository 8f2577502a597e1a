"""The endpoints that SDKs call: changes of flags and segments, the token, what they send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from downhaul_emulators.serving import Answer, Request, Response
from downhaul_emulators.split import push, wire
from downhaul_emulators.split.account import Environment

if TYPE_CHECKING:
    from downhaul_emulators.split.emulator import SplitEmulator

_SPECS: Final = ("1.0", "1.1", "1.2", "1.3")
_WITH_RULE_SEGMENTS: Final = "1.3"
_SEGMENT: Final = "/api/segmentChanges/"

SINKS: Final = {
    "/api/testImpressions/bulk": "impressions",
    "/api/testImpressions/count": "counts",
    "/api/events/bulk": "events",
    "/api/v1/metrics/config": "telemetry",
    "/api/v1/metrics/usage": "telemetry",
    "/api/v1/keys/ss": "unique_keys",
}
"""Where SDKs send what they saw, and the list of the emulator that keeps it."""


def answer_sdk(service: SplitEmulator, request: Request) -> Answer:  # noqa: PLR0911  (one for each endpoint)
    """Answer one request of an SDK: 401 for an unknown key, 404 for what is no endpoint."""
    if request.method == "GET" and request.path == "/event-stream":
        return _stream(service, request)
    environment = _environment(service, request)
    if environment is None:
        return Response(401, {"code": 401, "message": "Unauthorized"})
    if request.method == "POST" and request.path in SINKS:
        getattr(service, SINKS[request.path]).append(request.body)
        return Response(200)
    if request.method == "GET":
        if request.path == "/api/splitChanges":
            return _splits(service, environment, request)
        if request.path.startswith(_SEGMENT):
            name = unquote(request.path.removeprefix(_SEGMENT))
            return _segment(environment, name, request)
        if request.path == "/api/v2/auth":
            return _auth(service, environment)
    return Response(404, {"code": 404, "message": "Not found"})


def _environment(service: SplitEmulator, request: Request) -> Environment | None:
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    return next((one for one in service.account.environments if one.sdk_key == given), None)


def _splits(service: SplitEmulator, environment: Environment, request: Request) -> Response:
    query = request.query
    spec = query.get("s", _SPECS[0])
    try:
        since, rules_since = int(query["since"]), int(query.get("rbSince", "-1"))
    except (KeyError, ValueError):
        return Response(400, {"code": 400, "message": "since must be a number"})
    if spec not in _SPECS:
        return Response(400, {"code": 400, "message": f"unknown spec {spec}"})
    # `till` asks for what no cache holds, as an SDK does that was told of something newer
    lag = 0 if "till" in query else service.lag
    until = environment.splits.number_before(lag) if lag else environment.splits.till
    found = [dict(one) for one in environment.splits.between(since, until)]
    if sets := {one for one in query.get("sets", "").split(",") if one}:
        found = [one if sets & set(one["sets"]) else wire.archived(one, one["changeNumber"])
                 for one in found]  # fmt: skip
    if since < 0:  # whoever begins knows of nothing that could be gone
        found = [one for one in found if one["status"] == "ACTIVE"]
    flags = {"d": found, "s": since, "t": max(since, until)}
    if spec != _WITH_RULE_SEGMENTS:
        return Response(200, {"splits": found, "since": since, "till": flags["t"]})
    return Response(200, {"ff": flags, "rbs": _rules(environment, rules_since)})


def _rules(environment: Environment, since: int) -> dict[str, Any]:
    log = environment.rule_segments
    found = [dict(one) for one in log.between(since, log.till)]
    if since < 0:
        found = [one for one in found if one["status"] == "ACTIVE"]
    return {"d": found, "s": since, "t": max(since, log.till)}


def _segment(environment: Environment, name: str, request: Request) -> Response:
    keys = environment.segments.get(name)
    if keys is None:
        return Response(404, {"code": 404, "message": f"segment {name} does not exist"})
    return Response(200, {"name": name, **keys.since(int(request.query.get("since", "-1")))})


def _auth(service: SplitEmulator, environment: Environment) -> Response:
    if not service.streaming:
        return Response(200, {"pushEnabled": False, "token": "", "connDelay": 0})
    token = push.token_of(environment, service.token_lifetime)
    service.tokens[token] = environment
    return Response(200, {"pushEnabled": True, "token": token, "connDelay": 0})


def _stream(service: SplitEmulator, request: Request) -> Answer:
    environment = service.tokens.get(request.query.get("accessToken", ""))
    if environment is None:
        return Response(401, {"code": 40101, "statusCode": 401, "message": "invalid token"})
    return service.listen(environment)
