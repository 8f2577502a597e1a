"""The contract of providers, on what reads flags of a team's own."""

import pytest
from downhaul_contract_tests.bindings_in_house import (
    TestEnvironment,
    TestFlipper,
    TestPlain,
    TestTable,
    TestWaffle,
)

__all__ = ["TestEnvironment", "TestFlipper", "TestPlain", "TestTable", "TestWaffle"]

pytestmark = pytest.mark.slow
