"""Rollouts, written once above the interface, on flags that live in Split."""

import pytest
from connected_split import provider_of
from downhaul_emulators.split import boolean
from rolling_out import AtVendor, RollsOut

from downhaul import Flag
from downhaul.flag import Bucketing, Scheme, Split, Weight
from downhaul.provider import Change

DECIDES = ("killed", "treatments", "defaultTreatment", "rules", "defaultRule")


@pytest.mark.slow
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


class TestMovedToSplit(RollsOut):
    """A flag whose users are told apart by the hash of where it came from."""

    @pytest.fixture
    def declared(self):
        return {}

    @pytest.fixture
    def vendor(self, service):
        how = Bucketing(Scheme.UNLEASH, salt="agents", total=100)
        nobody = Split((Weight("on", 0), Weight("off", 100)), how)
        provider = provider_of(service, refresh=1)
        provider.put(Flag(key="agent", default=nobody), Change("ana", "it moves here"))
        return AtVendor(
            service,
            provider,
            lambda: {name: service.definitions["agent"][name] for name in DECIDES},
            lambda: not service.definitions["agent"]["killed"],
        )
