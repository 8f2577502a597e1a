"""The benchmark of rollouts runs, and says what it is there to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "rollouts.py"


@pytest.mark.slow
def test_a_short_run_tells_how_a_controller_keeps_up():
    words = ["--rollouts", "5", "--interval", "0.2", "--seconds", "1", "--store", "sqlite"]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)["sqlite"]
    assert found["looks_per_s"] > 1
    assert found["looks_per_s_at_most"] > 1
    assert 0 <= found["lag_p50_s"] <= found["lag_p99_s"] <= found["lag_max_s"]
    assert found["errors"] == 0
