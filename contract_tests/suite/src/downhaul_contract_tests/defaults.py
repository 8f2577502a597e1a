"""The caller's default and the off variant: when which, and with what error (rules E3, E4, E8)."""

from __future__ import annotations

from typing import Any

import pytest

from downhaul import Context
from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul.result import ErrorCode, Reason
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.base import Contract, needs
from downhaul_contract_tests.case import Case
from downhaul_contract_tests.seeds import OFF, ON, text


class DefaultsContract(Contract):
    """For every provider."""

    group = "defaults and errors"

    @pytest.mark.rule("E3", "E4")
    @pytest.mark.parametrize("default", [True, False, 7, 0.5, "text", {"a": 1}], ids=repr)
    def test_an_unknown_flag_is_the_default_and_says_so(self, case: Case, default: Any) -> None:
        """What the backend doesn't have is FLAG_NOT_FOUND on every backend.

        If this fails, check what your SDK answers for a missing flag: its excuse value must not
        be taken for one of the flag's.
        """
        case.seed(ON)
        result = case.client().evaluate("contract-missing", "ada", default=default)
        assert (result.value, type(result.value)) == (default, type(default))
        assert (result.error_code, result.reason) == (ErrorCode.FLAG_NOT_FOUND, Reason.ERROR)
        assert not result.authoritative
        assert result.variant is None

    @pytest.mark.rule("E4")
    def test_off_is_the_off_variant_and_not_the_default(self, case: Case) -> None:
        """A caller's default of True must not turn a flag on that is off.

        If this fails, check that a disabled flag serves its off variant.
        """
        case.seed(OFF)
        flags = case.client()
        result = flags.evaluate(OFF.key, "ada", default=True)
        assert (result.value, result.variant, result.authoritative) == (False, "off", True)
        assert not flags.is_enabled(OFF.key, "ada", default=True)

    @pytest.mark.rule("E4")
    @needs(Feature.TEXTS)
    def test_off_is_the_off_variant_of_a_text_too(self, case: Case) -> None:
        """The off variant has a value of its own.

        If this fails, check that a disabled flag serves its off variant.
        """
        case.seed(text("contract-old", on=False))
        other = case.client().evaluate("contract-old", "ada", default="none")
        assert (other.value, other.variant) == ("old", "old")

    @pytest.mark.rule("E4")
    def test_off_has_the_reason_disabled(self, case: Case) -> None:
        """Off is told apart from a rule that says no.

        If this fails, check how your provider knows that a flag is switched off.
        """
        case.seed(OFF)
        assert case.client().evaluate(OFF.key, "ada").reason is Reason.DISABLED

    @pytest.mark.rule("E4")
    def test_a_flag_for_everybody_has_the_reason_static_or_default(self, case: Case) -> None:
        """Nothing matched, because there was nothing to match.

        If this fails, check how the vendor's reasons are mapped to the closed set.
        """
        case.seed(ON)
        assert case.client().evaluate(ON.key, "ada").reason in (Reason.STATIC, Reason.DEFAULT)

    @pytest.mark.rule("E4")
    @needs(Feature.TARGETS)
    def test_a_target_has_the_reason_targeting_match(self, case: Case) -> None:
        """A target is told apart from luck in the split.

        If this fails, check how the vendor's reasons are mapped to the closed set.
        """
        case.seed(Flag.boolean("contract-target", percent=0, allow=["ada"]))
        result = case.client().evaluate("contract-target", "ada")
        assert (result.value, result.reason) == (True, Reason.TARGETING_MATCH)

    @pytest.mark.rule("E4")
    def test_a_split_has_the_reason_split(self, case: Case) -> None:
        """Who is in by the percentage is told so.

        If this fails, check how the vendor's reasons are mapped to the closed set.
        """
        case.seed(Flag.boolean("contract-half", percent=50))
        flags = case.client()
        reasons = {flags.evaluate("contract-half", f"user-{one}").reason for one in range(20)}
        assert reasons == {Reason.SPLIT}

    @pytest.mark.rule("E8")
    @needs(Feature.BUCKETS)
    @pytest.mark.parametrize("default", [True, False])
    def test_a_split_without_a_targeting_key_is_the_default(
        self, case: Case, default: bool
    ) -> None:
        """Nobody is in or out by chance of having no key.

        If this fails, check that a missing key reaches the backend as missing, and never as the
        text "None" or as a random one.
        """
        case.seed(Flag.boolean("contract-half", percent=50))
        result = case.client().evaluate("contract-half", {"plan": "gold"}, default=default)
        assert (result.value, result.authoritative) == (default, False)
        assert result.error_code is ErrorCode.TARGETING_KEY_MISSING

    @pytest.mark.rule("E7", "E8")
    def test_without_a_split_no_targeting_key_is_needed(self, case: Case) -> None:
        """On is on and off is off for whoever asks.

        If this fails, check what your SDK does without a key: give it one where it must have one.
        """
        case.seed(ON, OFF)
        flags = case.client()
        for context in (None, {}, "", {"plan": "gold"}):
            assert flags.evaluate(ON.key, context, default=False).value is True
            assert flags.evaluate(OFF.key, context, default=True).value is False

    @pytest.mark.rule("E8")
    @needs(Feature.TARGETS)
    def test_a_missing_targeting_key_is_not_the_text_none(self, case: Case) -> None:
        """A key that is missing must not be turned into a text.

        If this fails, check for ``str(context.targeting_key)``.
        """
        names = ["None", "null", "anonymous", "undefined"]
        case.seed(Flag.boolean("contract-named", percent=0, allow=names))
        flags = case.client()
        assert flags.is_enabled("contract-named", "None")
        for context in (None, {}, "", {"plan": "gold"}):
            assert flags.is_enabled("contract-named", context, default=False) is False

    @pytest.mark.rule("E1", "E3")
    @pytest.mark.parametrize(
        "context", [3.5, object(), b"ada", ["ada"]], ids=lambda one: type(one).__name__
    )
    def test_what_is_no_context_is_told(self, case: Case, context: Any) -> None:
        """A mistake of the caller's is a result, and no exception.

        If this fails, check that ``resolve`` is not reached with what is no context.
        """
        case.seed(ON)
        result = case.client().evaluate(ON.key, context, default=False)
        assert (result.value, result.error_code) == (False, ErrorCode.INVALID_CONTEXT)
        assert not result.authoritative

    @pytest.mark.rule("E1")
    @needs(Capability.RESOLVE)
    def test_resolving_raises_nothing(self, case: Case) -> None:
        """What goes wrong in ``resolve`` is a result with a code.

        If this fails, check for exceptions of your SDK, and that the flag's key is in the result.
        """
        case.seed(ON)
        flags = case.client()
        provider = flags.operator("contract").provider
        for key in (ON.key, "contract-missing", "", "\ud800", "a" * 5_000):
            for context in (Context(), Context("ada"), Context("ada", {"odd": object()})):
                result = provider.resolve(key, context, None)
                assert type(result.reason) is Reason
                if not result.authoritative:
                    assert result.value is None
                    assert result.error_code is not None
        gone = provider.resolve("contract-missing", Context("ada"), None)
        assert (gone.error_code, gone.flag) == (ErrorCode.FLAG_NOT_FOUND, "contract-missing")
