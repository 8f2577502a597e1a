"""An empty database of either kind, for somebody's table. It needs no tables of ours."""

import pytest

from downhaul.config import resolve
from downhaul.plugins import build_provider


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flags.db'}"
    return request.getfixturevalue("fresh_postgres")


@pytest.fixture
def database(store_url):
    provider = build_provider(resolve(store_url, cache_dir=None, environ={}))
    provider.database.create()
    yield provider.database
    provider.close()


@pytest.fixture
def fresh_postgres_database(fresh_postgres):
    provider = build_provider(resolve(fresh_postgres, cache_dir=None, environ={}))
    yield provider.database
    provider.close()
