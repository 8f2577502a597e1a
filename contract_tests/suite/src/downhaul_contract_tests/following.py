"""Changes that somebody else makes are heard, all of them and in their order (rule P1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul.result import ErrorCode
from downhaul_contract_tests.backend import Feature, Offer
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.seeds import OFF, ON


@needs(Capability.WATCH, Offer.CHANGE)
class FollowingContract(Contract):
    """For providers with WATCH."""

    group = "events and ordering"

    @pytest.mark.rule("E1")
    def test_a_change_made_elsewhere_is_served(self, case: Case) -> None:
        """A running application needs no restart.

        If this fails, check that your provider follows its backend after the first payload.
        """
        case.seed(OFF)
        flags = case.client()
        assert not flags.is_enabled(OFF.key, "ada")
        case.change(replace(OFF, on=True))
        case.eventually(lambda: flags.is_enabled(OFF.key, "ada"), "the flag is on")
        case.change(replace(OFF, on=False))
        case.eventually(lambda: not flags.is_enabled(OFF.key, "ada"), "the flag is off again")

    @pytest.mark.rule("E1")
    def test_whoever_listens_is_told_which_flag_changed(self, case: Case) -> None:
        """``on_change`` names the flag, and no flag that stayed.

        If this fails, check that ``replaced`` or ``changed`` is called with the new state, and that
        a flag's version moves only when it changes.
        """
        case.seed(OFF, ON)
        flags = case.client()
        told: list[frozenset[str]] = []
        flags.on_change(told.append)
        case.change(replace(OFF, on=True))
        case.eventually(lambda: any(OFF.key in keys for keys in told), "the change is told")
        assert not any(ON.key in keys for keys in told)

    @pytest.mark.rule("E1")
    def test_the_end_of_an_unsubscribed_listener_is_heeded(self, case: Case) -> None:
        """Who asked not to be told is not told.

        If this fails, check who else keeps the callback.
        """
        case.seed(OFF)
        flags = case.client()
        told: list[frozenset[str]] = []
        flags.on_change(told.append)()
        case.change(replace(OFF, on=True))
        case.eventually(lambda: flags.is_enabled(OFF.key, "ada"), "the flag is on")
        assert told == []

    @pytest.mark.rule("E1")
    def test_the_last_of_many_changes_is_what_is_served(self, case: Case) -> None:
        """Changes do not overtake each other.

        If this fails, check that an older version never replaces a newer one.
        """
        case.seed(OFF)
        flags = case.client()
        for number in range(11):
            case.change(replace(OFF, on=number % 2 == 0))
        case.eventually(lambda: flags.is_enabled(OFF.key, "ada"), "the last change is served")
        again = case.client()
        assert again.is_enabled(OFF.key, "ada")

    @pytest.mark.rule("E1")
    def test_a_new_flag_is_served(self, case: Case) -> None:
        """Flags come while the application runs.

        If this fails, check that what isn't there yet is not remembered as missing.
        """
        case.seed(ON)
        flags = case.client()
        new = Flag.boolean("contract-new")
        assert flags.evaluate(new.key, "ada").error_code is ErrorCode.FLAG_NOT_FOUND
        case.change(new)
        case.eventually(lambda: flags.is_enabled(new.key, "ada"), "the new flag is served")

    @pytest.mark.rule("E3")
    @needs(Capability.WRITE)
    def test_a_flag_that_is_gone_is_not_found(self, case: Case) -> None:
        """A deleted flag is the caller's default, and not what it was.

        If this fails, check that deletions are told, and that archived flags count as gone.
        """
        case.seed(ON, OFF)
        flags = case.client()
        case.writer.delete(ON.key, CHANGE)
        case.eventually(
            lambda: flags.evaluate(ON.key, "ada").error_code is ErrorCode.FLAG_NOT_FOUND,
            "the flag is gone",
        )
        assert flags.evaluate(OFF.key, "ada").authoritative

    @pytest.mark.rule("P5", "E7")
    @needs(Capability.WRITE, Feature.TARGETS)
    def test_every_narrow_verb_reaches_a_running_client(self, case: Case) -> None:
        """What an operator does is served a moment later.

        If this fails, check that each write makes the backend tell its clients.
        """
        flag = Flag.boolean("contract-verbs", percent=0, on=False)
        case.seed(flag)
        flags = case.client()
        asked = ("ada", "eve")
        case.writer.set_targets(flag.key, "on", ["ada"], CHANGE)
        case.writer.switch_on(flag.key, CHANGE)
        case.eventually(lambda: enabled(flags, flag.key, asked) == {"ada"}, "the target is served")
        case.writer.set_rollout(flag.key, "on", 100_000, CHANGE)
        case.eventually(lambda: enabled(flags, flag.key, asked) == set(asked), "all are served")
        case.writer.switch_off(flag.key, CHANGE)
        case.eventually(lambda: not enabled(flags, flag.key, asked), "nobody is served")
