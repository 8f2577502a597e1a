"""Every example runs by itself, in an empty folder, and prints what its page promises."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
EXPECTED = Path(__file__).parent / "expected"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("test_"))


def run(command, folder):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_it_should(name, tmp_path):
    done = run([FOLDER / f"{name}.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")


def test_the_example_of_tests_passes(tmp_path):
    shutil.copy(FOLDER / "test_with_flags.py", tmp_path)  # no settings of ours above it
    done = run(["-m", "pytest", "-q", "--strict-markers", "-p", "no:asyncio"], tmp_path)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_page_lists_them_all():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.py"):
        assert f"[{path.name}]({path.name})" in page
    assert {path.stem for path in EXPECTED.iterdir()} == set(EXAMPLES)
