"""``contract run``: the contract of one provider, from the command line."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from textwrap import dedent

import psycopg
import pytest
from downhaul_contract_tests import ProviderContract

from downhaul import plugins
from downhaul.cli import contract
from downhaul.cli.exits import Exit
from downhaul.plugins.known import BUILTIN, WRAPPERS
from downhaul.plugins.specs import load

# Each runs pytest in a process of its own.
pytestmark = pytest.mark.slow

PATIENCE = 15  # seconds
ONE = "test_zero_is_a_value"
BINDING = """
    import pytest
    from downhaul_contract_tests import ProviderContract
    from downhaul_contract_tests.bindings import IN_ONE_PROCESS, MemoryBackend

    class Broken(MemoryBackend):
        secrets = ("s3cret",)

        def seed(self, flags):
            raise RuntimeError("s3cret is refused\\nand more")

    class TestBroken(ProviderContract):
        lacks = IN_ONE_PROCESS

        @pytest.fixture
        def backend(self):
            return Broken()
"""


@pytest.fixture
def broken(shell):
    (shell.folder / "binding.py").write_text(dedent(BINDING), encoding="utf-8")
    return "binding.py"


@pytest.mark.slow
def test_a_provider_that_holds_the_contract_ends_with_0_and_a_whole_report(shell):
    done = shell("contract", "run", "--provider", "memory", "--report", "report.json")
    assert "PARTIAL" not in done.stdout
    assert done.stdout.splitlines()[0].startswith("memory (downhaul ")
    report = json.loads((shell.folder / "report.json").read_text(encoding="utf-8"))
    (binding,) = report["bindings"]
    assert (report["passed"], report["complete"], binding["not_run"]) == (True, True, [])
    assert binding["binding"] == "downhaul_contract_tests.bindings::TestMemory"
    assert sum(one["passed"] for one in binding["groups"].values()) > 150
    shown = {line.rsplit(None, 5)[0] for line in done.stdout.splitlines()[2:]}
    assert shown == {*binding["groups"], "all"}


def test_a_part_says_partial_and_is_no_certificate(shell):
    words = ("contract", "run", "--provider", "read_only", "-k", ONE)
    done = shell(*words, exit_code=Exit.CHECK_FAILED)
    assert "PARTIAL: " in done.stdout
    assert "it does not speak for read_only" in done.stderr


@pytest.mark.parametrize(
    "one",
    [*(one for one in BUILTIN.values() if one.factory), *WRAPPERS.values()],
    ids=lambda one: one.name,
)
def test_all_that_the_core_brings_is_bound(one):
    assert issubclass(load(one.contract), ProviderContract)


def test_options_of_somebodys_own_leave_nothing_out(shell, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    report = shell.json(
        *("contract", "run", "--provider", "memory", "-k", ONE), exit_code=Exit.CHECK_FAILED
    )
    (row,) = report["bindings"][0]["tests"]
    assert (row["test"], row["outcome"]) == (ONE, "passed")


@pytest.mark.rule("P7")
def test_what_fails_is_told_with_its_reason_and_without_secrets(shell, broken):
    words = ("contract", "run", "--provider", "memory", "--binding", broken, "-k", ONE)
    done = shell(*words, "--json", exit_code=Exit.CHECK_FAILED)
    assert "memory does not hold the contract: 1 test failed" in done.stderr
    report = json.loads(done.stdout)
    (row,) = report["bindings"][0]["tests"]
    assert (row["outcome"], row["why"]) == ("failed", "RuntimeError: *** is refused")
    assert report["bindings"][0]["binding"] == "binding.py::TestBroken"
    assert report["passed"] is False


def test_one_class_of_a_file_can_be_chosen(shell, broken):
    words = ("contract", "run", "--provider", "memory", "-k", ONE)
    done = shell(*words, "--binding", f"{broken}::TestOther", exit_code=Exit.FAILURE)
    assert "could not run binding.py::TestOther" in done.stderr
    done = shell(*words, "--binding", f"{broken}::TestBroken", exit_code=Exit.CHECK_FAILED)
    assert "TestBroken" in done.stdout


def test_options_that_pytest_refuses_end_with_what_it_says(shell):
    words = ("contract", "run", "--provider", "memory", "-k", "no and (")
    done = shell(*words, exit_code=Exit.FAILURE)
    assert "could not run downhaul_contract_tests.bindings::TestMemory" in done.stderr


def test_a_file_without_a_binding_is_no_run(shell):
    (shell.folder / "nothing.py").write_text("def test_x(): pass", encoding="utf-8")
    words = ("contract", "run", "--provider", "memory", "--binding", "nothing.py")
    assert "no test class that binds the contract" in shell(*words, exit_code=1).stderr
    words = ("contract", "run", "--provider", "memory", "--binding", "gone.py")
    assert "gone.py is no file" in shell(*words, exit_code=1).stderr


def test_a_url_that_no_binding_takes_is_said(shell):
    words = ("contract", "run", "--provider", "memory", "--url", "memory://x", "-k", ONE)
    done = shell(*words, exit_code=Exit.CHECK_FAILED)
    assert "no binding asks for the fixture contract_url" in done.stdout


def test_the_url_is_where_the_binding_works_and_nothing_is_left_there(shell, fresh_postgres):
    words = ("contract", "run", "--provider", "postgresql", "--url", fresh_postgres, "-k", ONE)
    (row,) = shell.json(*words, exit_code=Exit.CHECK_FAILED)["bindings"][0]["tests"]
    assert row["outcome"] == "passed"
    with psycopg.connect(fresh_postgres) as connection:
        names = connection.execute("SELECT datname FROM pg_database").fetchall()
    assert not [name for (name,) in names if name.startswith("contract_")]


def test_a_binding_that_cannot_be_imported_ends_with_what_pytest_says(shell, capfd):
    (shell.folder / "broken.py").write_text("import nothing_of_that_name", encoding="utf-8")
    words = ("contract", "run", "--provider", "memory", "--binding", "broken.py")
    assert "could not run broken.py" in shell(*words, exit_code=Exit.FAILURE).stderr
    assert "No module named 'nothing_of_that_name'" in capfd.readouterr().err


def test_a_provider_without_a_binding_says_what_to_write(shell, monkeypatch):
    spec = plugins.spec_named("memory")
    bare = dataclasses.replace(spec, contract=None)
    monkeypatch.setattr(plugins, "spec_named", lambda name: bare)
    done = shell("contract", "run", "--provider", "memory", exit_code=Exit.FAILURE)
    assert 'provider "memory" of downhaul' in done.stderr
    assert 'ProviderSpec(contract="...")' in done.stderr
    assert "docs/write-a-provider.md" in done.stderr


def test_a_provider_that_is_not_there_says_how_to_install_it(shell, not_installed):
    not_installed("launchdarkly")
    done = shell("contract", "run", "--provider", "launchdarkly", exit_code=Exit.FAILURE)
    assert "pip install downhaul-launchdarkly" in done.stderr


def test_without_the_suite_it_says_how_to_install_it(shell, monkeypatch):
    monkeypatch.setattr(contract, "find_spec", lambda name: None)
    done = shell("contract", "run", "--provider", "memory", exit_code=Exit.FAILURE)
    assert "pip install downhaul-contract-tests" in done.stderr


@pytest.mark.fault
def test_ctrl_c_ends_the_run_too_and_leaves_nothing_behind(shell):
    words = [sys.executable, "-m", "downhaul", "contract", "run", "--provider", "memory"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr.read(1)  # pytest shows how it goes, so it is under way
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == Exit.INTERRUPTED
    assert said.endswith("interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_the_matrix_is_shown_once(shell, capfd):
    words = ("contract", "run", "--provider", "memory", "-k", ONE)
    assert "evaluation and types" in shell(*words, exit_code=Exit.CHECK_FAILED).stdout
    beside = capfd.readouterr().err
    assert "1 passed" in beside
    assert "evaluation and types" not in beside


def test_the_command_line_imports_no_pytest():
    code = "import downhaul.cli.contract, sys; print('pytest' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"
