"""The pytest plugin of the contract: what was tampered with, what was left out, and the matrix.

It is loaded by every run of pytest where the suite is installed, so it imports nothing of the SDK
until a test class that binds the contract was collected.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Generator, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import pytest

from downhaul_contract_tests.matrix import Binding, Outcome, Row, document, partial, table

_MARKERS: Final = (
    "rule(*ids): the numbered rules of Downhaul's specification that this test proves",
    "slow: takes more than some seconds",
)
_NOTE: Final = "downhaul_contract"
_DECLINED: Final = "declined: "
_GAP: Final = "known gap: "
_URL: Final = "DOWNHAUL_CONTRACT_URL"
_LONG: Final = 300  # characters of what a failed test said, in the report
_watch: Final = pytest.StashKey["Watch"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the report."""
    group = parser.getgroup("downhaul", "feature flags (downhaul)")
    group.addoption(
        "--contract-report",
        metavar="FILE",
        help="write what the contract of Downhaul's providers found, as JSON",
    )
    group.addoption(
        "--no-contract-matrix",
        action="store_true",
        help="show no matrix at the end: for whoever shows the report",
    )
    group.addoption(
        "--contract-url",
        metavar="URL",
        default=os.environ.get(_URL),
        help=f"the server that a binding is to use, for its fixture contract_url [env: {_URL}]",
    )


@pytest.fixture(scope="session")
def contract_url(pytestconfig: pytest.Config) -> str | None:
    """The server that whoever runs the contract wants used; None leaves it to the binding."""
    url: str | None = pytestconfig.getoption("--contract-url")
    return url


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers, and watch this run."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    config.stash[_watch] = Watch(config)
    config.pluginmanager.register(config.stash[_watch], "downhaul-contract-watch")


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    """Show a declined test as what it is."""
    if report.skipped and _why(report).startswith(_DECLINED):
        return "declined", "d", "DECLINED"
    return None


class Watch:
    """Watches one run: which tests of which bindings there are, and what became of them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._bindings: dict[str, Binding] = {}
        # By the items themselves: pytest-xdist puts the name of a group into their node ids.
        self._collected: dict[pytest.Item, str] = {}
        self._deselected: set[pytest.Item] = set()
        self._problems: dict[str, None] = {}

    # Where tests are collected: in this process, or in a worker of pytest-xdist

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note every test of a binding."""
        binding = _binding_of(item)
        if binding is None:
            return
        parent = _parent(item)
        if parent not in self._bindings:
            self._meet(parent, binding)
        self._collected[item] = parent

    def pytest_deselected(self, items: Iterable[pytest.Item]) -> None:
        """Note what somebody chose to leave out."""
        self._deselected.update(items)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Find what vanished without a word."""
        chosen = set(session.items)
        for item, parent in self._collected.items():
            if item in chosen:
                continue
            self._bindings[parent].left_out.add(item.name)
            if item not in self._deselected:
                self._problem(f"{item.nodeid} was taken out of the run, and nobody said so")
        if self._config.getoption("--contract-url") and self._collected:
            asked = (getattr(item, "fixturenames", ()) for item in self._collected)
            if not any("contract_url" in names for names in asked):
                self._problem("a URL was given, and no binding asks for the fixture contract_url")
        if any("::" in argument for argument in self._config.args):
            return
        for parent, binding in self._bindings.items():
            there = {_plain(item) for item, at in self._collected.items() if at == parent}
            for name in binding.expected:
                if name not in there:
                    self._problem(f"{parent}::{name} was not collected")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put what the matrix needs into the report, which travels between processes."""
        report = yield
        binding = _binding_of(item)
        if binding is not None:
            from downhaul_contract_tests.base import group_of, seen_of  # noqa: PLC0415  (as above)

            group = getattr(group_of(binding, _plain(item)), "group", "")
            note = {"parent": _parent(item), "test": item.name, "group": group}
            failed = _said(report, item) if report.failed else ""
            setattr(report, _NOTE, {**note, "failed": failed, **seen_of(binding)})
        return report

    # Where reports arrive: in the process that shows them

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the outcome of a test."""
        note = getattr(report, _NOTE, None)
        outcome = _outcome(report)
        if note is None or outcome is None:
            return
        binding = self._bindings.setdefault(
            note["parent"], Binding(note["parent"], note["parent"], "", (), {}, {})
        )
        binding.provider = note.get("provider", "")
        binding.capabilities = note.get("capabilities", ())
        test = note["test"]
        before = binding.rows.get(test)
        if before is None or before.outcome is not Outcome.FAILED:
            why = note["failed"] or _why(report).removeprefix(_DECLINED).removeprefix(_GAP)
            binding.rows[test] = Row(
                test, test.partition("[")[0], note["group"], outcome, why.strip()
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take what a worker of pytest-xdist collected."""
        told = getattr(node, "workeroutput", {}).get(_NOTE)
        if told is None:
            return
        for problem in told["problems"]:
            self._problem(problem)
        for one in told["bindings"]:
            left_out = set(one.pop("left_out"))
            met = self._bindings.setdefault(one["id"], Binding(**one))
            met.name, met.suite, met.expected = one["name"], one["suite"], one["expected"]
            met.lacks, met.known_gaps = one["lacks"], one["known_gaps"]
            met.left_out |= left_out

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a run that was tampered with; write the report."""
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[_NOTE] = {
                "problems": list(self._problems),
                "bindings": [_travelling(one) for one in self._bindings.values()],
            }
            return
        if self._problems and exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        file = self._config.getoption("--contract-report")
        if file:
            found = {
                **document(
                    self._bindings.values(), list(self._problems), _groups(self._bindings.values())
                ),
                "suite": _suites(self._bindings.values()),
                "downhaul": metadata.version("downhaul"),
                "python": platform.python_version(),
            }
            text = json.dumps(found, indent=2, ensure_ascii=False)
            Path(file).write_text(f"{text}\n", encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the matrix, what is partial, and what was tampered with."""
        bindings = [one for one in self._bindings.values() if one.rows]
        nothing = not bindings and not self._problems
        if nothing or self._config.getoption("--no-contract-matrix"):
            return
        terminalreporter.section(f"provider contract, suite {_suites(bindings)}")
        if bindings:
            for line in table(bindings, _groups(bindings)):
                terminalreporter.write_line(line)
        for binding in bindings:
            if line := partial(binding):
                terminalreporter.write_line(line, yellow=True)
        for problem in self._problems:
            terminalreporter.write_line(f"FAILED {problem}", red=True)

    def _meet(self, parent: str, binding: Any) -> None:
        from downhaul_contract_tests.contract import TESTS, tampered  # noqa: PLC0415  (as above)

        self._bindings[parent] = Binding(
            id=parent,
            name=binding.__name__,
            suite=binding.suite,
            expected=tuple(TESTS),
            lacks={str(feature): reason for feature, reason in binding.lacks.items()},
            known_gaps=dict(binding.known_gaps),
        )
        for problem in tampered(binding):
            self._problem(f"{parent}: {problem}")

    def _problem(self, problem: str) -> None:
        self._problems[problem] = None


def _binding_of(item: pytest.Item) -> Any:
    """Return the class that binds the whole contract for a test, or None."""
    contract = sys.modules.get("downhaul_contract_tests.contract")
    binding = getattr(item, "cls", None)
    if contract is None or binding is None or not issubclass(binding, contract.ProviderContract):
        return None
    return binding if _plain(item) in contract.TESTS else None


def _parent(item: pytest.Item) -> str:
    """Return the node id of a test's class."""
    return "" if item.parent is None else item.parent.nodeid


def _plain(item: pytest.Item) -> str:
    """Return the name of a test without its parameters."""
    return item.name.partition("[")[0]


def _outcome(report: pytest.TestReport) -> Outcome | None:
    """Return what a report says of its test, None where it says nothing yet."""
    if report.failed:
        return Outcome.FAILED
    if report.skipped:
        if hasattr(report, "wasxfail"):
            return Outcome.KNOWN_GAP
        return Outcome.DECLINED if _why(report).startswith(_DECLINED) else Outcome.SKIPPED
    return Outcome.PASSED if report.when == "call" else None


def _why(report: Any) -> str:
    """Return the reason of a skip or an expected failure."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return ""


def _said(report: pytest.TestReport, item: pytest.Item) -> str:
    """Return the first line of what a failed test said, without the backend's secrets (rule P7)."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(report.longrepr if crash is None else crash.message).strip()
    backend = getattr(item, "funcargs", {}).get("backend")
    for secret in getattr(backend, "secrets", ()):
        text = text.replace(secret, "***")
    first = text.partition("\n")[0]
    return first if len(first) <= _LONG else f"{first[:_LONG]}..."


def _suites(bindings: Iterable[Binding]) -> str:
    """Return the versions of the suite that the bindings stand under: one, as a rule."""
    return ", ".join(sorted({one.suite for one in bindings if one.suite}))


def _groups(bindings: Iterable[Binding]) -> list[str]:
    """Return the groups in the order of the contract."""
    from downhaul_contract_tests.contract import GROUPS  # noqa: PLC0415  (as above)

    found = {row.group for one in bindings for row in one.rows.values()}
    return [group for group in dict.fromkeys(one.group for one in GROUPS) if group in found]


def _travelling(binding: Binding) -> dict[str, Any]:
    """Return what a worker tells of a binding, in types that travel."""
    return {
        "id": binding.id,
        "name": binding.name,
        "suite": binding.suite,
        "expected": list(binding.expected),
        "lacks": dict(binding.lacks),
        "known_gaps": dict(binding.known_gaps),
        "left_out": sorted(binding.left_out),
    }
