"""A SELECT for each check, as many a team begins: here on SQLite in memory, with no server."""

from __future__ import annotations

import json
import sqlite3

import case
import mmh3
from contestant import Measure, Prepared

TABLE = """
CREATE TABLE feature_flags (
    name VARCHAR(255) PRIMARY KEY,
    enabled BOOLEAN DEFAULT FALSE,
    rollout_percentage INT DEFAULT 0,
    whitelist {json} DEFAULT '[]'
)
"""
_ASK = "SELECT enabled, rollout_percentage, whitelist FROM feature_flags WHERE name = ?"


def prepare() -> Prepared:
    """Fill the table."""
    database = sqlite3.connect(":memory:")
    database.execute(TABLE.format(json="TEXT"))
    database.executemany("INSERT INTO feature_flags VALUES (?, ?, ?, ?)", rows())
    users, flag = case.USERS, case.FLAG

    def is_enabled(flag: str, user: str) -> bool:
        row = database.execute(_ASK, (flag,)).fetchone()
        return row is not None and decide(row[0], row[1], json.loads(row[2]), flag, user)

    def run() -> None:
        for user in users:
            is_enabled(flag, user)

    return Prepared(
        {"case": Measure(run, len(users))}, lambda: [is_enabled(flag, user) for user in users]
    )


def rows() -> list[tuple[str, bool, int, str]]:
    """Return the case's flags as rows. None is on for everybody."""
    return [(one.key, False, one.percent, json.dumps(one.targets)) for one in case.flags()]


def decide(enabled: bool, percent: int, whitelist: list[str], flag: str, user: str) -> bool:
    """Decide by a row; with a hash that stays the same in every process."""
    if enabled or user in whitelist:
        return True
    return mmh3.hash(f"{flag}:{user}", signed=False) % 100 < percent
