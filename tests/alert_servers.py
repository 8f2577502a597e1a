"""Real servers on loopback that alerts are sent to: HTTP, SMTP, and one that never answers."""

import email
import email.policy
import json
import socket
import socketserver
import threading
import time
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


@dataclass
class Posted:
    """One request as it came."""

    path: str
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def form(self):
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def xml(self):
        """The elements of a SOAP body by their names, without namespaces."""
        root = ET.fromstring(self.body)
        return {one.tag.rpartition("}")[2]: one.text for one in root.iter()}


@dataclass
class Heard:
    """What a server was told; ``wait_for`` waits until it was told so many."""

    all: list = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, one):
        with self.changed:
            self.all.append(one)
            self.changed.notify_all()

    def wait_for(self, count, timeout=20.0):
        until = time.monotonic() + timeout
        with self.changed:
            while len(self.all) < count:
                left = until - time.monotonic()
                assert left > 0, f"{len(self.all)} of {count} came: {self.all}"
                self.changed.wait(left)
            return list(self.all)


class Web:
    """An HTTP server that takes whatever is posted; ``statuses`` answers one by one, then 204."""

    def __init__(self):
        self.heard = Heard()
        self.statuses = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = web.statuses.pop(0) if web.statuses else 204
                if status < 400:
                    web.heard.add(Posted(self.path, dict(self.headers), body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_words):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def url(self, scheme="http", path="/alerts", query=""):
        return f"{scheme}://127.0.0.1:{self.port}{path}{query}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _MailHandler(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs that wants to be rid of a message."""

    def handle(self):
        self._say("220 ready")
        for raw in self.rfile:
            verb = raw[:4].strip().upper()
            if verb == b"DATA":
                self._say("354 go on")
                self.server.heard.add(self._message())
            if verb == b"QUIT":
                self._say("221 bye")
                return
            self._say("250 ok")

    def _say(self, line):
        self.wfile.write(f"{line}\r\n".encode())

    def _message(self):
        lines = []
        for raw in self.rfile:
            if raw == b".\r\n":
                break
            lines.append(raw[1:] if raw.startswith(b"..") else raw)
        return email.message_from_bytes(b"".join(lines), policy=email.policy.default)


class _MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


class Mail:
    """An SMTP server that takes every message."""

    def __init__(self):
        self._server = _MailServer(("127.0.0.1", 0), _MailHandler)
        self._server.heard = self.heard = Heard()
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    @property
    def url(self):
        return f"mailto://127.0.0.1:{self.port}?from=alerts@example.com&to=oncall@example.com"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class BlackHole:
    """Takes connections, reads what comes, and never says a word."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = self._socket.getsockname()[1]
        self.taken = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def url(self, scheme="http"):
        return f"{scheme}://127.0.0.1:{self.port}/never"

    def _take(self):
        while True:
            try:
                self.taken.append(self._socket.accept()[0])
            except OSError:
                return

    def close(self):
        # Whoever waits in accept is woken by a shutdown, and not by a close.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        for one in self.taken:
            one.close()


@contextmanager
def served(made):
    """Give a server, and close it."""
    try:
        yield made
    finally:
        made.close()
