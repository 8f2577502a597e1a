"""A kill above every provider, and the way back (rules K1 to K5)."""

from __future__ import annotations

import pytest

from downhaul import Flags
from downhaul.backends.memory import MemoryControl
from downhaul.control.results import AtProvider
from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul.result import Reason
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.seeds import OFF, ON, USERS, needing, text

_KEY = "contract-kill"


class KillingContract(Contract):
    """For every provider: killing needs no capability."""

    group = "kill and revive"

    @pytest.mark.rule("K1", "K2", "P4")
    def test_a_kill_wins_over_everything_the_backend_says(self, case: Case) -> None:
        """Targets, percentage and the caller's default notwithstanding.

        If this fails, check that your provider publishes the flag with its off variant.
        """
        case.seed(Flag.boolean(_KEY, percent=100, allow=["ada"]), ON)
        flags = case.client()
        assert flags.is_enabled(_KEY, "ada")
        _kill(case, flags, _KEY)
        for user in ("ada", "bob", None):
            result = flags.evaluate(_KEY, user, default=True)
            assert (result.value, result.variant, result.reason) == (False, "off", Reason.KILLED)
            assert not flags.is_enabled(_KEY, user, default=True)
        assert flags.is_enabled(ON.key, "ada")

    @pytest.mark.rule("K2")
    @needs(Feature.TEXTS)
    def test_a_killed_string_serves_its_off_variant(self, case: Case) -> None:
        """The safe value is the flag's, not the caller's.

        If this fails, check the off variant and its value in what your provider publishes.
        """
        case.seed(text())
        flags = case.client()
        _kill(case, flags, "contract-text")
        result = flags.evaluate("contract-text", "ada", default="none")
        assert (result.value, result.variant, result.reason) == ("old", "old", Reason.KILLED)

    @pytest.mark.rule("K2")
    def test_killing_everything_covers_flags_that_nobody_knows(self, case: Case) -> None:
        """A boolean that nobody knows is False then.

        If this fails, check that an unknown flag reaches the core's own answer.
        """
        case.seed(ON)
        flags = case.client()
        flags.operator("contract").kill("*", "to see it hold")
        case.eventually(lambda: not flags.is_enabled(ON.key, "ada"), "everything is killed")
        assert flags.evaluate("contract-missing", "ada", default=True).value is False

    @pytest.mark.rule("K1", "K4")
    @needs(Feature.TAGS)
    def test_killing_a_tag_kills_the_flags_that_bear_it(self, case: Case) -> None:
        """Others go on.

        If this fails, check the tags in what your provider publishes, or the declarations.
        """
        case.seed(Flag.boolean(_KEY, tags=("agents",)), Flag.boolean("contract-free"))
        flags = case.client()
        flags.operator("contract").kill("tag:agents", "to see it hold")
        case.eventually(lambda: not flags.is_enabled(_KEY, "ada", default=True), "it is killed")
        assert flags.is_enabled("contract-free", "ada")

    @pytest.mark.rule("K1", "K5")
    @needs(Capability.READ, Capability.WRITE)
    def test_no_write_lifts_a_kill(self, case: Case) -> None:
        """Whatever is done to the flag, it stays killed.

        If this fails, check that nothing in your provider remembers or clears kills.
        """
        case.seed(Flag.boolean(_KEY, percent=10))
        flags = case.client()
        _kill(case, flags, _KEY)
        case.writer.switch_on(_KEY, CHANGE)
        case.writer.set_rollout(_KEY, "on", 100_000, CHANGE)
        case.writer.set_targets(_KEY, "on", ["ada"], CHANGE)
        again = case.client(control=flags.operator("contract").control)
        for asked in (flags, again):
            result = asked.evaluate(_KEY, "ada", default=True)
            assert (result.value, result.reason) == (False, Reason.KILLED)

    @pytest.mark.rule("K5")
    def test_a_revive_as_was_brings_back_what_was(self, case: Case) -> None:
        """The same users are served as before the kill.

        If this fails, check that ``switch_off`` changes the switch alone.
        """
        case.seed(Flag.boolean(_KEY, percent=25))
        flags = case.client()
        before = enabled(flags, _KEY, USERS)
        _kill(case, flags, _KEY)
        assert enabled(flags, _KEY, USERS) == set()
        operator = flags.operator("contract")
        operator.revive(_KEY, "it is out", as_was=True)
        _switched_on(case)
        case.eventually(lambda: enabled(flags, _KEY, USERS) == before, "all is as before")

    @pytest.mark.rule("K5")
    @needs(Capability.READ, Capability.WRITE, Capability.WATCH)
    def test_a_revive_begins_at_the_first_step(self, case: Case) -> None:
        """A flag at a percentage comes back at one percent, of those who had it.

        If this fails, check that ``set_rollout`` works on a flag that is off.
        """
        case.seed(Flag.boolean(_KEY, percent=50))
        flags = case.client()
        before = enabled(flags, _KEY, USERS)
        _kill(case, flags, _KEY)
        flags.operator("contract").revive(_KEY, "it is out")
        _switched_on(case)
        case.eventually(lambda: bool(enabled(flags, _KEY, USERS)), "some are served again")
        after = enabled(flags, _KEY, USERS)
        assert after < before
        assert len(after) < 40

    @pytest.mark.rule("K1")
    @needs(Capability.READ, Capability.WRITE)
    def test_a_kill_switches_the_flag_off_at_the_backend(self, case: Case) -> None:
        """Kills that are kept elsewhere are told to the backend too, once.

        If this fails, check that ``switch_off`` comes back within five seconds.
        """
        case.seed(Flag.boolean(_KEY, percent=50))
        flags = case.client(control=MemoryControl())
        killed = flags.operator("contract").kill(_KEY, "to see it hold")
        assert killed.at_provider is AtProvider.SWITCHED_OFF, killed.warnings
        kept = case.provider().get(_KEY)
        assert kept is not None
        assert not kept.on

    @pytest.mark.rule("K1", "P4")
    def test_a_kill_is_announced_to_whoever_listens(self, case: Case) -> None:
        """``on_change`` tells of kills and revives.

        If this fails, check that what your provider publishes has the flag.
        """
        case.seed(ON, OFF)
        flags = case.client()
        told: list[frozenset[str]] = []
        flags.on_change(told.append)
        _kill(case, flags, ON.key)
        case.eventually(lambda: any(ON.key in keys for keys in told), "the kill is told")
        assert not any(OFF.key in keys for keys in told)

    @pytest.mark.rule("K2")
    @needs(Feature.PREREQUISITES)
    def test_a_killed_prerequisite_holds_a_flag_back(self, case: Case) -> None:
        """Who needs what is killed is off.

        If this fails, check how prerequisites are published.
        """
        need = Flag.boolean("contract-base")
        case.seed(need, needing("contract-needs", need.key))
        flags = case.client()
        assert flags.is_enabled("contract-needs", "ada")
        _kill(case, flags, need.key)
        assert not flags.is_enabled("contract-needs", "ada", default=True)


def _kill(case: Case, flags: Flags, key: str) -> None:
    flags.operator("contract").kill(key, "to see it hold")
    case.eventually(
        lambda: flags.evaluate(key, "ada", default=None).reason is Reason.KILLED, "it is killed"
    )


def _switched_on(case: Case) -> None:
    """Switch the flag on again where the kill switched it off at the backend."""
    if case.has(Capability.WRITE) and case.has(Capability.READ):
        kept = case.writer.get(_KEY)
        if kept is not None and not kept.on:
            case.writer.switch_on(_KEY, CHANGE)
