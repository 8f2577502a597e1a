"""Rollouts, written once above the interface, on flags that live at a vendor.

``RollsOut`` is for each vendor's tests to inherit from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from rollout_world import ERRORS, a_world, plan_for, store_at

from downhaul import Flags
from downhaul.config import Declaration, RolloutMode
from downhaul.control.results import AtProvider
from downhaul.provider import FlagProvider
from downhaul.result import Reason

USERS = [f"user-{number}" for number in range(2_000)]


@dataclass
class AtVendor:
    """A vendor's emulated service with a boolean flag ``agent``, which is off and at 0 %.

    ``decides`` returns what of the flag decides there, in the vendor's own words, and ``is_on``
    whether it is on there.
    """

    service: Any
    provider: FlagProvider
    decides: Callable[[], Any]
    is_on: Callable[[], bool]


class Died(BaseException):
    """A controller that ended right where it was: nothing of it catches this."""


class RollsOut:
    """Inherit, with a fixture ``vendor`` that returns an AtVendor as ``declared`` says."""

    @pytest.fixture(params=["native", "portable"])
    def declared(self, request):
        """The declarations of the flag, by the mode of its rollout."""
        portable = {"agent": Declaration(rollout=RolloutMode.PORTABLE)}
        return portable if request.param == "portable" else {}

    @pytest.fixture
    def world(self, vendor, declared, tmp_path):
        """The vendor, a control store beside it, and a client that serves."""
        with store_at(f"sqlite:///{tmp_path / 'control.db'}") as (url, _clock):
            made = a_world(url, vendor.provider)
            made.flags = Flags.over(vendor.provider, control=made.control, declarations=declared)
            assert made.flags.wait_ready(20)
            yield made
            made.flags.close()
            made.operator.close()
            made.control.close()

    @pytest.fixture
    def served(self, world):
        """A function that tells whom the client serves."""
        return lambda: {user for user in USERS if world.flags.is_enabled("agent", user)}

    @pytest.mark.rule("R1", "R2", "E7", "E10")
    def test_a_good_version_climbs_and_nobody_loses_it(self, world, vendor, served):
        world.rollouts.start(plan_for("agent", 10, 50, 100), "out it goes")
        before, shares = set(), []
        for share in (10, 50, 100):
            world.go(lambda share=share: world.percent() == share)
            vendor.service.wait_for(lambda share=share: abs(len(served()) / 20 - share) < 4)
            now = served()
            assert before <= now
            before = now
            shares.append(len(now))
        world.go_to("completed")
        assert shares == sorted(shares)
        assert len(shares) == 3

    @pytest.mark.rule("R10", "E10")
    def test_requests_of_both_arms_are_known_to_be_of_a_split(self, world, vendor, served):
        """Only those form arms: what is known for a target or a rule would be no data."""
        world.rollouts.start(plan_for("agent", 50), "out it goes")
        world.go(lambda: world.percent() == 50)
        vendor.service.wait_for(lambda: abs(len(served()) / 20 - 50) < 4)
        results = [world.flags.evaluate("agent", user, False) for user in USERS[:200]]
        assert {one.value for one in results} == {True, False}
        assert {one.reason for one in results} == {Reason.SPLIT}

    @pytest.mark.rule("R4", "R8")
    def test_a_bad_version_is_taken_back_and_the_flag_is_exactly_as_it_was(
        self, world, vendor, served
    ):
        was = vendor.decides()
        world.rollouts.start(plan_for("agent", 10, 50, guardrails=(ERRORS,)), "out it goes")
        world.go(lambda: world.percent() == 10)
        assert vendor.decides() != was
        world.traffic.arms["on"].errors = 0.5
        world.go_to("rolled_back")
        assert vendor.decides() == was
        vendor.service.wait_for(lambda: not served())

    @pytest.mark.rule("K1", "K5")
    def test_a_kill_ends_a_rollout_though_the_vendor_wants_approvals(self, world, vendor, served):
        world.rollouts.start(plan_for("agent", 10, 50), "out it goes")
        world.go(lambda: world.percent() == 10)
        vendor.service.approvals = True
        killed = world.operator.kill("agent", "it burns")
        assert killed.at_provider in (AtProvider.OWED, AtProvider.LEFT)
        vendor.service.wait_for(lambda: not served())
        world.go_to("stopped")
        assert vendor.is_on()
        vendor.service.approvals = False
        world.clock.advance(60)
        world.controller.run_once()
        assert not vendor.is_on()

    @pytest.mark.rule("R2", "R7")
    @pytest.mark.parametrize("weight", [10, 50])
    def test_a_controller_that_dies_after_its_write_is_not_taken_for_somebody_else(
        self, world, weight
    ):
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
