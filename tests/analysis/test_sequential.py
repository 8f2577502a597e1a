"""Sequential checks: what windows add, what they say, and what they never say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.analysis.evidence import Evidence
from downhaul.analysis.judge import judge_all
from downhaul.analysis.model import (
    Against,
    Check,
    Count,
    Counts,
    Measure,
    Sample,
    Verdict,
    Window,
)
from downhaul.analysis.sequential import gather, tally

CONTROL = Check(Measure.ERROR_RATE, against=Against.CONTROL)
SUCCESS = Check(Measure.SUCCESS_RATE, against=Against.CONTROL)
SLOW = Check(Measure.SLOW_RATE, against=Against.CONTROL, slower_than=800)
SLO = Check(Measure.ERROR_RATE, limit=0.05, against=Against.SLO)
BY_USER = Check(Measure.ERROR_RATE, against=Against.CONTROL, count=Count.USERS)
SPLIT = Check(Measure.SAMPLE_RATIO, min_sample=100)
ALPHA = 0.002


def counts(requests, errors=0, *, slow=0, users=0, new=0, bad_users=0):
    return Counts(
        requests, errors, requests - errors, requests, 100.0 * requests, {800.0: slow},
        users, new, bad_users, bad_users, {800.0: bad_users} if users or new else {},
    )  # fmt: skip


def gathered(windows, *checks, evidence=None):
    found = evidence or Evidence(0, 0)
    for on, off in windows:
        arms = {"on": on, "off": off} if off is not None else {"on": on}
        window = Window(found.cursor, found.cursor + 1)
        found = gather(found, Sample(window, arms), checks, "on")
    return found


def said(check, evidence, *, alpha=ALPHA, share=0.1):
    (found,) = judge_all(
        (check,), evidence, "on", evidence.cursor, alphas={check.name: alpha}, share=share
    )
    return found


def judged(check, windows, **options):
    return said(check, gathered(windows, check), **options)


BAD = [(counts(50, 5), counts(450, 4))] * 3
EQUAL = [(counts(200, 2), counts(1800, 18))] * 20


@pytest.mark.rule("R6")
def test_ten_times_the_errors_have_regressed_and_the_same_errors_become_clean():
    assert judged(CONTROL, BAD).verdict is Verdict.REGRESSED
    assert judged(CONTROL, EQUAL).verdict is Verdict.CLEAN
    assert judged(CONTROL, EQUAL[:1]).verdict is Verdict.UNDECIDED


@pytest.mark.rule("R6")
def test_requests_without_success_and_slow_ones_are_compared_as_errors_are():
    assert judged(SUCCESS, BAD).verdict is Verdict.REGRESSED
    slow = [(counts(50, slow=20), counts(450, slow=22))] * 3
    assert judged(SLOW, slow).verdict is Verdict.REGRESSED
    assert judged(CONTROL, slow).verdict is not Verdict.REGRESSED


@pytest.mark.rule("R6")
def test_an_incident_of_both_arms_is_held_against_a_promise_and_not_against_the_variant():
    incident = [(counts(100, 40), counts(900, 360))] * 5
    assert judged(CONTROL, incident).verdict is not Verdict.REGRESSED
    assert judged(SLO, incident).verdict is Verdict.REGRESSED


@pytest.mark.rule("R5")
def test_without_requests_of_the_variant_there_are_no_data():
    found = judged(CONTROL, [(Counts(), counts(1000, 10))])
    assert (found.verdict, found.value) == (Verdict.NO_DATA, None)
    assert found.message == "no requests"


@pytest.mark.rule("R5")
@given(
    st.lists(
        st.tuples(
            st.integers(0, 500).flatmap(
                lambda n: st.integers(0, n).map(lambda bad: counts(n, bad))
            ),
            st.none(),
        ),
        max_size=10,
    )
)
def test_without_a_control_a_comparison_is_never_decided(windows):
    assert judged(CONTROL, windows).verdict in (Verdict.NO_DATA, Verdict.UNDECIDED)


def test_one_user_who_fails_all_the_time_is_one_bad_user():
    # One user makes forty errors: as requests they are proof, as users they are one.
    windows = [(counts(60, 40, users=20, bad_users=1), counts(500, 3, users=180, bad_users=3))]
    windows += [(counts(60, 40, users=20), counts(500, 3, users=180))] * 5
    assert judged(CONTROL, windows).verdict is Verdict.REGRESSED
    assert judged(BY_USER, windows).verdict is Verdict.UNDECIDED


def test_against_a_promise_each_user_is_asked_once():
    check = Check(Measure.ERROR_RATE, limit=0.05, against=Against.SLO, count=Count.USERS)
    assert tally(check, counts(60, 9, users=20, new=5, bad_users=2)).requests == 5


@pytest.mark.rule("R6")
def test_a_user_who_came_earlier_and_fails_later_counts_against_a_promise():
    check = Check(Measure.ERROR_RATE, limit=0.05, against=Against.SLO, count=Count.USERS)
    came = [(counts(400, users=100, new=100), None)]
    fail_later = [(counts(40, 10, users=10, bad_users=2), None)] * 12
    assert judged(check, came).verdict is not Verdict.REGRESSED
    found = judged(check, came + fail_later)
    assert found.verdict is Verdict.REGRESSED
    assert "24 of 100 users with errors (24 %)" in found.message


def test_evidence_lasts_over_steps_and_what_is_clean_is_shown_anew():
    evidence = gathered(BAD[:1], CONTROL)
    later = evidence.for_step(1, evidence.cursor)
    assert said(CONTROL, later).evidence == said(CONTROL, evidence).evidence
    assert said(CONTROL, later).verdict is Verdict.NO_DATA
    clean = gathered(EQUAL, CONTROL)
    assert said(CONTROL, clean.for_step(1, clean.cursor)).verdict is Verdict.NO_DATA
    assert said(CONTROL, gathered(BAD, CONTROL, evidence=later)).verdict is Verdict.REGRESSED


@pytest.mark.rule("R2")
def test_what_is_stored_goes_on_as_if_it_had_not_been():
    evidence = gathered(EQUAL[:5], CONTROL, SLO, BY_USER)
    read = Evidence.from_mapping(json.loads(json.dumps(evidence.as_mapping())))
    assert read == evidence
    more = gathered(BAD, CONTROL, SLO, BY_USER, evidence=read)
    assert more == gathered(BAD, CONTROL, SLO, BY_USER, evidence=evidence)


def test_evidence_of_an_earlier_version_is_read_without_what_it_lacks():
    row = [100, 2, 98, 100, 10_000.0, []]
    old = {"step": 1, "cursor": 9, "buckets": [[3, 9, {"on": row}]]}
    read = Evidence.from_mapping(old)
    assert (read.begun, dict(read.progress)) == (3, {})
    assert read.since(None)["on"] == Counts(100, 2, 98, 100, 10_000.0)


def test_a_finding_says_what_was_seen_and_what_would_be_enough():
    found = judged(CONTROL, BAD)
    assert found.enough == 500
    assert found.evidence >= 500
    assert "15 of 150 requests in error (10 %)" in found.message
    assert "the others 12 of 1350 requests in error (0.889 %)" in found.message
    assert found.message.endswith("and 500 to 1 is enough")
    undecided = judged(SLO, [(counts(10), counts(90))])
    assert "not shown to be below a rate of 5 % yet" in undecided.message


@pytest.mark.parametrize(
    "treated,control,verdict",
    [
        (0, 0, Verdict.NO_DATA),
        (5, 45, Verdict.UNDECIDED),
        (100, 900, Verdict.CLEAN),
        (250, 1000, Verdict.REGRESSED),
        (40, 1000, Verdict.REGRESSED),
    ],
)
def test_users_are_counted_against_the_split(treated, control, verdict):
    found = judged(SPLIT, [(counts(9, new=treated), counts(9, new=control))])
    assert found.verdict is verdict
    assert found.requests == treated + control


def test_a_split_that_everybody_is_in_says_nothing():
    windows = [(counts(9, new=500), counts(9, new=0))]
    assert judged(SPLIT, windows, share=1.0).verdict is Verdict.NO_DATA


@given(st.integers(-5, 50), st.integers(-5, 50))
def test_impossible_counts_of_a_source_are_bounded(requests, errors):
    found = tally(CONTROL, Counts(requests, errors, 0))
    assert 0 <= found.bad <= found.requests
