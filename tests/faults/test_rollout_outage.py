"""The database of rollouts goes away in each live state: exposure is frozen, and all goes on."""

import os
import threading
import time

import pytest
from rollout_world import BAKE, LEASE, TICK, WHO, World, plan_for, store_at

from downhaul.errors import Unreachable
from downhaul.overlay import Scope

from .conftest import wait_until
from .controllers import Place

pytestmark = [pytest.mark.fault, pytest.mark.postgres, pytest.mark.rule("R2", "R4")]
SECONDS_AWAY = float(os.environ.get("DOWNHAUL_OUTAGE_SECONDS", "5"))
LIVE = ("starting", "progressing", "paused", "latched", "rolling_back", "reverting")


def bring(world, state):
    """Bring a rollout of a flag, that is called like the state, into the state."""
    world.flag(state, percent=3)
    world.rollouts.start(plan_for(state, 10, 50), "")
    if state == "starting":
        return
    world.tick(0)
    if state == "paused":
        world.rollouts.pause(state, "lunch")
    elif state == "latched":
        world.provider.set_targets(state, "on", {"vip"}, WHO)
        world.rollouts.rollback(state, "it is worse")
    elif state == "reverting":
        world.go(lambda: world.phase(state) == "completed")


def last(world, state):
    """What is asked last before the outage, and not taken by any controller yet."""
    if state == "rolling_back":
        world.store.command(world.rollouts.get(state).id, "rollback", 0, {}, WHO)
    elif state == "reverting":
        world.reopen(state)


@pytest.mark.parametrize("kind", ["shared", "apart"])
def test_the_database_goes_away_in_every_live_state(own_postgres, tmp_path, kind, record_property):
    with (
        store_at(own_postgres.url) as (url, _),
        store_at(f"sqlite:///{tmp_path}/f.db") as (file, _),
    ):
        world = World.at(Place(url if kind == "shared" else file, url, "outage"))
        for state in sorted(LIVE, key="reverting".__ne__):
            bring(world, state)
        for state in LIVE:
            last(world, state)
        before = {} if kind == "shared" else {one: world.percent(one) for one in LIVE}
        stop = threading.Event()
        away = threading.Thread(target=world.controller.run, args=(stop,))
        own_postgres.stop("immediate")
        away.start()
        try:
            wait_until(lambda: world.controller.counters().get("unreachable", 0) > 1, 20, "tries")
            end = time.monotonic() + SECONDS_AWAY
            while time.monotonic() < end:
                assert all(world.percent(one) == was for one, was in before.items())
                time.sleep(0.05)
            assert not world.controller.health()["ready"] or world.controller.health()["last_error"]
            own_postgres.start()
            back = time.monotonic()
            wait_until(lambda: ended(world, "rolling_back"), 30, "the way back to be finished")
            wait_until(lambda: ended(world, "reverting"), 30, "the revert to be finished")
            record_property("goes_on_after_s", round(time.monotonic() - back, 2))
            wait_until(lambda: world.phase("starting") == "progressing", 30, "the start")
        finally:
            stop.set()
            away.join(20)
        assert not away.is_alive()
        assert (world.phase("paused"), world.phase("latched")) == ("paused", "latched")
        assert (world.percent("paused"), world.percent("latched")) == (10, 0)
        assert (world.percent("rolling_back"), world.percent("reverting")) == (3, 3)
        world.go(lambda: world.phase("progressing") == "completed")
        assert world.exposures("progressing") == [3, 10, 50]
        world.close()


def ended(world, flag):
    try:
        return not world.store.latest_of(flag).live
    except Unreachable:
        return False


def test_a_server_that_is_killed_in_the_middle_of_raising_leaves_steps_whole(own_postgres):
    with store_at(own_postgres.url) as (url, _):
        world = World.at(Place(url, url, "crash"))
        world.flag()
        world.rollouts.start(plan_for("agent", 10, 50), "")
        world.tick(0)

        def crash(name, _rollout):
            if name == "within_write":
                own_postgres.stop("immediate")

        dies = world.another("dies", points=crash)
        world.clock.advance(TICK)
        dies.tick()
        world.clock.advance(BAKE)
        assert dies.tick().errors
        own_postgres.start()
        assert world.percent() == 10
        assert world.phase() == "progressing"
        world.clock.advance(LEASE + 1)
        world.go_to("completed")
        assert world.exposures() == [0, 10, 50]
        assert world.told() == ["planned", "started", "raised", "completed"]
        world.close()


def test_a_kill_is_obeyed_at_the_first_look_after_an_outage(own_postgres):
    with store_at(own_postgres.url) as (url, _):
        world = World.at(Place(url, url, "kill"))
        world.flag()
        world.rollouts.start(plan_for("agent", 10, 50), "")
        world.tick(0)
        own_postgres.stop("fast")
        world.controller.tick()
        own_postgres.start()
        world.control.record_kill(Scope.parse("agent"), WHO, killed=True)
        world.control.record_kill(Scope.parse("agent"), WHO, killed=False)
        wait_until(lambda: not world.controller.tick().unreachable, 20, "the store to answer")
        assert world.phase() == "stopped"
        world.close()
