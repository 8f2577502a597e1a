"""Rollouts, written once above the interface, on flags that live in LaunchDarkly."""

import pytest
from downhaul_emulators.launchdarkly import boolean
from managed_launchdarkly import provider_of
from rolling_out import AtVendor, RollsOut

DECIDES = ("on", "fallthrough", "rules", "targets")


@pytest.mark.slow
class TestLaunchDarkly(RollsOut):
    @pytest.fixture
    def vendor(self, service, declared):
        service.put(boolean("agent", on=False, fallthrough={"variation": 1}))
        return AtVendor(
            service,
            provider_of(service, portable=declared, declared=declared),
            lambda: {name: service.flags["agent"][name] for name in DECIDES},
            lambda: service.flags["agent"]["on"],
        )
