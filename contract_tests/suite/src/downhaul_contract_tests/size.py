"""Five thousand flags (rule E1)."""

from __future__ import annotations

import pytest

from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul_contract_tests.base import Contract
from downhaul_contract_tests.case import Case

_FLAGS = 5_000


class SizeContract(Contract):
    """For every provider."""

    group = "size"

    @pytest.mark.slow
    @pytest.mark.rule("E1")
    def test_five_thousand_flags_are_all_served_and_listed(self, case: Case) -> None:
        """An organisation's flags fit.

        If this fails, check the paging of your API, and the largest payload that it sends.
        """
        keys = [f"contract-{number:04d}" for number in range(_FLAGS)]
        case.seed(*(Flag.boolean(key, on=number % 2 == 0) for number, key in enumerate(keys)))
        flags = case.client()
        assert [flags.is_enabled(key, "ada") for key in keys] == [
            number % 2 == 0 for number in range(_FLAGS)
        ]
        assert len(flags.evaluate_all("ada")) == _FLAGS
        if case.has(Capability.READ):
            assert sorted(case.writer.list().flags) == keys
