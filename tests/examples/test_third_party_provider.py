"""The provider of a third party holds the contract, found and run as if it were installed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import requests

HOME = Path(__file__).parents[2] / "examples" / "third_party_provider"
PAGE = HOME.parents[1] / "docs" / "write-a-provider.md"
PATIENCE = 15  # seconds
TOKEN = "let-me-in"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder as pip would leave it: the package, and what its project says of it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(HOME / "src" / "acme_flags", folder / "acme_flags")
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"acme_flags-{project['version']}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head, encoding="utf-8")
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {path}\n" for name, path in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    return folder


@pytest.fixture
def downhaul(site, tmp_path):
    """A function that runs the command line where the package is installed."""

    def run(*words, exit_code=0, **environ):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "downhaul", *words],
            cwd=tmp_path,
            env=environment(site, tmp_path, **environ),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done

    return run


def environment(site, folder, **more):
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": path,
        "DOWNHAUL_ACTOR": "ana",
        **more,
    }


@pytest.mark.slow
@pytest.mark.rule("P1", "P4", "P5", "P6")
def test_it_holds_the_whole_contract(downhaul, tmp_path):
    report = tmp_path / "acme.json"
    downhaul("contract", "run", "--provider", "acme", "--report", str(report))
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["passed"]
    assert found["provider"] == {"name": "acme", "package": "acme-flags", "version": "1.0.0"}
    (binding,) = found["bindings"]
    assert (binding["lacks"], binding["known_gaps"]) == ({}, {})
    assert binding["groups"]["staleness and outage"]["passed"] == 7
    passed, declined = (
        sum(one[outcome] for one in binding["groups"].values())
        for outcome in ("passed", "declined")
    )
    assert f"It passes {passed} tests and declines {declined}" in PAGE.read_text(encoding="utf-8")


def test_it_is_found_by_its_scheme_and_listed_without_its_imports(downhaul):
    listed = json.loads(downhaul("providers", "list", "--json").stdout)["providers"]
    (acme,) = [one for one in listed if one["name"] == "acme"]
    assert (acme["package"], acme["status"], acme["schemes"]) == ("acme-flags", "ok", ["acme"])
    done = downhaul("flags", "list", "--url", "acme:nowhere", exit_code=1)
    assert "token" in done.stderr


@pytest.mark.slow
def test_an_operator_uses_it_as_any_backend(downhaul, site, tmp_path):
    port = _free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "acme_flags.server", "--port", str(port), "--token", TOKEN],
        env=environment(site, tmp_path),
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/store")
        here = {"DOWNHAUL_URL": f"acme+http://127.0.0.1:{port}", "DOWNHAUL_PROVIDER__TOKEN": TOKEN}
        downhaul("flags", "create", "checkout", "--on", "--percent", "25", **here)
        downhaul("flags", "percent", "checkout", "50", **here)
        shown = json.loads(downhaul("flags", "show", "checkout", "--json", **here).stdout)
        assert shown["exposure"] == "on at 50 %"
        asked = downhaul("eval", "checkout", "-c", "targetingKey=ada", "--json", **here)
        assert json.loads(asked.stdout)["provider"] == "acme"
        wrong = {**here, "DOWNHAUL_PROVIDER__TOKEN": "5ecret"}
        refused = downhaul("flags", "list", exit_code=1, **wrong)
        assert "refuses the token" in refused.stderr
        assert "5ecret" not in refused.stderr
    finally:
        server.terminate()
        server.wait(PATIENCE)


@pytest.mark.slow
def test_its_own_tests_pass_where_somebody_checked_it_out(site, tmp_path):
    shutil.copytree(HOME / "tests", tmp_path / "tests")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "zero or secret"],
        cwd=tmp_path,
        env=environment(site, tmp_path),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_it_depends_on_downhaul_and_on_no_other_member():
    text = (HOME / "pyproject.toml").read_text(encoding="utf-8")
    names = [one.split(">")[0] for one in tomllib.loads(text)["project"]["dependencies"]]
    assert names == ["downhaul", "pydantic", "requests"]


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _wait_for(url):
    until = time.monotonic() + PATIENCE
    while True:
        try:
            assert requests.get(url, timeout=PATIENCE).status_code == 401
        except requests.ConnectionError:
            assert time.monotonic() < until, f"{url} never answered"
            time.sleep(0.02)
        else:
            return
