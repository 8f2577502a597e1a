"""What Downhaul costs above the vendors' SDKs can be measured; how much it is, a machine says."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "over_sdks.py"


@pytest.mark.slow
def test_both_ways_of_rolling_out_are_measured_for_each_vendor_against_their_goals():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(BENCHMARK), "1"],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [tuple(line.split()[:2]) for line in lines] == [
        (vendor, way)
        for vendor in ("launchdarkly", "split", "unleash")
        for way in ("native", "portable")
    ]
    assert all("(goal: " in line for line in lines)
