"""A server over HTTP whose answers a test decides, and the ways in which servers fail."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Asked:
    """A request. ``params`` are of the query and of a form, each with its last value."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer. ``slowly`` sends it byte by byte, with that many seconds in between."""

    data: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    slowly: float = 0.0

    def content(self) -> bytes:
        return (json.dumps(self.data) if self.text is None else self.text).encode()


class Answering:
    """A server in a thread of the test. ``answer`` makes a Reply of what was Asked."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.silent = threading.Event()
        self._over = threading.Event()
        answering = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answering._handle(self)

            do_POST = do_GET  # noqa: N815  (the name that http.server calls)

            def log_message(self, *parts: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        parts = urlsplit(handler.path)
        form = "form" in (handler.headers.get("Content-Type") or "")
        pairs = parse_qs(parts.query, keep_blank_values=True)
        pairs |= parse_qs(body.decode(), keep_blank_values=True) if form else {}
        params = {name: values[-1] for name, values in pairs.items()}
        asked = Asked(handler.command, parts.path, params, dict(handler.headers), body)
        self.asked.append(asked)
        if self.silent.is_set():
            self._over.wait(60)  # as a black hole; the test ends it
            return
        reply = self.answer(asked)
        content = reply.content()
        with contextlib.suppress(OSError):
            handler.send_response_only(reply.status)
            headers = {"Content-Type": "application/json", **reply.headers}
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            if not reply.slowly:
                handler.wfile.write(content)
            for byte in content if reply.slowly else b"":
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                if self._over.wait(reply.slowly):
                    break

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


FAILURES = [
    (
        Reply({"error": "who are you"}, 401),
        "does not know who asks .401.: who are you",
        "credentials",
    ),
    (
        Reply({"errors": ["Forbidden"]}, 403),
        "does not let these credentials ask .403.: Forb",
        "right",
    ),
    (Reply({"error": "no such page"}, 404), "has nothing there .404.", r"metrics\.url leads"),
    (Reply({"error": "parse error"}, 400), "does not understand the question .400.: parse", "name"),
    (
        Reply({"error": "too many samples"}, 422),
        "can't answer the question .422.: too many",
        "name",
    ),
    (Reply({}, 429, {"Retry-After": "7"}), "was asked too often .429.", "come back in 7 s"),
    (Reply({}, 429, {"X-RateLimit-Reset": "9"}), "was asked too often", "come back in 9 s"),
    (Reply({}, 429), "was asked too often", "does not say when"),
    (Reply({"message": "overloaded"}, 503), "answers 503: overloaded", "well"),
    (Reply(text="<h1>Bad gateway</h1>", status=502), "answers 502", "well"),
    (Reply(text="<html>please log in</html>"), "something that is no JSON", r"metrics\.url leads"),
    (Reply(text=""), "answers with nothing", r"metrics\.url leads"),
    (
        Reply({}, 302, {"Location": "http://evil.test/"}),
        "sends us elsewhere .302.",
        "write the URL",
    ),
]
"""What a server may answer, and what is told then: the message and what to do."""


def took(begun: float) -> float:
    """Return the seconds since ``begun``, of the clock that goes on."""
    return time.monotonic() - begun
