"""docs/controller.md: its manifests are read and their commands run; its tests are there."""

import ast
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "controller.md").read_text(encoding="utf-8")
MANIFESTS = {
    one["kind"]: one
    for one in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
}


def pod(kind):
    spec = MANIFESTS[kind]["spec"]
    return (spec["jobTemplate"]["spec"]["template"] if kind == "CronJob" else spec["template"])[
        "spec"
    ]


def container(kind):
    [found] = pod(kind)["containers"]
    return found


def test_the_page_has_a_cron_job_and_a_deployment():
    assert set(MANIFESTS) == {"CronJob", "Deployment"}
    assert MANIFESTS["CronJob"]["apiVersion"] == "batch/v1"
    assert MANIFESTS["Deployment"]["apiVersion"] == "apps/v1"


def test_the_cron_job_begins_none_while_one_runs_and_leaves_a_failure_to_the_next():
    spec = MANIFESTS["CronJob"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert re.fullmatch(r"(\S+ ){4}\S+", spec["schedule"])
    job = spec["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    assert pod("CronJob")["restartPolicy"] == "Never"
    # Longer than a look takes that begins none after 50 seconds, shorter than for ever.
    assert 60 < job["activeDeadlineSeconds"] < 600


@pytest.mark.parametrize("kind", ["CronJob", "Deployment"])
def test_what_is_mounted_is_what_is_configured(kind):
    volumes = {one["name"] for one in pod(kind)["volumes"]}
    mounts = {one["name"]: one["mountPath"] for one in container(kind)["volumeMounts"]}
    assert set(mounts) == volumes
    environ = {one["name"]: one.get("value") for one in container(kind)["env"]}
    assert Path(environ["DOWNHAUL_CONFIG"]).parent == Path(mounts["config"])


@pytest.fixture
def configured(tmp_path):
    """The environment of a container, with a configuration and a store."""
    config = tmp_path / "downhaul.toml"
    config.write_text('[provider]\nurl = { env = "DATABASE_URL" }\n')
    environ = {
        **os.environ,
        "DOWNHAUL_CONFIG": str(config),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'flags.db'}",
    }
    made = [sys.executable, "-m", "downhaul", "db", "upgrade"]
    subprocess.run(made, env=environ, cwd=tmp_path, check=True, capture_output=True)
    return environ


def test_the_cron_jobs_command_looks_and_ends(configured, tmp_path):
    program, *words = container("CronJob")["command"]
    assert program == "downhaul"
    done = subprocess.run(
        [sys.executable, "-m", "downhaul", *words],
        env=configured,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "0 looks, 0 writes\n"), done.stderr


def answer_of(url):
    """Return the status; a controller that did not look yet is not ready, and given a moment."""
    until = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            if time.monotonic() > until:
                return error.code
        time.sleep(0.05)


def test_the_deployments_command_answers_its_probes_and_ends_when_told(configured, tmp_path):
    program, *words = container("Deployment")["command"]
    assert program == "downhaul"
    words = ["127.0.0.1:0" if one == "0.0.0.0:9464" else one for one in words]
    process = subprocess.Popen(
        [sys.executable, "-m", "downhaul", *words],
        env=configured,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        said = json.loads(process.stderr.readline())
        where = re.search(r"http://([^/]+)/", said["message"])[1]
        for probe in ("livenessProbe", "readinessProbe"):
            path = container("Deployment")[probe]["httpGet"]["path"]
            assert answer_of(f"http://{where}{path}") == 200
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def named_in(path):
    module = ast.parse(path.read_text(encoding="utf-8"))
    return {one.name for one in module.body if isinstance(one, ast.FunctionDef)}


def test_each_row_of_what_fails_names_tests_that_there_are():
    table = PAGE.partition("## When things fail")[2]
    rows = [one for one in table.splitlines() if one.startswith("| ")][1:]
    rows = [one for one in rows if not one.startswith("|---")]
    assert len(rows) > 20
    there = set()
    for folder in ("tests/faults", "tests/rollout"):
        for path in (ROOT / folder).glob("test_*.py"):
            there |= named_in(path)
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert set(named) <= there, row
