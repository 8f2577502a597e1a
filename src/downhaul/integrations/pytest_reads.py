"""Watching what tests read: unknown flags fail a test, and a report tells what was never seen.

Only runs with ``--flags-strict`` or ``--flags-report`` import this. The methods of
:class:`downhaul.Flags` are replaced for such a run, so that evaluation pays nothing in any other.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, Final

import pytest

import downhaul
from downhaul.client import Flags
from downhaul.integrations.pytest_flags import FlagsFixture
from downhaul.integrations.pytest_plugin import fixture_of
from downhaul.result import Result

_OURS: Final = str(Path(downhaul.__file__).parent)


def watch() -> Callable[[], None]:
    """Tell each test's ``flags`` of the reads of its client, from now on; return what ends it."""
    is_enabled, evaluate, many = Flags.is_enabled, Flags.evaluate, Flags.evaluate_many

    @functools.wraps(is_enabled)
    def watched_is_enabled(
        self: Flags, flag: str, context: Any = None, default: bool = False
    ) -> bool:
        _note(self, flag, [evaluate(self, flag, context)])
        return is_enabled(self, flag, context, default)

    @functools.wraps(evaluate)
    def watched_evaluate(
        self: Flags, flag: str, context: Any = None, default: Any = None
    ) -> Result:
        result = evaluate(self, flag, context, default)
        _note(self, flag, [result])
        return result

    @functools.wraps(many)
    def watched_many(self: Flags, flag: str, contexts: Any, default: Any = None) -> list[Result]:
        results = many(self, flag, contexts, default)
        _note(self, flag, results)
        return results

    def put(*methods: Any) -> None:
        Flags.is_enabled, Flags.evaluate, Flags.evaluate_many = methods  # type: ignore[method-assign]

    put(watched_is_enabled, watched_evaluate, watched_many)
    return lambda: put(is_enabled, evaluate, many)


def _note(client: Flags, flag: str, results: Iterable[Result]) -> None:
    fixture = FlagsFixture.of(client)
    if fixture is not None:
        for result in results:
            fixture.read(flag, result, _caller)


def _caller() -> str:
    """Return the file and line of whoever asked, outside this package."""
    frame = sys._getframe(1)  # noqa: SLF001  (a whole traceback is dear, and this is one line)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    folder = Path.cwd()
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return f"{shown}:{frame.f_lineno}"


class FailUnknown:
    """Fails a test that read a flag which nobody knows, whatever became of the answer."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the test, then look at what it read."""
        try:
            yield
        except BaseException:
            item.add_report_section("call", "unknown flags", _complaint(item))
            raise
        complaint = _complaint(item)
        if complaint:
            pytest.fail(complaint, pytrace=False)


def _complaint(item: pytest.Item) -> str:
    fixture = item.stash.get(fixture_of, None)
    return "" if fixture is None else fixture.complaint()


class Report:
    """Gathers which variants of which flags the tests saw, and prints it at the end.

    What a test saw travels on its report, which is how it comes home from a worker of xdist.
    """

    def __init__(self) -> None:
        self._told = False
        self._variants: dict[str, list[str]] = {}
        self._seen: dict[str, Counter[str]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add to the last report of a test what it read."""
        report = yield
        fixture = item.stash.get(fixture_of, None)
        if call.when == "teardown" and fixture is not None:
            told: dict[str, Any] = {
                "seen": {flag: sorted(variants) for flag, variants in fixture.reads.items()}
            }
            if not self._told and fixture.known:  # once a process: there may be thousands
                self._told = True
                told["known"] = {key: list(flag.variants) for key, flag in fixture.known.items()}
            report.__dict__["downhaul"] = told  # which is what xdist sends home
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what a test saw, be it from here or from a worker."""
        told = getattr(report, "downhaul", {})
        self._variants.update(told.get("known", {}))
        for flag, variants in told.get("seen", {}).items():
            self._seen.setdefault(flag, Counter()).update(variants)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print, for each flag, how many tests saw which variant, and what none saw."""
        terminalreporter.write_sep("=", "flags that the tests read")
        keys = sorted(self._variants.keys() | self._seen.keys())
        width = max(map(len, keys), default=0)
        whole = 0
        for key in keys:
            seen = self._seen.get(key, Counter())
            missing = [name for name in self._variants.get(key, ()) if name not in seen]
            whole += not missing and key in self._variants
            parts = [", ".join(f"{name} in {tests}" for name, tests in sorted(seen.items()))]
            if not seen:
                parts = ["never read"]
            elif missing:
                parts.append(f"never {', '.join(missing)}")
            elif key not in self._variants:
                parts.append("nobody knows it")
            terminalreporter.write_line(f"{key:{width}}  {'; '.join(parts)}")
        known = len(self._variants)
        terminalreporter.write_line(f"{whole} of {known} known flags were seen in every variant")
