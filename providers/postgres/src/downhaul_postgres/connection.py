"""How this provider connects: limits on every wait, and no secret in any word."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from sqlalchemy import Connection, create_engine

from downhaul.errors import ConfigError
from downhaul.store.database import POSTGRESQL, Database

NAME: Final = "postgresql"
SCHEMA: Final = "downhaul"
_CONNECT: Final = 3  # seconds
_ANSWER: Final = 3.0  # seconds that a server may take over one of the watcher's small questions
_WRITE: Final = (
    15.0  # seconds for a whole transaction: above the limits that the server itself keeps
)
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,50}")


def database_at(
    url: str, safe_url: str, schema: str | None, redact: Callable[[str], str]
) -> Database:
    """Return the database behind a URL of libpq's form; ``?schema=`` names the tables' schema."""
    conninfo, in_url = _without_schema(url)
    name = schema or in_url or SCHEMA
    if not _PLAIN.fullmatch(name):
        raise ConfigError(
            f'"{name}" cannot be the name of the schema',
            hint="use letters, digits and _, such as ?schema=downhaul",
        )

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(
            conninfo,
            connect_timeout=_CONNECT,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=2,
            tcp_user_timeout=10_000,
            application_name="downhaul",
            prepare_threshold=None,  # PgBouncer gives each transaction another server
        )

    # A connection that stood idle may be gone: ask before it is used.
    engine = create_engine(
        "postgresql+psycopg://", creator=connect, pool_size=2, max_overflow=8, pool_pre_ping=True
    )
    return Database(
        engine,
        POSTGRESQL,
        safe_url=safe_url,
        provider=NAME,
        schema=name,
        redact=redact,
        deadline=lambda connection: deadline(connection, _WRITE),
    )


@contextmanager
def deadline(connection: Connection, seconds: float = _ANSWER) -> Iterator[None]:
    """Cut the connection if what is inside takes longer: a stopped server never says that it is.

    libpq has no limit on waiting for an answer. Shutting the socket down makes it raise.
    """
    cut = Cut(connection)
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        cut.close()


class Cut:
    """Shuts a connection's socket down, from any thread."""

    def __init__(self, connection: Connection) -> None:
        raw: Any = connection.connection.driver_connection
        # A duplicate, so that a number which the system gives to another file is never cut.
        self._socket: socket.socket | None = socket.socket(fileno=os.dup(raw.pgconn.socket))

    def __call__(self) -> None:
        """Cut."""
        found = self._socket
        if found is not None:
            with suppress(OSError):  # it may be down already
                found.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forget the connection, which goes on."""
        found, self._socket = self._socket, None
        if found is not None:
            found.close()


def _without_schema(url: str) -> tuple[str, str | None]:
    """Split ``?schema=`` off, which libpq doesn't know, and the driver's name off the scheme."""
    parts = urlsplit(url)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    schema = next((value for name, value in asked if name == "schema"), None)
    query = urlencode([(name, value) for name, value in asked if name != "schema"])
    scheme = parts.scheme.partition("+")[0]
    return urlunsplit((scheme, parts.netloc, parts.path, query, "")), schema
