"""The streaming, polling and event endpoints of LaunchDarkly, over one set of flags."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from downhaul_emulators.launchdarkly.rest import answer_rest
from downhaul_emulators.serving import Answer, Emulator, Request, Response, Stream

_EVENTS: Final = frozenset({"/bulk", "/diagnostic"})
_CONSOLE: Final = "/emulator/flags/"
_REST: Final = ("/api/v2/flags/", "/api/v2/segments/")


class LaunchDarklyEmulator(Emulator):
    """LaunchDarkly for server SDKs, at one URL: stream, polling and events.

    ``sdk_key`` is the only one that it lets in. A written flag gets the next version, and whoever
    follows the stream a ``patch``. ``events`` are the batches that SDKs sent, as they came. Another
    process writes a flag with ``PUT /emulator/flags/KEY`` and removes it with ``DELETE``.

    ``/api/v2/flags`` and ``/api/v2/segments`` read and change the same with ``admin_token``.
    ``approvals`` makes it refuse every change (405); ``conflicts`` those that don't say
    ``ignoreConflicts=true`` (400). ``mismatch`` is the status of a JSON patch whose ``test`` fails.
    ``archive`` has the flags that are archived: no SDK is sent those.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        sdk_key: str = "sdk-emulated",
        admin_token: str = "api-emulated",  # noqa: S107  (opens nothing but the emulator)
    ) -> None:
        super().__init__(port)
        self.sdk_key = sdk_key
        self.flags: dict[str, dict[str, Any]] = {}
        self.segments: dict[str, dict[str, Any]] = {}
        self.events: list[Any] = []
        self.admin_token = admin_token
        self.project, self.environment = "default", "production"
        self.about: dict[str, dict[str, Any]] = {}
        self.archive: dict[str, dict[str, Any]] = {}
        self.approvals = False
        self.conflicts = False
        self.mismatch = 409
        self._highest: dict[str, int] = {}

    @property
    def admin_url(self) -> str:
        """The base of the REST API."""
        return self.url

    def put(self, flag: Mapping[str, Any]) -> dict[str, Any]:
        """Write a flag, as the console does, and return it with its version."""
        with self._lock:
            made = self._versioned("flags", flag)
            self.flags[made["key"]] = made
            self.archive.pop(made["key"], None)
            self.broadcast("patch", {"path": f"/flags/{made['key']}", "data": made})
        return made

    def put_segment(self, segment: Mapping[str, Any]) -> dict[str, Any]:
        """Write a segment, as the console does, and return it with its version."""
        with self._lock:
            made = self._versioned("segments", segment)
            self.segments[made["key"]] = made
            self.broadcast("patch", {"path": f"/segments/{made['key']}", "data": made})
        return made

    def change(self, key: str, **fields: Any) -> dict[str, Any]:
        """Set fields of a flag, and return it with its new version."""
        with self._lock:
            return self.put({**self.flags[key], **fields})

    def delete(self, key: str) -> None:
        """Remove a flag."""
        with self._lock:
            self._gone("flags", key, self.flags.pop(key))

    def delete_segment(self, key: str) -> None:
        """Remove a segment."""
        with self._lock:
            self._gone("segments", key, self.segments.pop(key))

    def put_away(self, flag: Mapping[str, Any]) -> None:
        """Archive a flag as it is here: it stays, and no SDK is sent it any more."""
        with self._lock:
            made = self._versioned("flags", flag)
            self.archive[made["key"]] = made
            if self.flags.pop(made["key"], None) is not None:
                self._gone("flags", made["key"], made, later=0)

    def _versioned(self, sort: str, one: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy with the next version: of a key that was there once, a later one still."""
        place = f"{sort}/{one['key']}"
        there = (self.flags if sort == "flags" else self.segments).get(one["key"])
        highest = max(self._highest.get(place, 0), there["version"] if there else 0)
        version = max(one.get("version", 1), 1 + highest)
        self._highest[place] = version
        return {**copy.deepcopy(dict(one)), "version": version}

    def _gone(self, sort: str, key: str, one: Mapping[str, Any], later: int = 1) -> None:
        version = one["version"] + later
        self._highest[f"{sort}/{key}"] = version
        self.broadcast("delete", {"path": f"/{sort}/{key}", "version": version})

    def replace(
        self,
        flags: Mapping[str, Mapping[str, Any]],
        segments: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Hold these flags and segments and no others, and send them whole."""
        with self._lock:
            self.flags = {key: dict(flag) for key, flag in flags.items()}
            self.segments = {key: dict(one) for key, one in (segments or {}).items()}
            self.archive.clear()
            self.about.clear()
            self.broadcast("put", {"path": "/", "data": self._payload()})

    def send_stale(self, key: str, **fields: Any) -> None:
        """Send a patch that SDKs must ignore: other fields, at a version that they have already."""
        with self._lock:
            old = {**self.flags[key], **fields}
            self.broadcast("patch", {"path": f"/flags/{key}", "data": old})

    def answer(self, request: Request) -> Answer:  # noqa: PLR0911  (one for each endpoint)
        """Answer as the service does: 401 for another key, 404 for what is no endpoint."""
        if request.path.startswith(_CONSOLE):
            return self._told(request, request.path.removeprefix(_CONSOLE))
        if request.path.startswith(_REST):
            with self._lock:
                return answer_rest(self, request)
        known = request.path in (*_EVENTS, "/all", "/sdk/latest-all")
        if known and request.headers.get("authorization") != self.sdk_key:
            return Response(401, {"code": "unauthorized", "message": "Invalid SDK key"})
        if request.method == "POST" and request.path in _EVENTS:
            self.events.append(request.body)
            return Response(202)
        if request.method == "GET" and request.path == "/all":
            stream = Stream()
            with self._lock:
                stream.put("put", {"path": "/", "data": self._payload()})
                self.follow(stream)
            return stream
        if request.method == "GET" and request.path == "/sdk/latest-all":
            return self._polled(request)
        return Response(404, {"code": "not_found", "message": "Invalid resource identifier"})

    def _told(self, request: Request, key: str) -> Response:
        """Change a flag from another process: what the console is to people."""
        if request.method == "PUT" and isinstance(request.body, dict):
            return Response(200, self.put({**request.body, "key": key}))
        if request.method == "DELETE" and key in self.flags:
            self.delete(key)
            return Response(204)
        return Response(404, {"code": "not_found", "message": f"there is no flag {key}"})

    def _polled(self, request: Request) -> Response:
        with self._lock:
            payload = self._payload()
        tag = f'"{hashlib.sha256(json.dumps(payload).encode()).hexdigest()}"'
        if request.headers.get("if-none-match") == tag:
            return Response(304, headers={"ETag": tag})
        return Response(200, payload, {"ETag": tag})

    def _payload(self) -> dict[str, Any]:
        return copy.deepcopy({"flags": self.flags, "segments": self.segments})
