"""Who always gets a variant, and who never does (rules E5 and P5)."""

from __future__ import annotations

import pytest

from downhaul.flag import Flag, Operator
from downhaul.provider import Capability
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.seeds import USERS, ruled, when


@needs(Feature.TARGETS)
class TargetsContract(Contract):
    """For every provider whose flags have targets."""

    group = "targets and deny"

    @pytest.mark.rule("E5")
    def test_a_target_is_served_at_nought_percent(self, case: Case) -> None:
        """Targets stand above the percentage.

        If this fails, check where your backend looks first.
        """
        case.seed(Flag.boolean("contract-allow", percent=0, allow=["ada", "grace"]))
        asked = ("ada", "grace", "eve", "bob")
        assert enabled(case.client(), "contract-allow", asked) == {"ada", "grace"}

    @pytest.mark.rule("E5")
    @needs(Feature.DENY)
    def test_a_deny_holds_at_a_hundred_percent(self, case: Case) -> None:
        """Who was taken out is out, whatever the percentage.

        If this fails, check where your backend looks first.
        """
        case.seed(Flag.boolean("contract-deny", percent=100, deny=["eve", "mallory"]))
        asked = ("ada", "eve", "mallory", "bob")
        assert enabled(case.client(), "contract-deny", asked) == {"ada", "bob"}

    @pytest.mark.rule("E5")
    @needs(Feature.RULES, Feature.DENY)
    def test_a_deny_wins_over_a_rule(self, case: Case) -> None:
        """A person who was taken out is out, whatever they match.

        If this fails, check that a deny stands on every strategy or rule of the flag.
        """
        denied = ruled("contract-gold", when("plan", Operator.IN, "gold"))
        targets = Flag.boolean("x", deny=["eve"]).targets
        case.seed(ruled(denied.key, *denied.rules, targets=targets))
        flags = case.client()
        gold = {"plan": "gold"}
        assert flags.is_enabled("contract-gold", {"targetingKey": "ada", **gold})
        assert not flags.is_enabled("contract-gold", {"targetingKey": "eve", **gold})

    @pytest.mark.rule("E5")
    def test_off_wins_over_a_target(self, case: Case) -> None:
        """A flag that is off is off for those on its list too.

        If this fails, check that the switch is looked at before the targets.
        """
        case.seed(Flag.boolean("contract-off", on=False, allow=["ada"]))
        assert not case.client().is_enabled("contract-off", "ada", default=True)

    @pytest.mark.rule("E5")
    def test_a_target_is_exact(self, case: Case) -> None:
        """Case, spaces and length count.

        If this fails, check for ``lower``, ``strip`` and matching by prefix.
        """
        case.seed(Flag.boolean("contract-exact", percent=0, allow=["ada", "42"]))
        flags = case.client()
        asked = ("ada", "Ada", " ada", "ada ", "ad", "adaa", "42", "042", "42.0", "")
        assert enabled(flags, "contract-exact", asked) == {"ada", "42"}

    @pytest.mark.rule("E5")
    def test_a_thousand_targets_are_all_served(self, case: Case) -> None:
        """Long lists are whole.

        If this fails, check for the longest list that your backend takes in one piece.
        """
        case.seed(Flag.boolean("contract-many", percent=0, allow=USERS))
        flags = case.client()
        assert len(enabled(flags, "contract-many", USERS)) == len(USERS)
        assert not flags.is_enabled("contract-many", "user-1000")

    @pytest.mark.rule("P5")
    @needs(Capability.READ, Capability.WRITE)
    def test_targets_that_are_set_are_the_only_ones(self, case: Case) -> None:
        """Setting replaces the list of its variant, and takes its keys out of the others.

        If this fails, check that ``set_targets`` doesn't add to the list that is there.
        """
        case.seed(Flag.boolean("contract-set", percent=0, allow=["ada", "bob"], deny=["eve"]))
        case.writer.set_targets("contract-set", "on", ["bob", "eve", "zoe"], CHANGE)
        asked = ("ada", "bob", "eve", "zoe", "mallory")
        with case.client() as flags:
            assert enabled(flags, "contract-set", asked) == {"bob", "eve", "zoe"}
        case.writer.set_targets("contract-set", "off", ["zoe"], CHANGE)
        with case.client() as flags:
            assert enabled(flags, "contract-set", asked) == {"bob", "eve"}
        case.writer.set_targets("contract-set", "on", [], CHANGE)
        with case.client() as flags:
            assert enabled(flags, "contract-set", asked) == set()
