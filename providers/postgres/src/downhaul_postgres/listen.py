"""Hearing of commits: LISTEN, with a look every few seconds for when nothing can be heard.

The payload of a notification is the change itself where it fits. Behind PgBouncer in transaction
mode LISTEN is accepted and nothing ever comes: then the looks are what finds changes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from psycopg import sql
from sqlalchemy import Connection

from downhaul.store.database import Database
from downhaul.store.watch import News
from downhaul_postgres.connection import Cut, deadline


class ListenSignal:
    """One connection that listens, and that the watcher reads on. ``poll`` is in seconds."""

    def __init__(self, database: Database, poll: float) -> None:
        self._database = database
        self._poll = poll
        self._connection: Connection | None = None
        self._raw: Any = None
        self._cut: Cut | None = None

    def connect(self) -> Connection:
        """Connect and listen. What comes from now on is not missed by the read that follows."""
        connection = self._database.engine.connect()
        self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        self._cut = Cut(self._connection)
        self._raw = self._connection.connection.driver_connection
        with deadline(self._connection):
            self._raw.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._database.channel)))
        return self._connection

    def wait(self) -> Sequence[News] | None:
        """Wait for notifications; after ``poll`` seconds without any, say that it is time to look."""
        heard = [_news(one.payload) for one in self._raw.notifies(timeout=self._poll, stop_after=1)]
        if heard:
            return heard
        # A question that a dead server can't answer; the look itself would wait for ever.
        with deadline(self._connection_open()):
            self._raw.execute("SELECT 1")
        return ()

    def close(self) -> None:
        """Close the connection for good: it listens, and must not go back into the pool."""
        if self._cut is not None:
            self._cut.close()
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()

    def interrupt(self) -> None:
        """Cut the connection, so that a wait on it ends."""
        if self._cut is not None:
            self._cut()

    def _connection_open(self) -> Connection:
        assert self._connection is not None  # noqa: S101  (connect() comes first)
        return self._connection


def _news(payload: str) -> News:
    try:
        found = json.loads(payload)
    except ValueError:
        return News()  # somebody else's words on our channel: look for yourself
    return News(found if isinstance(found, dict) else None)
