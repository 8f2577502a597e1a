"""How this provider connects: limits on every wait, and no secret in any word."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, create_engine

from downhaul.errors import ConfigError
from downhaul.store.database import POSTGRESQL, Database

NAME: Final = "postgresql"
SCHEMA: Final = "downhaul"
_CONNECT: Final = 3  # seconds
_ANSWER: Final = 12.0  # seconds without a byte: above the limits that the server itself keeps
_LIMITS: Final[Mapping[str, Any]] = {
    "connect_timeout": _CONNECT,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
    "application_name": "downhaul",
}
"""What libpq is told unless the URL says otherwise."""
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

    asked = conninfo_to_dict(conninfo)

    def connect() -> LimitedConnection:
        return LimitedConnection.connect(
            conninfo,
            **{name: value for name, value in _LIMITS.items() if name not in asked},
            prepare_threshold=None,  # PgBouncer gives each transaction another server
        )

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=2,
        max_overflow=8,
        pool_pre_ping=True,  # a connection that stood idle may be gone: ask before it is used
        use_native_hstore=False,  # else each connection asks for a type that we have no use for
        hide_parameters=True,
    )
    return Database(
        engine,
        POSTGRESQL,
        safe_url=safe_url,
        provider=NAME,
        schema=name,
        redact=redact,
        driver_errors=(psycopg.Error,),
    )


class LimitedConnection(psycopg.Connection[Any]):
    """A connection on which no answer is waited for longer than a few seconds.

    libpq has no limit on waiting for an answer, and a server that was stopped, or that a firewall
    forgot, never says so. ``answer_within`` is in seconds without a byte.
    """

    answer_within: float = _ANSWER

    def __del__(self, *_: Any) -> None:
        """Let go quietly: SQLAlchemy drops a new connection whose first question fails, unclosed.

        psycopg would warn; libpq's own object, which goes with this one, closes the socket.
        """

    def wait(self, gen: Any, *args: Any, **keywords: Any) -> Any:
        """Run one exchange with the server. Raises OperationalError where it takes too long."""
        try:
            return super().wait(_limited(gen, self.answer_within), *args, **keywords)
        except _NoAnswer:
            self.close()  # the answer must not come later, and be taken for another one's
            message = f"no answer within {self.answer_within:g} s"
            raise psycopg.OperationalError(message) from None


class _NoAnswer(Exception):
    """The server took too long."""


def _limited(gen: Any, seconds: float) -> Generator[Any, Any, Any]:
    """Step through an exchange, which psycopg resumes ten times a second, byte or no byte."""
    until = time.monotonic() + seconds
    try:
        asked = next(gen)
        while True:
            ready = yield asked
            if ready:
                until = time.monotonic() + seconds
            elif time.monotonic() > until:
                gen.close()
                raise _NoAnswer
            asked = gen.send(ready)
    except StopIteration as end:
        return end.value


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
