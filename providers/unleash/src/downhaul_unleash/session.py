"""One life of Unleash's SDK in one process: made, fed by the server, listened to, destroyed.

The SDK says that it is initialized after a refused token as well, tells nobody that it lost its
server, and would wait for minutes. So what counts here are the server's answers, seen one by one
through a hook of ``requests``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from UnleashClient.clients.unleash_client import UnleashClient
from UnleashClient.utils import InstanceAllowType

from downhaul.config import Secret
from downhaul.errors import DocumentError
from downhaul.flag import FlagSet
from downhaul.provider import Listener, ProviderStatus, State
from downhaul_unleash.carried import Reference
from downhaul_unleash.counting import count_served
from downhaul_unleash.known import Known, known_of
from downhaul_unleash.polling import MemoryCache, Turns

_log: Final = logging.getLogger("downhaul")
_FEATURES: Final = "/client/features"
_SAME: Final = 304
_WHY: Final[Mapping[int, str]] = {
    401: "the server refuses the token (401): use a backend token of this server",
    403: "the token may not read flags (403): use a backend token, not a frontend one",
    404: "there is no Unleash API at this URL (404): it ends in /api",
    **dict.fromkeys(
        (301, 302, 303, 307, 308),
        "the server sends elsewhere, where no token is taken: set `url` to where Unleash itself is",
    ),
}
_NO_DOCUMENT: Final = "the server answers with no Unleash document: the URL must lead to its API"
_THREAD: Final = "downhaul-unleash"
_SLACK: Final = 2.0  # seconds beyond a fetch after which a silent thread counts as out of touch


class _SaidOnce(logging.Filter):
    """Keeps out of the SDK's log what this module says once: that a fetch failed, at each fetch.

    Only for the threads here: other clients of the SDK in the process say what they say.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        failed = record.module == "_transport" or "cached features" in str(record.msg)
        return not (failed and record.threadName == _THREAD)


logging.getLogger("UnleashClient").addFilter(_SaidOnce())


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the server is and how it is asked. Times are in seconds.

    ``deadline`` is for an export, all its tries together. ``bootstrap`` is a payload from a file:
    there is no server then.
    """

    url: str
    token: Secret | None
    app_name: str = "downhaul"
    environment: str = "default"
    refresh: float = 2.0
    request_timeout: float = 3.0
    metrics: bool = False
    deadline: float = 10.0
    bootstrap: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers evaluations: the SDK's client, and what is known of its flags.

    ``reference`` knows which flags can't be decided for who has no key.
    """

    client: UnleashClient
    known: Mapping[str, Known]
    reference: Reference


class Session:
    """Runs one client of the SDK in a thread of its own, and tells ``listener`` what it hears.

    ``before`` is the payload that a forked process inherited, and when it was confirmed.
    """

    def __init__(
        self,
        connection: Connection,
        listener: Listener,
        before: tuple[str, float] | None = None,
    ) -> None:
        self._connection = connection
        self._listener = listener
        self._before = before
        self._turns = Turns()
        self._cache = MemoryCache(before[0] if before else connection.bootstrap)
        self._told: str | None = None  # the payload that the listener has
        self._answer: int | str | None = None  # the last fetch: a status code, or why there is none
        self._confirmed: float | None = before[1] if before else None
        self._foreign = False  # whether the last answer was no document of Unleash
        self._asked = 0.0  # when the last fetch began: its answer is of no moment before that
        self._ready = threading.Event()
        self._settled = threading.Event()
        self._closed = False
        self._state = ProviderStatus(State.NOT_READY, "starting")
        self.serving: Serving | None = None
        self._thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)

    @property
    def inheritance(self) -> tuple[str, float] | None:
        """Return the last payload and when it was confirmed, for a forked child."""
        told, confirmed = self._told, self._confirmed
        return None if told is None or confirmed is None else (told, confirmed)

    def start(self) -> None:
        """Begin; what a forked process inherited serves at once."""
        if self._before is not None:
            self._take(self._made())
            self._move()
        self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Wait for the server's first payload; return whether it came."""
        self._settled.wait(timeout)
        return self._ready.is_set() and not self._closed

    def status(self) -> ProviderStatus:
        """Return how it stands now."""
        state, confirmed = self._state, self._confirmed
        if confirmed is None or state.state is State.NOT_READY:
            return state
        age = time.monotonic() - confirmed
        most = self._connection.refresh + self._connection.request_timeout + _SLACK
        if self._connection.bootstrap is not None:
            return ProviderStatus(state.state, state.message, 0.0)
        if state.state is State.READY and age > most:
            return ProviderStatus(State.STALE, "the server was not asked for a while", age)
        return ProviderStatus(state.state, state.message, age)

    def close(self, timeout: float) -> None:
        """Stop within ``timeout`` seconds; what still hangs is left to its daemon thread."""
        if self._closed:
            return
        self._closed = True
        self._state = ProviderStatus(State.NOT_READY, "closed")
        self._turns.shutdown()
        self._settled.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    # In the thread

    def _run(self) -> None:
        try:
            client = self.serving.client if self.serving is not None else self._made()
            if self._connection.bootstrap is not None:
                self._answer, self._asked = 200, time.monotonic()
                self._after_a_turn(client)
                return
            try:
                client.initialize_client()
                self._after_a_turn(client)
                self._turns.run(lambda: self._after_a_turn(client))
            finally:
                client.destroy()
        except Exception as error:  # noqa: BLE001  (whatever stops the thread is told, not lost)
            _log.exception("the Unleash client of downhaul stopped")
            if not self._closed:
                self._tell(ProviderStatus(State.FATAL, f"the client stopped: {error}"))
                self._settled.set()

    def _made(self) -> UnleashClient:
        one = self._connection
        token = "" if one.token is None else one.token.reveal()
        client = UnleashClient(
            url=one.url,
            app_name=one.app_name,
            environment=one.environment,
            custom_headers={"Authorization": token},
            # A callable as `auth` keeps the host's .netrc out of the token's place, too.
            # Who is sent elsewhere must not take the token there.
            custom_options={
                "hooks": {"response": self._heard},
                "auth": self._asking,
                "allow_redirects": False,
            },
            refresh_interval=one.refresh,  # type: ignore[arg-type]  # a float does
            request_timeout=one.request_timeout,  # type: ignore[arg-type]  # as above
            request_retries=0,
            disable_metrics=not one.metrics,
            disable_registration=not one.metrics,
            cache=self._cache,
            scheduler=self._turns,
            scheduler_executor="downhaul",
            multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
        )
        if one.metrics:
            count_served(client._engine)  # noqa: SLF001  (the SDK has no other way in)
        return client

    def _asking(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if _FEATURES in (request.url or ""):
            self._answer, self._asked = "the server does not answer", time.monotonic()
            self._foreign = False
        return request

    def _heard(self, response: requests.Response, *_: Any, **__: Any) -> None:
        if _FEATURES in response.url:
            # A hook runs before the body is read. One that breaks off raises, and is no answer.
            len(response.content)
            self._answer = response.status_code

    def _after_a_turn(self, client: UnleashClient) -> None:
        """Take up what the last fetch brought, and tell of it."""
        if self._closed:
            return
        if self._answer in (200, _SAME):
            try:
                self._take(client)
                if self._told is not None:
                    self._confirmed = self._asked
                    self._ready.set()
            except DocumentError as error:
                self._answer, self._foreign = f"{_NO_DOCUMENT} ({error.message})", True
        self._move()
        if self._ready.is_set():
            self._settled.set()

    def _take(self, client: UnleashClient) -> None:
        """Let a new payload serve. The engine has it already."""
        payload = self._cache.payload
        if payload is None or payload is self._told:
            return
        found = known_of(payload)
        self.serving = Serving(client, found.known, found.reference)
        self._told = payload
        self._listener.replaced(FlagSet.of(one.flag for one in found.known.values()))

    def _move(self) -> None:
        answer = self._answer
        if answer in (200, _SAME):
            status = ProviderStatus(State.READY)
        else:
            code = answer if isinstance(answer, int) else None
            why = answer if code is None else _WHY.get(code, f"the server answers {code}")
            refused = code in _WHY or self._foreign
            held = self._confirmed is not None
            state = State.STALE if held else State.ERROR if refused else State.NOT_READY
            status = ProviderStatus(state, str(why or "starting"))
        if status != self._state:
            self._tell(status)

    def _tell(self, status: ProviderStatus) -> None:
        self._state = status
        if status.state is not State.READY:
            _log.warning("Unleash at %s: %s", self._connection.url, status.message)
        self._listener.status_changed(self.status())
