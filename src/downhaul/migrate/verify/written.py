"""A report written down: JSON data, JUnit XML, rows of a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final
from xml.etree import ElementTree as ET

from downhaul.migrate.verify.cases import Coverage
from downhaul.migrate.verify.outcomes import Outcome
from downhaul.migrate.verify.report import Answer, Example, Expectation, FlagReport, Report, shown

SCHEMA_VERSION: Final = 1

HEADINGS: Final = (
    "FLAG", "CASES", "MATCH", "VALUE", "TYPE", "NOT FOUND", "ERROR", "EXPECTED", "PARITY",
)  # fmt: skip

_IN_JUNIT: Final = 3  # examples of one flag


def rows(report: Report) -> list[tuple[str, ...]]:
    """Return a row of text for each flag, under :data:`HEADINGS`."""
    return [
        (
            one.flag,
            *map(
                str,
                (
                    one.cases, one.match, one.value, one.type,
                    one.not_found, one.error, one.expected,
                ),
            ),
            "nothing compared" if one.parity is None else f"{shown(one.parity)} %",
        )
        for one in report.flags
    ]  # fmt: skip


# --- JSON


def report_data(report: Report) -> dict[str, Any]:
    """Return the report as JSON data; equal reports are equal data, in one order."""
    return {
        "schema_version": SCHEMA_VERSION,
        "old": report.old,
        "new": report.new,
        "passed": report.passed,
        "failures": list(report.failures),
        "parity": report.parity,
        "threshold": report.threshold,
        "cases": report.cases,
        "errors": report.errors,
        "most_errors": report.most_errors,
        "only_old": list(report.only_old),
        "only_new": list(report.only_new),
        "expired": [_expectation(one) for one in report.expired],
        "unused": [_expectation(one) for one in report.unused],
        "seconds": round(report.seconds, 3),
        "per_second": round(report.per_second),
        "flags": [_flag(one) for one in report.flags],
    }


def _expectation(one: Expectation) -> dict[str, Any]:
    return {
        "flag": one.flag,
        "about": one.about,
        "keyless": one.keyless,
        "reason": one.reason,
        "until": one.until.isoformat(),
    }


def _flag(one: FlagReport) -> dict[str, Any]:
    return {
        "flag": one.flag,
        "cases": one.cases,
        "match": one.match,
        "variant_only": one.variant_only,
        "reason_only": one.reason_only,
        "value": one.value,
        "type": one.type,
        "not_found": one.not_found,
        "not_found_by": {str(side): count for side, count in one.not_found_by.items()},
        "error": one.error,
        "error_by": {str(side): count for side, count in one.error_by.items()},
        "expected": one.expected,
        "parity": one.parity,
        "coverage": None if one.coverage is None else _coverage(one.coverage),
        "examples": [_example(example) for example in one.examples],
    }


def _coverage(one: Coverage) -> dict[str, Any]:
    return {
        "rules": one.rules,
        "reached": [number + 1 for number in one.reached],
        "unreached": [{"rule": other.rule + 1, "why": other.why} for other in one.unreached],
    }


def _example(one: Example) -> dict[str, Any]:
    return {
        "outcome": str(one.outcome),
        "about": one.about,
        "decided": one.decided,
        "expected": one.expected,
        "context": _plain(one.context),
        "old": _answer(one.old),
        "new": _answer(one.new),
    }


def _answer(one: Answer) -> dict[str, Any]:
    return {
        "value": _plain(one.value),
        "variant": one.variant,
        "reason": one.reason,
        "error": one.error,
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON data, keys in order; what is no JSON (a date) as text."""
    return json.loads(json.dumps(value, sort_keys=True, default=str))


# --- JUnit

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """Return the report as JUnit XML: a test case for each flag, and one for the whole."""
    suite = ET.Element("testsuite", name=_safe(f"downhaul verify {report.old} {report.new}"))
    failed = 0
    for one in report.flags:
        case = _case(suite, report, one.flag)
        if report.falls_short(one):
            failed += 1
            _failure(case, _summary(one), _lines(one.examples))
    overall = _case(suite, report, "(all flags)")
    if not report.passed:
        failed += 1
        _failure(overall, "; ".join(report.failures), report.failures)
    suite.set("tests", str(len(report.flags) + 1))
    suite.set("failures", str(failed))
    suite.set("errors", "0")
    suite.set("time", f"{report.seconds:.3f}")
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"
    )


def _case(suite: ET.Element, report: Report, name: str) -> ET.Element:
    where = _safe(f"{report.old}.{report.new}")
    return ET.SubElement(suite, "testcase", classname=where, name=_safe(name), time="0")


def _failure(case: ET.Element, message: str, lines: Iterable[str]) -> None:
    failure = ET.SubElement(case, "failure", message=_safe(message), type="parity")
    failure.text = _safe("\n".join(lines))


def _summary(one: FlagReport) -> str:
    counts = {
        "value": one.value, "type": one.type, "not found": one.not_found, "error": one.error,
        "expected": one.expected,
    }  # fmt: skip
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    parity = "nothing compared" if one.parity is None else f"parity {shown(one.parity)} %"
    return f"{parity} of {one.cases} cases" + (f": {said}" if said else "")


def _lines(examples: Iterable[Example]) -> Iterable[str]:
    differing = [one for one in examples if one.outcome is not Outcome.VARIANT_ONLY]
    for one in [example for example in differing if not example.expected][:_IN_JUNIT]:
        yield f"{one.outcome}: {one.about}"
        yield f"  old: {one.old}"
        yield f"  new: {one.new}"
        yield f"  context: {json.dumps(_plain(one.context), ensure_ascii=False)}"


def _safe(text: str) -> str:
    """Return text without what XML can't hold, each such character written as its number."""
    return _NO_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
