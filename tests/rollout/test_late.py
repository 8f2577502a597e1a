"""Writes that arrive after a rollout's end: a lease fences the store, and not the vendor."""

from dataclasses import replace

import pytest
from rollout_world import BAKE, LEASE, WHO, plan_for

from downhaul.backends.memory import MemoryProvider
from downhaul.errors import Unreachable
from downhaul.overlay import Scope
from downhaul.provider import Capability
from downhaul.rollout.late import WATCHED

RISING = ("set_rollout", "set_targets", "switch_on", "put")


class Vendor(MemoryProvider):
    """A vendor behind a network that may keep a request back, and bring it when a test says so."""

    capabilities = MemoryProvider.capabilities - {Capability.COMPARE_AND_SET}

    def __init__(self):
        super().__init__()
        self.keeps_back = ()
        self.late = []
        self.away = False

    def get(self, key):
        if self.away:
            raise Unreachable("the vendor is away", provider="memory")
        return super().get(key)

    def arrive(self):
        late, self.late = self.late, []
        for verb, words in late:
            getattr(super(), verb)(*words)


class Comparing(Vendor):
    """The same, for a vendor that compares and sets."""

    capabilities = MemoryProvider.capabilities


for _name in (*RISING, "switch_off", "restore"):

    def _verb(self, *words, _name=_name, **options):
        if _name in self.keeps_back:
            self.late.append((_name, words))
            raise Unreachable("no answer in time", provider="memory")
        return getattr(super(Vendor, self), _name)(*words, **options)

    setattr(Vendor, _name, _verb)


class Sink:
    def __init__(self):
        self.events = []

    def send(self, event):
        self.events.append(event)


@pytest.fixture
def world(world_of):
    made = world_of("apart", Vendor())
    made.sink = Sink()
    made.second = made.another("second", alerts=(made.sink,))
    return made


def same(one, other):
    return replace(one, version="") == replace(other, version="")


def keep_back_a_raise(world, *, percent=3, on=True, verbs=RISING):
    """Bring a rollout to where its raise from 10 to 50 % hangs in the network; return the flag."""
    was = world.flag(percent=percent, on=on)
    world.rollouts.start(plan_for("agent", 10, 50), "a better agent")
    world.tick(0)
    world.go(lambda: world.state().baked >= BAKE - 5)
    world.provider.keeps_back = verbs
    world.tick()
    world.provider.keeps_back = ()
    assert world.percent() == 10
    assert world.provider.late
    return was


@pytest.mark.rule("R2", "R7", "R8")
def test_what_arrives_after_a_way_back_is_taken_back_again(world):
    was = keep_back_a_raise(world)
    world.rollouts.rollback("agent", "it is worse")
    assert (world.phase(), world.percent()) == ("rolled_back", 3)
    world.provider.arrive()
    assert world.percent() == 50
    assert world.second._late.look() == 1
    assert world.phase() == "rolling_back"
    world.go_to("rolled_back", controller=world.second)
    assert same(world.kept(), was)
    assert world.told()[-3:] == ["late_write", "exposure_off", "rolled_back"]
    world.second.deliver()
    [late] = [one for one in world.sink.events if one.what == "late_write"]
    assert (late.after["percent"], late.after["changed"]) == (50, ["default"])
    assert "arrived after it was taken back" in late.reason
    assert world.second._late.look_at(world.rollouts.get("agent").id) is False


@pytest.mark.rule("R8")
def test_what_arrives_under_a_flag_that_is_off_is_taken_out_as_well(world):
    was = keep_back_a_raise(world, percent=0, on=False)
    world.rollouts.rollback("agent", "it is worse")
    world.provider.arrive()
    assert (world.percent(), world.kept().on) == (0, False)  # and whoever turned it on got 50 %
    world.second.run_once()
    world.go_to("rolled_back", controller=world.second)
    assert same(world.kept(), was)


@pytest.mark.rule("R8")
def test_what_arrives_in_the_middle_of_a_way_back_is_no_work_of_somebody_else(world):
    was = keep_back_a_raise(world)
    arrived = []

    def meanwhile(name, _rollout):
        if name == "after_write" and not arrived:
            arrived.append(name)
            world.provider.arrive()

    touched = world.another("touched", points=meanwhile)
    world.store.command(world.rollouts.get("agent").id, "rollback", 0, {}, WHO)
    world.tick(0, controller=touched)
    assert arrived
    assert world.phase() == "rolled_back"
    assert same(world.kept(), was)


@pytest.mark.rule("R3", "R8")
@pytest.mark.parametrize("vendor", [Vendor, Comparing])
def test_a_start_that_arrives_after_it_was_called_off_is_put_off(world_of, vendor):
    world = world_of("apart", vendor())
    was = world.flag(percent=0, on=False)
    world.rollouts.start(plan_for("agent", 10, 50), "a better agent")
    world.provider.keeps_back = RISING
    world.tick(0)
    world.provider.keeps_back = ()
    if vendor is Vendor:
        world.provider.late.append(("switch_on", ("agent", WHO)))
    world.rollouts.rollback("agent", "not today")
    assert world.phase() == "rolled_back"
    world.provider.arrive()
    assert world.percent() == 10
    world.tick(60)
    world.controller.run_once()
    world.go_to("rolled_back")
    assert same(world.kept(), was)


@pytest.mark.rule("R7")
def test_a_late_write_while_it_runs_pauses_it_and_names_itself(world):
    keep_back_a_raise(world)
    world.rollouts.pause("agent", "lunch")
    world.provider.arrive()
    world.tick()
    assert (world.phase(), world.state().because) == ("paused", "drift_raised")
    assert world.state().message.startswith("a late write of this rollout raised it: ")
    world.rollouts.rollback("agent", "enough")
    assert world.phase() == "rolled_back"


@pytest.mark.rule("R7")
def test_after_another_end_people_are_told_once_and_nothing_is_written(world):
    keep_back_a_raise(world)
    world.rollouts.cancel("agent", "we do it by hand")
    world.provider.arrive()
    assert world.second._late.look() == 1
    assert world.another("third")._late.look() == 0
    assert (world.phase(), world.percent()) == ("stopped", 50)
    world.second.deliver()
    [late] = [one for one in world.sink.events if one.what == "late_write"]
    assert late.after["type"] == "downhaul flags off agent"
    assert "arrived after its end (stopped)" in late.reason


@pytest.mark.rule("K1", "K5")
def test_a_killed_flag_that_a_late_write_turned_on_is_put_off_at_the_vendor(world):
    world.flag(percent=0, on=False)
    world.rollouts.start(plan_for("agent", 10, 50), "a better agent")
    world.provider.keeps_back = ("switch_on",)
    world.tick(0)
    world.provider.keeps_back = ()
    world.control.record_kill(Scope.parse("agent"), WHO, killed=True)
    world.tick(LEASE + 1)
    assert world.phase() == "stopped"
    world.provider.arrive()
    assert world.kept().on
    world.second.run_once()
    assert not world.kept().on
    assert world.told()[-1] == "late_write"
    assert world.control.kills()[0].killed


@pytest.mark.rule("R7")
def test_a_late_switching_off_is_told_and_not_undone(world):
    keep_back_a_raise(world)
    world.provider.keeps_back = ("switch_off",)
    world.store.command(world.rollouts.get("agent").id, "rollback", 0, {}, WHO)
    world.tick(0)
    world.provider.keeps_back = ()
    world.go_to("rolled_back")
    late = [one for one in world.provider.late if one[0] == "switch_off"]
    world.provider.late = late
    assert world.percent() == 3
    world.provider.arrive()
    world.second.run_once()
    assert (world.phase(), world.kept().on) == ("rolled_back", False)
    assert world.told()[-1] == "late_write"
    told = world.told()
    world.another("third").run_once()
    assert world.told() == told


def by_hand_other(world):
    world.provider.set_rollout("agent", "on", 30_000, WHO)


def by_hand_described(world):
    world.provider.put(replace(world.kept(), description="new words"), WHO)


@pytest.mark.rule("R7")
@pytest.mark.parametrize("hand", [by_hand_other, by_hand_described])
def test_what_people_do_after_a_way_back_is_theirs(world, hand):
    keep_back_a_raise(world)
    world.rollouts.rollback("agent", "it is worse")
    hand(world)
    kept = world.kept()
    world.second.run_once()
    assert (world.phase(), world.kept()) == ("rolled_back", kept)


@pytest.mark.rule("R7", "R8")
def test_where_people_changed_more_a_late_write_is_put_off_and_the_rest_waits_for_them(world):
    keep_back_a_raise(world)
    world.rollouts.rollback("agent", "it is worse")
    world.provider.set_targets("agent", "on", {"vip"}, WHO)
    world.provider.arrive()
    world.second.run_once()
    world.go_to("latched", controller=world.second)
    assert not world.kept().on
    assert "targets" in world.state().hold_message


@pytest.mark.rule("R7")
def test_what_comes_again_and_again_is_left_to_people_in_the_end(world):
    keep_back_a_raise(world)
    world.rollouts.rollback("agent", "it is worse")
    late = world.provider.late
    for _ in range(3):
        world.provider.late = list(late)
        world.provider.arrive()
        world.second.run_once()
        world.go_to("rolled_back", controller=world.second)
        assert world.percent() == 3
    world.provider.late = list(late)
    world.provider.arrive()
    world.second.run_once()
    assert (world.phase(), world.percent()) == ("rolled_back", 50)
    assert world.told()[-1] == "late_write"
    assert world.rollouts.events("agent")[-1].detail["type"] == "downhaul flags off agent"


@pytest.mark.rule("R7")
def test_a_later_rollout_of_the_flag_looks_after_it_itself(world):
    keep_back_a_raise(world)
    first = world.rollouts.rollback("agent", "it is worse").rollout
    world.clock.advance(1)
    world.rollouts.start(plan_for("agent", 20, 40), "a better one")
    world.provider.arrive()
    world.second.run_once()
    assert world.store.existing(first.id).phase == "rolled_back"
    world.go_to("paused", controller=world.second)
    assert world.state().because == "drift_raised"


def test_a_vendor_that_is_away_is_looked_at_again(world):
    was = keep_back_a_raise(world)
    rollout = world.rollouts.rollback("agent", "it is worse").rollout
    world.provider.arrive()
    world.provider.away = True
    assert world.second._late.look_at(rollout.id) is False
    world.provider.away = False
    assert world.second._late.look_at(rollout.id) is True
    world.go_to("rolled_back", controller=world.second)
    assert same(world.kept(), was)


def test_it_is_watched_for_an_hour_and_no_longer(world):
    keep_back_a_raise(world)
    rollout = world.rollouts.rollback("agent", "it is worse").rollout
    assert world.store.unsure("memory", WATCHED) == [rollout.id]
    assert world.store.unsure("elsewhere", WATCHED) == []
    world.clock.advance(WATCHED + 1)
    assert world.store.unsure("memory", WATCHED) == []
    # A controller that was stopped for longer looks itself once it finds that its time is over.
    world.provider.arrive()
    world.second._look_back(rollout.id)
    assert world.phase() == "rolling_back"


def test_where_every_write_was_seen_nothing_is_watched(world):
    world.flag(percent=3)
    world.rollouts.start(plan_for("agent", 10, 50), "a better agent")
    world.tick(0)
    world.rollouts.rollback("agent", "it is worse")
    assert world.store.unsure("memory", WATCHED) == []
    world.provider.set_rollout("agent", "on", 10_000, WHO)  # as the rollout had it, and by hand
    world.second.run_once()
    assert (world.phase(), world.percent()) == ("rolled_back", 10)


def test_a_row_that_is_broken_or_newer_is_left_alone(world):
    keep_back_a_raise(world)
    rollout = world.rollouts.rollback("agent", "it is worse").rollout
    rollouts = world.store.database.tables.rollouts
    with world.store.database.writing() as connection:
        connection.execute(rollouts.update().values(state="{broken"))
    world.provider.arrive()
    assert world.second._late.look_at(rollout.id) is False
    assert world.percent() == 50
