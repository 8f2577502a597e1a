"""Rows of the request log that come late, come twice, or are counted while a controller dies."""

import itertools
import signal

import pytest
from rollout_world import ERRORS, LEASE, TICK, World, plan_for, store_at

from downhaul.rollout import service
from downhaul.store.requests import RequestRow

from .controllers import Controllers, Place

pytestmark = [pytest.mark.fault, pytest.mark.rule("R10")]
BAKE = 60.0
_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'flags.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("fresh_postgres")
    with store_at(url) as (url, _):
        yield Place(url, url, "requests")


@pytest.fixture
def world(place, monkeypatch):
    world = World.at(place)
    world.count_requests()
    monkeypatch.setattr(service, "metric_source", lambda *_: world.traffic)
    world.flag()
    world.rollouts.start(plan_for("agent", 10, 50, bake=BAKE, guardrails=(ERRORS,)), "")
    world.tick(0)
    yield world
    world.close()


def rows(many, *, errors=0, served_by="split", variant="on"):
    return [
        RequestRow(
            f"r{next(_numbers)}",
            "agent",
            variant,
            served_by,
            number >= errors,
            number < errors,
            5.0,
        )
        for number in range(many)
    ]


def counted(world):
    """How many requests of the variant the evidence of this step holds."""
    buckets = world.store.latest_of("agent").evidence["buckets"]
    return sum(arms["on"][0] for _, _, arms in buckets if "on" in arms)


def test_rows_that_are_sent_twice_count_once(world):
    sent = rows(150)
    for _ in range(3):
        world.control.requests.write(sent)
        world.tick()
    world.tick()
    assert counted(world) == 150


def test_rows_that_come_late_count_once_when_they_come(world):
    for _ in range(2):
        world.control.requests.write(rows(120))
        world.tick()
    late = rows(300, errors=60)  # an application could not reach the store for a while
    world.control.requests.write(rows(120))
    world.go(lambda: world.percent() == 50)
    world.control.requests.write(late)
    world.control.requests.write(late)
    world.tick()
    world.tick()
    assert world.phase() == "rolled_back"
    (error,) = [one for one in world.state().findings if one.check == ERRORS.name]
    assert (error.requests, round(error.value * error.requests)) == (300, 60)


def test_rows_of_targets_rules_and_other_flags_form_no_arm(world):
    world.control.requests.write(rows(500, errors=500, served_by="target"))
    world.control.requests.write(rows(500, errors=500, served_by="rule"))
    world.control.requests.write(rows(200, errors=200, variant="off"))
    world.control.requests.write(rows(150))
    world.tick()
    world.tick()
    assert world.phase() == "progressing"
    assert counted(world) == 150


@pytest.mark.parametrize("point", ["claimed", "observed", "decided", "saved"])
def test_what_a_controller_counted_and_did_not_save_is_counted_again_and_once(place, world, point):
    with Controllers() as controllers:
        for _ in range(2):
            world.control.requests.write(rows(60))
            world.clock.advance(TICK)
            pid = controllers.begin(place, at=point, signal=signal.SIGKILL, requests=True)
            assert controllers.wait(pid)["killed"] == signal.SIGKILL
            world.clock.advance(LEASE + 1)
    world.tick()
    world.tick()
    assert counted(world) == 120
    assert world.phase() == "progressing"


@pytest.mark.rule("R2", "R10")
def test_one_that_was_stopped_while_it_counted_adds_nothing_when_it_wakes_up(place, world):
    world.control.requests.write(rows(130))
    world.clock.advance(TICK)
    with Controllers() as controllers:
        pid = controllers.begin(place, at="observed", signal=signal.SIGSTOP, requests=True)
        assert controllers.wait(pid)["stopped"] == signal.SIGSTOP
        world.clock.advance(LEASE + 1)
        world.tick()
        assert counted(world) == 130
        assert controllers.wake(pid)["did"]["lost"] == 1
    assert counted(world) == 130
    world.control.requests.write(rows(130))
    world.go(lambda: world.percent() == 50)
    assert world.state().history[0].baked >= BAKE
