"""What is slow today, as the metric source saw it."""

import bisect
import random

import pytest
from rollout_world import plan_for

from downhaul.analysis.model import Against, Check, Counts, Measure, Sample
from downhaul.errors import Refused
from downhaul.rollout.latencies import LEAST, with_latencies

DAY = 86_400.0


class Latencies:
    """A metric source of requests that took so long, a half of them by each of two variants."""

    def __init__(self, latencies):
        self.latencies = sorted(latencies)
        self.windows = []

    def watermark(self):
        return 200_000_000_000

    def sample(self, flag, window, thresholds, *, preview=False):
        self.windows.append(window)
        arms = {}
        for name, part in (("on", self.latencies[::2]), ("off", self.latencies[1::2])):
            slow = {one: len(part) - bisect.bisect_right(part, one) for one in thresholds}
            arms[name] = Counts(len(part), 0, len(part), len(part), sum(part), slow)
        return Sample(window, arms)


def slow_at(part, **fields):
    return Check(Measure.SLOW_RATE, against=Against.CONTROL, quantile=part, **fields)


def lognormal(seed, many=5000):
    chance = random.Random(seed)
    return [100 * chance.lognormvariate(0, 0.8) for _ in range(many)]


@pytest.mark.parametrize("part", [0.5, 0.9, 0.95, 0.999])
def test_a_quantile_is_what_the_rest_of_the_requests_exceed(part):
    source = Latencies(lognormal(1))
    plan = plan_for("agent", guardrails=(slow_at(part),))
    (check,) = with_latencies(plan, source, DAY).guardrails
    exact = source.latencies[int(part * len(source.latencies))]
    assert check.quantile is None
    assert check.slower_than == pytest.approx(exact, rel=0.03)
    slower = sum(one > check.slower_than for one in source.latencies) / len(source.latencies)
    assert slower <= 1 - part
    assert source.windows[0].until - source.windows[0].since == DAY * 1e6


def test_a_plan_without_quantiles_asks_nothing():
    source = Latencies([])
    plan = plan_for("agent", guardrails=(Check(Measure.ERROR_RATE, limit=0.05),))
    assert with_latencies(plan, source, DAY) is plan
    assert not source.windows


def test_signals_have_quantiles_too_and_each_is_asked_for_once():
    source = Latencies(lognormal(2))
    plan = plan_for(
        "agent", guardrails=(slow_at(0.95),), signals=(slow_at(0.95, dry_run=True), slow_at(0.5))
    )
    found = with_latencies(plan, source, DAY)
    limits = [one.slower_than for one in found.checks]
    assert limits[0] == limits[1] > limits[2]
    assert len(source.windows) == 4


@pytest.mark.parametrize("many", [0, LEAST - 1])
def test_too_few_requests_say_nothing(many):
    plan = plan_for("agent", guardrails=(slow_at(0.95),))
    with pytest.raises(Refused, match=f"had {many} requests .* p95 needs {LEAST}"):
        with_latencies(plan, Latencies([100.0] * many), DAY)


def test_latencies_off_the_scale_are_its_lower_end_or_refused():
    plan = plan_for("agent", guardrails=(slow_at(0.95),))
    (check,) = with_latencies(plan, Latencies([0.01] * 500), DAY).guardrails
    assert check.slower_than == 1.0
    with pytest.raises(Refused, match=r"p95 of .* lies above"):
        with_latencies(plan, Latencies([1e9] * 500), DAY)


def test_a_rollout_starts_with_milliseconds(here):
    here.flag()
    here.count_requests()
    here.traffic = Latencies(lognormal(3))
    here.traffic.probe = lambda *_: None
    found = here.rollouts.start(plan_for("agent", 10, 50, guardrails=(slow_at(0.95),)))
    (check,) = found.plan.guardrails
    assert check.slower_than == pytest.approx(373, rel=0.1)
    assert found.plan.thresholds == (check.slower_than,)
