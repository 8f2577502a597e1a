"""Stores of both kinds to break, and how to wait for what must come."""

import faulthandler
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from downhaul.config import resolve
from downhaul.plugins import build_provider
from downhaul.provider import Change
from downhaul.store import schema
from downhaul.store.provider import SqlProvider

WHO = Change("tester", "to see it hold")


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until it holds and return how long that took; fail if it doesn't within ``seconds``."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if condition():
            return time.monotonic() - begun
        time.sleep(0.002)
    faulthandler.dump_traceback()  # where every thread stands: a hang says nothing by itself
    pytest.fail(f"not within {seconds} s: {what}")


def open_store(url: str) -> SqlProvider:
    """Return a provider on a store with tables, for writing."""
    provider = build_provider(resolve(url, cache_dir=None, environ={}))
    assert isinstance(provider, SqlProvider)
    schema.upgrade(provider.database)
    return provider


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty store, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'flags.db'}"
    url: str = request.getfixturevalue("fresh_postgres")
    return url


@pytest.fixture
def writer(store_url: str) -> Iterator[SqlProvider]:
    provider = open_store(store_url)
    yield provider
    provider.close()
