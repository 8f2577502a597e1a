"""Rules on attributes, segments, prerequisites and kinds of contexts (rules E5 and E8)."""

from __future__ import annotations

import pytest

from downhaul import Context
from downhaul.flag import Flag, Keys, Operator, Prerequisite, Rule, Segment, Target
from downhaul.provider import Capability
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.base import Contract, needs
from downhaul_contract_tests.case import Case
from downhaul_contract_tests.seeds import in_segment, ruled, when


class TargetingContract(Contract):
    """For every provider whose flags have rules; the context reaches them whole."""

    group = "targeting"

    @pytest.mark.rule("E5")
    @needs(Feature.RULES)
    def test_an_attribute_decides(self, case: Case) -> None:
        """Attributes reach the rules by their names.

        If this fails, check that your provider hands the context's attributes on.
        """
        case.seed(ruled("contract-gold", when("plan", Operator.IN, "gold", "silver")))
        flags = case.client()
        for plan, served in (("Gold", False), ("", False), ("silver", True), ("gold", True)):
            assert flags.is_enabled("contract-gold", Context("ada", {"plan": plan})) is served
        assert not flags.is_enabled("contract-gold", "gold")

    @pytest.mark.rule("E5")
    @needs(Feature.RULES)
    def test_number_and_boolean_attributes_decide(self, case: Case) -> None:
        """An attribute is compared as what it is.

        If this fails, check how numbers and booleans are encoded for the vendor.
        """
        case.seed(
            ruled("contract-adult", when("age", Operator.GREATER_OR_EQUAL, 18)),
            ruled("contract-staff", when("staff", Operator.IN, True)),
        )
        flags = case.client()
        for age, served in ((17, False), (18, True), (19, True), (200, True), (-20, False)):
            assert flags.is_enabled("contract-adult", Context("ada", {"age": age})) is served
        for staff in (True, False):
            assert flags.is_enabled("contract-staff", Context("ada", {"staff": staff})) is staff

    @pytest.mark.rule("E8")
    @needs(Feature.RULES)
    def test_a_clause_on_a_missing_attribute_matches_nobody(self, case: Case) -> None:
        """Neither as it stands nor negated; None is missing.

        If this fails, check what the vendor does with a negated condition and no attribute: the
        rule that is sent has to ask whether it is there.
        """
        case.seed(
            ruled("contract-plain", when("plan", Operator.IN, "gold")),
            ruled("contract-negated", when("plan", Operator.IN, "gold", negate=True)),
        )
        flags = case.client()
        assert flags.is_enabled("contract-negated", Context("ada", {"plan": "free"}))
        assert not flags.is_enabled("contract-negated", Context("ada", {"plan": "gold"}))
        for context in (Context("ada"), Context("ada", {"plan": None})):
            assert not flags.is_enabled("contract-plain", context)
            assert not flags.is_enabled("contract-negated", context)

    @pytest.mark.rule("E5")
    @needs(Feature.RULES)
    def test_the_first_rule_that_matches_decides(self, case: Case) -> None:
        """Rules are asked in their order.

        If this fails, check the order in which rules are published, or written at the vendor.
        """
        case.seed(
            ruled(
                "contract-order",
                Rule("off", when("country", Operator.IN, "de").clauses),
                when("plan", Operator.IN, "gold"),
            )
        )
        flags = case.client()
        gold = {"plan": "gold"}
        assert flags.is_enabled("contract-order", Context("ada", {**gold, "country": "fr"}))
        assert not flags.is_enabled("contract-order", Context("ada", {**gold, "country": "de"}))

    @pytest.mark.rule("E1")
    @needs(Feature.RULES)
    def test_a_clients_context_lies_below_the_calls(self, case: Case) -> None:
        """What a call lacks comes from the client; what it says wins.

        If this fails, check that nothing of an earlier context is remembered.
        """
        case.seed(ruled("contract-gold", when("plan", Operator.IN, "gold")))
        plain = case.client()
        flags = plain.with_context({"plan": "gold"})
        assert not flags.is_enabled("contract-gold", Context("ada", {"plan": "free"}))
        assert flags.is_enabled("contract-gold", "ada")
        assert not plain.is_enabled("contract-gold", "ada")

    @pytest.mark.rule("E1")
    @needs(Feature.RULES)
    def test_asking_changes_no_context(self, case: Case) -> None:
        """The caller's mappings are as they were.

        If this fails, check that your provider copies before it adds an attribute.
        """
        case.seed(ruled("contract-gold", when("plan", Operator.IN, "gold")))
        flags = case.client()
        attributes = {"plan": "gold", "list": [1, 2]}
        asked = {"targetingKey": "ada", **attributes}
        assert flags.is_enabled("contract-gold", Context("ada", attributes))
        assert flags.is_enabled("contract-gold", asked)
        assert attributes == {"plan": "gold", "list": [1, 2]}
        assert asked == {"targetingKey": "ada", **attributes}

    @pytest.mark.rule("E5")
    @needs(Feature.SEVERAL_KINDS, Feature.TARGETS)
    def test_each_kind_of_a_context_is_matched_by_its_own_key(self, case: Case) -> None:
        """A user and an organisation of the same name are not the same.

        If this fails, check how contexts of several kinds are handed on.
        """
        target = Target("on", frozenset({"acme"}), context_kind="organisation")
        case.seed(Flag.boolean("contract-kinds", percent=0, targets=(target,)))
        flags = case.client()
        both = Context.multi(Context("ada"), Context("acme", kind="organisation"))
        assert flags.is_enabled("contract-kinds", both)
        assert not flags.is_enabled("contract-kinds", "acme")

    @pytest.mark.rule("E5")
    @needs(Feature.PREREQUISITES)
    def test_a_prerequisite_holds_a_flag_back(self, case: Case) -> None:
        """A flag whose prerequisite is off serves its off variant.

        If this fails, check how prerequisites are published.
        """
        case.seed(
            Flag.boolean("contract-base"),
            Flag.boolean("contract-down", on=False),
            Flag.boolean("contract-free", prerequisites=(Prerequisite("contract-base"),)),
            Flag.boolean("contract-held", prerequisites=(Prerequisite("contract-down"),)),
        )
        flags = case.client()
        assert flags.is_enabled("contract-free", "ada")
        assert not flags.is_enabled("contract-held", "ada", default=True)

    @pytest.mark.rule("E5")
    @needs(Capability.SEGMENTS)
    def test_a_segment_decides(self, case: Case) -> None:
        """Included is in, excluded is out.

        If this fails, check that segments are published before the flags that name them.
        """
        staff = Segment(
            "contract-staff",
            included=(Keys(frozenset({"ada", "grace"})),),
            excluded=(Keys(frozenset({"eve"})),),
        )
        case.seed(in_segment("contract-segment", staff.key), segments=[staff])
        flags = case.client()
        on = {user: flags.is_enabled("contract-segment", user) for user in ("ada", "eve", "bob")}
        assert on == {"ada": True, "eve": False, "bob": False}
