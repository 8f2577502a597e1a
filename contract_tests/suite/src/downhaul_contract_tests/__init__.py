"""The behaviours that every Downhaul provider must hold, as one class of tests to inherit from.

A third party binds them in a test module of its own::

    from downhaul_contract_tests import Backend, ProviderContract

    class AcmeBackend(Backend):
        def provider(self): ...        # a new FlagProvider on the same flags
        def seed(self, flags): ...     # make the backend hold these
        def reset(self): ...           # make it hold nothing

    class TestAcme(ProviderContract):
        @pytest.fixture
        def backend(self):
            return AcmeBackend()

A metric source is bound in the same way: see :mod:`downhaul_contract_tests.metric_sources`.

What a provider declares must work, and what it doesn't must refuse by name (rule P4). Each group
of the contract is a class of its own too; see :mod:`downhaul_contract_tests.contract`.

Names are imported when they are asked for, because pytest loads the plugin beside them in every
run, and a run without a contract should not pay for the SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from downhaul_contract_tests.backend import Backend, Feature, write_all
    from downhaul_contract_tests.base import MakeProvider
    from downhaul_contract_tests.capabilities import CapabilitiesContract
    from downhaul_contract_tests.contract import ProviderContract
    from downhaul_contract_tests.flags import FlagsContract
    from downhaul_contract_tests.kills import KillsContract
    from downhaul_contract_tests.listening import Recorder
    from downhaul_contract_tests.metric_sources import (
        MetricSourceContract,
        MetricsPlace,
        Request,
    )
    from downhaul_contract_tests.segments import SegmentsContract
    from downhaul_contract_tests.watching import WatchingContract

__all__ = [
    "Backend",
    "CapabilitiesContract",
    "Feature",
    "FlagsContract",
    "KillsContract",
    "MakeProvider",
    "MetricSourceContract",
    "MetricsPlace",
    "ProviderContract",
    "Recorder",
    "Request",
    "SegmentsContract",
    "WatchingContract",
    "write_all",
]

_HOMES = {
    "Backend": "backend",
    "CapabilitiesContract": "capabilities",
    "Feature": "backend",
    "FlagsContract": "flags",
    "KillsContract": "kills",
    "MakeProvider": "base",
    "MetricSourceContract": "metric_sources",
    "MetricsPlace": "metric_sources",
    "ProviderContract": "contract",
    "Recorder": "listening",
    "Request": "metric_sources",
    "SegmentsContract": "segments",
    "WatchingContract": "watching",
    "write_all": "backend",
}

# Everything that asserts, before it is imported.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in (
            "base",
            "capabilities",
            "case",
            "concurrency",
            "defaults",
            "flags",
            "following",
            "forks",
            "killing",
            "kills",
            "leaks",
            "lifecycle",
            "listening",
            "machine",
            "metric_sources",
            "names",
            "outages",
            "percentages",
            "read_back",
            "redaction",
            "restoring",
            "rollouts",
            "segments",
            "size",
            "targeting",
            "targets",
            "values",
            "watching",
        )
    )
)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
