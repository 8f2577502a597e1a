"""Rollouts, written once above the interface, on flags that live in Split."""

import pytest
from downhaul_emulators.split import boolean
from downhaul_split.admin import Admin
from downhaul_split.api import Place, api_of
from downhaul_split.provider import SplitProvider
from downhaul_split.session import Connection
from rollout_world import ERRORS, a_world, plan_for, store_at

from downhaul import Flags
from downhaul.config import Declaration, RolloutMode, Secret
from downhaul.control.results import AtProvider

USERS = [f"user-{number}" for number in range(2_000)]


@pytest.fixture(params=["native", "portable"])
def mode(request):
    return request.param


@pytest.fixture
def world(service, tmp_path, mode):
    """Split, a control store beside it, and a client that serves."""
    portable = frozenset({"agent"} if mode == "portable" else ())
    declared = {"agent": Declaration(rollout=RolloutMode.PORTABLE)} if portable else {}
    api = api_of(service.admin_url, Secret(service.admin_token), 10.0)
    place = Place(service.workspace, service.environment, "user")
    connection = Connection(
        Secret(service.sdk_key),
        service.sdk_url,
        service.events_url,
        service.auth_url,
        service.streaming_url,
        service.telemetry_url,
        refresh=1,
    )
    provider = SplitProvider(connection, Admin(api, place, portable=portable, declared=declared))
    service.put("agent", boolean(percent=0, killed=True))
    with store_at(f"sqlite:///{tmp_path / 'control.db'}") as (url, _clock):
        made = a_world(url, provider)
        made.flags = Flags.over(provider, control=made.control, declarations=declared)
        assert made.flags.wait_ready(20)
        yield made
        made.flags.close()
        made.operator.close()
        made.control.close()


def served(world):
    return {user for user in USERS if world.flags.is_enabled("agent", user)}


@pytest.mark.rule("R1", "R2", "E7", "E10")
def test_a_good_version_climbs_and_nobody_loses_it(world, service):
    world.rollouts.start(plan_for("agent", 10, 50, 100), "out it goes")
    before, shares = set(), []
    for share in (10, 50, 100):
        world.go(lambda share=share: world.percent() == share)
        service.wait_for(lambda share=share: abs(len(served(world)) / 20 - share) < 4)
        now = served(world)
        assert before <= now
        before = now
        shares.append(len(now))
    world.go_to("completed")
    assert shares == sorted(shares)
    assert len(shares) == 3


@pytest.mark.rule("R4", "R8")
def test_a_bad_version_is_taken_back_and_the_flag_is_exactly_as_it_was(world, service):
    decides = ("killed", "treatments", "defaultTreatment", "rules", "defaultRule")
    was = {name: service.definitions["agent"][name] for name in decides}
    world.rollouts.start(plan_for("agent", 10, 50, guardrails=(ERRORS,)), "out it goes")
    world.go(lambda: world.percent() == 10)
    world.traffic.arms["on"].errors = 0.5
    world.go_to("rolled_back")
    now = service.definitions["agent"]
    assert {name: now[name] for name in was} == was
    service.wait_for(lambda: not served(world))


@pytest.mark.rule("K1", "K5")
def test_a_kill_ends_a_rollout_though_the_vendor_wants_approvals(world, service):
    world.rollouts.start(plan_for("agent", 10, 50), "out it goes")
    world.go(lambda: world.percent() == 10)
    service.approvals = True
    killed = world.operator.kill("agent", "it burns")
    assert killed.at_provider in (AtProvider.OWED, AtProvider.LEFT)
    service.wait_for(lambda: not served(world))
    world.go_to("stopped")
    assert not service.definitions["agent"]["killed"]
    service.approvals = False
    world.clock.advance(60)
    world.controller.run_once()
    assert service.definitions["agent"]["killed"]


class Died(BaseException):
    """A controller that ended right where it was: nothing of it catches this."""


@pytest.mark.rule("R2", "R7")
@pytest.mark.parametrize("weight", [10, 50])
def test_a_controller_that_dies_after_its_write_is_not_taken_for_somebody_else(world, weight):
    world.rollouts.start(plan_for("agent", 10, 50, 100), "out it goes")

    def dying(point, _rollout):
        if point == "after_write" and world.percent() == weight:
            raise Died

    dies = world.another("dies", points=dying)
    with pytest.raises(Died):
        world.go(lambda: False, controller=dies)
    assert world.percent() == weight
    world.clock.advance(60)  # its lease ends
    world.go_to("completed")
    assert not {"paused", "drift"} & set(world.told()), world.told()
    assert world.told()[-1] == "completed"
