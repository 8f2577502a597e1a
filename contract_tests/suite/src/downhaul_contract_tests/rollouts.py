"""A whole rollout and a whole rollback on the backend (rules R1 to R8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from downhaul import Flags
from downhaul.backends.edits import weight_of_variant
from downhaul.errors import DocumentError, Refused
from downhaul.flag import Flag, Keys, Segment
from downhaul.provider import Capability
from downhaul.rollout.plan import Strategy
from downhaul_contract_tests.backend import Feature, offers
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.machine import Machine, machine_over, named_first, plan_for
from downhaul_contract_tests.seeds import USERS

_KEY: Final = "contract-rollout"
_ASKED: Final = (*USERS, "ada", "bob", "eve", "lea", "zoe")


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

    @pytest.mark.rule("R9")
    def test_blue_green_shows_its_audience_first_then_switches_and_back(
        self, case: Case, machine: Machine
    ) -> None:
        """The audience alone, then everybody in one step, and blue again when it is reverted.

        If this fails, check ``set_targets`` beside a percentage, and that it leaves other targets
        alone.
        """
        case.seed(_blue())
        was = _kept(case)
        plan = named_first(plan_for(_KEY, 100), Strategy.BLUE_GREEN, ("bob",))
        machine.rollouts.start(plan, "green goes out")
        machine.go(_KEY, lambda: _named(case) == {"ada", "bob"})
        assert _weight(case) == 0
        _serves(case, {"ada", "bob"})
        machine.go(_KEY, lambda: machine.phase(_KEY) == "completed")
        _serves(case, {*_ASKED} - {"eve"})
        undone = machine.rollouts.revert(_KEY, "blue was better")
        assert (undone.applied, machine.phase(_KEY)) == (True, "reverted")
        assert replace(_kept(case), version="") == replace(was, version="")
        _serves(case, {"ada"})

    @pytest.mark.rule("R4", "R9")
    def test_green_that_regresses_gives_way_to_blue(self, case: Case, machine: Machine) -> None:
        """The percentage goes back in one write, and the flag is never off on the way.

        If this fails, check ``set_rollout`` to a lower percentage, and ``restore``.
        """
        case.seed(_blue())
        was = _kept(case)
        plan = named_first(plan_for(_KEY, 100, guarded=True), Strategy.BLUE_GREEN, ("bob",))
        machine.rollouts.start(plan, "green goes out")
        machine.go(_KEY, lambda: _weight(case) == 100_000)
        machine.errors = 0.5
        machine.go(_KEY, lambda: machine.phase(_KEY) == "rolled_back")
        assert replace(_kept(case), version="") == replace(was, version="")
        acts = [one.action for one in machine.rollouts.events(_KEY)]
        assert acts[-3:] == ["rolling_back", "exposure_off", "rolled_back"]

    @pytest.mark.rule("R3", "R8")
    def test_named_users_are_served_before_any_percentage(
        self, case: Case, machine: Machine
    ) -> None:
        """Two rings of users, then a share of everybody; a rollback takes it from all of them.

        If this fails, check that ``set_targets`` adds to what is there, and moves who is denied.
        """
        case.seed(_blue())
        was = _kept(case)
        plan = named_first(plan_for(_KEY, 50, 100), Strategy.RINGS, ("bob",), ("eve", "lea"))
        machine.rollouts.start(plan, "ring by ring")
        machine.go(_KEY, lambda: machine.rollouts.get(_KEY).state.entered)
        _serves(case, {"ada", "bob"})
        machine.go(_KEY, lambda: machine.rollouts.get(_KEY).state.step == 1)
        _serves(case, {"ada", "bob", "eve", "lea"})
        machine.go(_KEY, lambda: _weight(case) == 50_000)
        _serves(case, {"ada", "bob", "eve", "lea"}, others=True)
        assert machine.rollouts.rollback(_KEY, "enough").applied
        assert replace(_kept(case), version="") == replace(was, version="")
        _serves(case, {"ada"})

    @pytest.mark.rule("R3", "R8")
    @needs(Capability.SEGMENTS)
    def test_a_ring_may_be_a_segment(self, case: Case, machine: Machine) -> None:
        """Who belongs to it is served by a rule, which is gone once everybody is served.

        If this fails, check that ``put`` writes a rule on a segment after those that are there,
        and that ``restore`` takes it out again.
        """
        crew = Segment("crew", included=(Keys(frozenset({"bob", "lea"})),))
        case.seed(_blue(), segments=[crew])
        was = _kept(case)
        plan = named_first(plan_for(_KEY, 100), Strategy.RINGS, ("zoe",), segments=("crew",))
        machine.rollouts.start(plan, "ring by ring")
        machine.go(_KEY, lambda: machine.rollouts.get(_KEY).state.entered)
        _serves(case, {"ada", "zoe"})
        machine.go(_KEY, lambda: machine.rollouts.get(_KEY).state.step == 1)
        _serves(case, {"ada", "bob", "lea", "zoe"})
        machine.go(_KEY, lambda: machine.phase(_KEY) == "completed")
        assert _kept(case).rules == ()
        assert machine.rollouts.revert(_KEY, "worse").applied
        assert replace(_kept(case), version="") == replace(was, version="")

    @pytest.mark.rule("R4", "R8")
    @needs(Capability.SEGMENTS)
    def test_a_bad_segment_is_taken_back_exactly(self, case: Case, machine: Machine) -> None:
        """A guardrail that is broken while a segment is served brings back the flag of before.

        If this fails, check that ``restore`` takes out a rule that was written since.
        """
        crew = Segment("crew", included=(Keys(frozenset({"bob", "lea"})),))
        case.seed(_blue(), segments=[crew])
        was = _kept(case)
        plan = named_first(plan_for(_KEY, 100, guarded=True), Strategy.RELEASE, segments=("crew",))
        machine.rollouts.start(plan, "to the crew")
        machine.go(_KEY, lambda: machine.rollouts.get(_KEY).state.entered)
        machine.errors = 0.5
        machine.go(_KEY, lambda: machine.phase(_KEY) == "rolled_back")
        assert replace(_kept(case), version="") == replace(was, version="")

    @pytest.mark.rule("P4")
    def test_a_segment_is_refused_before_the_start_where_no_rule_can_name_it(
        self, case: Case, machine: Machine
    ) -> None:
        """Where the provider has no segments, a plan with one is refused with what can be done.

        If this fails, check that ``capabilities`` says what the provider can do.
        """
        if case.has(Capability.SEGMENTS):
            pytest.skip(f"declined: {case.writer.name} declares SEGMENTS")
        case.seed(_blue())
        plan = named_first(plan_for(_KEY, 100), Strategy.RELEASE, segments=("crew",))
        with pytest.raises(DocumentError) as refused:
            machine.rollouts.start(plan, "to the crew")
        (problem,) = refused.value.problems
        assert "no rules for segments" in problem.message
        assert "targeting keys" in (problem.hint or "")

    @pytest.mark.rule("P6", "R1")
    def test_a_step_that_the_backend_cannot_keep_is_refused_before_the_start(
        self, case: Case, machine: Machine
    ) -> None:
        """A percentage that ``set_rollout`` would refuse is told of at once, and not half-way.

        If this fails, check ``check_rollout``: it says what the backend refuses, and writes
        nothing.
        """
        case.seed(_blue())
        was = _kept(case)
        plan = plan_for(_KEY, 10, 12.5, 100)
        if not case.lacks(Feature.FINE_PERCENTAGES):
            machine.provider.check_rollout(_KEY, "on", [12_500], ["bob"])
            assert machine.rollouts.start(plan, "finer").state.live
        else:
            with pytest.raises(Refused):
                machine.provider.check_rollout(_KEY, "on", [12_500], ["bob"])
            with pytest.raises(DocumentError, match=r"12\.5 %"):
                machine.rollouts.start(plan, "finer")
        assert _kept(case) == was

    @pytest.mark.rule("E10", "R3", "R8")
    def test_a_portable_rollout_has_the_same_users_at_every_step(self, case: Case) -> None:
        """Declared portable, each step serves whom the core's own evaluator serves, and no others.

        If this fails, check that ``set_rollout`` and ``put`` of a flag that is declared portable
        write the rule on the integer attribute, and that ``restore`` brings it back.
        """
        if not case.has(Capability.FLAG_SET) and not offers(case.backend, "declare"):
            pytest.skip(f"declined: the backend of {case.writer.name} offers no declare")
        case.seed(Flag.boolean(_KEY, percent=0), portable=True)
        with machine_over(case.provider()) as machine:
            was = machine.provider.get(_KEY)
            assert was is not None
            weights = (2_500, 12_500, 50_000)
            machine.rollouts.start(
                plan_for(_KEY, *(weight / 1_000 for weight in weights)), "everywhere alike"
            )
            for weight in weights:
                machine.go(_KEY, lambda weight=weight: _weight(case) == weight)  # type: ignore[misc]
                _serves(case, _within(weight))
            assert machine.rollouts.rollback(_KEY, "enough").applied
            kept = machine.provider.get(_KEY)
            assert kept is not None
            assert replace(kept, version="") == replace(was, version="")

    @pytest.mark.rule("R8")
    def test_the_way_back_is_rehearsed_on_the_flag_as_the_backend_has_it(
        self, case: Case, machine: Machine
    ) -> None:
        """What is read of the flag is enough to prove the way back, and nothing is written for it.

        If this fails, check what ``get`` and ``list`` show of targets, percentages and buckets.
        """
        case.seed(_flag())
        was = _kept(case)
        plans = [
            plan_for(_KEY, 10, 50, 100),
            named_first(plan_for(_KEY, 100), Strategy.BLUE_GREEN, ("bob",)),
            named_first(plan_for(_KEY, 50, 100), Strategy.RINGS, ("bob",), ("eve",)),
        ]
        for plan in plans:
            found = machine.rollouts.rehearse(plan)
            assert found.held, found
            assert list(found.exposed) == sorted(found.exposed)
        assert _kept(case) == was


def _flag() -> Flag:
    return Flag.boolean(_KEY, percent=1, allow=["ada"], deny=["eve"])


def _blue() -> Flag:
    return Flag.boolean(_KEY, percent=0, allow=["ada"], deny=["eve"])


def _kept(case: Case) -> Flag:
    kept = case.writer.get(_KEY)
    assert kept is not None
    return kept


def _named(case: Case) -> set[str]:
    """Return the targets of ``on``."""
    return {key for one in _kept(case).targets if one.variant == "on" for key in one.keys}


def _serves(case: Case, users: set[str], *, others: bool = False) -> None:
    """Wait until an application serves these users, and nobody else unless ``others`` says so."""

    def holds() -> bool:
        found = enabled(flags, _KEY, _ASKED)
        return users < found if others else users == found

    with case.client() as flags:
        case.eventually(holds, f"{sorted(users)[:5]} and so on are served")


def _within(weight: int) -> set[str]:
    """Return for whom it is on by the core's own bucket."""
    with Flags.in_memory([Flag.boolean(_KEY, percent=weight / 1_000)]) as flags:
        return enabled(flags, _KEY, _ASKED)


def _weight(case: Case) -> int:
    """Return what the flag gives to ``on``, or 0 while it is off."""
    kept = _kept(case)
    return int(weight_of_variant(kept, "on")) if kept.on else 0
