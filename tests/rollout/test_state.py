"""A rollout's state as it is kept: all of it comes back, old rows are read, newer ones left."""

import json
from dataclasses import fields, replace

import pytest
from rollout_cases import CLEAN, REGRESSED, state_at

from downhaul.rollout.state import LIVE, RETURNING, Act, Baked, Because, Phase, State

FULL = state_at(
    phase=Phase.LATCHED,
    because=Because.REGRESSED,
    message="10 % errors",
    hold=Because.PROVIDER,
    hold_message="it timed out",
    ended_at=5,
    metrics_lost_at=6,
    act=Act.OFF,
    accepted=("a: 1 -> 2",),
    foreign=("a: 1 -> 2", "b: 3 -> 4"),
    overwrite=True,
    reasserted=2,
    limit_at=7,
    failures=3,
    failed_at=8,
    promoted=True,
    told_at=12,
    findings=REGRESSED,
    history=(Baked(0, 1, 2, 60.0, CLEAN), Baked(1, 3, 4, 61.5)),
)


def kept(state):
    return json.loads(json.dumps(state.as_mapping()))


@pytest.mark.rule("R1")
def test_every_field_comes_back_as_it_was():
    assert State.from_mapping(kept(FULL)) == FULL
    assert State.from_mapping(kept(State())) == State()
    plain, names = State(), [one.name for one in fields(State)]
    unset = [one for one in names if getattr(FULL, one) == getattr(plain, one)]
    assert unset == ["step"]  # the example fills in all others


@pytest.mark.rule("R1")
def test_a_row_of_a_former_version_is_read_with_defaults():
    old = {"phase": "paused", "step": 1, "started_at": 9}
    assert State.from_mapping(old) == State(phase=Phase.PAUSED, step=1, started_at=9)
    data = kept(FULL)
    for name in data:
        if name not in ("schema", "phase"):
            without = State.from_mapping({key: one for key, one in data.items() if key != name})
            assert without == replace(FULL, **{name: getattr(State(), name)})


@pytest.mark.rule("R1")
def test_a_row_of_a_newer_version_is_left_alone():
    with pytest.raises(ValueError, match="newer version"):
        State.from_mapping({**kept(FULL), "schema": 2})


def test_what_has_no_phase_must_not_begin_anew():
    with pytest.raises(KeyError, match="phase"):
        State.from_mapping({"step": 3})


@pytest.mark.parametrize("field, value", [("phase", "dancing"), ("act", "dancing")])
def test_what_is_no_state_is_no_state(field, value):
    with pytest.raises(ValueError, match="dancing"):
        State.from_mapping({**kept(FULL), field: value})


def test_each_phase_is_live_or_final():
    final = {Phase.ROLLED_BACK, Phase.COMPLETED, Phase.REVERTED, Phase.STOPPED}
    assert set(Phase) - LIVE == final
    assert RETURNING < LIVE
    assert all(State(phase=one).live is (one in LIVE) for one in Phase)
