"""A store in an SQLite file, what makes others on it, and a listener."""

import time

import pytest
from downhaul_contract_tests import Recorder

from downhaul.backends.sqlite import SqliteProvider
from downhaul.provider import Change
from downhaul.store import schema
from downhaul.store.lastknown import FlagCopy


@pytest.fixture
def change():
    return Change("tester", "to see it hold")


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "flags.db"


@pytest.fixture
def provider_at():
    """A function that makes a provider on a file; all are closed at the end."""
    made = []

    def make(path, environment="default", *, upgrade=False, copy=None):
        provider = SqliteProvider(path, environment, copy=copy and FlagCopy(copy))
        if upgrade:
            schema.upgrade(provider.database)
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def writer(path, provider_at):
    return provider_at(path, upgrade=True)


@pytest.fixture
def wait_until():
    def wait(holds, seconds=15.0):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.005)

    return wait
