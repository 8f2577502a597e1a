"""The contract of providers on a team's own table in PostgreSQL."""

from urllib.parse import urlsplit

import psycopg
import pytest
from downhaul_contract_tests import Backend, ProviderContract
from downhaul_contract_tests.bindings_in_house import A_ROW, TABLE_COLUMNS, row_of
from psycopg import sql

from downhaul.config import resolve
from downhaul.plugins import build_provider

PASSWORD = "s3cret-of-the-contract"

pytestmark = pytest.mark.slow


class PostgresTableBackend(Backend):
    """A table in one database, and an end to its connections."""

    secrets = (PASSWORD,)

    def __init__(self, server, url):
        self._server, self._url = server, url
        self._name = urlsplit(url).path.lstrip("/")
        parts = urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        self._with_password = parts._replace(netloc=f"{user}:{PASSWORD}@{host}").geturl()

    def provider(self):
        options = {
            "url": f"table+{self._with_password}",
            "poll": 0.05,
            "enabled_means": "switch",
            "bucketing": "downhaul",
            "columns": {one: one for one in TABLE_COLUMNS},
        }
        return build_provider(resolve({"provider": options}, cache_dir=False, environ={}))

    def seed(self, flags):
        self._write("DELETE FROM feature_flags", flags.flags.values())

    def reset(self):
        types = {"enabled": "BOOLEAN", "percentage": "FLOAT8"}
        columns = ", ".join(f"{one} {types.get(one, 'TEXT')}" for one in TABLE_COLUMNS)
        with psycopg.connect(self._url) as connection:
            connection.execute("DROP TABLE IF EXISTS feature_flags")
            connection.execute(f"CREATE TABLE feature_flags ({columns})")

    def change(self, flag):
        self._write("DELETE FROM feature_flags WHERE key = %s", [flag], flag.key)

    def outage(self):
        self._allow("false")
        with psycopg.connect(self._server) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (self._name,),
            )

    def restore(self):
        self._allow("true")

    def _allow(self, word):
        statement = f"ALTER DATABASE {{}} ALLOW_CONNECTIONS {word}"
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(self._name)))

    def _write(self, first, flags, *given):
        marks = ", ".join(["%s"] * len(TABLE_COLUMNS))
        with psycopg.connect(self._url) as connection, connection.cursor() as cursor:
            cursor.execute(first, given)
            rows = [row_of(flag) for flag in flags]
            if rows:
                cursor.executemany(f"INSERT INTO feature_flags VALUES ({marks})", rows)


class TestTableOnPostgres(ProviderContract):
    lacks = A_ROW

    @pytest.fixture
    def backend(self, postgres_url, module_postgres):
        return PostgresTableBackend(postgres_url, module_postgres)
