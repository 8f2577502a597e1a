"""Hearing of commits: LISTEN, with a look every few seconds for when nothing can be heard.

The payload of a notification is the change itself where it fits. Behind PgBouncer in transaction
mode LISTEN is accepted and nothing ever comes: then the looks are what finds changes.
"""

from __future__ import annotations

import json
import random
import select
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from psycopg import Notify, sql
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from downhaul.store.database import Database
from downhaul.store.watch import News
from downhaul_postgres.connection import Cut

_ANSWER: Final = 3.0  # seconds without a byte until the server counts as gone


class ListenSignal:
    """One connection that listens, and that the watcher reads on. ``poll`` is in seconds."""

    def __init__(self, database: Database, poll: float) -> None:
        self._database = database
        self._poll = poll
        self._connection: Connection | None = None
        self._raw: Any = None
        self._cut: Cut | None = None
        self._heard: list[Notify] = []
        self._due = 0.0

    def connect(self) -> Connection:
        """Connect and listen. What comes from now on is not missed by the read that follows."""
        connection = self._database.engine.connect()
        self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        self._cut = Cut(self._connection)
        self._raw = self._connection.connection.driver_connection
        self._raw.answer_within = _ANSWER
        # Some come in while a question is being answered, and the driver hands them over here.
        self._raw.add_notify_handler(self._heard.append)
        self._raw.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._database.channel)))
        self._look_later()
        return self._connection

    def wait(self) -> Sequence[News] | None:
        """Wait for notifications; without any, say after ``poll`` seconds that it is time to look.

        The look is also what finds out that the server is gone without having said so.
        """
        left = self._due - time.monotonic()
        if not self._heard and left > 0:
            self._receive(left)
        heard, self._heard[:] = [one.payload for one in self._heard], []
        if heard:
            return [_news(payload) for payload in heard]
        if time.monotonic() < self._due:
            return None
        self._look_later()
        return ()

    def close(self) -> None:
        """Close the connection for good: it listens, and must not go back into the pool."""
        if self._cut is not None:
            self._cut.close()
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.invalidate()
                self._connection.close()

    def interrupt(self) -> None:
        """Cut the connection, so that a wait on it ends."""
        if self._cut is not None:
            self._cut()

    def _receive(self, seconds: float) -> None:
        """Wait for the socket, and take in what came. Raises where the connection is gone."""
        libpq = self._raw.pgconn
        waiting = select.poll()  # no select(): it fails in processes with many open files
        waiting.register(libpq.socket, select.POLLIN)
        if waiting.poll(seconds * 1000):
            libpq.consume_input()
        while (one := libpq.notifies()) is not None:
            self._heard.append(Notify(one.relname.decode(), one.extra.decode(), one.be_pid))

    def _look_later(self) -> None:
        # A tenth of it is chance, so that a fleet doesn't look all at once.
        self._due = time.monotonic() + self._poll * random.uniform(0.9, 1.0)  # noqa: S311


def _news(payload: str) -> News:
    try:
        found = json.loads(payload)
    except ValueError:
        return News()  # somebody else's words on our channel: look for yourself
    return News(found if isinstance(found, dict) else None)
