import pytest
from downhaul_emulators.split import SplitEmulator


@pytest.fixture
def service():
    """Split's service, emulated, with no flags."""
    with SplitEmulator(sdk_key="sdk-5ecret") as emulator:
        yield emulator
