"""The behaviours that every Downhaul provider must hold, as classes of tests to inherit from.

A provider's own tests bind them: a class that inherits the contracts it wants and overrides the
fixture ``make_provider``. Each call of it gives another provider object on the same flags, as
another process would have; a backend that lives in one process gives the same object again::

    from downhaul_contract_tests import CapabilitiesContract, FlagsContract

    class TestAcme(FlagsContract, CapabilitiesContract):
        @pytest.fixture
        def make_provider(self, tmp_path):
            ...
            return lambda: AcmeProvider(...)

What a provider doesn't declare is only tested for refusing by name (rule P4).
"""

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "base",
            "capabilities",
            "flags",
            "kills",
            "listening",
            "segments",
            "watching",
        )
    )
)

from downhaul_contract_tests.base import MakeProvider  # noqa: E402  (asserts are rewritten first)
from downhaul_contract_tests.capabilities import CapabilitiesContract  # noqa: E402
from downhaul_contract_tests.flags import FlagsContract  # noqa: E402
from downhaul_contract_tests.kills import KillsContract  # noqa: E402
from downhaul_contract_tests.listening import Recorder  # noqa: E402
from downhaul_contract_tests.segments import SegmentsContract  # noqa: E402
from downhaul_contract_tests.watching import WatchingContract  # noqa: E402

__all__ = [
    "CapabilitiesContract",
    "FlagsContract",
    "KillsContract",
    "MakeProvider",
    "Recorder",
    "SegmentsContract",
    "WatchingContract",
]
