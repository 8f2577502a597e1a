"""The vendor's SDK sees what the admin API wrote, streaming and polling."""

import pytest
from downhaul_emulators.split import boolean, buckets

# The SDK names its threads by methods that Python deprecates, and dies of it where warnings raise
pytestmark = pytest.mark.filterwarnings(r"ignore:set(Name|Daemon)\(\) is deprecated")


@pytest.mark.parametrize("streaming", [True, False])
def test_an_sdk_serves_what_an_operator_wrote(admin, following, wait_for, streaming):
    admin.create("agent", boolean(0))
    with following(streaming=streaming) as client:
        assert client.get_treatment("ada", "agent") == "off"
        admin.patch("agent", ("replace", "/defaultRule", buckets(on=100)))
        wait_for(lambda: client.get_treatment("ada", "agent") == "on")
        admin.kill("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")
        admin.restore("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "on")
        admin.remove("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "control")
