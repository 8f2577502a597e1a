"""What Downhaul costs above LaunchDarkly's SDK can be measured; how much it is, a machine says."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "over_launchdarkly.py"


@pytest.mark.slow
def test_both_ways_of_rolling_out_are_measured_against_their_goals():
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["native", "portable"]
    assert all("(goal: " in line for line in lines)
