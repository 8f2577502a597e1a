"""A vendor that takes requests and never answers: who waits for it, and who does not."""

import threading
import time
from dataclasses import replace

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean
from rollout_world import WHO, plan_for, provider_at, vendor_at

from downhaul.control import Operator
from downhaul.rollout.controller import Controller
from downhaul.rollout.service import Rollouts
from downhaul.store import schema

from . import vendors
from .conftest import wait_until

pytestmark = [pytest.mark.fault]

LEASE = 2.0
DEADLINE = 3.0  # of one change at the vendor: a hang outlasts the lease
HANGING = ("stuck-1", "stuck-2", "stuck-3")
WELL = tuple(f"well-{number}" for number in range(6))


class Place:
    """Flags in an emulated LaunchDarkly, rollouts in an SQLite file, and the time as it is."""

    def __init__(self, service, folder):
        self.service = service
        self.store = provider_at(f"sqlite:///{folder / 'control.db'}")
        schema.upgrade(self.store.database)
        self.control = self.store.control
        settings = {**vendors.LaunchDarkly(service).settings, "deadline": DEADLINE}
        self.provider = vendor_at(settings, "default")
        self.rollouts = Rollouts(Operator(self.provider, self.control, actor="ana"))
        self.stop = threading.Event()
        self.controllers = []
        self.threads = []

    def begin(self, flag, bake=0.3):
        self.service.put(boolean(flag, on=True, percent=3))
        plan = replace(plan_for(flag, 10, 100, bake=bake), interval=0.1)
        return self.rollouts.start(plan, "a better agent").id

    def run(self, many):
        for number in range(many):
            made = Controller(
                self.provider, self.control, None, owner=f"c{number}", lease=LEASE, tick=0.1
            )
            self.controllers.append(made)
            self.threads.append(threading.Thread(target=made.run, args=(self.stop,)))
            self.threads[-1].start()

    def phases(self, flags):
        return [self.control.rollouts.latest_of(flag).phase for flag in flags]

    def state(self, flag):
        return self.control.rollouts.latest_of(flag).state

    def close(self):
        self.stop.set()
        self.service.heal()
        for one in self.threads:
            one.join(30)
        self.provider.close()
        self.control.close()
        self.store.close()


@pytest.fixture
def place(tmp_path):
    with LaunchDarklyEmulator() as service:
        made = Place(service, tmp_path)
        yield made
        made.close()


@pytest.mark.rule("R2", "R4", "K1")
def test_rollbacks_that_hang_starve_nobody_and_no_lease_lapses_meanwhile(place, record_property):
    stuck = {flag: place.begin(flag, bake=60) for flag in HANGING}
    place.run(2)
    wait_until(lambda: all(place.state(flag)["entered"] for flag in HANGING), 20, "the first steps")
    place.service.fail("/stuck-", silent=True)
    for rollout in stuck.values():
        place.control.rollouts.command(rollout, "rollback", 0, {}, WHO)
    begun = time.monotonic()
    for flag in WELL:
        place.begin(flag)
    wait_until(lambda: set(place.phases(WELL)) == {"completed"}, 20, "the others to be completed")
    record_property("others_completed_after_s", round(time.monotonic() - begun, 2))
    wait_until(
        lambda: all(place.state(flag)["failures"] >= 3 for flag in HANGING), 40, "three tries"
    )
    assert place.phases(HANGING) == ["rolling_back"] * 3
    killed = {str(one.scope) for one in place.control.kills() if one.killed}
    assert killed == set(HANGING)
    # Each try took longer than a lease, and none was taken over by the other controller.
    assert [one.counters().get("lost", 0) for one in place.controllers] == [0, 0]
    assert place.control.rollouts.controllers(10) == 2
    place.service.heal()
    wait_until(lambda: set(place.phases(HANGING)) == {"rolled_back"}, 40, "the way back")
    assert all(place.service.flags[flag]["on"] for flag in HANGING)


@pytest.mark.rule("R4")
def test_a_rollback_that_is_asked_for_while_others_hang_is_through_within_a_second_or_two(
    place, record_property
):
    stuck = {flag: place.begin(flag, bake=60) for flag in HANGING}
    well = place.begin("well", bake=60)
    place.run(1)
    flags = (*HANGING, "well")
    wait_until(lambda: all(place.state(flag)["entered"] for flag in flags), 20, "the first steps")
    place.service.fail("/stuck-", silent=True)
    for rollout in stuck.values():
        place.control.rollouts.command(rollout, "rollback", 0, {}, WHO)
    time.sleep(1)  # so that each has begun to hang
    begun = time.monotonic()
    place.control.rollouts.command(well, "rollback", 0, {}, WHO)
    wait_until(lambda: place.phases(["well"]) == ["rolled_back"], 10, "the way back")
    took = time.monotonic() - begun
    record_property("took_s", round(took, 2))
    assert took < DEADLINE
