import sys
from pathlib import Path

import pytest
from downhaul_emulators.split import SplitEmulator

sys.path.insert(0, str(Path(__file__).parent))  # for sdk_oracle and what several modules share

pytest.register_assert_rewrite("rolling_out")


@pytest.fixture
def service():
    """Split's service, emulated, with no flags."""
    with SplitEmulator(sdk_key="sdk-5ecret") as emulator:
        yield emulator
