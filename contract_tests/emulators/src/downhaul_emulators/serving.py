"""A small HTTP server on loopback whose every answer a test can spoil.

One thread a connection, from the standard library: faults are about sockets (an answer that never
comes, a stream that breaks off), and frameworks hide those.
"""

from __future__ import annotations

import gzip
import json
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

_HEARTBEAT: Final = 0.5  # seconds between two comments on a stream on which nothing happens
_PATIENCE: Final = 0.02  # seconds between two looks whether the server is to stop
_ENDED: Final = None
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  (if somebody asks for it)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came: ``query`` decoded, ``body`` as JSON where it is that."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. ``body`` becomes JSON; None sends none."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Stream:
    """Server-sent events to one client, in the order in which they are put."""

    def __init__(self) -> None:
        self._events: queue.Queue[str | None] = queue.Queue()

    def put(self, event: str, data: Any) -> None:
        """Send an event with JSON data."""
        self._events.put(f"event: {event}\ndata: {json.dumps(data)}\n\n")

    def drop(self) -> None:
        """Break the stream off."""
        self._events.put(_ENDED)

    def next(self) -> str | None:
        """Return the next text to send, a comment if nothing happened; None at the end."""
        try:
            return self._events.get(timeout=_HEARTBEAT)
        except queue.Empty:
            return ":\n\n"


Answer = Response | Stream


class Withheld:
    """Requests that are kept on the way, until they are let through to be carried out.

    ``came`` is set once one is there. Whoever sent it may have given up, or be dead, by then.
    """

    def __init__(self) -> None:
        self.came = threading.Event()
        self._through = threading.Event()
        self._lock = threading.Lock()
        self._waiting = 0
        self._done = threading.Condition(self._lock)

    def wait(self, stopping: threading.Event) -> bool:
        """Wait to be let through; return False where the server stops before. For the server."""
        with self._lock:
            self._waiting += 1
        self.came.set()
        while not self._through.wait(_PATIENCE) and not stopping.is_set():
            pass
        if stopping.is_set():  # let through or not: what was under way there is lost with it
            self.left()
            return False
        return True

    def left(self) -> None:
        """Say that one was carried out. For the server."""
        with self._done:
            self._waiting -= 1
            self._done.notify_all()

    def let_through(self, timeout: float = 10.0) -> None:
        """Let all through, those that are still to come too; return when those here are done.

        Raises TimeoutError where that takes longer.
        """
        self._through.set()
        with self._done:
            if not self._done.wait_for(lambda: not self._waiting, timeout):
                message = f"they are not carried out within {timeout:g} s"
                raise TimeoutError(message)


@dataclass(slots=True)
class Fault:
    """What happens to requests whose path matches, in place of their answer.

    ``status`` with ``headers`` answers that, and ``body`` where there is one; ``delay`` waits so
    many seconds first; ``silent`` accepts the request and never answers; ``drop`` breaks the
    connection off. ``times`` is how often (None: always). ``method`` spoils requests of one method
    only, or of several (``PATCH|PUT``). With ``after`` the request is carried out first: its answer
    alone is lost. ``when`` is asked whether it is time. ``withheld`` keeps it on the way: see
    :meth:`Emulator.withhold`.
    """

    path: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    silent: bool = False
    times: int | None = None
    method: str | None = None
    body: Any = None
    drop: bool = False
    after: bool = False
    when: Callable[[], bool] = lambda: True
    withheld: Withheld | None = None

    def meets(self, request: Request) -> bool:
        """Whether it is this request that it spoils."""
        if self.times == 0 or not _is_one_of(self.method, request.method):
            return False
        return re.search(self.path, request.path) is not None and self.when()


def _is_one_of(methods: str | None, method: str) -> bool:
    return methods is None or method in methods.split("|")


class Emulator:
    """A server that can be stopped, and started again on the same port.

    Subclasses answer in :meth:`answer`. ``requests`` are those that came, the oldest first.
    """

    host = "127.0.0.1"
    """The address that it listens at; set before it starts."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._streams: set[Stream] = set()
        self._sockets: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        host = "127.0.0.1" if self.host == _EVERYWHERE else self.host
        return f"http://{host}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def start(self) -> Self:
        """Listen. Once stopped, on the same port again."""
        # A new one: who waits for the one that was stopped may look at it only after this.
        self._stopping = threading.Event()
        server = ThreadingHTTPServer((self.host, self._port), _handler_of(self))
        server.daemon_threads = True
        self._server, self._port = server, server.server_port
        threading.Thread(
            target=server.serve_forever, args=(_PATIENCE,), name="emulator", daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Stop listening and break off every connection, as a server does that dies."""
        server, self._server = self._server, None
        if server is None:
            return
        self._stopping.set()
        server.shutdown()
        server.server_close()
        with self._lock:
            for stream in self._streams:
                stream.drop()
            for one in self._sockets:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster

    def fail(self, path: str, **fault: Any) -> Fault:
        """Spoil the answers to paths that match a regular expression; see :class:`Fault`."""
        made = Fault(path, **fault)
        with self._lock:
            self._faults.append(made)
        return made

    def withhold(self, path: str, **which: Any) -> Withheld:
        """Keep requests to such a path on the way, as a network does that is slow or broken.

        They are carried out when they are let through. ``method`` and ``times`` are a fault's.
        """
        held = Withheld()
        self.fail(path, withheld=held, **which)
        return held

    def heal(self) -> None:
        """Answer as before again. What is withheld stays so."""
        with self._lock:
            self._faults.clear()

    def drop_streams(self) -> None:
        """Break off the streams there are; clients may come again."""
        with self._lock:
            for stream in self._streams:
                stream.drop()

    def broadcast(self, event: str, data: Any) -> None:
        """Send an event to whoever listens."""
        with self._lock:
            for stream in self._streams:
                stream.put(event, data)

    def wait_for(self, holds: Callable[[], bool], timeout: float = 20.0) -> None:
        """Wait until something holds. Raises TimeoutError where it doesn't in time."""
        until = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > until:
                message = f"it does not hold within {timeout:g} s"
                raise TimeoutError(message)
            time.sleep(0.005)

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What the handler of one connection needs

    def opened(self, one: socket.socket) -> None:
        """Know of a connection, to break it off."""
        with self._lock:
            self._sockets.add(one)

    def closed(self, one: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._sockets.discard(one)

    def take(self, request: Request) -> Fault | None:
        """Record a request and return the fault that it meets."""
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.meets(request):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def follow(self, stream: Stream) -> None:
        """Send broadcasts to a stream too. Called by :meth:`answer`, under no lock."""
        with self._lock:
            self._streams.add(stream)

    def left(self, stream: Stream) -> None:
        """Forget a stream."""
        with self._lock:
            self._streams.discard(stream)

    @property
    def stopping(self) -> threading.Event:
        """Set when the server is to stop."""
        return self._stopping

    def wait_stopped(self) -> None:
        """Wait until the server is to stop: what a request does that is never answered."""
        self._stopping.wait()


def _handler_of(emulator: Emulator) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"emulator": emulator})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer on a kept connection takes 40 ms
    emulator: Emulator

    def setup(self) -> None:
        super().setup()
        self.emulator.opened(self.connection)

    def finish(self) -> None:
        self.emulator.closed(self.connection)
        try:
            super().finish()
        except OSError:
            return  # the client is gone, and there is nobody to tell

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # broken off, by us or by the client

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Keep quiet."""

    def serve(self) -> None:
        request = self._request()
        fault = self.emulator.take(request)
        held = None if fault is None else fault.withheld
        if fault is not None and held is None and self._spoilt(fault, request):
            return
        if held is not None and not held.wait(self.emulator.stopping):
            self.close_connection = True
            return
        try:
            answer = self.emulator.answer(request)
        finally:
            if held is not None:
                held.left()
        if isinstance(answer, Stream):
            self._stream(answer)
        else:
            self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_REPORT = serve  # noqa: N815  (http.server's)

    def _spoilt(self, fault: Fault, request: Request) -> bool:
        """Do what a fault says; whether the request is done with."""
        if fault.after and isinstance(answer := self.emulator.answer(request), Stream):
            self.emulator.left(answer)
        time.sleep(fault.delay)
        if fault.silent:
            self.emulator.wait_stopped()
        elif fault.status is not None:
            body = fault.body or {"code": "fault", "message": "injected"}
            self._send(Response(fault.status, body, fault.headers))
            return True
        if fault.silent or fault.drop or fault.after:
            self.close_connection = True
            return True
        return False

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode(errors="replace")
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Request(self.command, parts.path, query, headers, body)

    def _send(self, answer: Response) -> None:
        raw = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, stream: Stream) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while (text := stream.next()) is not None:
                raw = text.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(raw), raw))
                self.wfile.flush()
        finally:
            self.emulator.left(stream)
