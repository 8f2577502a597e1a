"""What Downhaul costs above the vendors' SDKs can be measured; how much it is, a machine says."""

import re
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
    spread = r"\([+-]?\d+\.\d\d to [+-]?\d+\.\d\d\)"
    assert all(len(re.findall(spread, line)) == 3 for line in lines)


ORDER = """
import over_sdks
from goals import ABOVE
order = []

def asked(name):
    def ask(user):
        if not order or order[-1] != name:
            order.append(name)
        return True
    return ask

names = [f"{way}_{whose}" for way in ABOVE for whose in ("bare", "ours")]
over_sdks.USERS[:] = ["ada"]
taken = over_sdks._measured({name: asked(name) for name in names}, 4)
rounds = order[len(names):]  # after whether both decide alike
print(*[names.index(rounds[at]) for at in range(0, len(rounds), len(names))])
print({len(times) for times in taken.values()})
figures = over_sdks._figures({name: [1.0, 2.0, 4.0] for name in names})
print(figures["native"])
over_sdks._check("native", lambda user: True, lambda user: False)
"""


def test_none_is_always_the_first_and_what_decides_otherwise_is_not_compared():
    pytest.importorskip("ldclient")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ORDER],
        cwd=BENCHMARK.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "0 1 2 3 0",
        "{4}",
        str(
            {
                "sdk_us": [2.0, 1.5, 3.0],
                "ours_us": [2.0, 1.5, 3.0],
                "more_us": [0.0, 0.0, 0.0],
                "rounds": 3,
            }
        ),
    ], done.stderr
    assert "native: we decide other than the SDK for 1 of 1 users" in done.stderr
    assert done.returncode == 1
