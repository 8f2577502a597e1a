"""How many requests are foretold, and how many it takes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.analysis.statistics import power
from downhaul.analysis.statistics.likelihood import Tally
from downhaul.analysis.statistics.progress import Against, Answer, Progress

ALPHA = 0.002
RUNS = 80


def taken(answer, rate, others, share, against, *, batch, most=40_000):
    """Return how many requests of the variant it takes, in the middle and in nine of ten runs."""
    random, found = np.random.default_rng(1), []
    many = round(batch * (1 - share) / share)
    for _ in range(RUNS):
        progress, seen = Progress(), 0
        while seen < most and progress.answer(ALPHA) is not answer:
            treated = Tally(batch, int(random.binomial(batch, rate)))
            control = Tally(many, int(random.binomial(many, others)))
            progress, seen = progress.after(treated, control, against), seen + batch
        found.append(seen)
    found.sort()
    return found[RUNS // 2], found[RUNS * 9 // 10]


def foretold(enough, growth):
    return [power.requests_for(enough, growth, part) for part in (power.HALF, power.MOST)]


def near(told, found, within=1.4):
    return all(1 / within < one / other < within for one, other in zip(told, found, strict=True))


@pytest.mark.parametrize(
    "times,rate,share", [(10, 0.01, 0.1), (5, 0.01, 0.1), (3, 0.02, 0.5), (1.88, 0.05, 0.1)]
)
def test_what_is_worse_is_found_when_it_is_foretold(times, rate, share):
    growth = power.worse_than_control(times, rate, share)
    told = foretold(power.enough_to_roll_back(ALPHA), growth)
    found = taken(Answer.WORSE, times * rate, rate, share, Against(), batch=10)
    assert near(told, found), (told, found)


@pytest.mark.parametrize("bound,rate,share", [(2, 0.04, 0.05), (3, 0.01, 0.05)])
def test_what_is_no_worse_is_clean_when_it_is_foretold(bound, rate, share):
    told = foretold(power.enough_to_clear(), power.below_the_bound(bound, rate, share))
    found = taken(Answer.NOT_WORSE, rate, rate, share, Against(bound=bound), batch=25)
    assert near(told, found), (told, found)


def test_promises_are_foretold_too():
    worse = foretold(power.enough_to_roll_back(ALPHA), power.worse_than_limit(0.1, 0.05))
    found = taken(Answer.WORSE, 0.1, 0.1, 0.5, Against(limit=0.05), batch=10)
    assert near(worse, found), (worse, found)
    clean = foretold(power.enough_to_clear(), power.below_the_limit(0.02, 0.05))
    found = taken(Answer.NOT_WORSE, 0.02, 0.02, 0.5, Against(limit=0.05), batch=10)
    assert near(clean, found), (clean, found)


@given(
    st.floats(1.05, 30),
    st.floats(1e-4, 0.03),
    st.floats(0.001, 0.9),
    st.sampled_from([power.HALF, power.MOST]),
)
def test_more_evidence_takes_more_requests_and_surer_ones_take_more(times, rate, share, part):
    growth = power.worse_than_control(times, rate, share)
    few, many = (power.requests_for(enough, growth, part) for enough in (5.0, 8.0))
    assert 0 < few <= many
    assert power.requests_for(5.0, growth, power.HALF) <= power.requests_for(5.0, growth)


def test_what_is_as_good_as_allowed_is_never_found_worse():
    assert math.isinf(power.requests_for(6.0, power.worse_than_control(1.0, 0.01, 0.1)))
    assert math.isinf(power.requests_for(6.0, power.worse_than_limit(0.05, 0.05)))


@given(st.lists(st.floats(10, 5_000), min_size=1, max_size=5), st.floats(2, 20))
def test_stretches_of_the_same_growth_are_one(lengths, times):
    growth = power.worse_than_control(times, 0.01, 0.1)
    stretches = [(growth, length) for length in lengths] + [(growth, math.inf)]
    for part in (power.HALF, power.MOST):
        whole = power.requests_for(7.7, growth, part)
        assert power.requests_over(7.7, stretches, part) == pytest.approx(whole)


def test_evidence_that_never_suffices_is_never_there():
    growth = power.worse_than_control(3.0, 0.01, 0.1)
    assert math.isinf(power.requests_over(7.7, [(growth, 10.0), (growth, 10.0)]))
