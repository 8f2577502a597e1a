"""The demo is a real run: its claims are measured, and one that fails is told."""

import json
from dataclasses import replace

import pytest

from downhaul.demo import run
from downhaul.demo.claims import claims_of
from downhaul.demo.imported import NOTHING, Expectation, read
from downhaul.demo.report import Show
from downhaul.demo.rollouts import RolloutsReport, Tale
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
        ({"failed": 1}, "no request went without an answer"),
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


PLANNED = (1.0, 50.0, 100.0)
CLIMB = Tale("v2", PLANNED, PLANNED, "completed", began=10.0, ended=12.0)
BROKEN = Tale("v3", PLANNED, (1.0,), "rolled_back", "regressed", answers=20, failed=2, met=1)
BY_HAND = Tale("v4", PLANNED, (1.0, 50.0), "rolled_back", "by_hand")
STOPPED = Tale("v4", PLANNED, (1.0,), "stopped", "killed")


def rolled_out(**changes: object) -> RolloutsReport:
    whole = RolloutsReport(
        CLIMB,
        BROKEN,
        BY_HAND,
        STOPPED,
        killed_at=50.0,
        resumed=3.0,
        slept=4.0,
        refused=True,
        taken_back=(0.1, 0.2),
        kill=(0.1, 0.2),
        logged=100,
        failed=2,
        observed=100,
        observed_failed=2,
        sweeps={"v2 climbed": {"a": "v2", "b": "v2"}},
    )
    return replace(whole, **changes)


def test_all_claims_on_rollouts_hold_on_a_clean_run():
    both = [report(name, rollouts=rolled_out()) for name in ("SQLite", "PostgreSQL")]
    assert failed(*both) == []


@pytest.mark.rule("E7", "R1", "R4", "R8", "R10", "K5")
@pytest.mark.parametrize(
    "changes,told",
    [
        ({"climb": replace(CLIMB, raised=(1.0, 1.0, 50.0, 100.0))}, "every step once"),
        ({"climb": replace(CLIMB, phase="paused")}, "every step once"),
        ({"resumed": float("inf")}, "another one finished"),
        ({"climb": replace(CLIMB, lost=1)}, "nobody who had v2 lost it"),
        ({"climb": replace(CLIMB, moved=1)}, "everybody has v2 afterwards"),
        ({"broken": replace(BROKEN, because="by_hand")}, "its own metrics took it back"),
        ({"broken": replace(BROKEN, met=4)}, "few met it"),
        ({"broken": replace(BROKEN, last=1.5)}, "later than a second"),
        ({"broken": replace(BROKEN, moved=1)}, "exactly as before"),
        ({"refused": False}, "refused when it woke"),
        ({"by_hand": replace(BY_HAND, raised=(1.0, 50.0, 50.0))}, "each step was taken once"),
        ({"taken_back": (0.1, 1.2)}, "gone at every process"),
        ({"by_hand": replace(BY_HAND, phase="latched")}, "gone at every process"),
        ({"by_hand": replace(BY_HAND, moved=1)}, "exactly as before"),
        ({"kill": (0.1, 1.2)}, "obeyed the kill"),
        ({"killed": replace(STOPPED, moved=1)}, "the safe variant"),
        ({"killed": replace(STOPPED, phase="progressing")}, "the kill ended the rollout"),
        ({"stirred": True}, "the kill ended the rollout"),
        ({"wrong": ("a got v3 at 1.0",)}, "every answer in the service's log"),
        ({"observed": 99}, "every request was observed"),
        ({"observed_failed": 1}, "every request was observed"),
    ],
)
def test_whatever_did_not_hold_of_the_rollouts_is_told(changes, told):
    texts = failed(report(rollouts=rolled_out(**changes)))
    assert [told in text for text in texts if told in text] == [True]
    # A rollout that did not end as it should may fail what stands on its end too, and no more.
    assert len(texts) <= 2


def test_one_user_with_another_agent_on_another_backend_fails_the_run():
    other = rolled_out(sweeps={"v2 climbed": {"a": "v2", "b": "v1"}})
    (text,) = failed(report(rollouts=rolled_out()), report("PostgreSQL", rollouts=other))
    assert "same variant" in text


def test_the_summary_says_where_a_claim_failed(capsys):
    reports = [
        report(rollouts=rolled_out()),
        report("PostgreSQL", rollouts=rolled_out(kill=(2.0,))),
    ]
    claims = claims_of(reports, NOTHING)
    Show(as_json=False).summary(reports, claims, NOTHING, None)
    printed = capsys.readouterr().out
    assert "FAILED  every process obeyed the kill within a second" in printed
    assert "PostgreSQL 2000 ms (FAILED)" in printed
    assert f"{len(claims) - 1} of {len(claims)} claims held." in printed


def test_a_rollout_that_nobody_took_up_is_no_number_in_the_document(capsys):
    reports = [report(rollouts=rolled_out(resumed=float("inf")))]
    Show(as_json=True).summary(reports, claims_of(reports, NOTHING), NOTHING, None)
    told = json.loads(capsys.readouterr().out)
    assert told["held"] is False
    assert told["backends"][0]["rollouts"]["resumed_after"] is None


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
    assert [one for one in told["claims"] if not one["held"]] == []
    assert code == 0
    assert told["held"] is True
    assert told["imported"]["flags"] == 2
    assert told["imported"]["expectations"] == 2
    (backend,) = told["backends"]
    assert [step["asked"] for step in backend["steps"]] == [0, 0.01, 0.1, 0.5, 1, 0]
    assert backend["wrong_after_kill"] == 0
    rollouts = backend["rollouts"]
    phases = {name: tale["phase"] for name, tale in rollouts["stories"].items()}
    assert phases == {
        "climb": "completed",
        "broken": "rolled_back",
        "by_hand": "rolled_back",
        "killed": "stopped",
    }
    assert rollouts["wrong"] == []
    assert rollouts["answers"] == rollouts["observed"] > 1000


@pytest.mark.slow
@pytest.mark.postgres
def test_a_whole_run_on_both_stores_holds(capsys):
    assert run(quick=True) == 0
    printed = capsys.readouterr().out
    assert "SQLite and PostgreSQL gave every user the same variant" in printed
    assert "its own metrics took it back" in printed
    assert "left out" not in printed
