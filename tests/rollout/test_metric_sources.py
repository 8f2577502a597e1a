"""Rollouts on metrics that live elsewhere: they rise by them, go back by them, and hold without."""

import time

import pytest
from answering import Answering, Reply, took
from rollout_world import ERRORS, plan_for

from downhaul.analysis import patience
from downhaul.analysis.sources import source_for
from downhaul.errors import ConfigError
from downhaul.rollout import service
from downhaul.rollout.controller import Controller

_real = service.metric_source


@pytest.fixture
def metrics():
    """A service that counts fifty requests a second of each variant; ``errors`` of "on" fail."""

    class Service(Answering):
        errors = 0.0

    def answer(asked):
        since, until = int(asked.params["since"]), int(asked.params["until"])
        many = round(50 * (until - since) / 1e6)
        arms = {
            "on": {"requests": many, "errors": round(many * made.errors)},
            "off": {"requests": many, "errors": 0},
        }
        window = {"since": since, "until": until}
        return Reply({"window": window, "arms": arms, "warnings": ["a shard is away"]})

    made = Service(answer)
    yield made
    made.close()


@pytest.fixture
def measured(here, metrics, monkeypatch):
    """A world whose rollouts are measured by what their plans say."""
    monkeypatch.setattr(service, "metric_source", _real)
    monkeypatch.setattr(patience, "REST", 0.3)
    here.controller = Controller(
        here.provider, here.control, lambda plan: _real(here.operator, plan)
    )
    return here


def plan(metrics, flag="agent", **more):
    given = {"source": "http", "url": f"{metrics.url}/counts", "lag": 0, "timeout": 1, **more}
    return plan_for(flag, 10, 100, guardrails=(ERRORS,), metrics=given)


@pytest.mark.rule("R3", "R4")
def test_a_rollout_climbs_and_goes_back_by_what_a_service_counts(measured, metrics):
    for key, errors, end in (("good", 0.0, "completed"), ("bad", 0.4, "rolled_back")):
        metrics.errors = errors
        measured.flag(key)
        measured.rollouts.start(plan(metrics, key))
        measured.go_to(end, flag=key)


@pytest.mark.rule("R5")
def test_one_that_hangs_holds_its_rollout_and_keeps_no_other_from_going_back(
    measured, metrics, here
):
    quick = Answering(metrics.answer)
    try:
        for key, server in (("agent", metrics), ("other", quick)):
            measured.flag(key)
            measured.rollouts.start(plan(server, key))
        measured.go(lambda: {measured.percent("agent"), measured.percent("other")} == {10.0})
        metrics.silent.set()
        metrics.errors = 0.5
        begun = time.monotonic()
        measured.go_to("rolled_back", flag="other")
        assert took(begun) < 10
        assert measured.phase("agent") == "progressing"
        assert measured.percent("agent") == 10.0
        (lost,) = [one for one in measured.rollouts.events("agent") if one.action == "metrics_lost"]
        assert "did not answer" in lost.reason
        metrics.silent.clear()
        metrics.errors = 0.0
        time.sleep(0.7)  # its rest
        measured.go_to("completed")
        assert "metrics_found" in measured.told("agent")
    finally:
        quick.close()


@pytest.mark.rule("X1")
def test_a_source_that_can_not_be_is_refused_by_the_lint_and_by_the_start(measured, metrics):
    measured.flag("agent")
    wrong = plan(metrics, timeout=100, lagg=3)
    advice = {one.path: one for one in measured.rollouts.lint(wrong) if one.severity == "error"}
    assert advice.keys() == {"metrics.timeout", "metrics.lagg"}
    assert advice["metrics.lagg"].hint == 'did you mean "lag"?'
    with pytest.raises(ConfigError, match=r"metrics\.lagg"):
        measured.rollouts.start(wrong)
    (one,) = measured.rollouts.lint(plan(metrics, source="htpp"))[:1]
    assert (one.path, one.hint) == ("metrics", 'did you mean "http"?')
    (one,) = measured.rollouts.lint(plan(metrics, lag=-1))[:1]
    assert (one.severity, one.path) == ("error", "metrics.lag")
    assert measured.rollouts.lint(plan(metrics))[0].path != "metrics"
    assert measured.rollouts.list() == []


def test_what_is_odd_about_the_metrics_is_told_and_kept(measured, metrics, caplog):
    measured.flag("agent")
    measured.rollouts.start(plan(metrics))
    assert "the metrics of agent: a shard is away" in caplog.text
    (planned,) = measured.rollouts.events("agent")
    assert planned.detail["odd_metrics"] == ["a shard is away"]


def test_each_plan_has_a_source_of_its_own(measured, metrics):
    one, two = plan(metrics), plan(metrics, lag=5)
    database = measured.control.rollouts.database
    made = [source_for(each.metrics, database, "test") for each in (one, two)]
    assert made[0].watermark() - made[1].watermark() == 5_000_000
