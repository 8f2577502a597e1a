"""The table of what holds where says what the reports say, and names what is out of date."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from downhaul_contract_tests.contract import GROUPS, TESTS, ProviderContract

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compatibility():
    path = ROOT / "docs" / "compatibility.py"
    spec = importlib.util.spec_from_file_location("docs_compatibility", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def report(*bindings, passed=True, suite=ProviderContract.suite, tests=tuple(TESTS)):
    rows = [{"test": f"{one}[x]", "group": "g", "outcome": "passed", "why": ""} for one in tests]
    counts = {"passed": 3, "declined": 2, "known_gap": 1, "failed": 0, "skipped": 0}
    return {
        "passed": passed,
        "complete": True,
        "python": "3.12.0",
        "provider": {"name": "memory", "package": "downhaul", "version": "9.9"},
        "bindings": [
            {
                "name": name,
                "suite": suite,
                "capabilities": ["read"],
                "lacks": {"rules": "it has none"},
                "known_gaps": {"test_x": "it breaks"},
                "groups": {GROUPS[0].group: counts},
                "tests": rows,
            }
            for name in bindings or ("TestMemory",)
        ],
    }


@pytest.fixture
def root(compatibility, tmp_path, monkeypatch):
    monkeypatch.setattr(compatibility, "ASKED", {"memory": compatibility.Asked("this process")})
    folder = tmp_path / "docs" / "contract"
    folder.mkdir(parents=True)
    questions = {"asked": ["memory", "sqlite"], "answers": {"is it on?": "True, STATIC"}}
    (folder / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    return tmp_path


def keep(root, kept, name="memory"):
    path = root / "docs" / "contract" / f"{name}.json"
    path.write_text(json.dumps(kept), encoding="utf-8")


def test_the_page_has_a_row_for_each_group_and_a_column_for_each_binding(compatibility, root):
    keep(root, report("TestMemory", "TestOther"))
    assert list(compatibility.problems(root, write=True)) == []
    page = (root / "docs" / "compatibility.md").read_text(encoding="utf-8")
    assert "|  | memory, Memory | memory, Other |" in page
    assert f"| {GROUPS[0].group} | 3, 1 gap, 2 declined | 3, 1 gap, 2 declined |" in page
    assert all(f"\n| {one.group} |" in page for one in GROUPS)
    assert "| memory, Other | downhaul 9.9 | 1.0 | 3.12.0 | this process |" in page
    assert "| memory, Memory | gap | `test_x` | it breaks |" in page
    assert "Asked: memory, sqlite." in page
    assert "| is it on? | True, STATIC |" in page
    assert list(compatibility.problems(root)) == []


@pytest.mark.parametrize(
    "kept, said",
    [
        (report(passed=False), "it is no report of a whole run in which nothing failed"),
        (report(suite="0.9"), "TestMemory was asked by suite 0.9, and the suite is"),
        (report(tests=list(TESTS)[1:]), f"TestMemory was not asked {next(iter(TESTS))}"),
        (report(tests=[*TESTS, "test_gone"]), "was asked test_gone, which there is none of"),
    ],
    ids=["failed", "suite", "missing", "gone"],
)
def test_a_report_that_does_not_speak_for_this_suite_is_named(compatibility, root, kept, said):
    keep(root, kept)
    (problem,) = compatibility.problems(root, write=True)
    assert problem.startswith("docs/contract/memory.json: ")
    assert said in problem
    assert problem.endswith("(python docs/compatibility.py --run memory)")


def test_a_report_that_is_not_there_and_one_that_nobody_knows_are_named(compatibility, root):
    keep(root, report(), name="other")
    missing, unknown = compatibility.problems(root, write=True)
    assert missing.startswith("docs/contract/memory.json: it is not there")
    assert unknown == "docs/contract/other.json: docs/compatibility.py names no such provider"


def test_a_page_that_says_other_than_the_reports_is_named(compatibility, root):
    keep(root, report())
    (problem,) = compatibility.problems(root)
    assert problem == (
        "docs/compatibility.md: it is not what the reports say (python docs/compatibility.py)"
    )


@pytest.mark.parametrize("code", [0, 3])
def test_a_report_is_kept_only_of_a_run_in_which_nothing_failed(
    compatibility, root, monkeypatch, code
):
    class Ended:
        returncode = code

    def run(command, **_):
        Path(command[command.index("--report") + 1]).write_text('{"new": 1}', encoding="utf-8")
        return Ended

    monkeypatch.setattr(compatibility.subprocess, "run", run)
    keep(root, {"old": 1})
    assert compatibility.run("memory", root) == code
    kept = (root / "docs" / "contract" / "memory.json").read_text(encoding="utf-8")
    assert json.loads(kept) == ({"new": 1} if code == 0 else {"old": 1})
