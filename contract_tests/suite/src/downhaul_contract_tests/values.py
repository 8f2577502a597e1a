"""Values as they are kept, and the type that is asked for (rules E1 and E2)."""

from __future__ import annotations

from typing import Any

import pytest

from downhaul.flag import Flag, FlagKind
from downhaul.result import ErrorCode, Reason
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.base import Contract, needs
from downhaul_contract_tests.case import Case
from downhaul_contract_tests.seeds import OFF, ON, USERS, of_kind, text

_OBJECT = {"steps": [1, 2.5, "three", None, True], "deep": {"é": {"ü": ""}}, "empty": {}}


class ValuesContract(Contract):
    """For every provider."""

    group = "evaluation and types"

    @pytest.mark.rule("E1")
    def test_a_boolean_flag_serves_its_value(self, case: Case) -> None:
        """Value, variant and provider are in the result.

        If this fails, check which variant names your provider gives to a boolean: ``on``, ``off``.
        """
        case.seed(ON)
        flags = case.client()
        result = flags.evaluate(ON.key, "ada", default=False)
        assert (result.value, result.variant, result.error_code) == (True, "on", None)
        assert result.authoritative
        assert result.provider == case.writer.name
        assert result.flag == ON.key
        assert flags.is_enabled(ON.key, "ada")
        assert flags.value(ON.key, "ada", False) is True

    @pytest.mark.rule("E1")
    @needs(Feature.TEXTS)
    def test_a_string_flag_serves_its_value(self, case: Case) -> None:
        """A string is enabled where it serves another variant than the off variant.

        If this fails, check the kind and the off variant that your provider tells of the flag.
        """
        flag = text()
        case.seed(flag, text("contract-old", on=False))
        flags = case.client()
        result = flags.evaluate(flag.key, "ada", default="none")
        assert (result.value, result.variant, result.authoritative) == ("new", "new", True)
        assert flags.is_enabled(flag.key, "ada")
        assert not flags.is_enabled("contract-old", "ada", default=True)

    @pytest.mark.rule("E1")
    @needs(Feature.VALUES)
    def test_an_empty_string_is_a_value(self, case: Case) -> None:
        """An empty text is served, and is not the caller's default.

        If this fails, check for an ``or`` where ``is None`` was meant.
        """
        case.seed(of_kind("contract-empty", FlagKind.STRING, {"none": "", "some": "text"}))
        result = case.client().evaluate("contract-empty", "ada", default="default")
        assert (result.value, result.variant, result.authoritative) == ("", "none", True)

    @pytest.mark.rule("E2")
    @needs(Feature.NUMBERS)
    def test_whole_numbers_and_others_are_told_apart(self, case: Case) -> None:
        """A whole number stays one; asked as a float it becomes one, and no other way round.

        If this fails, check for ``int(value)``, and for JSON read with floats only.
        """
        case.seed(
            of_kind("contract-whole", FlagKind.NUMBER, {"ten": 10, "none": 0}),
            of_kind("contract-part", FlagKind.NUMBER, {"half": 0.5, "none": 0}),
        )
        flags = case.client()
        whole = flags.value("contract-whole", "ada", 1)
        assert (whole, type(whole)) == (10, int)
        wider = flags.value("contract-whole", "ada", 1.5)
        assert (wider, type(wider)) == (10.0, float)
        assert flags.value("contract-part", "ada", 1.5) == 0.5
        cut = flags.evaluate("contract-part", "ada", default=7)
        assert (cut.value, cut.error_code) == (7, ErrorCode.TYPE_MISMATCH)

    @pytest.mark.rule("E2")
    @needs(Feature.NUMBERS)
    def test_zero_is_a_value(self, case: Case) -> None:
        """Nothing is taken for missing because it is zero.

        If this fails, check for an ``or`` where ``is None`` was meant.
        """
        case.seed(of_kind("contract-zero", FlagKind.NUMBER, {"zero": 0, "one": 1}))
        result = case.client().evaluate("contract-zero", "ada", default=7)
        assert (result.value, type(result.value), result.authoritative) == (0, int, True)

    @pytest.mark.rule("E2")
    @needs(Feature.NUMBERS)
    def test_a_large_whole_number_is_exact(self, case: Case) -> None:
        """2^53 + 1 comes back as it was put in.

        If this fails, check where your backend keeps numbers as IEEE doubles.
        """
        large = 2**53 + 1
        case.seed(of_kind("contract-large", FlagKind.NUMBER, {"large": large, "none": 0}))
        assert case.client().value("contract-large", "ada", 1) == large

    @pytest.mark.rule("E1")
    @needs(Feature.OBJECTS)
    def test_an_object_is_served_whole(self, case: Case) -> None:
        """Nesting, types and an empty part survive.

        If this fails, check how your provider encodes and decodes a JSON object.
        """
        case.seed(of_kind("contract-object", FlagKind.OBJECT, {"full": _OBJECT, "none": {}}))
        assert repr(case.client().value("contract-object", "ada", {"x": 1})) == repr(_OBJECT)

    @pytest.mark.rule("E2", "E4")
    @pytest.mark.parametrize("default", [0, 1, 1.0, "on", {"a": 1}], ids=repr)
    def test_a_boolean_asked_as_another_type_is_the_default(self, case: Case, default: Any) -> None:
        """A boolean is no number and no text.

        If this fails, check that nothing turns the value into the type of the default.
        """
        case.seed(ON)
        result = case.client().evaluate(ON.key, "ada", default=default)
        assert (result.value, type(result.value)) == (default, type(default))
        assert (result.error_code, result.reason) == (ErrorCode.TYPE_MISMATCH, Reason.ERROR)
        assert not result.authoritative
        assert result.variant is None

    @pytest.mark.rule("E2", "E4")
    @needs(Feature.TEXTS)
    @pytest.mark.parametrize("default", [True, False, 0, 1.5], ids=repr)
    def test_a_string_asked_as_another_type_is_the_default(self, case: Case, default: Any) -> None:
        """A text that is not empty is not true.

        If this fails, check for ``bool(value)``, and how the kind of a flag is known.
        """
        case.seed(text())
        result = case.client().evaluate("contract-text", "ada", default=default)
        assert (result.value, type(result.value)) == (default, type(default))
        assert result.error_code is ErrorCode.TYPE_MISMATCH
        assert not result.authoritative

    @pytest.mark.rule("E1")
    def test_every_way_to_ask_has_the_same_answer(self, case: Case) -> None:
        """One decision stands behind all calls.

        If this fails, check that ``resolve`` depends on flag and context alone.
        """
        half = Flag.boolean("contract-half", percent=50)
        case.seed(ON, OFF, half)
        flags = case.client()
        for key in (ON.key, OFF.key, half.key):
            many = flags.evaluate_many(key, list(USERS[:50]), default=False)
            for user, result in zip(USERS[:50], many, strict=True):
                value = flags.evaluate(key, user, default=False).value
                assert value is result.value is flags.is_enabled(key, user)
                assert value is flags.value(key, {"targetingKey": user}, False)

    @pytest.mark.rule("E1")
    def test_all_flags_at_once_are_as_each_alone(self, case: Case) -> None:
        """``evaluate_all`` has the flags that are there, and no other answer for any.

        If this fails, check that what your provider publishes has every flag of the backend.
        """
        seeded = (ON, OFF) if case.lacks(Feature.TEXTS) else (ON, OFF, text())
        case.seed(*seeded)
        flags = case.client()
        found = flags.evaluate_all("ada")
        assert sorted(found) == sorted(flag.key for flag in seeded)
        for key, result in found.items():
            assert result.value == flags.evaluate(key, "ada").value

    @pytest.mark.rule("E1")
    @needs(Feature.TELLS_VERSION)
    def test_a_result_says_the_version_of_its_flag(self, case: Case) -> None:
        """Whoever reads a log can tell which state of the flag was served.

        If this fails, check ``flag_version`` of your results: opaque, and not empty.
        """
        case.seed(ON)
        assert case.client().evaluate(ON.key, "ada").flag_version
