"""The application of the demo: a small HTTP service that asks ``Flags`` for every request.

Run as ``python -m downhaul.demo.service URL LOG``; it prints its port when it serves, and stops
when its standard input closes (so that it never outlives the demo). It writes every answer of an
agent to LOG before it sends it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, TextIO

from downhaul import Flags
from downhaul.demo.agents import AGENT, FIRST, AgentFailed, Agents


class _Handler(BaseHTTPRequestHandler):
    flags: ClassVar[Flags]
    agents: ClassVar[Agents]
    log: ClassVar[TextIO]
    protocol_version = "HTTP/1.1"  # keep connections: the demo measures flags, not handshakes
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Let an agent answer ``{"user"}``, or tell the decision on ``{"flag", "context"}``."""
        length = int(self.headers.get("Content-Length", "0"))
        asked = json.loads(self.rfile.read(length))
        if self.path == "/agent":
            self._work(asked["user"])
        else:
            self._decide(asked["flag"], asked["context"])

    def _work(self, user: str) -> None:
        """Do what an application does: ask the flag, work, and let the outcome be observed."""
        at = time.time()
        result = self.flags.evaluate(AGENT, user, FIRST)
        try:
            with self.flags.observe(result, user):
                self.agents.work(result.value)
            outcome, status = "ok", "200 OK"
        except AgentFailed:
            outcome, status = "failed", "502 Bad Gateway"
        took = (time.time() - at) * 1000
        self.log.write(f"{at:.6f} {user} {result.variant} {outcome} {took:.1f}\n")
        self._answer({"variant": result.variant, "outcome": outcome}, status)

    def _decide(self, flag: str, context: Any) -> None:
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

    def _answer(self, data: dict[str, Any], status: str = "200 OK") -> None:
        body = json.dumps(data).encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Keep quiet: thousands of requests a second."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main(url: str, log: str) -> None:
    """Serve on a free port of loopback until standard input closes."""
    # A line is whole in the file once it is written, whichever thread wrote it.
    with (
        Flags.connect(url, ready_within=10.0) as flags,
        open(log, "a", buffering=1, encoding="utf-8") as file,  # noqa: PTH123  (line by line)
    ):
        handler = type("Handler", (_Handler,), {"flags": flags, "agents": Agents(), "log": file})
        server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:3])
