import sys
from pathlib import Path

import pytest
from downhaul_emulators import LaunchDarklyEmulator

sys.path.insert(0, str(Path(__file__).parent))  # for as_launchdarkly, which several modules share

pytest.register_assert_rewrite("rolling_out")


@pytest.fixture
def service():
    """LaunchDarkly's service, emulated, with no flags."""
    with LaunchDarklyEmulator(sdk_key="sdk-5ecret") as emulator:
        yield emulator
