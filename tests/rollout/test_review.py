"""What a review broke: hands and commands that come between a look and what follows from it."""

import threading
import time
from dataclasses import replace

import pytest
from rollout_world import ERRORS, TICK, WHO, plan_for

from downhaul.errors import Refused, Unreachable
from downhaul.overlay import Scope, ScopeKind
from downhaul.store.rollouts import Save

HOUR = 3600.0


@pytest.mark.rule("R8")
@pytest.mark.parametrize("why", ["regressed", "by hand"])
def test_what_somebody_put_off_just_before_the_way_back_is_not_turned_on_by_it(world, why):
    world.flag(percent=25)
    world.rollouts.start(plan_for("agent", 50, 100, guardrails=(ERRORS,)))
    world.go(lambda: world.percent() == 50)
    world.tick()
    world.provider.switch_off("agent", WHO)
    if why == "regressed":
        world.traffic.arms["on"].errors = 0.5
        world.tick()
        world.tick()
    else:
        world.rollouts.rollback("agent", "too many complaints")
    assert world.phase() == "latched"
    assert world.percent() == 0
    assert "on: true -> false" in world.state().hold_message
    world.rollouts.rollback("agent", "the incident is over", overwrite=True)
    assert world.phase() == "rolled_back"
    assert world.percent() == 25


@pytest.mark.rule("R8")
def test_what_somebody_lowered_below_what_was_before_is_not_given_back(world):
    world.flag(percent=25)
    world.rollouts.start(plan_for("agent", 50, 100, guardrails=(ERRORS,)))
    world.go(lambda: world.percent() == 50)
    world.tick()
    world.provider.set_rollout("agent", "on", 3000, WHO)
    world.traffic.arms["on"].errors = 0.5
    world.tick()
    assert world.phase() == "latched"
    assert world.percent() == 0


@pytest.mark.rule("R4")
@pytest.mark.parametrize("what", ["rollback", "kill"])
def test_what_is_asked_during_a_look_does_not_wait_for_the_next_one(world, what, monkeypatch):
    monkeypatch.setattr("downhaul.rollout.service._WAIT", 0.0)
    world.flag()
    world.rollouts.start(replace(plan_for("agent", 10, 100, bake=24 * HOUR), interval=HOUR))
    world.go(lambda: world.percent() == 10)
    asked = []

    def points(name, _):
        if name != "decided" or asked:
            return
        asked.append(name)
        if what == "kill":
            scope = Scope(ScopeKind.FLAG, "agent")
            world.control.record_kill(scope, WHO, killed=True)
        else:
            world.rollouts.rollback("agent", "too many complaints")

    looking = world.another("second", points=points)
    world.clock.advance(HOUR + TICK)
    looking.tick()
    assert asked
    assert world.phase() == "progressing"
    world.tick()
    assert world.phase() == ("stopped" if what == "kill" else "rolled_back")


@pytest.mark.postgres
@pytest.mark.rule("K6")
def test_a_kill_of_all_and_a_save_of_many_never_wait_in_a_circle(world_of):
    world = world_of("postgresql")
    for number in range(6):
        world.flag(f"flag-{number}")
        world.rollouts.start(plan_for(f"flag-{number}"))
    database, rollouts = world.store.database, world.store.database.tables.rollouts
    ids = sorted(one.id for one in world.rollouts.list())
    killer = threading.Thread(target=world.store.hurry)
    with database.writing() as connection:  # as a controller that saves several at once
        connection.exec_driver_sql("SET LOCAL lock_timeout = '500ms'")
        for number, rollout in enumerate(ids):
            mine = rollouts.c.id == rollout
            connection.execute(rollouts.update().where(mine).values(revision=7))
            if number == 0:
                killer.start()
                _wait_for_a_lock(database)
    killer.join(10)
    assert not killer.is_alive()
    assert {world.store.existing(one).revision for one in ids} == {7}


@pytest.mark.postgres
def test_many_are_saved_and_given_back_in_the_order_of_their_ids(world_of, monkeypatch):
    world = world_of("postgresql")
    for number in range(4):
        world.flag(f"flag-{number}")
        world.rollouts.start(plan_for(f"flag-{number}"))
    written = []
    save_in = type(world.store).save_in

    def noted(self, connection, claim, save):
        written.append(claim.row.id)
        save_in(self, connection, claim, save)

    monkeypatch.setattr(type(world.store), "save_in", noted)
    claims = world.store.claim("me", lease=15, limit=9, provider=world.provider.name)
    backwards = sorted(claims, key=lambda one: one.row.id, reverse=True)
    saves = [(one, Save(one.row.state, one.row.phase, live=True, due_in=5)) for one in backwards]
    assert world.store.save_all(saves) == frozenset()
    assert written == sorted(written)
    assert len(written) == 4


def _wait_for_a_lock(database):
    """Wait until somebody waits for a row of this database."""
    until = time.monotonic() + 5
    waits = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while time.monotonic() < until:
        with database.reading() as connection:
            if connection.exec_driver_sql(waits).scalar_one():
                return
        time.sleep(0.01)
    pytest.fail("nobody waits")


@pytest.mark.rule("R2")
@pytest.mark.fault
def test_a_write_of_one_that_died_is_recognised_once_the_backend_answers_again(apart, monkeypatch):
    apart.flag()
    apart.rollouts.start(plan_for("agent", 10, 50, 100))
    apart.go(lambda: apart.percent() == 10)

    def dies(name, _):
        if name == "after_write":
            raise Death

    dying = apart.another("dying", points=dies)
    with pytest.raises(Death):
        apart.go(lambda: False, controller=dying)
    assert apart.percent() == 50
    get = apart.provider.get
    monkeypatch.setattr(apart.provider, "get", _away)
    apart.tick(16)  # the lease has ended
    monkeypatch.setattr(apart.provider, "get", get)
    apart.go_to("completed")
    assert "drift" not in apart.told()


class Death(BaseException):
    """The end of a controller."""


def _away(_key):
    message = "it timed out"
    raise Unreachable(message)


@pytest.mark.rule("R8")
def test_a_cancel_ends_a_way_back_whose_restore_is_refused_for_good(world, monkeypatch):
    world.flag(percent=25)
    world.rollouts.start(plan_for("agent", 50, 100, guardrails=(ERRORS,)))
    world.go(lambda: world.percent() == 50)

    def refuse(*_, **__):
        message = "what it refers to is gone"
        raise Refused(message)

    monkeypatch.setattr(type(world.provider), "restore", refuse)
    assert world.rollouts.rollback("agent", "INC-1").rollout.phase == "rolling_back"
    world.clock.advance(2)
    ended = world.rollouts.cancel("agent", "arranged by hand")
    assert ended.applied
    assert world.phase() == "stopped"
    assert world.percent() == 0


@pytest.mark.rule("X3", "R4")
def test_a_clock_that_goes_back_blinds_nobody(world):
    world.flag()
    world.rollouts.start(plan_for("agent", 50, 100, bake=24 * HOUR, guardrails=(ERRORS,)))
    world.go(lambda: world.percent() == 50)
    world.clock.advance(HOUR)
    world.tick()
    world.clock.advance(-HOUR)
    world.tick()
    world.traffic.arms["on"].errors = 0.9
    world.go_to("rolled_back")


@pytest.mark.rule("R4")
def test_a_rollback_waits_for_no_metric_source(world, monkeypatch):
    world.flag()
    world.rollouts.start(plan_for("agent", 50, 100, bake=HOUR, guardrails=(ERRORS,)))
    world.go(lambda: world.percent() == 50)

    def hang(*_, **__):
        raise AssertionError

    monkeypatch.setattr("downhaul.rollout.controller.Controller._measure", hang)
    assert world.rollouts.rollback("agent", "INC-1").applied
    assert world.phase() == "rolled_back"


def test_a_sink_that_fails_makes_no_other_hear_twice(world):
    class Sink:
        def __init__(self, broken):
            self.broken, self.heard = broken, []

        def send(self, event):
            if self.broken:
                raise OSError
            self.heard.append(event.after["id"])

    good, bad = Sink(broken=False), Sink(broken=True)
    world.flag()
    world.rollouts.start(plan_for("agent", 50, 100))
    world.go(lambda: world.percent() == 50)
    teller = world.another("teller", alerts=(good, bad))
    for _ in range(5):
        teller.deliver()
        world.clock.advance(100)
    assert len(good.heard) == len(set(good.heard)) > 0
    bad.broken = False
    world.clock.advance(400)
    teller.deliver()
    assert sorted(bad.heard) == sorted(good.heard)


@pytest.mark.rule("K5")
def test_a_revive_of_what_nobody_killed_ends_no_rollout(world):
    world.flag()
    world.rollouts.start(plan_for("agent", 50, 100, bake=HOUR))
    world.go(lambda: world.percent() == 50)
    world.control.record_kill(Scope.parse("*"), WHO, killed=False, lift_others=True)
    world.tick()
    assert world.phase() == "progressing"
