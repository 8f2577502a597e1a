"""Split's service for SDKs and for operators, over one account."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from downhaul_emulators.serving import Answer, Emulator, Request, Response
from downhaul_emulators.split import push
from downhaul_emulators.split.account import Account, Environment, id_of
from downhaul_emulators.split.admin import Limits, answer_admin
from downhaul_emulators.split.refusals import Refusal, missing
from downhaul_emulators.split.sdk import answer_sdk
from downhaul_emulators.split.validation import check_definition

_ADMIN: Final = ("/internal/", "/api/v3/")
_CONSOLE: Final = "/emulator/flags/"
_LIFETIME: Final = 3600
_PUBLISHERS: Final = 2
_LATENCY: Final = 0.05  # seconds: see push.Channel


class SplitEmulator(Emulator):
    """Split for server SDKs and for the admin API, at one address.

    There are two environments, Production and Staging, each with an SDK key of its own. ``url`` is
    the address; ``sdk_url``, ``events_url``, ``auth_url``, ``telemetry_url`` and ``streaming_url``
    are what an SDK is given, ``admin_url`` with ``admin_token``, ``workspace`` and ``environment``
    (ids) what an operator is. ``viewer_token`` may only read.

    What SDKs send is kept, as it came: ``impressions``, ``counts``, ``events``, ``telemetry``,
    ``unique_keys``. ``streaming`` False makes SDKs poll; ``inline`` says whether a change carries
    the changed flag with it; ``lag`` makes answers to ``splitChanges`` so many changes old, and
    ``stale_reads`` so many answers of the admin API one change old.

    ``limits`` is the rate limit of the admin API; ``titles`` makes it refuse changes without a
    title and a comment; ``approvals`` those that no change request made. ``approver_token`` may
    approve what another asked for.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        sdk_key: str = "sdk-emulated",
        admin_token: str = "admin-emulated",  # noqa: S107  (opens nothing but the emulator)
        viewer_token: str = "viewer-emulated",  # noqa: S107  (opens nothing but the emulator)
        approver_token: str = "approver-emulated",  # noqa: S107  (opens nothing but the emulator)
    ) -> None:
        super().__init__(port)
        self.sdk_key = sdk_key
        self.admin_token = admin_token
        self.viewer_token = viewer_token
        self.approver_token = approver_token
        self.organization = id_of("organization")
        environments = [
            Environment(id_of("Production"), "Production", sdk_key, production=True),
            Environment(id_of("Staging"), "Staging", f"{sdk_key}-staging"),
        ]
        self.account = Account(environments, self._tell)
        self.streaming = True
        self.inline = True
        self.lag = 0
        self.stale_reads = 0
        self.titles = False
        self.token_lifetime = _LIFETIME
        self.latency = _LATENCY
        self.tokens: dict[str, Environment] = {}
        self.limits = Limits()
        self._held: list[tuple[Environment, dict[str, Any]]] | None = None
        self.impressions: list[Any] = []
        self.counts: list[Any] = []
        self.events: list[Any] = []
        self.telemetry: list[Any] = []
        self.unique_keys: list[Any] = []

    @property
    def sdk_url(self) -> str:
        """Where an SDK gets flags and segments."""
        return f"{self.url}/api"

    @property
    def events_url(self) -> str:
        """Where an SDK sends impressions and events."""
        return f"{self.url}/api"

    @property
    def auth_url(self) -> str:
        """Where an SDK gets the token of the stream."""
        return f"{self.url}/api"

    @property
    def telemetry_url(self) -> str:
        """Where an SDK sends how it does."""
        return f"{self.url}/api"

    @property
    def streaming_url(self) -> str:
        """Where an SDK listens."""
        return self.url

    @property
    def admin_url(self) -> str:
        """The base of the admin API."""
        return f"{self.url}/internal/api/v2"

    @property
    def workspace(self) -> str:
        """The id of the workspace."""
        return self.account.workspace["id"]

    @property
    def environment(self) -> str:
        """The id of the environment that :attr:`sdk_key` sees."""
        return self._first.id

    @property
    def definitions(self) -> dict[str, dict[str, Any]]:
        """The definitions of that environment by name, as they are kept."""
        return self._first.definitions

    @property
    def _first(self) -> Environment:
        return self.account.environments[0]

    @property
    def approvals(self) -> bool:
        """Whether that environment lets only approved change requests in."""
        return self._first.approvals

    @approvals.setter
    def approvals(self, required: bool) -> None:
        self._first.approvals = required

    # What a person does in the console

    def put(self, name: str, definition: Mapping[str, Any]) -> dict[str, Any]:
        """Create a flag or write its definition whole, and return it as the admin API shows it."""
        check_definition(dict(definition))
        with self._lock:
            if name not in self.account.flags:
                self.account.create_flag(name, self.account.traffic_types[0])
            self.account.write_definition(self._first, name, definition)
            return self.account.definition(self._first, name)

    def change(self, name: str, **fields: Any) -> dict[str, Any]:
        """Set fields of a definition, and return it."""
        with self._lock:
            return self.put(name, {**copy.deepcopy(self.definitions[name]), **fields})

    def kill(self, name: str) -> None:
        """Kill a flag, and tell SDKs of it as of a kill."""
        with self._lock:
            killed = {**self.definitions[name], "killed": True}
            self.account.write_definition(self._first, name, killed, kill=True)

    def delete(self, name: str) -> None:
        """Delete a flag."""
        with self._lock:
            self.account.delete_flag(name)

    def replace(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        """Hold these flags and no others."""
        with self._lock:
            for name in [one for one in self.account.flags if one not in definitions]:
                self.account.delete_flag(name)
            for name, definition in definitions.items():
                self.put(name, definition)

    # The stream

    def listen(self, environment: Environment) -> push.Channel:
        """Open a stream of an environment's messages."""
        channel = push.Channel(environment, self.latency)
        with self._lock:
            for message in push.occupancy(_PUBLISHERS):
                channel.put("message", message)
            self.follow(channel)
        return channel

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a change as it is to who listens, true or not: late, twice, of a flag that is not.

        ``type`` and ``changeNumber`` must be in it, and what its type needs beside them.
        """
        with self._lock:
            self._publish(self._first, push.update(self._first, message, None, inline=False))

    def send_control(self, kind: str) -> None:
        """Order SDKs: STREAMING_PAUSED, STREAMING_ENABLED or STREAMING_DISABLED."""
        with self._lock:
            self.broadcast("message", push.control(kind))

    def send_occupancy(self, publishers: int) -> None:
        """Tell SDKs how many publishers the stream has: with 0 they poll."""
        with self._lock:
            for message in push.occupancy(publishers):
                self.broadcast("message", message)

    def send_error(self, code: int) -> None:
        """Send an error of the stream: 40142 makes SDKs renew their token, 40000 stop streaming."""
        with self._lock:
            self.broadcast("error", push.failure(code))

    def hold(self) -> None:
        """Keep changes back from the stream, until :meth:`release`. Polling sees them."""
        with self._lock:
            self._held = []

    def release(self, *, backwards: bool = False, lose: bool = False) -> None:
        """Send what was held back, the newest first if ``backwards``; ``lose`` throws it away."""
        with self._lock:
            held, self._held = self._held or [], None
            for environment, told in [] if lose else held[:: -1 if backwards else 1]:
                self._publish(environment, told)

    def listening(self) -> int:
        """How many SDKs listen to the stream now."""
        with self._lock:
            return len(self._streams)

    def _tell(
        self,
        environment: Environment,
        message: Mapping[str, Any],
        document: Mapping[str, Any] | None,
    ) -> None:
        told = push.update(environment, message, document, inline=self.inline)
        if self._held is None:
            self._publish(environment, told)
        else:
            self._held.append((environment, told))

    def _publish(self, environment: Environment, told: Mapping[str, Any]) -> None:
        for stream in self._streams:
            if isinstance(stream, push.Channel) and stream.environment is environment:
                stream.put("message", told)

    def answer(self, request: Request) -> Answer:
        """Answer as the service does, to SDKs and to operators."""
        with self._lock:
            if request.path.startswith(_CONSOLE):
                return self._told(request, unquote(request.path.removeprefix(_CONSOLE)))
            if request.path.startswith(_ADMIN):
                return answer_admin(self, request)
            return answer_sdk(self, request)

    def _told(self, request: Request, name: str) -> Response:
        """Change a flag from another process: what the console is to people."""
        if request.method == "PUT" and isinstance(request.body, dict):
            try:
                return Response(200, self.put(name, request.body))
            except Refusal as refusal:
                return refusal.answer()
        if request.method == "DELETE" and name in self.account.flags:
            self.delete(name)
            return Response(204)
        return missing(f"feature flag {name}").answer()
