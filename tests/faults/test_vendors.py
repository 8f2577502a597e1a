"""The failure matrix at vendors: each row of docs/controller.md, "When things fail", for real."""

import os
import re
import signal
import tempfile
import time
from pathlib import Path

import pytest
from fixtures_unleash import UnleashServer
from rollout_world import BAKE, LEASE, TICK, WHO, a_world, plan_for, store_at, vendor_at

from downhaul.rollout.late import WATCHED

from . import vendors
from .controllers import Controllers, Place

pytestmark = [pytest.mark.fault, pytest.mark.xdist_group("unleash-faults")]

VENDORS = ("launchdarkly", "split", "unleash")
BEFORE = 3  # percent, and on: what is served before a rollout, and after its way back


@pytest.fixture(scope="module")
def unleash_server():
    server = UnleashServer(Path(tempfile.mkdtemp(prefix="downhaul-unleash-faults-")))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def unleash_person(unleash_server):
    return vendors.Person(unleash_server)


@pytest.fixture(scope="module")
def controllers():
    with Controllers() as controllers:
        yield controllers


@pytest.fixture(params=VENDORS)
def vendor(request):
    if request.param == "unleash":
        server = request.getfixturevalue("unleash_server")
        made = vendors.unleash(server, request.getfixturevalue("unleash_person"))
    else:
        made = getattr(vendors, request.param)()
    with made as vendor:
        yield vendor


class Sink:
    def __init__(self):
        self.events = []

    def send(self, event):
        self.events.append(event)

    def of(self, what):
        return [one for one in self.events if one.what == what]


@pytest.fixture
def world_at(tmp_path):
    """A function that makes a world of a vendor; ``settings`` lie over the vendor's own."""
    made = []
    with store_at(f"sqlite:///{tmp_path / 'control.db'}") as (url, _clock):

        def make(vendor, **settings):
            flags = {**vendor.settings, **settings}
            world = a_world(url, vendor_at(flags, "elsewhere"))
            world.vendor, world.sink = vendor, Sink()
            world.place = Place(flags, url, world.store.environment)
            world.one = world.another("one", alerts=(world.sink,))
            made.append(world)
            return world

        yield make
        for world in made:
            world.operator.close()
            world.control.close()
            world.provider.close()


@pytest.fixture
def world(vendor, world_at):
    return world_at(vendor)


def start(world, *, on=True, percent=BEFORE):
    world.vendor.flag(on=on, percent=percent)
    world.rollouts.start(plan_for("agent", 10, 50), "a better agent")


def climb(world):
    """Bring a rollout to 10 %, and to where the next tick raises it to 50 %."""
    start(world)
    world.tick(0, controller=world.one)
    assert world.vendor.kept() == (True, 10)
    world.go(lambda: world.state().baked >= BAKE - TICK, controller=world.one)
    world.clock.advance(TICK)


def ask_back(world):
    world.store.command(world.rollouts.get("agent").id, "rollback", 0, {}, WHO)


def see_the_end(world, phase="rolled_back", kept=(True, BEFORE)):
    world.go(lambda: world.phase() == phase, controller=world.one)
    assert world.vendor.kept() == kept
    rollout = world.rollouts.get("agent").id
    assert world.store.intents(rollout, unsettled=True) == []


# Crash between the vendor's write and ours


@pytest.mark.rule("R2")
@pytest.mark.parametrize("act", ["start", "raise", "off", "restore"])
def test_a_controller_killed_between_the_vendors_write_and_its_own(controllers, world, act):
    if act == "start":
        start(world)
    else:
        climb(world)
    if act in ("off", "restore"):
        ask_back(world)
    pid = controllers.begin(
        world.place, at="after_write", nth=2 if act == "restore" else 1, signal=signal.SIGKILL
    )
    assert controllers.wait(pid)["killed"] == signal.SIGKILL
    written = {"start": (True, 10), "raise": (True, 50), "off": (False, 10)}
    assert world.vendor.kept() == written.get(act, (True, BEFORE))
    world.clock.advance(LEASE + 1)
    if act in ("start", "raise"):
        world.go_to("completed", controller=world.one)
        assert world.vendor.kept() == (True, 50)
        assert world.told() == ["planned", "started", "raised", "completed"]
    else:
        see_the_end(world)
        assert world.told()[-3:] == ["rolling_back", "exposure_off", "rolled_back"]


# Two controllers, and what a dead or a stopped one had sent


def hold_back_a_raise(controllers, world):
    """Let a controller in a process of its own send its raise into a network that keeps it back."""
    climb(world)
    method, path = world.vendor.weight
    late = world.vendor.service.withhold(path, method=method, times=1)
    pid = controllers.begin(world.place)
    assert late.came.wait(30)
    return late, pid


def roll_back_by_another(world):
    world.clock.advance(LEASE + 1)
    ask_back(world)
    see_the_end(world)


@pytest.mark.rule("R2", "R7", "R8")
def test_a_dead_controllers_write_that_arrives_after_the_rollback_is_taken_back(controllers, world):
    late, pid = hold_back_a_raise(controllers, world)
    controllers.kill(pid)
    roll_back_by_another(world)
    late.let_through()
    if world.vendor.compares:
        assert world.vendor.kept() == (True, BEFORE)  # the vendor refused it: it came too late
        return
    assert world.vendor.kept() == (True, 50)
    world.one.run_once()
    see_the_end(world)
    assert world.told()[-3:] == ["late_write", "exposure_off", "rolled_back"]
    [told] = world.sink.of("late_write")
    assert told.after["percent"] == 50


@pytest.mark.rule("R2", "R7", "R8")
def test_a_stopped_controller_looks_after_its_own_late_write_however_late_it_wakes(
    controllers, world
):
    late, pid = hold_back_a_raise(controllers, world)
    stop(controllers, pid)
    roll_back_by_another(world)
    late.let_through()
    world.clock.advance(WATCHED + 60)  # nobody else looks any more
    world.one.run_once()
    if not world.vendor.compares:
        assert (world.phase(), world.vendor.kept()) == ("rolled_back", (True, 50))
    woken = controllers.wake(pid)
    assert woken["ended"] == 0
    assert woken["did"]["lost"] + woken["did"]["acted"] >= 1
    see_the_end(world)


def stop(controllers, pid):
    os.kill(pid, signal.SIGSTOP)
    assert controllers.wait(pid)["stopped"] == signal.SIGSTOP


@pytest.mark.rule("R3", "R8")
def test_a_start_that_arrives_after_the_rollout_was_called_off_exposes_nobody_for_long(
    controllers, world
):
    start(world, on=False, percent=0)
    method, path = world.vendor.weight
    late = world.vendor.service.withhold(path, method=method, times=1)
    pid = controllers.begin(world.place)
    assert late.came.wait(30)
    controllers.kill(pid)
    world.clock.advance(LEASE + 1)
    ask_back(world)
    see_the_end(world, kept=(False, 0))
    late.let_through()
    assert world.vendor.kept() != (False, 0)
    world.one.run_once()
    see_the_end(world, kept=(False, 0))


# A vendor that is away, that hangs, that says no, or that has enough of us

WAYS = {
    "refuses connections": (
        lambda vendor: vendor.service.stop(),
        lambda vendor: vendor.service.start(),
    ),
    "hangs": (
        lambda vendor: vendor.spoil_all(silent=True),
        lambda vendor: vendor.service.heal(),
    ),
    "503": (
        lambda vendor: vendor.spoil_all(status=503),
        lambda vendor: vendor.service.heal(),
    ),
    "429": (
        lambda vendor: vendor.spoil_all(status=429, headers={"Retry-After": "30"}),
        lambda vendor: vendor.service.heal(),
    ),
    "401": (
        lambda vendor: vendor.revoke(True),
        lambda vendor: vendor.revoke(False),
    ),
    "approvals": (
        lambda vendor: vendor.require_approvals(True),
        lambda vendor: vendor.require_approvals(False),
    ),
}
SAYS = {
    "refuses connections": "no (answer|connection)",
    "hangs": "(does not answer in time|no answer)",
    "503": "503",
    "429": "429",
    "401": "401",
    "approvals": "(405|403)",
}
ways = pytest.mark.parametrize("way", WAYS)


@pytest.mark.rule("R2", "R3")
@ways
def test_on_the_way_up_nothing_rises_and_people_hear_after_three_tries(world, way):
    climb(world)
    begins, ends = WAYS[way]
    begins(world.vendor)
    for _ in range(5):
        world.tick(TICK, controller=world.one)
        world.one.deliver()
    assert (world.phase(), world.state().step, world.state().hold) == ("progressing", 0, "provider")
    [stuck] = world.sink.of("stuck")
    assert re.search(SAYS[way], stuck.reason), stuck.reason
    assert "stuck" in world.told()
    assert world.control.kills() == []  # it is good as it is: nobody is put off
    ends(world.vendor)
    assert world.vendor.kept() == (True, 10)
    world.clock.advance(30)
    world.go(lambda: world.vendor.kept() == (True, 50), controller=world.one)
    world.go(lambda: world.phase() == "completed", controller=world.one)
    assert world.told().count("raised") == 1
    assert "drift" not in world.told()


@pytest.mark.rule("R4", "K1", "K5")
@ways
def test_in_the_middle_of_a_way_back_the_kill_holds_and_it_is_tried_until_it_is_through(world, way):
    climb(world)
    begins, ends = WAYS[way]
    ask_back(world)
    begins(world.vendor)
    begun, tries, heard = world.clock.now(), [], []
    while (now := (world.clock.now() - begun) / 1e6) <= 62:
        if world.one.tick().claimed:
            tries.append(now)
            # Before the first try is over, the flag is killed for whoever reads the control store.
            assert [str(one.scope) for one in world.control.kills() if one.killed] == ["agent"]
        world.one.deliver()
        heard += [now] * (len(world.sink.of("not_rolled_back")) - len(heard))
        world.clock.advance(1)
    assert (tries, heard) == ([0, 1, 3, 7, 15, 31, 61], [31])
    world.clock.advance(270)
    world.one.tick()
    world.one.deliver()
    first, second = world.sink.of("not_rolled_back")
    assert (first.after["since"], second.after["since"]) == (31, 333)
    assert first.after["type"] == "downhaul flags off agent"
    assert first.after["or_type"].startswith("downhaul kill agent ")
    assert re.search(SAYS[way], first.after["error"]), first.after["error"]
    assert len(world.sink.of("killed")) == 1
    ends(world.vendor)
    assert world.vendor.kept() == (True, 10)
    world.clock.advance(30)
    see_the_end(world)
    assert world.told()[-2:] == ["exposure_off", "rolled_back"]
    assert world.control.kills()[0].killed  # only a person lifts it (rule K5)
    world.operator.revive("agent", "the vendor is back", as_was=True)
    assert world.vendor.kept() == (True, BEFORE)


@pytest.mark.rule("R4")
def test_where_kills_are_let_through_a_way_back_is_off_at_once_and_waits_to_be_restored(world_at):
    with vendors.split() as vendor:
        world = world_at(vendor)
        climb(world)
        vendor.require_approvals(True)
        vendor.service.allow_kills = True
        ask_back(world)
        for _ in range(40):
            world.one.tick()
            world.clock.advance(1)
        assert (world.phase(), vendor.kept()) == ("rolling_back", (False, 10))
        assert world.control.kills() == []
        world.one.deliver()
        [told] = world.sink.of("not_rolled_back")
        assert told.reason.startswith("off, and not restored for ")
        vendor.require_approvals(False)
        world.clock.advance(30)
        see_the_end(world)


@pytest.mark.rule("P7")
@pytest.mark.parametrize("act", ["raise", "off"])
def test_too_many_requests_are_waited_for_as_long_as_the_vendor_says(vendor, world_at, act):
    world = world_at(vendor, deadline=10.0)
    climb(world)
    if act == "off":
        ask_back(world)
    for which in {vendor.weight, vendor.off}:
        vendor.spoil(which, status=429, headers={"Retry-After": "1"}, times=1)
    begun = time.monotonic()
    world.tick(0, controller=world.one)
    assert time.monotonic() - begun >= 1
    if act == "raise":
        assert world.vendor.kept() == (True, 50)
    else:
        see_the_end(world)
    assert not {"stuck", "killed"} & set(world.told())


# Writes that took in part


@pytest.mark.rule("R2", "R3")
@pytest.mark.parametrize("vendor", ["split", "unleash"], indirect=True)  # else it is one request
def test_a_start_that_was_cut_off_between_two_requests_is_finished(vendor, world_at):
    world = world_at(vendor)
    start(world, on=False, percent=0)
    switches = (vendor.weight[0], vendor.weight[1]) if vendor.name == "split" else ("POST", "/on$")
    vendor.spoil(switches, status=500, when=lambda: vendor.kept() == (False, 10))
    world.tick(0, controller=world.one)
    assert vendor.kept() == (False, 10)
    assert (world.phase(), world.state().entered) == ("starting", False)
    vendor.service.heal()
    world.go(lambda: vendor.kept() == (True, 10), controller=world.one)
    assert world.told().count("started") == 1
    assert "drift" not in world.told()
    ask_back(world)
    see_the_end(world, kept=(False, 0))


@pytest.mark.rule("R2")
@pytest.mark.parametrize("act", ["raise", "off"])
def test_a_write_that_took_though_its_answer_was_lost_is_recognised(world, act):
    climb(world)
    if act == "off":
        ask_back(world)
    which = world.vendor.weight if act == "raise" else world.vendor.off
    done = (True, 50) if act == "raise" else (False, 10)
    world.vendor.spoil(which, after=True)
    world.tick(0, controller=world.one)
    assert world.vendor.kept() == done
    world.vendor.service.heal()
    if act == "raise":
        world.go(lambda: world.phase() == "completed", controller=world.one)
        assert world.told().count("raised") == 1
        assert "drift" not in world.told()
    else:
        world.clock.advance(LEASE)
        see_the_end(world)
        assert world.told().count("exposure_off") == 1


@pytest.mark.rule("P6", "R2")
def test_a_read_back_that_shows_only_a_part_enters_no_step(world):
    climb(world)
    vendor = world.vendor
    vendor.show_the_old(when=lambda: vendor.kept() == (True, 50))
    world.tick(0, controller=world.one)
    assert vendor.kept() == (True, 50)
    assert (world.phase(), world.state().step) == ("progressing", 0)
    assert re.search("not (so|as it was written)", world.state().hold_message)
    vendor.service.heal()
    world.go(lambda: world.phase() == "completed", controller=world.one)
    assert world.told().count("raised") == 1
    assert "drift" not in world.told()


# Hands at the vendor's console


@pytest.mark.rule("R7")
@pytest.mark.parametrize(
    "hand, because, left",
    [
        (lambda vendor: vendor.flag(on=True, percent=2), "drift_lowered", (True, 2)),
        (lambda vendor: vendor.flag(on=False, percent=10), "drift_lowered", (False, 10)),
        (lambda vendor: vendor.flag(on=True, percent=40), "drift_raised", (True, 40)),
        (lambda vendor: vendor.target("vip"), "drift_other", (True, 10)),
    ],
    ids=["lower", "off", "higher", "other"],
)
def test_a_change_at_the_console_pauses_it_and_is_not_fought(world, hand, because, left):
    climb(world)
    hand(world.vendor)
    for _ in range(4):
        world.tick(controller=world.one)
    assert (world.phase(), world.state().because) == ("paused", because)
    assert world.vendor.kept() == left
    assert world.told().count("drift") == 1


@pytest.mark.rule("R3", "R7")
def test_a_raise_turns_nothing_on_that_is_turned_off_in_its_middle(world):
    climb(world)
    vendor, reached = world.vendor, []

    def meanwhile():
        if vendor.kept() == (True, 50) and not reached:
            reached.append(True)
            vendor.flag(on=False, percent=50)
        return False

    vendor.service.fail("agent", method="GET", when=meanwhile)
    for _ in range(4):
        world.tick(0, controller=world.one)
        world.clock.advance(TICK)
    assert reached
    assert vendor.kept() == (False, 50)
    assert (world.phase(), world.state().because) == ("paused", "drift_lowered")


@pytest.mark.rule("R7")
def test_what_is_turned_on_at_the_console_on_the_way_back_goes_off_again(world):
    climb(world)
    world.vendor.target("vip")  # so that the restore stops, and the way back stays open
    ask_back(world)
    world.go(lambda: world.phase() == "latched", controller=world.one)
    assert world.vendor.kept() == (False, 10)
    for _ in range(3):
        world.vendor.flag(on=True, percent=10)
        world.tick(controller=world.one)
        assert world.vendor.kept() == (False, 10)
    world.vendor.flag(on=True, percent=10)
    world.tick(controller=world.one)
    world.one.deliver()
    assert world.vendor.kept() == (True, 10)  # people were called, and it is theirs
    assert "keeps turning it on" in world.sink.of("drift")[-1].reason


@pytest.mark.rule("R7")
def test_a_flag_that_is_archived_while_it_runs_pauses_and_is_never_written(world):
    climb(world)
    world.vendor.archive()
    for _ in range(4):
        world.tick(controller=world.one)
    assert (world.phase(), world.state().because) == ("paused", "flag_gone")
    assert world.vendor.kept() is None


@pytest.mark.rule("R7", "R8")
def test_a_flag_that_is_archived_on_the_way_back_serves_nobody_and_ends_it(world):
    climb(world)
    ask_back(world)
    world.vendor.spoil_all(status=503)
    world.tick(0, controller=world.one)
    assert world.phase() == "rolling_back"
    world.vendor.service.heal()
    world.vendor.archive()
    world.clock.advance(30)
    see_the_end(world, kept=None)
    assert world.state().hold_message == "the flag is gone, and what is gone serves nobody"
