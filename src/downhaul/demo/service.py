"""The application of the demo: a small HTTP service that asks ``Flags`` for every request.

Run as ``python -m downhaul.demo.service URL``; it prints its port when it serves, and stops when
its standard input closes (so that it never outlives the demo).
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from downhaul import Flags


class _Handler(BaseHTTPRequestHandler):
    flags: ClassVar[Flags]
    protocol_version = "HTTP/1.1"  # keep connections: the demo measures flags, not handshakes
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer ``{"flag", "context"}`` with the decision, as the application takes it."""
        length = int(self.headers.get("Content-Length", "0"))
        asked = json.loads(self.rfile.read(length))
        flag, context = asked["flag"], asked["context"]
        result = self.flags.evaluate(flag, context)
        self._answer(
            {
                "enabled": self.flags.is_enabled(flag, context),
                "variant": result.variant,
                "value": result.value,
                "reason": result.reason,
            }
        )

    def do_GET(self) -> None:
        """Tell how this process stands."""
        status = self.flags.status()
        self._answer({"state": status.state, "age": status.age, "kills": status.kills})

    def _answer(self, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Keep quiet: thousands of requests a second."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main(url: str) -> None:
    """Serve on a free port of loopback until standard input closes."""
    with Flags.connect(url, ready_within=10.0) as flags:
        handler = type("Handler", (_Handler,), {"flags": flags})
        server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
