"""The sequential tests: what they promise, and that scipy and statsmodels count the same."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from downhaul.analysis.statistics.budget import FALSE_ROLLBACK, shares
from downhaul.analysis.statistics.dispersion import Dispersion, first_bad
from downhaul.analysis.statistics.evalues import Onset, Product, Recent
from downhaul.analysis.statistics.likelihood import (
    BETTER,
    WORSE,
    Tally,
    against_control,
    against_limit,
)
from downhaul.analysis.statistics.progress import Against, Answer, Progress
from downhaul.analysis.statistics.split import mismatch

NOBODY = Tally(0, 0)


@st.composite
def tallies(draw, most=400):
    requests = draw(st.integers(0, most))
    return Tally(requests, draw(st.integers(0, requests)))


windows = st.lists(st.tuples(tallies(), tallies()), max_size=12)
againsts = st.sampled_from([Against(), Against(1.25, 3.0), Against(limit=0.05), Against(limit=0.9)])


def progress_of(pairs, against):
    progress = Progress()
    for treated, control in pairs:
        progress = progress.after(treated, control, against)
    return progress


# --- the same as others count


@given(tallies(), tallies(), st.floats(1, 3))
def test_the_ratio_against_the_control_is_that_of_two_binomials(treated, control, margin):
    found = against_control(treated, control, margin, WORSE)
    bad = treated.bad + control.bad
    if not treated.requests or not control.requests:
        assert set(found) == {0.0}
        return
    odds = margin * treated.requests / control.requests
    for ratio, value in zip(WORSE, found, strict=True):
        worse = stats.binom.logpmf(treated.bad, bad, ratio * odds / (1 + ratio * odds))
        same = stats.binom.logpmf(treated.bad, bad, odds / (1 + odds))
        assert value == pytest.approx(worse - same, abs=1e-6)


@given(tallies(), st.floats(0.001, 0.99))
def test_the_ratio_against_a_limit_is_that_of_two_binomials(treated, limit):
    odds = limit / (1 - limit)
    for ratio, value in zip(WORSE, against_limit(treated, limit, WORSE), strict=True):
        worse = stats.binom.logpmf(treated.bad, treated.requests, ratio * odds / (1 + ratio * odds))
        same = stats.binom.logpmf(treated.bad, treated.requests, limit)
        assert value == pytest.approx(worse - same, abs=1e-6)


@given(
    st.lists(st.integers(0, 3000), min_size=2, max_size=4),
    st.lists(st.floats(0.05, 1), min_size=4, max_size=4),
)
def test_a_mismatch_is_the_bayes_factor_of_a_dirichlet_prior(users, weights):
    parts = np.array(weights[: len(users)]) / sum(weights[: len(users)])
    worse = stats.dirichlet_multinomial.logpmf(users, 500 * parts, sum(users))
    same = stats.multinomial.logpmf(users, sum(users), parts)
    expected = math.exp(min(worse - same, 600))
    assert mismatch(users, list(parts)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "limit,clean", [(0.05, 59), (0.03, 99), (0.02, 149), (0.01, 299), (0.005, 598)]
)
def test_clean_requests_exclude_a_limit_soon_after_the_exact_interval_does(limit, clean):
    bound = proportion_confint(0, clean, alpha=0.1, method="beta")[1]
    assert bound == pytest.approx(limit, rel=0.02)
    against = Against(limit=limit)
    soon = Progress().after(Tally(round(clean * 1.5), 0), NOBODY, against)
    assert Progress().after(Tally(clean - 5, 0), NOBODY, against).answer(0.01) is Answer.UNDECIDED
    assert soon.answer(0.01) is Answer.NOT_WORSE


# --- what an e-value promises


@pytest.mark.parametrize("bad", [1, 5, 40])
@pytest.mark.parametrize("arms", [(10, 90), (50, 50), (3, 997), (400, 100)])
def test_a_window_of_equal_rates_adds_no_evidence_on_average(bad, arms):
    """Which of the requests are bad is then a draw without replacement: all draws are summed up."""
    treated, control = arms
    draws = stats.hypergeom(treated + control, bad, treated)
    means = np.zeros(len(WORSE))
    for hit in range(max(0, bad - control), min(bad, treated) + 1):
        ratios = against_control(Tally(treated, hit), Tally(control, bad - hit), 1.0, WORSE)
        means += draws.pmf(hit) * np.exp(ratios)
    assert means.max() <= 1 + 1e-9


@pytest.mark.parametrize("limit", [0.001, 0.05, 0.3])
def test_a_rate_at_the_limit_adds_no_evidence_on_average_and_one_below_less(limit):
    for rate, most in ((limit, 1.0), (limit / 2, 0.999)):
        draws = stats.binom(30, rate)
        means = sum(
            draws.pmf(bad) * np.exp(against_limit(Tally(30, bad), limit, WORSE))
            for bad in range(31)
        )
        assert means.max() <= most + 1e-9


@given(st.lists(st.floats(0.1, 10_000), max_size=30))
def test_without_bad_requests_on_either_side_evidence_stays_where_it_began(sizes):
    onset = Onset.of(len(WORSE))
    for size in sizes:
        onset = onset.after((0.0,) * len(WORSE), size)
    assert onset.value == pytest.approx(1.0)


def test_a_change_is_an_onset_summed_over_all_times_at_which_it_may_have_begun():
    ratios = [(0.4, -0.2), (1.0, 0.3), (-0.5, 0.9)]
    onset, spent = Onset.of(2), []
    for one in ratios:
        before = onset.unspent
        onset = onset.after(one, 50)
        spent.append(before - onset.unspent)
    by_hand = sum(
        mass * np.exp(np.sum(ratios[begin:], axis=0)).mean() for begin, mass in enumerate(spent)
    )
    assert onset.value == pytest.approx(by_hand + onset.unspent)


def test_doubt_of_late_forgets_what_was_good():
    recent = Recent.of(1)
    for one in (-5.0, -5.0, 2.0, 1.0):
        recent = recent.after((one,))
    assert recent.value == pytest.approx(math.exp(3))


@given(windows, againsts)
def test_evidence_is_a_number_above_nothing_whatever_the_counts(pairs, against):
    progress = progress_of(pairs, against)
    for evidence in (progress.worse, progress.doubt, progress.better):
        assert 0 <= evidence.value < math.inf


def test_evidence_without_end_does_not_overflow():
    progress = progress_of([(Tally(10_000, 10_000), Tally(10_000, 0))] * 20, Against())
    assert progress.worse.value < math.inf
    assert progress.answer(1e-9) is Answer.WORSE
    assert Product((0.0, 1.0)).after((5.0, 900.0)).value < math.inf


# --- answers


@pytest.mark.rule("R5")
@given(st.lists(tallies(), max_size=8), againsts)
def test_without_requests_of_the_variant_nothing_is_ever_answered(controls, against):
    progress = progress_of([(NOBODY, control) for control in controls], against)
    assert progress.answer(0.01) is Answer.UNDECIDED
    assert progress.treated == NOBODY


@pytest.mark.rule("R5")
@given(st.lists(tallies(), max_size=8))
def test_without_a_control_nothing_is_ever_answered(treated):
    progress = progress_of([(one, NOBODY) for one in treated], Against())
    assert progress.answer(0.01) is Answer.UNDECIDED


def test_ten_times_the_errors_are_worse_and_equal_rates_are_not_worse_in_the_end():
    worse = progress_of([(Tally(50, 5), Tally(450, 4))] * 3, Against())
    equal = progress_of([(Tally(200, 2), Tally(1800, 18))] * 20, Against())
    assert worse.answer(0.002) is Answer.WORSE
    assert equal.answer(0.002) is Answer.NOT_WORSE


def test_what_hits_both_arms_is_not_worse():
    incident = [(Tally(100, 1), Tally(900, 9))] * 5 + [(Tally(100, 40), Tally(900, 360))] * 5
    assert progress_of(incident, Against()).answer(0.01) is not Answer.WORSE


def test_a_margin_tolerates_what_lies_within_it():
    pairs = [(Tally(1000, 24), Tally(9000, 180))] * 40
    assert progress_of(pairs, Against()).answer(0.01) is Answer.WORSE
    assert progress_of(pairs, Against(margin=1.25)).answer(0.01) is not Answer.WORSE


def test_a_variant_that_becomes_worse_is_not_called_clean_for_its_good_history():
    good = [(Tally(500, 5), Tally(4500, 45))] * 40
    bad = [(Tally(100, 4), Tally(900, 9))] * 4
    assert progress_of(good, Against()).answer(1e-6) is Answer.NOT_WORSE
    assert progress_of(good + bad, Against()).answer(1e-6) is Answer.UNDECIDED


@given(windows, againsts)
def test_a_step_keeps_doubt_and_has_to_be_shown_clean_anew(pairs, against):
    before = progress_of(pairs, against)
    after = before.for_step()
    assert (after.worse, after.doubt) == (before.worse, before.doubt)
    assert after.answer(1e-300) is not Answer.NOT_WORSE
    assert (after.treated, after.control) == (NOBODY, NOBODY)


@given(windows, againsts)
def test_what_is_stored_reads_back_the_same_and_goes_on_the_same(pairs, against):
    progress = progress_of(pairs, against)
    read = Progress.from_mapping(json.loads(json.dumps(progress.as_mapping())))
    assert read == progress
    more = (Tally(10, 1), Tally(90, 2), against)
    assert read.after(*more) == progress.after(*more)


@pytest.mark.parametrize("name", ["worse", "doubt", "better"])
def test_what_another_set_of_tests_stored_is_refused(name):
    data = Progress().as_mapping()
    with pytest.raises(ValueError, match="alternatives"):
        Progress.from_mapping({**data, name: data[name][:-1]})
    assert len(data["better"]) == len(BETTER)


# --- the budget, users, and splits


@given(st.integers(0, 50))
def test_checks_never_spend_more_than_the_whole_together(checks):
    assert shares(checks) * checks <= FALSE_ROLLBACK + 1e-12


def test_each_user_counts_once_however_often_it_fails():
    requests = [("a", False), ("b", True), ("b", True), ("b", False), ("a", True), ("c", False)]
    assert first_bad(requests) == Tally(3, 2)
    assert first_bad([]) == NOBODY


@pytest.mark.parametrize("burst,least,most", [(1, 1.0, 1.3), (5, 3.5, 6.5), (10, 7.0, 13.0)])
def test_dispersion_is_how_many_bad_requests_come_together(burst, least, most):
    random, factors = np.random.default_rng(7), []
    for _ in range(20):
        dispersion = Dispersion()
        for bursts in random.poisson(40 / burst, 100):
            dispersion = dispersion.after(Tally(4000, int(bursts) * burst))
        factors.append(dispersion.factor)
    assert least <= np.mean(factors) <= most


def test_an_incident_is_no_lasting_dispersion():
    random, dispersion = np.random.default_rng(8), Dispersion()
    for look in range(100):
        rate = 0.08 if 20 <= look < 30 else 0.01
        dispersion = dispersion.after(Tally(2000, int(random.binomial(2000, rate))))
    assert dispersion.factor < 1.5


def test_a_known_dispersion_counts_from_the_first_window_on():
    window = (Tally(100, 10), Tally(900, 10))
    known, unknown = Against(together=10), Against()
    assert Progress().after(*window, unknown).answer(0.01) is Answer.WORSE
    assert Progress().after(*window, known).answer(0.01) is Answer.UNDECIDED


def test_a_sound_split_stays_sound_at_every_look_and_a_broken_one_is_found():
    random, alarms = np.random.default_rng(9), 0
    for _ in range(100):
        treated = np.cumsum(random.binomial(100, 0.5, 100))
        looks = enumerate(treated, start=1)
        values = [mismatch((int(n), 100 * at - int(n)), (0.5, 0.5)) for at, n in looks]
        alarms += max(values) >= 1000
    assert alarms <= 1
    assert mismatch((1350, 1650), (0.5, 0.5)) >= 1000


@pytest.mark.parametrize(
    "users,parts", [((1, 2), (0.5, 0.6)), ((1,), (0.5, 0.5)), ((-1, 2), (0.5, 0.5)), ((), ())]
)
def test_what_is_no_split_is_refused(users, parts):
    with pytest.raises(ValueError, match="shares"):
        mismatch(users, parts)
