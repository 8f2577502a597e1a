"""The demo is a real run: its claims are measured, and one that fails is told."""

import json
from dataclasses import replace

import pytest

from downhaul.demo import run
from downhaul.demo.imported import NOTHING, Expectation, read
from downhaul.demo.report import claims_of
from downhaul.demo.story import BackendReport, StepReport, users_of
from downhaul.errors import DocumentError, ProviderNotFound

RAISED = StepReport("S", "50 %", 0.5, 0.5, lost=0, unlike=0, latencies=(0.01,))
KILLED = StepReport("S", "kill", 0.0, 0.0, lost=2, unlike=0, latencies=(0.02, 0.03))


def report(name: str = "SQLite", **changes: object) -> BackendReport:
    whole = BackendReport(
        name,
        users=4,
        processes=2,
        steps=[RAISED, KILLED],
        answers={"50 %": {"a": "on", "b": "off"}, "kill": {"a": "off", "b": "off"}},
        requests=100,
    )
    return replace(whole, **changes)


def failed(*reports: BackendReport) -> list[str]:
    return [claim.text for claim in claims_of(reports, NOTHING) if not claim.held]


def test_all_claims_hold_on_a_clean_run():
    assert failed(report(), report("PostgreSQL")) == []


@pytest.mark.rule("E7")
@pytest.mark.parametrize(
    "changes,told",
    [
        ({"steps": [replace(RAISED, lost=1), KILLED]}, "nobody lost the feature"),
        ({"steps": [replace(RAISED, unlike=1), KILLED]}, "what the flag says"),
        ({"steps": [RAISED, replace(KILLED, latencies=(0.1, 1.5))]}, "obeyed the kill"),
        ({"wrong_after_kill": 1}, "served wrongly after the kill"),
        ({"failed": 1}, "no request failed"),
    ],
)
def test_whatever_did_not_hold_is_told(changes, told):
    (text,) = failed(report(**changes))
    assert told in text


def test_one_user_answered_differently_by_two_backends_fails_the_run():
    other = report(
        "PostgreSQL",
        answers={"50 %": {"a": "on", "b": "on"}, "kill": {"a": "off", "b": "off"}},
    )
    (text,) = failed(report(), other)
    assert "same variant" in text


def test_a_vendor_s_no_variant_may_be_none_off_or_a_plain_on():
    nobody = Expectation(0, "f", "about", variant="disabled")
    plain = frozenset({"on", "off"})
    for variant in (None, "on", "off"):
        assert nobody.holds({"variant": variant, "enabled": False}, plain)
    assert not nobody.holds({"variant": "blue", "enabled": True}, plain)
    blue = Expectation(0, "f", "about", variant="blue", variant_enabled=True)
    assert blue.holds({"variant": "blue", "enabled": True}, plain)
    assert not blue.holds({"variant": "on", "enabled": True}, plain)


def test_users_are_distinct_and_the_same_at_every_run():
    assert len(set(users_of(2000))) == 2000
    assert users_of(50) == users_of(50)


@pytest.mark.rule("X1")
@pytest.mark.parametrize("source", ["unleash", "unleash:", "unleash:/nowhere/at/all.json"])
def test_an_import_that_cannot_be_read_says_so(source):
    with pytest.raises(DocumentError):
        read(source, ["u"])


@pytest.mark.rule("X1")
def test_an_import_from_nobody_known_says_so(tmp_path):
    (tmp_path / "flags.json").write_text("{}")
    with pytest.raises(ProviderNotFound):
        read(f"nobody:{tmp_path / 'flags.json'}", ["u"])


DOCUMENT = {
    "state": {
        "version": 1,
        "features": [
            {
                "name": "half",
                "enabled": True,
                "strategies": [
                    {
                        "name": "flexibleRollout",
                        "parameters": {"rollout": "50", "stickiness": "userId", "groupId": "g"},
                    }
                ],
            },
            {"name": "all", "enabled": True, "strategies": [{"name": "default"}]},
        ],
    },
    "tests": [
        {"description": "on", "toggleName": "all", "context": {}, "expectedResult": True},
        {"description": "none", "toggleName": "nope", "context": {}, "expectedResult": False},
    ],
}


@pytest.mark.slow
@pytest.mark.rule("X2")
def test_a_whole_run_with_somebody_s_flags_holds_and_prints_json(tmp_path, capsys):
    pytest.importorskip("downhaul_unleash")
    file = tmp_path / "features.json"
    file.write_text(json.dumps(DOCUMENT))
    code = run(import_=f"unleash:{file}", json=True, quick=True, sqlite_only=True)
    told = json.loads(capsys.readouterr().out)
    assert code == 0, told["claims"]
    assert told["held"] is True
    assert told["imported"]["flags"] == 2
    assert told["imported"]["expectations"] == 2
    (backend,) = told["backends"]
    assert [step["asked"] for step in backend["steps"]] == [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 0]
    assert backend["wrong_after_kill"] == 0


@pytest.mark.slow
@pytest.mark.postgres
def test_a_whole_run_on_both_stores_holds(capsys):
    assert run(quick=True) == 0
    printed = capsys.readouterr().out
    assert "PostgreSQL gave every user the same variant" in printed
    assert "left out" not in printed
