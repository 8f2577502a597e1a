"""How long a kill takes can be measured on each backend; how long it is, a machine says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kill_latency.py"


@pytest.mark.slow
def test_kills_are_measured_beside_each_emulated_vendor_and_on_the_file():
    command = [sys.executable, "-W", "ignore", str(BENCHMARK), "--kills", "2", "--json"]
    done = subprocess.run(
        [*command, "--only", "sqlite,launchdarkly,split"],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    found = json.loads(done.stdout)
    assert list(found) == ["sqlite", "launchdarkly", "split"]
    for one in found.values():
        assert one["kills"] == 2
        assert 0 < one["to false"]["p50_ms"] <= one["to false"]["max_ms"] < 30_000
        assert 0 < one["commit"]["p50_ms"] < 30_000
