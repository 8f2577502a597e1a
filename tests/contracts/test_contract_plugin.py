"""The plugin of the contract: nothing is overridden, left out or skipped without a word."""

import json
from pathlib import Path

import pytest
from downhaul_contract_tests.contract import TESTS
from downhaul_contract_tests.matrix import Binding, Outcome, Row, document, partial, table

_FOLDER = str(Path(__file__).parent)
_PLUGINS = (
    *("-p", "downhaul_contract_tests.plugin"),
    *("-p", "no:cacheprovider", "-p", "no:asyncio"),
)
_FEW = "test_a_boolean_flag_serves_its_value or test_no_log_has_a_secret or test_a_verb_said"
_BINDING = f"""
import sys
import pytest
from downhaul_contract_tests import Feature, ProviderContract

sys.path.insert(0, {_FOLDER!r})
from contract_backends import MemoryBackend

class TestMemory(ProviderContract):
    @pytest.fixture
    def backend(self):
        return MemoryBackend()

    BODY
"""


@pytest.fixture
def run(pytester):
    """A function that runs a binding with something in its body, in a run of its own."""

    def run(body="", *options, few=True, conftest="", name="test_binding"):
        pytester.makepyfile(**{name: _BINDING.replace("BODY", body)})
        if conftest:
            pytester.makeconftest(conftest)
        chosen = ("-k", _FEW) if few else ()
        how = pytester.runpytest_subprocess if "-n" in options else pytester.runpytest_inprocess
        return how(*_PLUGINS, *chosen, *options)

    return run


def test_a_declined_test_is_reported_with_the_capability(run):
    found = run("", "-rA")
    found.assert_outcomes(passed=5, deselected=len(_cases()) - 6)
    found.stdout.fnmatch_lines(["*1 declined*"])
    found.stdout.fnmatch_lines(["evaluation and types *1*", "redaction *1 declined*"])


def test_a_run_over_a_part_says_partial(run):
    found = run()
    assert found.ret == 0
    found.stdout.fnmatch_lines([f"PARTIAL TestMemory: * of {len(TESTS)} tests *"])


def test_one_test_by_its_name_is_a_part_too(run):
    found = run("", "test_binding.py::TestMemory::test_a_boolean_flag_serves_its_value", few=False)
    assert found.ret == 0
    found.stdout.fnmatch_lines(["PARTIAL TestMemory: *"])


@pytest.mark.parametrize(
    "body",
    [
        "def test_what_is_seeded_is_served(self): pass",
        "test_what_is_seeded_is_served = None",
        "contract_gate = None",
    ],
    ids=["overridden", "deleted", "gate"],
)
def test_who_overrides_or_deletes_a_test_is_refused(run, body):
    found = run(body)
    assert found.ret != 0
    found.stdout.fnmatch_lines(["*TypeError: TestMemory is no binding of the contract: *"])


def test_who_changes_a_binding_later_fails_the_run(run):
    found = run("\nTestMemory.test_what_is_seeded_is_served = lambda self: None")
    assert found.ret == 1
    found.stdout.fnmatch_lines(["FAILED *test_what_is_seeded_is_served is overridden or deleted*"])


def test_a_test_that_vanishes_without_a_word_fails_the_run(run):
    conftest = """
    def pytest_collection_modifyitems(items):
        items[:] = [one for one in items if "said_twice" not in one.name]
    """
    found = run(conftest=conftest)
    assert found.ret == 1
    found.stdout.fnmatch_lines(["FAILED *was taken out of the run, and nobody said so"])


def test_a_test_that_is_never_collected_fails_the_run(run):
    conftest = """
    def pytest_pycollect_makeitem(collector, name, obj):
        return [] if name == "test_zero_is_a_value" else None
    """
    found = run(conftest=conftest)
    assert found.ret == 1
    found.stdout.fnmatch_lines(["FAILED *test_zero_is_a_value was not collected"])


def test_a_known_gap_must_fail(run):
    gap = "known_gaps = {'test_a_boolean_flag_serves_its_value': 'it was broken once'}"
    found = run(gap)
    assert found.ret == 1
    found.stdout.fnmatch_lines(["*known gap: it was broken once*"])


def test_a_known_gap_that_fails_is_counted(run):
    body = """
    known_gaps = {
        'test_a_boolean_flag_serves_its_value': 'it has no flags',
        'test_a_verb_said_twice_is_said_once': 'it has no flags',
    }

    @pytest.fixture
    def backend(self):
        made = MemoryBackend()
        made.patience = 0.1
        made.seed = lambda flags: None
        return made
    """
    found = run(body)
    assert found.ret == 0
    found.stdout.fnmatch_lines(["evaluation and types *1 gap*", "read-back *4 gap*"])


def test_a_gap_may_be_in_one_case_alone(run):
    gap = "known_gaps = {'test_a_verb_said_twice_is_said_once[switch_on]': 'it was broken once'}"
    found = run(gap)
    found.stdout.fnmatch_lines(["read-back *3, 1 failed*"])


def test_a_gap_in_no_test_or_without_a_reason_is_refused(run):
    for gap in ("{'test_nothing': 'why'}", "{'test_zero_is_a_value': ' '}"):
        found = run(f"known_gaps = {gap}")
        assert found.ret != 0
        found.stdout.fnmatch_lines(["*TypeError: TestMemory is no binding*"])


def test_the_report_has_every_test_with_its_outcome(run, pytester):
    run("", "--contract-report", "report.json")
    report = json.loads((pytester.path / "report.json").read_text(encoding="utf-8"))
    (binding,) = report["bindings"]
    assert (report["complete"], report["problems"]) == (False, [])
    assert (binding["provider"], binding["suite"], binding["partial"]) == ("memory", "1.0", True)
    assert binding["groups"]["read-back"]["passed"] == 4
    declined = [one for one in binding["tests"] if one["outcome"] == "declined"]
    assert [one["why"] for one in declined] == ["the backend of memory offers no secrets"]
    assert len(binding["not_run"]) == len(TESTS) - 3


@pytest.mark.slow
def test_workers_tell_the_same(run, pytester):
    grouped = "pytestmark = pytest.mark.xdist_group('one')"
    run(grouped, "--contract-report", "alone.json")
    found = run(grouped, "--contract-report", "together.json", "-n", "2", "--dist", "loadgroup")
    assert found.ret == 0
    one, two = (
        json.loads((pytester.path / f"{name}.json").read_text()) for name in ("alone", "together")
    )
    for report in (one, two):
        report["bindings"][0]["tests"].sort(key=lambda row: row["test"])
    assert one == two


def test_a_run_without_a_contract_is_left_as_it_was(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_nothing_was_imported():
            assert "downhaul_contract_tests.contract" not in sys.modules
        """
    )
    found = pytester.runpytest_subprocess(*_PLUGINS)
    found.assert_outcomes(passed=1)
    found.stdout.no_fnmatch_line("*provider contract*")


def test_a_table_has_a_row_for_each_group_and_a_column_for_each_binding():
    one = Binding("a", "TestA", "1.0", ("test_x", "test_y"), {}, {}, "acme")
    one.rows["test_x[1]"] = Row("test_x[1]", "test_x", "first", Outcome.PASSED)
    one.rows["test_x[2]"] = Row("test_x[2]", "test_x", "first", Outcome.FAILED)
    one.rows["test_y"] = Row("test_y", "test_y", "second", Outcome.DECLINED, "no")
    assert table([one], ["first", "second", "third"]) == [
        "        acme",
        "first   1, 1 failed",
        "second  0, 1 declined",
        "all     1, 1 failed, 1 declined",
    ]
    two = Binding("b", "TestB", "1.0", (), {}, {}, "acme")
    assert table([one, two], ["first"])[0].split() == ["TestA", "TestB"]
    assert partial(one) == ""
    assert document([one], [])["complete"] is True
    one.left_out.add("test_x[3]")
    assert partial(one).startswith("PARTIAL TestA: 1 of 2 tests")


def _cases():
    from _pytest.mark.structures import Mark

    found = []
    for name, test in TESTS.items():
        marks = [one for one in getattr(test, "pytestmark", []) if isinstance(one, Mark)]
        found += [name] * max(
            [len(one.args[1]) for one in marks if one.name == "parametrize"] or [1]
        )
    return found
