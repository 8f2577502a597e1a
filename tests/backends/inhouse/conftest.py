"""Databases of a team that has no vendor yet, and providers on them."""

import sqlite3
from contextlib import closing

import pytest

from downhaul.config import resolve
from downhaul.plugins import build_provider


@pytest.fixture
def connect():
    """A function that makes a provider of a URL and options, closed at the end."""
    made = []

    def connect(url, **options):
        settings = resolve({"provider": {"url": url, **options}}, cache_dir=False, environ={})
        made.append(build_provider(settings))
        return made[-1]

    yield connect
    for provider in made:
        provider.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "app.db"


@pytest.fixture
def sql(path):
    """A function that runs statements in an SQLite file, each in a transaction of its own."""

    def run(statement, *rows):
        with closing(sqlite3.connect(path)) as connection, connection:
            if rows:
                connection.executemany(statement, rows)
            else:
                connection.execute(statement)

    return run
