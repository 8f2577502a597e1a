"""A whole rollout and a whole rollback on the backend (rules R1 to R8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from downhaul.backends.edits import weight_of_variant
from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.machine import Machine, machine_over, plan_for
from downhaul_contract_tests.seeds import USERS

_KEY = "contract-rollout"


@needs(Capability.READ, Capability.WRITE, Capability.SNAPSHOT)
class RolloutsContract(Contract):
    """For providers with WRITE and SNAPSHOT."""

    group = "rollout and rollback"

    @pytest.fixture
    def machine(self, case: Case) -> Iterator[Machine]:
        """A controller over a provider of its own."""
        with machine_over(case.provider()) as made:
            yield made

    @pytest.mark.rule("R1", "R2", "R3")
    def test_a_rollout_climbs_step_by_step_and_is_completed(
        self, case: Case, machine: Machine
    ) -> None:
        """Exposure only rises, and at the end everybody is served.

        If this fails, check ``set_rollout`` and ``switch_on``, and that ``get`` shows at once what
        was written.
        """
        case.seed(Flag.boolean(_KEY, percent=0, on=False))
        machine.rollouts.start(plan_for(_KEY, 10, 50, 100), "a better agent")
        seen = [_weight(case)]
        while machine.phase(_KEY) != "completed" and len(seen) < 60:
            machine.tick()
            seen.append(_weight(case))
        assert machine.phase(_KEY) == "completed"
        assert list(dict.fromkeys(seen)) == [0, 10_000, 50_000, 100_000]
        assert seen == sorted(seen)
        flags = case.client()
        assert enabled(flags, _KEY, USERS) == set(USERS)

    @pytest.mark.rule("R4", "R8")
    def test_a_regression_takes_everything_back_exactly(self, case: Case, machine: Machine) -> None:
        """A guardrail that is broken brings back the flag of before.

        If this fails, check ``snapshot`` and ``restore``, and that ``switch_off`` is seen by
        ``get`` at once.
        """
        case.seed(_flag())
        was = case.writer.get(_KEY)
        assert was is not None
        machine.rollouts.start(plan_for(_KEY, 10, 50, 100, guarded=True), "a better agent")
        machine.go(_KEY, lambda: _weight(case) == 50_000)
        machine.errors = 0.5
        machine.go(_KEY, lambda: machine.phase(_KEY) == "rolled_back")
        kept = case.writer.get(_KEY)
        assert kept is not None
        assert replace(kept, version="") == replace(was, version="")

    @pytest.mark.rule("R4", "R8")
    def test_a_rollback_by_hand_takes_everything_back_exactly(
        self, case: Case, machine: Machine
    ) -> None:
        """Whoever presses it waits for nobody.

        If this fails, check ``snapshot`` and ``restore``.
        """
        case.seed(_flag())
        was = case.writer.get(_KEY)
        assert was is not None
        machine.rollouts.start(plan_for(_KEY, 10, 50, 100), "a better agent")
        machine.go(_KEY, lambda: _weight(case) == 10_000)
        done = machine.rollouts.rollback(_KEY, "enough")
        assert (done.applied, machine.phase(_KEY)) == (True, "rolled_back")
        kept = case.writer.get(_KEY)
        assert kept is not None
        assert replace(kept, version="") == replace(was, version="")
        flags = case.client()
        assert flags.is_enabled(_KEY, "ada")
        assert not flags.is_enabled(_KEY, "eve")

    @pytest.mark.rule("R7")
    def test_what_somebody_lowered_by_hand_stays_low(self, case: Case, machine: Machine) -> None:
        """A rollout pauses where a person was there, and raises nothing over them.

        If this fails, check that ``get`` shows what somebody else wrote.
        """
        case.seed(Flag.boolean(_KEY, percent=0))
        machine.rollouts.start(plan_for(_KEY, 10, 50, 100), "a better agent")
        machine.go(_KEY, lambda: _weight(case) == 10_000)
        case.writer.set_rollout(_KEY, "on", 1_000, CHANGE)
        machine.go(_KEY, lambda: machine.phase(_KEY) == "paused")
        assert _weight(case) == 1_000


def _flag() -> Flag:
    return Flag.boolean(_KEY, percent=1, allow=["ada"], deny=["eve"])


def _weight(case: Case) -> int:
    """Return what the flag gives to ``on``, or 0 while it is off."""
    kept = case.writer.get(_KEY)
    assert kept is not None
    return int(weight_of_variant(kept, "on")) if kept.on else 0
