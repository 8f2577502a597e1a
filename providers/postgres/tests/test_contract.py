"""The contracts of providers, on a real PostgreSQL."""

import pytest
from downhaul_contract_tests import (
    CapabilitiesContract,
    FlagsContract,
    KillsContract,
    SegmentsContract,
    WatchingContract,
)


class TestPostgres(
    FlagsContract, SegmentsContract, WatchingContract, KillsContract, CapabilitiesContract
):
    @pytest.fixture
    def make_provider(self, fresh_postgres, provider_at):
        provider_at(fresh_postgres, upgrade=True)
        return lambda: provider_at(fresh_postgres)
