"""Where a flag stands between two backends: who is asked, who is written to, and for whom."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.flag import WHOLE
from downhaul.staging import STAGES, Side, Stage, Standing

TABLE = {
    # stage: whose answer counts, whether both are compared, who is written to and in which order
    "off": ("old", False, ["old"]),
    "dual-write": ("old", False, ["old", "new"]),
    "shadow": ("old", True, ["old", "new"]),
    "live": ("new", True, ["new", "old"]),
    "ramp-down": ("new", False, ["new", "old"]),
    "complete": ("new", False, ["new"]),
}

KEYS = st.text(min_size=1, max_size=20)


def test_the_stages_are_launchdarklys_in_their_order():
    assert list(TABLE) == [str(one) for one in STAGES]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_who_is_asked_and_who_is_written_to(stage):
    reads, compares, writes = TABLE[stage]
    assert stage.reads == reads
    assert stage.compares is compares
    assert list(stage.writes) == writes


def test_each_stage_leads_to_the_next_and_back():
    for one, following in itertools.pairwise(STAGES):
        assert one.after is following
        assert following.before is one
    assert Stage.OFF.before is Stage.OFF
    assert Stage.COMPLETE.after is Stage.COMPLETE
    assert {one: one.other for one in Side} == {Side.OLD: Side.NEW, Side.NEW: Side.OLD}


@given(KEYS, st.sampled_from(STAGES), st.integers(0, WHOLE), st.integers(0, WHOLE))
def test_raising_the_share_only_moves_keys_on(key, stage, one, other):
    low, high = sorted((one, other))
    if Standing(stage, low).of("agent", key) is stage:
        assert Standing(stage, high).of("agent", key) is stage


@given(st.sampled_from(STAGES))
def test_nobody_and_everybody_are_just_that(stage):
    for key in ("ana", "bo", "0", "ü"):
        assert Standing(stage, 0).of("agent", key) is stage.before
        assert Standing(stage, WHOLE).of("agent", key) is stage


def test_who_has_no_key_is_among_the_last():
    assert Standing(Stage.LIVE, WHOLE - 1).of("agent", None) is Stage.SHADOW
    assert Standing(Stage.LIVE, WHOLE - 1).of("agent", "") is Stage.SHADOW
    assert Standing(Stage.LIVE, WHOLE).of("agent", None) is Stage.LIVE


def test_the_share_is_the_share_of_keys_and_other_keys_for_another_flag():
    keys = [f"user-{number}" for number in range(20_000)]
    for_one = {key for key in keys if Standing(Stage.LIVE, 10_000).of("a", key) is Stage.LIVE}
    for_other = {key for key in keys if Standing(Stage.LIVE, 10_000).of("b", key) is Stage.LIVE}
    assert 0.09 < len(for_one) / len(keys) < 0.11
    assert 0.09 < len(for_other) / len(keys) < 0.11
    assert len(for_one & for_other) < 0.02 * len(keys)
