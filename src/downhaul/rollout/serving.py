"""A controller's health, readiness and counters over HTTP, from a thread of its own.

``/healthz`` says whether the controller goes on looking, ``/readyz`` whether it reaches its store,
``/metrics`` what it counted, in the text format of Prometheus. Nothing here asks a store, so a
probe costs nothing and hangs on nothing.
"""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

from downhaul._version import __version__

STALLED: Final = 120.0
"""Seconds without a look, successful or not, after which a controller is not alive."""

_PREFIX: Final = "downhaul_controller_"
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_JSON: Final = "application/json"
_HELP: Final[Mapping[str, str]] = {
    "ticks": "Looks at everything that was due.",
    "tick_seconds": "Seconds spent on looks.",
    "claimed": "Rollouts that were claimed, counted once per look.",
    "acted": "Writes at the backend.",
    "lost": "Rollouts that another controller took over meanwhile.",
    "errors": "Rollouts that could not be moved, counted once per look.",
    "unreachable": "Looks that could not reach the control store.",
    "unreadable": "Rollouts that this version can't read, counted once per look.",
    "late_writes": "Writes of rollouts that were found to have arrived after their end.",
    "alerts": "Announcements that were delivered.",
    "alerts_failed": "Deliveries of announcements that failed.",
    "kills_ended": "Kills whose end came, lifted or asked about.",
    "hooks_asked": "Services that were asked whether a rollout may go on.",
    "hooks_confirmed": "Services that confirmed it.",
}
_LOOKS: Final = ("ticks", "unreachable")


class Watched(Protocol):
    """What is served: a :class:`downhaul.rollout.controller.Controller`, or what stands for one."""

    def health(self) -> dict[str, Any]:
        """Return how it stands; ``ready`` says whether it reaches its store."""

    def counters(self) -> Mapping[str, float]:
        """Return what it counted since the start."""


class Serving:
    """An HTTP server for one controller. Use it as a context manager.

    ``port`` 0 takes any that is free; :attr:`address` says which. Raises OSError for an address
    that can't be had.
    """

    def __init__(
        self,
        watched: Watched,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._clock = clock
        self._looks = -1.0
        self._looked_at = clock()
        self._lock = threading.Lock()
        server = _Server6 if ":" in host else _Server
        self._server = server((host, port), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="downhaul-serving",
            daemon=True,
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """The address that it listens on: ``127.0.0.1:9464``."""
        host, port = self._server.server_address[:2]
        name = host.decode() if isinstance(host, (bytes, bytearray)) else str(host)
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    def answer(self, path: str) -> tuple[int, str, str]:
        """Return the status, the type and the body for a path."""
        health = self._watched.health()
        match path:
            case "/healthz":
                alive = self._alive()
                return (200 if alive else 503), _JSON, _json({"alive": alive, **health})
            case "/readyz":
                ready = bool(health.get("ready", False))
                return (200 if ready else 503), _JSON, _json({**health, "ready": ready})
            case "/metrics":
                return 200, _TEXT, exposition(health, self._watched.counters())
            case _:
                return 404, _JSON, _json({"paths": ["/healthz", "/readyz", "/metrics"]})

    def close(self, timeout: float = 2.0) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _alive(self) -> bool:
        """Return whether it looked lately: a store that is away is no reason for a restart."""
        counters = self._watched.counters()
        looks = sum(counters.get(name, 0.0) for name in _LOOKS)
        with self._lock:
            if looks != self._looks:
                self._looks, self._looked_at = looks, self._clock()
            return self._clock() - self._looked_at < STALLED


def exposition(health: Mapping[str, Any], counters: Mapping[str, float]) -> str:
    """Return health and counters in the text format of Prometheus."""
    about = {"version": __version__}
    about |= {name: str(health.get(name, "")) for name in ("environment", "provider", "owner")}
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in about.items())
    lines = [*_metric("info", "gauge", "Which controller this is.", 1.0, f"{{{labels}}}")]
    ready = 1.0 if health.get("ready") else 0.0
    lines += _metric("ready", "gauge", "Whether it reaches its control store.", ready)
    age = health.get("last_tick_seconds_ago")
    if age is not None:
        lines += _metric("last_tick_age_seconds", "gauge", "Time since its last look.", float(age))
    for name in sorted({*_HELP, *counters}):
        text = _HELP.get(name, f"Counted since the start: {name.replace('_', ' ')}.")
        lines += _metric(f"{name}_total", "counter", text, counters.get(name, 0.0))
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, text: str, value: float, labels: str = "") -> list[str]:
    full = f"{_PREFIX}{name}"
    return [f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full}{labels} {_number(value)}"]


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False) + "\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a probe that stays connected must not hold up the end


class _Server6(_Server):
    address_family = socket.AF_INET6


def _handler(serving: Serving) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0
        server_version = "downhaul"
        sys_version = ""

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as above)
            """Log nothing: a probe every second is no news."""

        def _answer(self, *, with_body: bool) -> None:
            status, kind, text = serving.answer(urlsplit(self.path).path)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    return Handler
