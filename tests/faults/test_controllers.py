"""Controllers that are killed or stopped at every point of a tick, and others that go on."""

import itertools
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
from rollout_world import BAKE, LEASE, TICK, WHO, World, plan_for, store_at

from downhaul.flag import Keys, Segment
from downhaul.rollout.plan import Step, Strategy

from .controllers import Controllers, Place

pytestmark = [pytest.mark.fault, pytest.mark.rule("R2")]

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres), "apart"]
WRITING = ("before_write", "after_write")
_numbers = itertools.count(1)


def points_of(kind, act):
    """The points of a tick that does the act; before a restore comes the other act's whole way."""
    ways = ("intended",) if kind == "apart" else ("within_write",)
    ends = () if act == "restore" else ("claimed", "saved")
    return [*ends, "observed", "decided", *ways, *WRITING]


CASES = [
    pytest.param(
        kind,
        act,
        point,
        marks=[pytest.mark.postgres] if kind == "postgresql" else [],
        id=f"{kind}-{act}-{point}",
    )
    for kind in ("sqlite", "postgresql", "apart")
    for act in ("start", "raise", "off", "restore")
    for point in points_of(kind, act)
]


@pytest.fixture(scope="module")
def controllers():
    with Controllers() as controllers:
        yield controllers


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory):
    with store_at(f"sqlite:///{tmp_path_factory.mktemp('store') / 'flags.db'}") as (url, _):
        yield url


@pytest.fixture(scope="module")
def flags_store(tmp_path_factory):
    with store_at(f"sqlite:///{tmp_path_factory.mktemp('vendor') / 'flags.db'}") as (url, _):
        yield url


@pytest.fixture(scope="module")
def postgres_store(module_postgres):
    with store_at(module_postgres) as (url, _):
        yield url


@pytest.fixture
def place_of(request):
    def place(kind):
        store = "postgres_store" if kind == "postgresql" else "sqlite_store"
        control = request.getfixturevalue(store)
        flags = request.getfixturevalue("flags_store") if kind == "apart" else control
        return Place(flags, control, f"faults-{next(_numbers)}")

    return place


@pytest.fixture
def world_at():
    made = []

    def make(place):
        made.append(World.at(place))
        return made[-1]

    yield make
    for one in made:
        one.close()


def same(one, other):
    return replace(one, version="") == replace(other, version="")


def prepare(world, act):
    """Bring a rollout to where the next tick does the act; return the flag as it was before."""
    was = world.flag(percent=3, on=act != "start")
    world.rollouts.start(plan_for("agent", 10, 50, 100), "a better agent")
    if act == "start":
        return was
    world.tick(0)
    if act == "raise":
        world.tick(BAKE - TICK)
        world.clock.advance(TICK)
    else:
        world.store.command(world.rollouts.get("agent").id, "rollback", 0, {}, WHO)
    return was


def finish(world, act, was):
    """Let another controller go on to the end, and see that each step was applied once."""
    if act in ("start", "raise"):
        world.go_to("completed")
        assert [one for one in world.exposures() if one not in (0, 3)] == [10, 50, 100]
        assert world.told() == ["planned", "started", "raised", "raised", "completed"]
    else:
        world.go_to("rolled_back")
        assert same(world.kept(), was)
        assert world.exposures()[-3:] == [10, 0, 3]
        assert world.told() == ["planned", "started", "rolling_back", "exposure_off", "rolled_back"]
    assert world.store.intents(world.rollouts.get("agent").id, unsettled=True) == []


@pytest.mark.parametrize("kind, act, point", CASES)
def test_a_controller_killed_at_any_point_is_followed_by_another(
    controllers, place_of, world_at, kind, act, point
):
    place = place_of(kind)
    world = world_at(place)
    was = prepare(world, act)
    nth = 2 if act == "restore" else 1
    pid = controllers.begin(place, at=point, nth=nth, signal=signal.SIGKILL)
    assert controllers.wait(pid)["killed"] == signal.SIGKILL
    world.clock.advance(LEASE + 1)
    finish(world, act, was)


@pytest.mark.parametrize("kind, act, point", CASES)
def test_a_controller_stopped_at_any_point_wakes_up_late_and_does_no_harm(
    controllers, place_of, world_at, kind, act, point
):
    place = place_of(kind)
    world = world_at(place)
    was = prepare(world, act)
    nth = 2 if act == "restore" else 1
    pid = controllers.begin(place, at=point, nth=nth, signal=signal.SIGSTOP, idle="500ms")
    assert controllers.wait(pid)["stopped"] == signal.SIGSTOP
    if point == "within_write" and kind == "sqlite":
        # It stopped with the file's only lock. Nobody writes until it goes on; reading works.
        frozen = world.percent()
        file = sqlite3.connect(place.flags.removeprefix("sqlite:///"), timeout=0.1)
        with closing(file), pytest.raises(sqlite3.OperationalError, match="locked"):
            file.execute("BEGIN IMMEDIATE")
        assert world.percent() == frozen
        assert controllers.wake(pid)["did"]["acted"] >= 1
        finish(world, act, was)
        return
    if point == "within_write":  # the server ends its transaction
        world.clock.advance(LEASE + 1)
        wait_for(lambda: world.tick(0).claimed, "the lock to be given back")
    else:
        world.clock.advance(LEASE + 1)
    finish(world, act, was)
    before = world.exposures()
    late = controllers.wake(pid)
    assert late["ended"] == 0
    if point not in ("saved", "within_write", "after_write"):
        assert late["did"]["lost"] == 1
    assert world.exposures() == before
    for _ in range(3):
        world.tick()
    assert world.exposures() == before
    assert world.phase() == ("completed" if act in ("start", "raise") else "rolled_back")


def wait_for(holds, what, seconds=10.0):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.05)


# Many controllers, and wrong clocks


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("many", [2, 4])
def test_many_controllers_move_fifty_rollouts_and_take_each_step_once(
    controllers, place_of, world_at, record_property, kind, many
):
    place = place_of(kind)
    world = world_at(place)
    flags = [f"flag-{number}" for number in range(50)]
    for flag in flags:
        world.flag(flag)
        world.rollouts.start(plan_for(flag, 10, 100, bake=TICK), "")
    begun = time.monotonic()
    pids = [controllers.begin(place, until_done=True, batch=5) for _ in range(many)]
    killed = 0
    until = time.monotonic() + 60
    while world.store.newest(live=True, limit=1):
        assert time.monotonic() < until
        world.clock.advance(1)
        time.sleep(0.02)
        if many == 4 and not killed and len(world.store.newest(live=True, limit=50)) < 45:
            killed = pids.pop()
            controllers.kill(killed)
    ended = [controllers.wait(pid) for pid in pids]
    record_property("seconds", round(time.monotonic() - begun, 1))
    assert all(one["ended"] == 0 for one in ended), ended
    assert not [error for one in ended for error in one["did"]["errors"]]
    parts = [one["did"]["acted"] for one in ended]
    record_property("parts", str(parts))
    assert sum(part > 0 for part in parts) > 1, parts  # who is how quick is for the system to say
    for flag in flags:
        assert world.exposures(flag) == [0, 10, 100], flag
        assert world.told(flag) == ["planned", "started", "raised", "completed"], flag
        assert world.phase(flag) == "completed"


@pytest.mark.rule("X3")
@pytest.mark.parametrize("kind", KINDS)
def test_hosts_whose_clocks_are_an_hour_wrong_change_nothing(controllers, place_of, world_at, kind):
    place = place_of(kind)
    world = world_at(place)
    world.flag()
    begun = world.clock.now()
    rollout = world.rollouts.start(plan_for("agent", 10, 50), "")
    for skew in (3600, -3600, 3600, -3600, 3600):
        pid = controllers.begin(place, skew=skew)
        assert controllers.wait(pid)["did"]["claimed"] == 1
        world.clock.advance(TICK)
    state = world.state()
    assert [(one.step, one.entered_at - begun, one.baked) for one in state.history] == [
        (0, 0, BAKE),
        (1, BAKE * 1e6, BAKE),
    ]
    assert (state.phase, state.ended_at - begun) == ("completed", 2 * BAKE * 1e6)
    assert world.exposures() == [0, 10, 50]
    row = world.store.existing(rollout.id)
    assert begun <= row.updated_at <= world.clock.now()


# Changes by hand at every point of a tick


HANDS = {
    "up": lambda provider: provider.set_rollout("agent", "on", 80_000, WHO),
    "down": lambda provider: provider.set_rollout("agent", "on", 1_000, WHO),
    "off": lambda provider: provider.switch_off("agent", WHO),
    "deleted": lambda provider: provider.delete("agent", WHO),
    "targeted": lambda provider: provider.set_targets("agent", "on", {"vip"}, WHO),
}
LEFT = {"up": 80, "down": 1, "off": 0, "deleted": None, "targeted": 10}


@pytest.mark.rule("R3", "R7")
@pytest.mark.parametrize("kind", ["sqlite", "apart"])
@pytest.mark.parametrize("hand", HANDS)
def test_a_change_by_hand_at_any_point_of_a_tick_is_never_overwritten(
    place_of, world_at, kind, hand
):
    for point in ("claimed", "observed", "before_write"):
        world = world_at(place_of(kind))
        prepare(world, "raise")
        reached = []

        def meanwhile(name, _rollout, world=world, point=point, reached=reached):
            if name == point and not reached:
                reached.append(name)
                HANDS[hand](world.provider)

        touched = world.another("touched", points=meanwhile)
        for _ in range(6):
            world.tick(controller=touched)
        assert reached
        assert world.phase() == "paused", point
        kept = world.provider.get("agent")
        assert (None if kept is None else world.percent()) == LEFT[hand], point
        assert 50 not in world.exposures()


@pytest.mark.rule("R7", "R8")
@pytest.mark.parametrize("kind", ["sqlite", "apart"])
@pytest.mark.parametrize("hand", HANDS)
def test_a_change_by_hand_at_any_point_of_a_way_back_leaves_nobody_exposed(
    place_of, world_at, kind, hand
):
    for point in ("claimed", "observed", "before_write", "after_write"):
        world = world_at(place_of(kind))
        was = prepare(world, "off")
        reached = []

        def meanwhile(name, _rollout, world=world, point=point, reached=reached):
            if name == point and not reached:
                reached.append(name)
                HANDS[hand](world.provider)

        touched = world.another("touched", points=meanwhile)
        for _ in range(6):
            world.tick(controller=touched)
        assert reached
        if hand in ("up", "targeted"):
            assert world.phase() in ("latched", "rolled_back"), point
        else:
            assert world.phase() == "rolled_back", point
        kept = world.provider.get("agent")
        if world.phase() == "latched":
            assert not world.kept().on, point
        elif kept is not None:
            assert same(kept, was), point
        begun = world.told().index("rolling_back")
        assert "raised" not in world.told()[begun:]


# --- users and segments that are named


def rings():
    """Return a plan that names users, then a segment, and then serves everybody."""
    plan = plan_for("agent", 100, strategy=Strategy.RINGS)
    ring = Step(3_000, BAKE, 3 * BAKE, preview=True)
    named = (replace(ring, targets=("ana", "ben")), replace(ring, segments=("staff",)))
    return replace(plan, steps=(*named, *plan.steps))


def names(flag):
    users = {key for one in flag.targets if one.variant == "on" for key in one.keys}
    return users | {name for rule in flag.rules for name in rule.clauses[0].values}


def baked(world, step):
    """Whether the next look after some time leaves this step."""
    state = world.state()
    return state.step == step and state.entered and state.baked >= BAKE - TICK


NAMING = [
    pytest.param(kind, step, point, marks=[pytest.mark.postgres] if kind == "postgresql" else [])
    for kind in ("sqlite", "postgresql", "apart")
    for step in (0, 1, 2)
    for point in ("intended" if kind == "apart" else "within_write", *WRITING)
]


@pytest.mark.rule("R3")
@pytest.mark.parametrize("kind, step, point", NAMING)
def test_a_controller_killed_while_it_names_somebody_is_followed_by_another(
    controllers, place_of, world_at, kind, step, point
):
    place = place_of(kind)
    world = world_at(place)
    world.provider.put_segment(Segment("staff", (Keys(frozenset({"eve"})),)), WHO)
    was = world.flag(percent=3, on=False, allow=["zoe"], deny=["ben"])
    world.rollouts.start(rings())
    for number in range(step):
        world.go(lambda number=number: baked(world, number))
    world.clock.advance(TICK)
    pid = controllers.begin(place, at=point, nth=1, signal=signal.SIGKILL)
    assert controllers.wait(pid)["killed"] == signal.SIGKILL
    world.clock.advance(LEASE + 1)
    reached = [names(world.kept())]
    while world.phase() != "completed":
        world.tick()
        if names(world.kept()) != reached[-1]:
            reached.append(names(world.kept()))
    us = {"ana", "ben", "zoe"}
    every = [{"zoe"}, us, us | {"staff"}, us]
    assert reached in (every[step:], every[step + 1 :])  # whether or not the write had arrived
    assert world.percent() == 100
    assert world.told() == ["planned", "started", "raised", "raised", "completed"]
    assert world.store.intents(world.rollouts.get("agent").id, unsettled=True) == []
    world.rollouts.revert("agent", "worse")
    assert same(world.kept(), was)
