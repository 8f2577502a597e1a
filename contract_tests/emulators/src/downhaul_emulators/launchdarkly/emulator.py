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


class LaunchDarklyEmulator(Emulator):
    """LaunchDarkly for server SDKs, at one URL: stream, polling and events.

    ``sdk_key`` is the only one that it lets in. A written flag gets the next version, and whoever
    follows the stream a ``patch``. ``events`` are the batches that SDKs sent, as they came. Another
    process writes a flag with ``PUT /emulator/flags/KEY`` and removes it with ``DELETE``.

    ``/api/v2/flags`` reads and changes the same flags with ``admin_token``. ``approvals`` makes it
    refuse every change (405); ``conflicts`` those that don't say ``ignoreConflicts=true`` (400).
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
        self.approvals = False
        self.conflicts = False

    @property
    def admin_url(self) -> str:
        """The base of the REST API."""
        return self.url

    def put(self, flag: Mapping[str, Any]) -> dict[str, Any]:
        """Write a flag, as the console does, and return it with its version."""
        with self._lock:
            before = self.flags.get(flag["key"])
            version = max(flag.get("version", 1), 1 + (before["version"] if before else 0))
            made = {**copy.deepcopy(dict(flag)), "version": version}
            self.flags[made["key"]] = made
            self.broadcast("patch", {"path": f"/flags/{made['key']}", "data": made})
        return made

    def change(self, key: str, **fields: Any) -> dict[str, Any]:
        """Set fields of a flag, and return it with its new version."""
        with self._lock:
            return self.put({**self.flags[key], **fields})

    def delete(self, key: str) -> None:
        """Remove a flag."""
        with self._lock:
            version = self.flags.pop(key)["version"] + 1
            self.broadcast("delete", {"path": f"/flags/{key}", "version": version})

    def replace(self, flags: Mapping[str, Mapping[str, Any]]) -> None:
        """Hold these flags and no others, and send them whole."""
        with self._lock:
            self.flags = {key: dict(flag) for key, flag in flags.items()}
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
        if request.path.startswith("/api/v2/flags/"):
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
