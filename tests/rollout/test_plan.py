"""A plan as it is kept: whole, read by later versions, and known by its digest."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.analysis.model import Against, Check, Count, Measure
from downhaul.rollout.plan import OnMetricsLost, OnUndecided, Plan, Step, Strategy

_times = st.floats(1, 1e6)
_checks = st.builds(
    Check,
    st.sampled_from(Measure),
    limit=st.none() | st.floats(0, 1),
    over_control=st.none() | st.floats(0, 1),
    slower_than=st.none() | st.floats(1, 1e4),
    min_sample=st.integers(1, 1000),
    window=st.none() | _times,
    dry_run=st.booleans(),
) | st.builds(
    Check,
    st.sampled_from(Measure),
    limit=st.none() | st.floats(0, 1),
    slower_than=st.none() | st.floats(1, 1e4),
    against=st.sampled_from(Against),
    tolerate=st.floats(0, 1),
    clean_below=st.floats(1.1, 5),
    count=st.sampled_from(Count),
    together=st.floats(1, 10),
    quantile=st.none() | st.sampled_from([0.5, 0.95, 0.999]),
)
plans = st.builds(
    Plan,
    flag=st.text(min_size=1, max_size=5),
    variant=st.text(max_size=5),
    steps=st.lists(
        st.builds(Step, st.integers(0, 100_000), _times, _times, st.booleans()), max_size=4
    ).map(tuple),
    strategy=st.sampled_from(Strategy),
    guardrails=st.lists(_checks, max_size=2).map(tuple),
    signals=st.lists(_checks, max_size=2).map(tuple),
    unguarded=st.text(max_size=5),
    on_undecided=st.sampled_from(OnUndecided),
    on_metrics_lost=st.sampled_from(OnMetricsLost),
    metrics_lost_after=_times,
    max_duration=st.none() | _times,
    revert_window=_times,
    interval=_times,
    audience=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    metrics=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    description=st.text(max_size=5),
    false_alarms=st.sampled_from([0.01, 0.02, 0.001]),
)


@pytest.mark.rule("R1")
@given(plans)
def test_a_plan_is_read_back_as_it_was_kept(plan):
    again = Plan.from_mapping(plan.as_mapping())
    assert again == plan
    assert again.digest == plan.digest


@pytest.mark.rule("R1")
@pytest.mark.parametrize(
    "edit",
    [
        {"variant": "v3"},
        {"steps": (Step(1_000, 60.0, 181.0),)},
        {"guardrails": (Check(Measure.ERROR_RATE, limit=0.06),)},
        {"on_undecided": OnUndecided.PROMOTE},
        {"unguarded": "because"},
        {"metrics": {"source": "sql"}},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_an_edited_plan_has_another_digest(edit):
    plan = Plan(
        "a",
        "v2",
        (Step(1_000, 60.0, 180.0),),
        guardrails=(Check(Measure.ERROR_RATE, limit=0.05),),
        metrics={"source": "requests"},
    )
    assert replace(plan, **edit).digest != plan.digest


def test_a_plan_that_an_earlier_version_kept_has_the_defaults_of_what_it_lacks():
    plan = Plan.from_mapping({"flag": "a", "variant": "on", "steps": [{"weight": 1, "bake": 2}]})
    assert plan == Plan("a", "on", (Step(1, 2.0, 6.0),))


def test_a_dry_run_guards_nothing():
    check = Check(Measure.ERROR_RATE, limit=0.05)
    assert Plan("a", "on", (), guardrails=(check,)).guarded
    assert not Plan("a", "on", (), guardrails=(replace(check, dry_run=True),)).guarded
    assert not Plan("a", "on", (), signals=(check,)).guarded
