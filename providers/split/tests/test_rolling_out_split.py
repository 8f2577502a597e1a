"""Rollouts, written once above the interface, on flags that live in Split."""

import pytest
from connected_split import provider_of
from downhaul_emulators.split import boolean
from rolling_out import AtVendor, RollsOut

DECIDES = ("killed", "treatments", "defaultTreatment", "rules", "defaultRule")


class TestSplit(RollsOut):
    @pytest.fixture
    def vendor(self, service, declared):
        service.put("agent", boolean(percent=0, killed=True))
        return AtVendor(
            service,
            provider_of(service, portable=declared, declared=declared, refresh=1),
            lambda: {name: service.definitions["agent"][name] for name in DECIDES},
            lambda: not service.definitions["agent"]["killed"],
        )
