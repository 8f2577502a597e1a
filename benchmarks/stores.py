"""Stores to measure on, filled with the case's flags.

In one transaction, where operators take one for each flag: ten thousand times a disk's word that it
has written would be four minutes of every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import case
from ours import flag_of

from downhaul import Change, Flag
from downhaul.config import resolve
from downhaul.demo.stores import missing_for_postgres, postgres_url
from downhaul.encoding import flag_to_data
from downhaul.plugins import build_provider
from downhaul.store.provider import SqlProvider
from downhaul.store.schema import upgrade
from downhaul.store.writing import Write, take_turn, write_document

PROBE = "probe"
"""The flag that is changed and killed to see how long it takes."""


def provider_at(url: str) -> SqlProvider:
    """Return the provider of a SQL store."""
    provider = build_provider(resolve(url))
    assert isinstance(provider, SqlProvider)
    return provider


def fill(url: str, count: int) -> None:
    """Make the tables, and write the case's first ``count`` flags and the probe, all at once."""
    provider = provider_at(url)
    database, change = provider.database, Change("benchmark")
    upgrade(database)
    with database.writing() as connection:
        for flag in (*map(flag_of, case.flags(count)), Flag.boolean(PROBE)):
            turn = take_turn(connection, database, provider.environment)
            write = Write("flag", flag.key, "create", None, flag_to_data(flag))
            write_document(connection, database, provider.environment, turn, write, change)
    provider.close()


@contextmanager
def postgres() -> Iterator[str | None]:
    """Give the URL of a private PostgreSQL; None where its wheel is not installed."""
    if missing_for_postgres():
        yield None
        return
    with postgres_url() as url:
        yield url


def sqlite_url(folder: Path, name: str) -> str:
    """Return the URL of a file in the folder."""
    return f"sqlite:///{folder / name}.db"
