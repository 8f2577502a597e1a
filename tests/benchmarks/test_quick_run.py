import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "benchmarks" / "run.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_quick_run_measures_what_there_is_and_says_who_is_absent(tmp_path):
    path = tmp_path / "results.json"
    command = [sys.executable, RUN, "--quick", "--allow-missing", "--json", path]
    said = subprocess.run(command, capture_output=True, text=True, check=False)

    assert said.returncode == 0, said.stderr
    results = json.loads(path.read_text())
    assert results["contestants"]["downhaul"]["measures"]["case"]["best_us"] > 0
    assert results["contestants"]["downhaul, a million"]["equal"] is True
    assert results["import"]["heavy_modules"] == []
    assert results["propagation"]["sqlite"]["kill, busy"]["p50_ms"] > 0
    sdks = results["sdks"]
    assert "absent" in sdks or sdks["split"]["portable"]["sdk_us"][0] > 0
    assert ("absent" in sdks) is ("ABSENT: an SDK to be above of" in said.stdout)
    for name in results["peers"]:
        one = results["contestants"][name]
        assert "absent" in one or 0.27 < one["decided"]["on"] / one["decided"]["of"] < 0.35
        assert ("absent" in one) is (f"ABSENT: {name}" in said.stdout)
    for goal in results["goals"]:
        missed = f"MISSED: {goal['what']}:" in said.stdout
        assert missed is (goal["met"] is False)


def test_the_page_shows_the_results_that_are_kept():
    script = (
        "import json, pathlib, report\n"
        "results = json.loads(pathlib.Path('results.json').read_text())\n"
        "page = report.PAGE.read_text()\n"
        "assert report.written(page, results) == page\n"
    )
    folder = ROOT / "benchmarks"
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
