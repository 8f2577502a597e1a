"""Keys and values in any language, and some that mean harm (rules E1 and P5)."""

from __future__ import annotations

from typing import Final

import pytest

from downhaul import Context
from downhaul.flag import Flag, Operator
from downhaul.provider import Capability
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.seeds import ON, ruled, when

HOSTILE: Final = (
    "naïve",
    "漢字かな",
    "مفتاح",
    "🏴‍☠️",
    "with space",
    "tab\tand\nline",
    "a/b/../c",
    "'; DROP TABLE flags; --",
    '"quoted"',
    "<script>alert(1)</script>",
    "%s%d%%",
    "{0}{key}${HOME}",
    "\\u0041",
    "a" * 1_000,
    "\u202ereversed",
    "e\u0301",  # not the same text as é
    "é",
    "NULL",
    "0",
    "-1",
    "1e3",
    "true",
)

FLAGS: Final = (
    *(
        "naïve",
        "漢字かな",
        "مفتاح",
        "🎈",
        "é",
        "e\u0301",
        "NULL",
        "0",
        "1e3",
        "true",
        "..",
        "a/b/../c",
    ),
    *("<script>alert(1)</script>", "%s%d%%", "{0}{key}${HOME}", "\\u0041", "a&b=c?d", "[x]", "a|b"),
    *("@home", "x" * 200),
)
"""Keys of flags: such as Downhaul itself takes."""


class NamesContract(Contract):
    """For every provider."""

    group = "unicode and hostile keys"

    @pytest.mark.rule("E1")
    @needs(Feature.TARGETS)
    def test_any_text_is_a_targeting_key(self, case: Case) -> None:
        """Who is on a list is served, and nobody who is written alike.

        If this fails, check how targets are quoted, split and normalised on the way.
        """
        case.seed(
            *(
                Flag.boolean(f"contract-key-{number}", percent=0, allow=[key])
                for number, key in enumerate(HOSTILE)
            )
        )
        flags = case.client()
        for number, key in enumerate(HOSTILE):
            assert enabled(flags, f"contract-key-{number}", HOSTILE) == {key}

    @pytest.mark.rule("E1")
    @needs(Feature.RULES)
    def test_any_text_is_an_attribute(self, case: Case) -> None:
        """A rule on a text matches that text alone.

        If this fails, check how values of clauses are quoted, split and normalised on the way.
        """
        chosen = ("漢字かな", "'; DROP TABLE flags; --", "a,b", "é", "🏴‍☠️")
        case.seed(ruled("contract-text", when("city", Operator.IN, *chosen)))
        flags = case.client()
        for text in (*chosen, "a", "b", "e\u0301", "漢字"):
            found = flags.is_enabled("contract-text", Context("ada", {"city": text}))
            assert found is (text in chosen), text

    @pytest.mark.rule("E1")
    def test_a_split_takes_any_targeting_key(self, case: Case) -> None:
        """Every text has a bucket, and always the same one.

        If this fails, check the encoding of keys that are hashed.
        """
        case.seed(Flag.boolean("contract-half", percent=50))
        flags = case.client()
        results = [flags.evaluate("contract-half", key, default=False) for key in HOSTILE]
        assert all(one.authoritative for one in results)
        assert [flags.is_enabled("contract-half", key) for key in HOSTILE] == [
            one.value for one in results
        ]

    @pytest.mark.rule("E1")
    def test_what_is_no_text_at_all_raises_nothing(self, case: Case) -> None:
        """Lone surrogates, odd objects and unknown keys are answered.

        If this fails, check for an encoding that raises within ``resolve``.
        """
        case.seed(ON, Flag.boolean("contract-half", percent=50))
        flags = case.client()
        odd = (
            "\ud800",
            {"targetingKey": "ada", "x": object()},
            {"targetingKey": "ada", "x": float("nan")},
            {"targetingKey": "ada", "x": {"deep": [1, {"y": {1, 2}}]}},
            {"targetingKey": "ada", "\ud800": "\udfff"},
            {"targetingKey": "ada", "x": 10**400},
        )
        for context in odd:
            for key in (ON.key, "contract-half", "contract-missing", "\ud800", ""):
                result = flags.evaluate(key, context, default=False)
                assert type(result.value) is bool
                assert flags.is_enabled(key, context) in (True, False)

    @pytest.mark.rule("E3")
    def test_an_unknown_key_of_any_kind_is_not_found(self, case: Case) -> None:
        """A key that means something to somebody means nothing here.

        If this fails, check how keys get into paths, queries and patterns.
        """
        case.seed(ON)
        flags = case.client()
        for key in (*HOSTILE, "*", "contract-*", "CONTRACT-ON", " contract-on", "contract-on/"):
            result = flags.evaluate(key, "ada", default=False)
            assert (result.value, result.authoritative) == (False, False), key

    @pytest.mark.rule("E1", "P5")
    @needs(Feature.ANY_KEYS)
    def test_any_text_is_the_key_of_a_flag(self, case: Case) -> None:
        """Flags in any language are served, each for itself.

        If this fails, check how keys get into paths and queries, and what normalises them.
        """
        names = FLAGS
        case.seed(*(Flag.boolean(name, on=number % 2 == 0) for number, name in enumerate(names)))
        flags = case.client()
        on = [flags.is_enabled(name, "ada") for name in names]
        assert on == [number % 2 == 0 for number in range(len(names))]
        if case.has(Capability.READ) and case.has(Capability.WRITE):
            for name in names:
                assert case.writer.switch_off(name, CHANGE).key == name
            assert not any(one.on for one in case.writer.list().flags.values())
