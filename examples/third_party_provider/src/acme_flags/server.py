"""The Acme flag server: flags and segments as JSON, each with a version. For tests, and for a look.

    python -m acme_flags.server --port 8040 --token let-me-in

``GET /store`` is everything, with an ETag. ``GET``, ``PUT`` and ``DELETE`` of ``/flags?key=KEY``
and ``/segments?key=KEY`` are one of them. A write on a condition compares first: ``If-Match`` its
version, ``If-None-Match: *`` that it is not there (412 if not), ``Store-Match`` the tag of
everything (409 if not).
"""

from __future__ import annotations

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Document = dict[str, Any]


class AcmeServer(ThreadingHTTPServer):
    """A server on loopback, with everything in memory. ``away`` breaks every connection off."""

    def __init__(self, port: int = 0, token: str = "let-me-in") -> None:  # noqa: S107  (an example)
        super().__init__(("127.0.0.1", port), _Handler)
        self.token = token
        self.away = False
        self.lock = threading.Lock()
        self.revision = 0
        self.store: dict[str, dict[str, Document]] = {"flags": {}, "segments": {}}

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.server_port}"

    def hold(self, flags: dict[str, Document], segments: dict[str, Document]) -> None:
        """Hold these and no others."""
        with self.lock:
            self.store = {
                kind: {key: self.next_of(one) for key, one in given.items()}
                for kind, given in (("flags", flags), ("segments", segments))
            }
            self.revision += 1

    def next_of(self, document: Document) -> Document:
        """Return a document with the next version. The caller holds the lock."""
        self.revision += 1
        return {**document, "version": str(self.revision)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AcmeServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Keep quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client is gone

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if self.server.away:
            self.close_connection = True
        elif self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.send(401)
        else:
            with self.server.lock:
                status, document, tag = self.done(body)
            self.send(status, document, tag)

    do_GET = do_PUT = do_DELETE = answer  # noqa: N815  (http.server's names)

    def done(self, body: Any) -> tuple[int, Any, str]:
        """Do what is asked; return status, document and tag."""
        parts = urlsplit(self.path)
        kind, revision = parts.path.strip("/"), str(self.server.revision)
        if self.command == "GET" and kind == "store":
            same = self.headers.get("If-None-Match") == revision
            return (304, None, revision) if same else (200, self.server.store, revision)
        key = parse_qs(parts.query, keep_blank_values=True).get("key", [""])[0]
        documents = self.server.store.get(kind, {})
        there = documents.get(key)
        if there is None and (self.command != "PUT" or kind not in self.server.store):
            return 404, None, ""
        version = "" if there is None else str(there["version"])
        if status := self.refused(revision, version):
            return status, None, version
        if self.command == "DELETE":
            del documents[key]
            self.server.revision += 1
            return 204, None, ""
        if self.command == "PUT":
            documents[key] = there = self.server.next_of(body)
        return 200, there, version

    def refused(self, revision: str, version: str) -> int:
        """Return the status of a write whose conditions do not hold, else nothing."""
        if self.headers.get("Store-Match", revision) != revision:
            return 409
        if self.headers.get("If-Match", version) != version:
            return 412
        return 412 if version and self.headers.get("If-None-Match") == "*" else 0

    def send(self, status: int, document: Any = None, tag: str = "") -> None:
        raw = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        if tag:
            self.send_header("ETag", tag)
        if status not in (204, 304):
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="An Acme flag server, with everything in memory.")
    parser.add_argument("--port", type=int, default=8040)
    parser.add_argument("--token", required=True)
    asked = parser.parse_args()
    with AcmeServer(asked.port, asked.token) as server:
        print(f"acme+{server.url}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended")


if __name__ == "__main__":
    main()
