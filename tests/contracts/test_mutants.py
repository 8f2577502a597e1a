"""The suite bites: a broken provider is caught by the tests that name its fault, and no others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from downhaul_contract_tests.contract import GROUPS, TESTS
from mutants import MUTANTS

_BATCH = 8
_MODULE = """
import sys
sys.path.insert(0, {folder!r})
import mutants
from downhaul_contract_tests import Recorder
Recorder.patience = mutants.PATIENCE
globals().update({{f"Test{{one.name}}": one.binding() for one in mutants.MUTANTS[{first}:{last}]}})
"""


@pytest.mark.rule("P4")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, len(MUTANTS), _BATCH))
def test_each_broken_provider_is_caught_by_the_tests_that_name_its_fault(tmp_path, first):
    batch = MUTANTS[first : first + _BATCH]
    folder = str(Path(__file__).parent)
    module = tmp_path / "test_mutants_inside.py"
    module.write_text(_MODULE.format(folder=folder, first=first, last=first + _BATCH))
    report = tmp_path / "report.json"
    options = ("-q", "--tb=no", "-m", "not slow", "--rootdir", str(tmp_path))
    plugins = ("-p", "downhaul_contract_tests.plugin", "-p", "no:cacheprovider")
    asked = ("--contract-report", str(report), str(module))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *plugins, *asked],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert report.exists(), run.stdout + run.stderr
    found = {one["name"]: _failed(one) for one in json.loads(report.read_text())["bindings"]}
    for one in batch:
        seen = found.pop(f"Test{one.name}")
        assert sorted(seen - one.by_luck) == sorted(one.caught_by), one.name
    assert not found


@pytest.mark.rule("P4")
def test_there_are_many_faults_and_each_is_named_by_tests_that_exist():
    assert len(MUTANTS) >= 25
    assert len({one.name for one in MUTANTS}) == len(MUTANTS)
    for one in MUTANTS:
        assert one.caught_by, one.name
        assert one.caught_by | one.by_luck <= TESTS.keys(), one.name


def test_no_two_groups_have_a_test_of_the_same_name():
    named = [name for group in GROUPS for name in vars(group) if name.startswith("test_")]
    assert sorted(named) == sorted(TESTS)


def test_every_test_cites_a_rule_and_says_what_to_check():
    for name, test in TESTS.items():
        marks = [mark.name for mark in getattr(test, "pytestmark", [])]
        assert "rule" in marks, name
        assert "If this fails, check" in (test.__doc__ or ""), name


def _failed(binding):
    failed = (one["test"] for one in binding["tests"] if one["outcome"] == "failed")
    return {test.partition("[")[0] for test in failed}
