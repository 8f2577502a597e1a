"""The judge: what counts say of a check, and when they say nothing."""

import json
import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from downhaul.analysis.evidence import Evidence
from downhaul.analysis.judge import judge, judge_all
from downhaul.analysis.model import Check, Counts, Measure, Sample, Verdict, Window

SECOND = 1_000_000
ERRORS = Check(Measure.ERROR_RATE, limit=0.05)
SUCCESS = Check(Measure.SUCCESS_RATE, limit=0.95)
LATENCY = Check(Measure.LATENCY, limit=800)
SLOW = Check(Measure.SLOW_RATE, limit=0.1, slower_than=1000)


def counts(requests, *, errors=0, failures=None, timed=None, mean=100.0, slow=0):
    timed = requests if timed is None else timed
    failures = errors if failures is None else failures
    return Counts(
        requests, errors, requests - failures, timed, mean * timed, {1000.0: slow} if timed else {}
    )


def verdict(check, on, off=None):
    return told(check, on, off).verdict


def told(check, on, off=None):
    arms = {"on": on} if off is None else {"on": on, "off": off}
    evidence = Evidence(0, 0).add(Sample(Window(0, SECOND), arms))
    return judge(check, evidence, "on", SECOND)


@pytest.mark.rule("R5", "R6")
@pytest.mark.parametrize(
    "check,fine,bad",
    [
        (ERRORS, counts(100, errors=5), counts(100, errors=6)),
        (SUCCESS, counts(100, failures=5), counts(100, failures=6)),
        (LATENCY, counts(100, mean=800), counts(100, mean=800.1)),
        (SLOW, counts(100, slow=10), counts(100, slow=11)),
    ],
)
def test_a_limit_is_allowed_and_what_is_past_it_has_regressed(check, fine, bad):
    assert verdict(check, fine) is Verdict.CLEAN
    assert verdict(check, bad) is Verdict.REGRESSED


@pytest.mark.parametrize(
    "measure,margin,fine,bad",
    [
        (Measure.ERROR_RATE, 0.02, counts(200, errors=6), counts(200, errors=7)),
        (Measure.SUCCESS_RATE, 0.02, counts(200, failures=6), counts(200, failures=7)),
        (Measure.LATENCY, 0.3, counts(200, mean=130), counts(200, mean=131)),
        (Measure.SLOW_RATE, 0.02, counts(200, slow=6), counts(200, slow=7)),
    ],
)
def test_the_control_is_those_who_get_another_variant_at_the_same_time(measure, margin, fine, bad):
    check = Check(measure, over_control=margin, slower_than=1000)
    control = counts(300, errors=3, failures=3, slow=3)
    assert verdict(check, fine, control) is Verdict.CLEAN
    assert verdict(check, bad, control) is Verdict.REGRESSED


def test_the_control_is_all_other_variants_together():
    check = Check(Measure.ERROR_RATE, over_control=0.0, min_sample=100)
    arms = {"on": counts(100, errors=2), "a": counts(50, errors=0), "b": counts(50, errors=2)}
    finding = judge(check, Evidence(0, 0).add(Sample(Window(0, 1), arms)), "on", 1)
    assert (finding.verdict, finding.value, finding.control) == (Verdict.CLEAN, 0.02, 0.02)


@pytest.mark.rule("R5")
@pytest.mark.parametrize("check", [ERRORS, SUCCESS, LATENCY, SLOW])
def test_no_requests_are_no_data_and_too_few_are_undecided(check):
    assert verdict(check, Counts(), counts(1000)) is Verdict.NO_DATA
    few = told(check, counts(37))
    assert few.verdict is Verdict.UNDECIDED
    assert few.message.startswith("37 of 100 requests")
    assert (few.requests, few.needed) == (37, 100)
    assert verdict(check, counts(99)) is Verdict.UNDECIDED
    assert verdict(check, counts(100)) is Verdict.CLEAN


@pytest.mark.rule("R5")
@pytest.mark.parametrize("check", [LATENCY, SLOW])
def test_requests_without_a_latency_say_nothing_about_it(check):
    none = told(check, counts(500, timed=0))
    assert (none.verdict, none.message) == (
        Verdict.NO_DATA,
        "none of 500 requests has a latency",
    )
    few = told(check, counts(500, timed=50))
    assert (few.verdict, few.message) == (
        Verdict.UNDECIDED,
        "50 of 100 requests with a latency",
    )


@pytest.mark.rule("R5")
@pytest.mark.parametrize("control", [None, counts(0), counts(99)])
def test_without_enough_of_a_control_a_comparison_is_undecided(control):
    check = Check(Measure.ERROR_RATE, over_control=0.01)
    assert verdict(check, counts(500, errors=400), control) is Verdict.UNDECIDED


def test_it_is_said_in_words():
    assert told(ERRORS, counts(100, errors=6)).message == (
        "6 errors in 100 requests: 6 %, and 5 % are allowed"
    )
    assert told(SUCCESS, counts(200, failures=1)).message == (
        "1 of 200 requests without success: 99.5 %, and at least 95 % are wanted"
    )
    assert told(LATENCY, counts(120, mean=912.3)).message == (
        "the mean latency of 120 requests: 912.3 ms, and 800 ms are allowed"
    )
    assert told(SLOW, counts(100, slow=20)).message == (
        "20 of 100 requests took longer than 1000 ms: 20 %, and 10 % are allowed"
    )
    assert told(ERRORS, counts(20, errors=6)).message == (
        "6 errors in 20 requests, which is too many even in 100: 5 % are allowed"
    )
    margin = Check(Measure.ERROR_RATE, over_control=0.02)
    assert told(margin, counts(100, errors=9), counts(100, errors=3)).message == (
        "9 errors in 100 requests: 9 %; the other variants have 3 %, and 5 % are allowed"
    )


def test_a_window_looks_back_so_far():
    evidence = Evidence(0, 0)
    for number, errors in enumerate((50, 50, 0, 0)):
        window = Window(number * SECOND, (number + 1) * SECOND)
        evidence = evidence.add(Sample(window, {"on": counts(100, errors=errors)}))
    whole = Check(Measure.ERROR_RATE, limit=0.05)
    recent = Check(Measure.ERROR_RATE, limit=0.05, window=2.0)
    found = judge_all((whole, recent), evidence, "on", evidence.cursor)
    assert [one.verdict for one in found] == [Verdict.REGRESSED, Verdict.CLEAN]
    assert found[1].requests == 200


def test_a_dry_run_is_judged_and_marked():
    dry = Check(Measure.ERROR_RATE, limit=0.05, dry_run=True)
    finding = told(dry, counts(100, errors=50))
    assert (finding.verdict, finding.dry_run) == (Verdict.REGRESSED, True)


# --- properties

MANY = st.integers(1, 300)


@pytest.mark.rule("R5")
@given(st.sampled_from([ERRORS, SUCCESS, SLOW]), MANY, st.integers(1, 300), st.data())
@example(ERRORS, 20, 100, None)
def test_an_early_verdict_is_the_one_that_would_be_reached_anyhow(check, seen, needed, data):
    check = Check(check.measure, limit=0.05, slower_than=1000, min_sample=needed)
    bad = 6 if data is None else data.draw(st.integers(0, seen))
    assume(seen < needed)
    if check.measure is Measure.SUCCESS_RATE:
        check = Check(check.measure, limit=0.95, min_sample=needed)
    early = verdict(check, counts(seen, errors=bad, slow=bad))
    more = 0 if data is None else data.draw(st.integers(0, needed - seen))
    later = verdict(check, counts(needed, errors=bad + more, slow=bad + more))
    if early is Verdict.REGRESSED:
        assert later is Verdict.REGRESSED
    else:
        assert early is Verdict.UNDECIDED
        best = verdict(check, counts(needed, errors=bad, slow=bad))
        assert best is Verdict.CLEAN  # so it was right to wait: it can still end well


@pytest.mark.rule("R6")
@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(1, 1000))
def test_exactly_the_limit_is_allowed_whatever_binary_fractions_make_of_it(part, whole, limit):
    check = Check(Measure.ERROR_RATE, limit=limit / 1000, min_sample=1)
    errors = min(part, whole)
    regressed = verdict(check, counts(whole, errors=errors)) is Verdict.REGRESSED
    assert regressed is (errors * 1000 > limit * whole)


# A sample ratio is no threshold: it has neither a limit nor a margin.
THRESHOLDS = [one for one in Measure if one is not Measure.SAMPLE_RATIO]
ODD = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e308, 5e-324])


@given(st.sampled_from(THRESHOLDS), ODD, ODD, st.integers(-5, 200), st.booleans())
def test_numbers_that_are_none_never_end_well_nor_raise(
    measure, latency, limit, requests, relative
):
    check = Check(
        measure,
        limit=None if relative else limit,
        over_control=limit if relative else None,
        slower_than=1000,
    )
    odd = Counts(requests, 0, requests, requests, latency, {})
    finding = told(check, odd, counts(200))
    assert finding.message
    json.dumps(finding.as_mapping(), allow_nan=False)
    if requests < 1:
        assert finding.verdict is Verdict.NO_DATA
    elif measure is Measure.LATENCY and not math.isfinite(latency):
        assert finding.verdict is Verdict.UNDECIDED
    elif requests >= 100:
        assert (finding.verdict is Verdict.UNDECIDED) is not math.isfinite(limit)


@given(st.sampled_from([ERRORS, SUCCESS, LATENCY, SLOW]), MANY, MANY, st.integers(0, 300))
def test_more_harm_never_looks_better(check, requests, harm, more):
    harm = min(harm, requests)
    worse = min(requests, harm + more)
    before = verdict(check, counts(requests, errors=harm, slow=harm, mean=10.0 * harm))
    after = verdict(check, counts(requests, errors=worse, slow=worse, mean=10.0 * worse))
    assert not (before is Verdict.REGRESSED and after is not Verdict.REGRESSED)
