"""Evidence: counts that follow each other, nothing twice and nothing left out."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.analysis.evidence import MOST_BUCKETS, Evidence
from downhaul.analysis.model import Counts, Sample, Window
from downhaul.errors import DownhaulError

SECOND = 1_000_000


def some(requests, errors=0):
    return Counts(requests, errors, requests - errors, requests, 5.0 * requests, {800.0: errors})


def filled(counts, tick=5 * SECOND):
    evidence = Evidence(step=0, cursor=0)
    for number, one in enumerate(counts):
        window = Window(number * tick, (number + 1) * tick)
        evidence = evidence.add(Sample(window, {"on": some(one)} if one else {}))
    return evidence


@pytest.mark.rule("R5")
@pytest.mark.parametrize("since,until", [(0, 10), (6, 10), (5, 4)])
def test_a_sample_that_does_not_begin_at_the_cursor_is_refused(since, until):
    evidence = Evidence(step=0, cursor=5)
    with pytest.raises(DownhaulError, match="does not follow"):
        evidence.add(Sample(Window(since, until), {"on": some(1)}))


def test_a_new_step_counts_anew():
    evidence = filled([3, 4]).for_step(1, 77 * SECOND)
    assert (evidence.step, evidence.cursor, evidence.since(None)) == (1, 77 * SECOND, {})


def test_time_without_requests_moves_the_cursor_and_keeps_nothing():
    evidence = filled([0] * 500)
    assert evidence.cursor == 2500 * SECOND
    assert not evidence.buckets


def test_a_look_back_counts_what_is_in_it_and_a_little_more():
    evidence = filled([1] * 17_280)  # a day of looks, each five seconds
    assert len(evidence.buckets) == MOST_BUCKETS
    for seconds in (10, 60, 600, 3_600, 43_200):
        counted = evidence.since(evidence.cursor - seconds * SECOND)["on"].requests
        assert seconds / 5 <= counted <= seconds / 5 * 1.25 + 2


@given(st.lists(st.integers(0, 9), max_size=200))
def test_joining_loses_nothing_and_json_brings_it_back(counts):
    evidence = filled(counts)
    total = evidence.since(None).get("on", Counts())
    assert total.requests == total.timed == sum(counts)
    assert total.latency_ms == 5.0 * sum(counts)
    assert Evidence.from_mapping(json.loads(json.dumps(evidence.as_mapping()))) == evidence
    for early, late in zip(evidence.buckets, evidence.buckets[1:], strict=False):
        assert early.until <= late.since


@given(st.lists(st.integers(0, 9), min_size=1, max_size=100), st.data())
def test_a_crash_between_two_saves_counts_nothing_twice(counts, data):
    tick = 5 * SECOND
    evidence = saved = Evidence(step=0, cursor=0)
    for number in range(len(counts)):
        if data.draw(st.booleans()):  # crashed before it was saved: begun again from the row
            evidence = Evidence.from_mapping(saved.as_mapping())
        until = (number + 1) * tick
        missed = counts[evidence.cursor // tick : number + 1]
        window = Window(evidence.cursor, until)
        evidence = evidence.add(Sample(window, {"on": some(sum(missed))}))
        if data.draw(st.booleans()):
            saved = evidence
    assert evidence.since(None)["on"].requests == sum(counts)


def test_a_latency_that_is_no_number_survives_being_kept():
    evidence = Evidence(0, 0).add(Sample(Window(0, 1), {"on": Counts(1, 0, 1, 1, float("inf"))}))
    text = json.dumps(evidence.as_mapping(), allow_nan=False)
    back = Evidence.from_mapping(json.loads(text)).since(None)["on"]
    assert back.requests == 1
    assert math.isnan(back.latency_ms)
