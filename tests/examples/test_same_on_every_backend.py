"""The application of the examples runs unchanged on every backend, and prints the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.split import SplitEmulator
from fixtures_unleash import ADMIN_TOKEN, BACKEND_TOKEN

EXAMPLE = Path(__file__).parents[2] / "examples" / "same_on_every_backend.py"
EXPECTED = Path(__file__).parent / "expected" / "same_on_every_backend.txt"
FLAG = '\n[flags.new_agent_version]\nrollout = "portable"\n'
KILLS = '\n[control]\nurl = "sqlite:///kills.db"\n'


@pytest.fixture
def on_launchdarkly():
    with LaunchDarklyEmulator() as service:
        yield {
            "url": f"launchdarkly+{service.url}",
            "sdk_key": service.sdk_key,
            "admin_token": service.admin_token,
            "admin_url": service.url,
            "project": service.project,
            "environment": service.environment,
        }


@pytest.fixture
def on_split():
    with SplitEmulator() as service:
        yield {
            "url": f"split+{service.url}",
            "sdk_key": service.sdk_key,
            "admin_token": service.admin_token,
            "admin_url": service.admin_url,
            "environment": "Production",
        }


@pytest.fixture
def on_unleash(unleash):
    unleash.clear()
    yield {
        "url": f"unleash+{unleash.url}",
        "token": BACKEND_TOKEN,
        "admin_token": ADMIN_TOKEN,
        "environment": "development",
        "refresh": 1,
    }
    unleash.clear()


@pytest.fixture
def on_postgresql(fresh_postgres):
    return {"url": fresh_postgres}


@pytest.mark.slow
@pytest.mark.rule("E10", "K1", "K5")
@pytest.mark.parametrize(
    "backend",
    [
        "launchdarkly",
        "split",
        "postgresql",
        pytest.param("unleash", marks=pytest.mark.xdist_group("unleash")),
    ],
)
def test_one_line_of_configuration_is_all_that_differs(request, tmp_path, backend):
    table = request.getfixturevalue(f"on_{backend}")
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    kills = "" if backend == "postgresql" else KILLS
    settings = "\n".join(["[provider]", *lines, kills, FLAG])
    (tmp_path / "downhaul.toml").write_text(settings, encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(*words):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "downhaul", "db", "upgrade")
    assert run(EXAMPLE) == EXPECTED.read_text(encoding="utf-8")
