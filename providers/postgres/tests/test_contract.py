"""The contract of providers, on a real PostgreSQL."""

import uuid
from urllib.parse import urlsplit

import psycopg
import pytest
from downhaul_contract_tests import Backend, ProviderContract, write_all
from psycopg import sql

from downhaul.config import resolve
from downhaul.plugins import build_provider
from downhaul.store import schema

_PASSWORD = "s3cret-of-the-contract"  # the server trusts whoever reaches its socket


class PostgresBackend(Backend):
    """A copy of one database for each test, and an end to its connections."""

    secrets = (_PASSWORD,)

    def __init__(self, template):
        """``template`` is the URL of a database with tables that nobody is connected to."""
        self._template = template
        self._name = ""

    def provider(self):
        url = _database_url(self._template, self._name).replace(
            "postgres@", f"postgres:{_PASSWORD}@"
        )
        return build_provider(resolve(url, cache_dir=False, environ={}))

    def seed(self, flags):
        provider = self.provider()
        write_all(provider, flags)
        provider.close()

    def reset(self):
        self.drop()
        self._name = f"contract_{uuid.uuid4().hex[:12]}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", self._name, _name_of(self._template))

    def drop(self):
        if self._name:
            self._execute("DROP DATABASE {} WITH (FORCE)", self._name)
            self._name = ""

    def outage(self):
        self._execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", self._name)
        with psycopg.connect(_database_url(self._template, "postgres")) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (self._name,),
            )

    def restore(self):
        self._execute("ALTER DATABASE {} ALLOW_CONNECTIONS true", self._name)

    def _execute(self, statement, *names):
        url = _database_url(self._template, "postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="module")
def template(module_postgres):
    """URL of a database with tables."""
    provider = build_provider(resolve(module_postgres, cache_dir=False, environ={}))
    schema.upgrade(provider.database)
    provider.close()
    return module_postgres


class TestPostgres(ProviderContract):
    @pytest.fixture
    def backend(self, template):
        made = PostgresBackend(template)
        yield made
        made.drop()


def _database_url(url, name):
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _name_of(url):
    return urlsplit(url).path.removeprefix("/")
