"""A report as data, as JUnit and as rows says the same, in an order that stays."""

import datetime as dt
import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from downhaul.migrate.verify import (
    HEADINGS,
    Answer,
    Coverage,
    Example,
    Expectation,
    FlagReport,
    Outcome,
    Report,
    Unreached,
    junit,
    report_data,
    rows,
)
from downhaul.staging import Side


def example(outcome=Outcome.VALUE, value=True, about="rule 1: x", expected=""):
    context = {"user": {"key": "sha256:0123", "attributes": ["plan"]}}
    one, other = Answer(value, "on", "DEFAULT"), Answer(False, "off", "SPLIT")
    return Example(outcome, about, "rule 1", context, one, other, expected)


def table():
    coverage = Coverage(2, (0,), (Unreached(1, "shadowed"),))
    return Report("db", "vendor", (
        FlagReport("new-checkout", 48, 48, coverage=coverage),
        FlagReport(
            "agent-model", 60, 41, value=19, expected=19, examples=(example(expected="rebucket"),)
        ),
        FlagReport("kill-payments", 12, 11, type=1, examples=(example(Outcome.TYPE, 1),)),
        FlagReport("broken", 3, error=3, error_by={Side.OLD: 0, Side.NEW: 3}),
    ), most_errors=5.0, only_new=("extra",), seconds=0.5,
        expired=(Expectation("x*", "later", dt.date(2026, 1, 2)),))  # fmt: skip


def test_rows_are_those_of_the_table():
    assert len(HEADINGS) == 9
    assert rows(table()) == [
        ("new-checkout", "48", "48", "0", "0", "0", "0", "0", "100.00 %"),
        ("agent-model", "60", "41", "19", "0", "0", "0", "19", "100.00 %"),
        ("kill-payments", "12", "11", "0", "1", "0", "0", "0", "91.66 %"),
        ("broken", "3", "0", "0", "0", "0", "3", "0", "nothing compared"),
    ]


def test_data_is_json_in_one_order_and_says_why_it_failed():
    data = report_data(table())
    assert json.loads(json.dumps(data)) == data
    assert list(data)[:5] == ["schema_version", "old", "new", "passed", "failures"]
    assert data["schema_version"] == 1
    assert data["passed"] is False
    assert data["failures"] == [
        'flag "broken": nothing compared',
        "parity is 99.16 %, below 100 %",
    ]
    assert data["cases"] == 123
    assert data["errors"] == 3
    assert data["per_second"] == 246
    assert data["only_new"] == ["extra"]
    assert data["expired"] == [
        {
            "flag": "x*",
            "about": "*",
            "keyless": False,
            "reason": "later",
            "until": "2026-01-02",
        }
    ]
    checkout, model, payments, broken = data["flags"]
    assert checkout["coverage"] == {
        "rules": 2, "reached": [1], "unreached": [{"rule": 2, "why": "shadowed"}],
    }  # fmt: skip
    assert model["examples"][0]["expected"] == "rebucket"
    assert payments["examples"][0]["old"] == {
        "value": 1, "variant": "on", "reason": "DEFAULT", "error": "",
    }  # fmt: skip
    assert payments["parity"] == pytest.approx(100 * 11 / 12)
    assert (broken["parity"], broken["error_by"]) == (None, {"old": 0, "new": 3})


def test_junit_has_a_case_for_each_flag_and_one_for_all():
    (suite,) = ET.fromstring(junit(table()))
    cases = {one.get("name"): one.find("failure") for one in suite}
    assert list(cases) == ["new-checkout", "agent-model", "kill-payments", "broken", "(all flags)"]
    assert (suite.get("tests"), suite.get("failures")) == ("5", "3")
    assert cases["new-checkout"] is None
    assert cases["agent-model"] is None
    failure = cases["kill-payments"]
    assert failure.get("message") == "parity 91.66 % of 12 cases: 1 type"
    assert "type: rule 1: x" in failure.text
    assert "old: 1 (on, DEFAULT)" in failure.text
    assert "sha256:0123" in failure.text
    assert cases["broken"].get("message") == "nothing compared of 3 cases: 3 error"
    assert "below 100 %" in cases["(all flags)"].get("message")


def test_junit_of_a_verification_that_passed_has_no_failure():
    (suite,) = ET.fromstring(junit(Report("a", "b", (FlagReport("f", 5, 5),))))
    assert suite.get("failures") == "0"
    assert suite.findall(".//failure") == []


@given(
    flag=st.text(st.characters(), max_size=8),
    about=st.text(st.characters(), max_size=8),
    value=json_values,
)
def test_whatever_is_in_names_and_values_is_read_back_as_xml(flag, about, value):
    report = Report("a\x00", "b", (
        FlagReport(flag, 1, value=1, examples=(example(about=about, value=value),)),
    ))  # fmt: skip
    written = junit(report)
    (suite,) = ET.fromstring(written.encode())
    assert suite.findall(".//failure")
    assert "\x00" not in written
    json.dumps(report_data(report))


def test_control_characters_are_written_by_their_number():
    report = Report("a", "b", (FlagReport("bell\x07", 1, 1),))
    assert 'name="bell\\u0007"' in junit(report)
