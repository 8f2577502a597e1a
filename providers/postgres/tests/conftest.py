import pytest
from downhaul_postgres.connection import database_at
from downhaul_postgres.provider import PostgresProvider

from downhaul.config.urls import redacted
from downhaul.store import schema


@pytest.fixture
def provider_at():
    """A function that makes a provider on a URL; all are closed at the end."""
    made = []

    def make(url, environment="default", *, upgrade=False, **options):
        database = database_at(url, redacted(url), None, str)
        if upgrade:
            schema.upgrade(database)
        made.append(PostgresProvider(database, environment, **options))
        return made[-1]

    yield make
    for provider in made:
        provider.close()
