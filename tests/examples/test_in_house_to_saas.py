"""A table of flags moves to the real Unleash while an application runs on it, and back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures_unleash import ADMIN_TOKEN, BACKEND_TOKEN

MOVE = Path(__file__).parents[2] / "examples" / "in_house_to_saas" / "move.py"


@pytest.mark.slow
@pytest.mark.rule("E9", "M2", "M3", "M4")
def test_no_users_variant_changes_on_the_way_there_and_back(
    tmp_path, fresh_postgres, unleash, record_property
):
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "DATABASE_URL": fresh_postgres,
        "UNLEASH_URL": unleash.url.removesuffix("/api"),
        "UNLEASH_TOKEN": BACKEND_TOKEN,
        "UNLEASH_ADMIN_TOKEN": ADMIN_TOKEN,
    }
    for name in ("DOWNHAUL_CONFIG", "DOWNHAUL_URL", "DOWNHAUL_CONTROL_URL"):
        environ.pop(name, None)
    words = ["--flags", os.environ.get("DOWNHAUL_MOVED_FLAGS", "30"), "--seconds", "2"]
    done = subprocess.run(
        [sys.executable, str(MOVE), *words],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    last = done.stdout.strip().splitlines()[-1]
    record_property("moved", last)
    assert last.endswith("0 changed")
    assert int(last.split()[0]) > 1000
