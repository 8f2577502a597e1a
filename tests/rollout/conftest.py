"""Worlds to roll out in: a store whose clock the test moves, a flag, and what moves it."""

import pytest
from rollout_world import a_world, store_at

from downhaul.backends.memory import MemoryProvider
from downhaul.rollout import service


@pytest.fixture(scope="module")
def sqlite_place(tmp_path_factory):
    with store_at(f"sqlite:///{tmp_path_factory.mktemp('store') / 'flags.db'}") as (url, _):
        yield url


@pytest.fixture(scope="module")
def postgres_place(module_postgres):
    with store_at(module_postgres) as (url, _):
        yield url


@pytest.fixture
def world_of(request, monkeypatch):
    """A function that makes a world: its flags in the store of the rollouts, or ``apart``."""
    made = []

    def make(kind, provider=None):
        url = request.getfixturevalue("postgres_place" if kind == "postgresql" else "sqlite_place")
        if kind == "apart" and provider is None:
            provider = MemoryProvider()
        world = a_world(url, provider)
        monkeypatch.setattr(service, "metric_source", lambda *_: world.traffic)
        made.append(world)
        return world

    yield make
    for world in made:
        world.operator.close()
        world.control.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres), "apart"])
def world(request, world_of):
    """A world of each kind."""
    return world_of(request.param)


@pytest.fixture
def here(world_of):
    """A world with flags and rollouts in one SQLite file."""
    return world_of("sqlite")


@pytest.fixture
def apart(world_of):
    """A world whose flags live elsewhere than its rollouts."""
    return world_of("apart")
