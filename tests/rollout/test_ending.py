"""Kills that were given an end: what is lifted then, what stays, and who hears of it (K5, K6)."""

import dataclasses

import pytest
from rollout_world import WHO
from sqlalchemy import select, update

from downhaul import Flag
from downhaul.backends.memory import MemoryProvider
from downhaul.config import PolicySettings
from downhaul.control.ends import LEAD, why_not_lifted
from downhaul.errors import Unreachable
from downhaul.flag import Clause, FlagSet, Operator, Rule
from downhaul.overlay import Scope
from downhaul.rollout.ending import Endings

HOUR = 3600.0


class Vendor(MemoryProvider):
    """A backend that keeps its flags and no kills, and may be away."""

    name = "vendor"

    def __init__(self, *flags):
        super().__init__(FlagSet.of(flags))
        self.away = None
        self.control = None

    def get(self, key):
        if self.away is not None:
            raise self.away
        return super().get(key)


def small(key="agent", percent=1.0, **fields):
    return Flag.boolean(key, percent=percent, **fields)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def world(request, world_of):
    """Flags and kills in one store, with a flag at 1 %."""
    made = world_of(request.param)
    made.provider.put(small(), WHO)
    return made


@pytest.fixture
def beside(world_of):
    """Flags at a vendor, kills in a store."""
    return world_of("sqlite", Vendor(small()))


def kill(world, scope="agent", lasts=HOUR, **options):
    return world.operator.kill(scope, "it burns", lasts=lasts, **options)


def look(world):
    return Endings(world.provider, world.control, lambda _name, _by: None).look()


def pass_by(world, seconds):
    """Let time pass, and let a controller look now and then."""
    for _ in range(10):
        world.clock.advance(seconds / 10)
        look(world)


def told(world):
    """What people heard of kills, the oldest first."""
    outbox = world.store.database.tables.outbox
    with world.store.database.reading() as connection:
        rows = connection.execute(
            select(outbox.c.event)
            .where(outbox.c.environment == world.store.environment)
            .order_by(outbox.c.id)
        )
        import json

        events = [json.loads(one.event) for one in rows]
    return [
        (one["what"], one["reason"]) for one in events if one["what"].startswith(("kill_", "rev"))
    ]


def stands(world, scope="agent"):
    return scope in {str(one.scope) for one in world.operator.kills()}


@pytest.mark.rule("K5")
def test_at_its_end_a_kill_is_lifted_where_little_comes_back(world):
    result = kill(world)
    assert result.ends.lifts
    assert "on at 1 % before" in result.ends.why
    pass_by(world, HOUR - 1)
    assert stands(world)
    world.clock.advance(2)
    assert look(world) == 1
    assert not stands(world)
    [word] = world.control.kills()
    assert (word.killed, word.actor) == (False, "controller (ana)")
    assert word.reason == '1h are over since ana killed it: "it burns"'
    assert look(world) == 0
    assert world.kept().default.weights[0].weight == 1000


@pytest.mark.rule("K6")
def test_people_hear_of_the_end_before_it_and_at_it(world):
    kill(world)
    pass_by(world, HOUR - LEAD - 1)
    assert told(world) == []
    world.clock.advance(2)
    look(world)
    look(world)
    assert [what for what, _ in told(world)] == ["kill_ends_soon"]
    assert "it is lifted at its end" in told(world)[0][1]
    world.clock.advance(LEAD)
    look(world)
    assert [what for what, _ in told(world)] == ["kill_ends_soon", "revived"]


@pytest.mark.rule("K5", "K6")
@pytest.mark.parametrize(
    "flag, why",
    [
        (small(percent=25), "25 %"),
        (small(percent=1.001), "1.001 %"),
        (Flag.boolean("agent"), "on for all"),
        (dataclasses.replace(small(), on=False), "off before"),
        (
            dataclasses.replace(
                small(),
                rules=(Rule("on", (Clause("plan", Operator.IN, ("pro",)),)),),
            ),
            "rules",
        ),
    ],
)
def test_where_more_would_come_back_it_stays_and_people_are_asked(world, flag, why):
    world.provider.put(flag, WHO)
    result = kill(world)
    assert not result.ends.lifts
    pass_by(world, HOUR + 1)
    assert stands(world)
    assert [what for what, _ in told(world)] == ["kill_ends_soon", "kill_ended"]
    assert why in told(world)[1][1]
    [standing] = world.operator.standing()
    assert (standing.ends.outcome, standing.ends.lifts) == ("asked", False)
    pass_by(world, HOUR)
    assert len(told(world)) == 2


@pytest.mark.rule("K5")
@pytest.mark.parametrize("scope", ["tag:agents", "switch:loop", "*"])
def test_what_is_no_single_flag_is_never_lifted_by_itself(world, scope):
    kill(world, scope)
    pass_by(world, HOUR + 1)
    assert stands(world, scope)
    assert told(world)[-1][0] == "kill_ended"


@pytest.mark.rule("K5")
def test_a_kill_of_all_environments_is_not_lifted_by_one_of_them(world):
    kill(world, everywhere=True)
    pass_by(world, HOUR + 1)
    assert stands(world)
    assert "all environments" in told(world)[-1][1]
    world.operator.revive("agent", "done", everywhere=True)  # other tests share the store


@pytest.mark.rule("K5")
def test_a_kill_that_is_said_again_is_not_lifted(world):
    kill(world)
    pass_by(world, HOUR - 1)
    again = world.operator.kill("agent", "still burns")
    assert again.already
    pass_by(world, 2 * HOUR)
    assert stands(world)
    [standing] = world.operator.standing()
    assert standing.ends is None


@pytest.mark.rule("K5")
def test_who_says_it_again_with_an_end_gives_it_a_new_one(world):
    kill(world)
    pass_by(world, HOUR - 1)
    kill(world, lasts=2 * HOUR)
    pass_by(world, HOUR)
    assert stands(world)
    pass_by(world, HOUR + 1)
    assert not stands(world)


@pytest.mark.rule("K5")
def test_one_said_again_between_the_look_and_the_lift_is_not_lifted(world):
    kill(world)
    pass_by(world, HOUR - 1)
    world.clock.advance(2)
    [term] = world.control.terms.due(0)
    world.operator.kill("agent", "still burns")
    event = {"what": "revived", "reason": ""}
    assert world.control.terms.lift(term, WHO) is None
    assert not world.control.terms.ask(term, event)
    assert not world.control.terms.tell(dataclasses.replace(term, told_at=0), event)
    assert stands(world)
    assert "revived" not in {what for what, _ in told(world)}


@pytest.mark.rule("K5")
def test_of_two_controllers_one_lifts(world):
    kill(world)
    pass_by(world, HOUR - 1)
    world.clock.advance(2)
    [term] = world.control.terms.due(0)
    assert world.control.terms.lift(term, WHO) is not None
    assert world.control.terms.lift(term, WHO) is None
    assert [what for what, _ in told(world)].count("revived") == 1


@pytest.mark.rule("K5")
@pytest.mark.parametrize(
    "edit, why",
    [
        (lambda world: world.provider.switch_off("agent", WHO), "turned it off"),
        (lambda world: world.provider.set_rollout("agent", "on", 500, WHO), "changed it"),
        (lambda world: world.provider.set_targets("agent", "on", ["u1"], WHO), "changed it"),
        (lambda world: world.provider.delete("agent", WHO), "gone"),
    ],
)
def test_a_flag_that_somebody_touched_meanwhile_stays_killed(world, edit, why):
    kill(world)
    edit(world)
    pass_by(world, HOUR + 1)
    assert stands(world)
    assert why in told(world)[-1][1]


@pytest.mark.rule("K5")
def test_what_returns_at_most_is_the_policys(world):
    world.provider.put(small(percent=25), WHO)
    policy = PolicySettings(ttl_at_most=25.0)
    world.operator._desk = dataclasses.replace(world.operator.desk, policy=policy)
    assert kill(world).ends.lifts
    pass_by(world, HOUR + 1)
    assert not stands(world)


@pytest.mark.rule("K5")
def test_a_controller_that_comes_late_still_gives_people_their_time(world):
    kill(world)
    world.clock.advance(5 * HOUR)
    assert look(world) == 1
    assert stands(world)
    world.clock.advance(LEAD / 2 - 5)
    assert look(world) == 0
    world.clock.advance(10)
    assert look(world) == 1
    assert not stands(world)


def test_a_short_one_is_announced_at_half_of_its_time(world):
    kill(world, lasts=60)
    world.clock.advance(29)
    assert look(world) == 0
    world.clock.advance(2)
    assert look(world) == 1
    world.clock.advance(31)
    assert look(world) == 1
    assert not stands(world)


@pytest.mark.rule("K6")
def test_without_a_controller_it_says_that_nothing_will_end(world):
    warnings = " ".join(kill(world).warnings)
    assert "no controller is alive" in warnings
    world.operator.revive("agent", "again")
    world.controller.tick()
    assert "no controller" not in " ".join(kill(world).warnings)


@pytest.mark.rule("X4")
def test_an_end_is_a_row_of_the_history(world):
    kill(world)
    rows = [one.record for one in world.operator.history("agent") if one.record.entity == "kill"]
    assert [(one.action, one.actor) for one in rows[:2]] == [("end", "ana"), ("kill", "ana")]
    assert rows[0].after["seconds"] == HOUR


def test_a_controller_deals_with_ends_as_it_runs(world):
    kill(world, lasts=2)
    world.clock.advance(1.5)
    world.controller.run_once()
    world.clock.advance(2)
    world.controller.run_once()
    assert not stands(world)
    assert world.controller.counters()["kills_ended"] == 1


def test_a_term_that_somebody_broke_by_hand_asks(world):
    kill(world)
    terms = world.store.database.tables.terms
    with world.store.database.writing() as connection:
        connection.execute(update(terms).values(flag='{"variants": 3'))
    pass_by(world, HOUR + 1)
    assert stands(world)
    assert "isn't known" in told(world)[-1][1]


# Flags at a vendor


@pytest.mark.rule("K1", "K5")
def test_what_the_kill_switched_off_at_a_vendor_is_on_again_after_it(beside):
    assert kill(beside).ends.lifts
    assert not beside.provider.get("agent").on
    pass_by(beside, HOUR + 1)
    assert not stands(beside)
    assert beside.provider.get("agent").on
    assert beside.control.kills()[0].waits


@pytest.mark.rule("K5")
def test_a_vendors_flag_that_somebody_changed_stays_killed(beside):
    kill(beside)
    beside.provider.set_rollout("agent", "on", 90_000, WHO)
    pass_by(beside, HOUR + 1)
    assert stands(beside)
    assert not beside.provider.get("agent").on


@pytest.mark.rule("K5")
def test_a_vendor_that_is_away_at_the_end_is_asked_again(beside):
    kill(beside)
    pass_by(beside, HOUR - 1)
    beside.provider.away = Unreachable("503")
    endings = Endings(beside.provider, beside.control, lambda _name, _by: None)
    beside.clock.advance(2)
    assert endings.look() == 0
    beside.provider.away = RuntimeError("a defect of the SDK")
    endings._not_before = 0.0
    assert endings.look() == 0
    assert stands(beside)
    beside.provider.away = None
    assert endings.look() == 0  # half a minute has not passed
    endings._not_before = 0.0
    assert endings.look() == 1
    assert not stands(beside)


def test_a_flag_that_can_not_be_read_at_the_kill_is_killed_all_the_same_and_asks(beside):
    beside.provider.away = RuntimeError("a defect of the SDK")
    result = kill(beside)
    assert result.record.killed
    assert not result.ends.lifts
    beside.provider.away = None
    pass_by(beside, HOUR + 1)
    assert stands(beside)


def test_a_kill_of_another_providers_flag_is_left_to_its_controller(beside, world_of):
    kill(beside)
    other = Vendor(small())
    other.name = "another"
    endings = Endings(other, beside.control, lambda _name, _by: None)
    beside.clock.advance(HOUR + 1)
    assert endings.look() == 0


def test_at_nothing_there_is_nothing_to_fear():
    scope = Scope.parse("agent")
    assert why_not_lifted(scope, "default", small(percent=0), 1.0) == ""
    assert why_not_lifted(scope, "default", None, 1.0)
