"""What a lint says of a plan and of the flag it will move."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from rollout_strategies import flags_to_raise

from downhaul.analysis.model import Against, Check, Measure
from downhaul.backends.edits import weight_of_variant, with_rollout
from downhaul.flag import (
    Bucketing,
    Clause,
    Flag,
    FlagKind,
    Operator,
    Prerequisite,
    Rule,
    Scheme,
    Split,
    Target,
    Weight,
    percentage,
)
from downhaul.overlay import KillRecord, Scope
from downhaul.rollout.lint import lint, refusing
from downhaul.rollout.plan import HOUR, OnUndecided, Step
from downhaul.rollout.planfile import make_plan
from downhaul.rollout.results import Severity

FLAG = Flag.boolean("a", on=False, percent=0, owner="team", description="The new one")
PLAN = make_plan(
    flag="a",
    variant="on",
    bake="1h",
    error_rate="5%",
    latency="1s",
    slow="2s:10%",
)
ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


def steps(*percents, bake=HOUR):
    return tuple(Step(round(one * 1000), bake, 3 * bake) for one in percents)


def guarded_by(**check):
    return {"guardrails": (Check(**{"measure": Measure.ERROR_RATE, **check}),)}


def told(plan, flag=FLAG, **more):
    return {(one.severity, one.path, one.message) for one in lint(plan, flag, **more)}


def says(found, severity, path, part):
    assert any(one[0] is severity and one[1] == path and part in one[2] for one in found), (
        f"{severity} {path}: {part}\n" + "\n".join(map(str, found))
    )


def test_of_a_good_plan_there_is_nothing_to_say():
    assert lint(PLAN, FLAG) == ()


@pytest.mark.parametrize(
    "edit, severity, path, part",
    [
        ({"steps": ()}, ERROR, "steps", "no steps"),
        ({"steps": steps(5, 1, 100)}, ERROR, "steps[1]", "1 % comes after 5 %"),
        ({"steps": steps(1, 1, 100)}, ERROR, "steps[1]", "1 % comes after 1 %"),
        ({"steps": steps(0, 100)}, ERROR, "steps[0]", "serves nobody"),
        ({"steps": steps(1, 120)}, ERROR, "steps[1]", "between 0 and 100"),
        ({"steps": steps(1, bake=0)}, ERROR, "steps[0].bake", "longer than no time"),
        ({"steps": (Step(1_000, 60, 30),)}, ERROR, "steps[0].bake", "shorter than the bake"),
        ({"steps": steps(1, 50)}, NOTE, "steps", "there it completes"),
        ({"steps": steps(20, 100)}, WARNING, "steps[0]", "exposes 20 % at once"),
        ({"steps": steps(1, bake=8)}, WARNING, "steps[0].bake", "fewer than two looks"),
        ({"interval": 0}, ERROR, "interval", "longer than nothing"),
        ({"metrics_lost_after": 6}, WARNING, "metrics_lost_after", "one look that fails"),
        ({"max_duration": 60.0}, ERROR, "max_duration", "always pauses"),
        ({"max_duration": 7 * HOUR}, NOTE, "max_duration", "longest bake (18h)"),
        ({"on_undecided": OnUndecided.PROMOTE}, NOTE, "on_undecided", "promoted all the same"),
        ({"unguarded": "why"}, WARNING, "unguarded", "and there are some"),
        ({"variant": "onn"}, ERROR, "variant", 'no variant "onn"'),
        ({"variant": "off"}, ERROR, "variant", "is the off variant"),
        ({"flag": "b"}, ERROR, "flag", 'for "b", not for "a"'),
    ],
)
def test_a_plan_is_told_what_is_wrong_with_it(edit, severity, path, part):
    says(told(replace(PLAN, **edit)), severity, path, part)


@pytest.mark.rule("R3")
def test_a_plan_without_guardrails_says_why():
    says(told(replace(PLAN, guardrails=())), ERROR, "guardrails", "no guardrail that decides")
    dry = tuple(replace(one, dry_run=True) for one in PLAN.guardrails)
    says(told(replace(PLAN, guardrails=dry)), ERROR, "guardrails", "only dry runs")
    blank = replace(PLAN, guardrails=(), unguarded="  ")
    says(told(blank), ERROR, "guardrails", "no guardrail that decides")
    said = lint(replace(PLAN, guardrails=(), unguarded="no metrics"), FLAG)
    assert not refusing(said)
    assert [(one.severity, one.path) for one in said] == [(WARNING, "unguarded")]


@pytest.mark.parametrize(
    "check, severity, part",
    [
        ({}, ERROR, "either a limit or over_control"),
        ({"limit": 0.1, "over_control": 0.1}, ERROR, "either a limit or over_control"),
        ({"limit": 1.5}, ERROR, "no limit of a rate"),
        ({"limit": float("nan")}, ERROR, "no limit of a rate"),
        ({"limit": 1.0}, ERROR, "no rate exceeds 100 %"),
        ({"limit": 0.0}, WARNING, "a single request"),
        ({"limit": 0.0005}, WARNING, "less than one in a thousand"),
        ({"measure": Measure.SUCCESS_RATE, "limit": 0.0}, ERROR, "no success rate falls below"),
        ({"measure": Measure.SUCCESS_RATE, "limit": 1.0}, WARNING, "a single failure"),
        ({"measure": Measure.SUCCESS_RATE, "limit": 0.05}, WARNING, "more failures than"),
        ({"measure": Measure.LATENCY, "limit": 0.0}, ERROR, "no limit of a latency"),
        ({"measure": Measure.LATENCY, "limit": float("inf")}, ERROR, "no limit of a latency"),
        ({"measure": Measure.LATENCY, "limit": 5.0}, WARNING, "hides the slow tail"),
        ({"measure": Measure.SLOW_RATE, "limit": 0.1}, ERROR, "from when on"),
        ({"over_control": -0.1}, ERROR, "no margin over the control"),
        ({"over_control": 0.0}, WARNING, "chance alone"),
        ({"over_control": 1.0}, ERROR, "more than 100 points"),
        ({"over_control": 0.02}, WARNING, "at 100 % there is no control"),
        ({"limit": 0.1, "min_sample": 0}, ERROR, "at least one request"),
        ({"limit": 0.1, "window": 0.0}, ERROR, "longer than no time"),
        ({"limit": 0.1, "window": 2.0}, ERROR, "requests are missed"),
        ({"against": Against.CONTROL}, WARNING, "at 100 % there is no control"),
        ({"against": Against.CONTROL}, NOTE, "requests of one user fail together"),
        ({"against": Against.SLO}, ERROR, "what rate was promised"),
        ({"against": Against.SLO, "limit": 0.0}, ERROR, "what rate was promised"),
        ({"against": Against.CONTROL, "tolerate": 1.5}, ERROR, "2 times the control"),
        ({"against": Against.CONTROL, "measure": Measure.LATENCY}, ERROR, "a mean latency"),
        ({"against": Against.CONTROL, "measure": Measure.SLOW_RATE}, ERROR, "from when on"),
        ({"measure": Measure.SAMPLE_RATIO}, NOTE, "says nothing of the variant"),
    ],
)
def test_a_check_that_can_never_fire_or_always_does_is_told(check, severity, part):
    says(told(replace(PLAN, **guarded_by(**check))), severity, "guardrails[0]", part)


def test_below_100_percent_there_is_a_control():
    plan = replace(PLAN, steps=steps(1, 50), **guarded_by(over_control=0.02))
    assert not any("no control" in message for _, _, message in told(plan))


def test_a_preview_needs_somebody_to_see_it():
    plan = make_plan(flag="a", variant="on", audience="qa-1", bake="1h", error_rate=5)
    assert lint(plan, FLAG) == ()
    says(told(replace(plan, audience=())), ERROR, "blue-green.audience", "nobody is there")
    late = replace(plan, steps=plan.steps[::-1])
    says(told(late), ERROR, "steps[1]", "a preview comes first")
    says(told(replace(plan, steps=plan.steps[:1])), ERROR, "steps", "nothing follows")
    raising = replace(plan, steps=(replace(plan.steps[0], weight=1_000), plan.steps[1]))
    says(told(raising), ERROR, "steps[0]", "leaves the percentage as it is")
    denied = replace(FLAG, targets=(Target("off", frozenset({"qa-1"})),))
    says(told(plan, denied), WARNING, "blue-green.audience", 'always gets "off" now')


# --- traffic


def test_a_sample_that_the_traffic_never_fills_is_told():
    plan = replace(PLAN, steps=steps(1, 10, 100))  # 100 requests in an hour, or in three of them
    found = told(plan, requests_per_hour=500)
    says(found, WARNING, "steps[0]", "the sample of 100 is there after 20h")
    says(found, NOTE, "steps[1]", "after 2h")
    assert not any(path == "steps[2]" for _, path, _ in found)
    says(told(plan, requests_per_hour=0), WARNING, "steps[2]", "never")


def test_the_control_needs_its_sample_too_and_a_window_forgets():
    over = replace(PLAN, steps=steps(99), **guarded_by(over_control=0.1))
    says(told(over, requests_per_hour=1000), WARNING, "steps[0]", "after 10h")
    window = replace(PLAN, steps=steps(50), **guarded_by(limit=0.1, window=60.0))
    says(told(window, requests_per_hour=1000), WARNING, "steps[0]", "never")


# --- the flag


def flag_with(**fields):
    return replace(FLAG, **fields)


CONDITION = Clause("plan", Operator.IN, ("pro",))


@pytest.mark.parametrize(
    "fields, severity, path, part",
    [
        ({"default": "on", "on": True}, ERROR, "flag", "everybody gets"),
        (
            {"default": percentage("on", 25, rest="off"), "on": True},
            ERROR,
            "steps[0]",
            "serves 25 % now, and the first step would lower it to 1 %",
        ),
        ({"default": percentage("on", 1, rest="off"), "on": True}, NOTE, "steps[0]", "1 % already"),
        (
            {"default": Split((Weight("on", 0), Weight("off", 100)), Bucketing(total=100))},
            None,
            "",
            "",
        ),
        (
            {"default": Split((Weight("on", 0), Weight("off", 7)), Bucketing(total=7))},
            ERROR,
            "steps[0]",
            "splits by 7 buckets",
        ),
        (
            {"default": Split((Weight("on", 0), Weight("off", 100_000)), Bucketing(salt="s"))},
            NOTE,
            "flag",
            'its salt is "s"',
        ),
        (
            {
                "default": Split(
                    (Weight("on", 0), Weight("off", 100_000)), Bucketing(scheme=Scheme.RANDOM)
                )
            },
            WARNING,
            "flag",
            "drawn anew",
        ),
        ({"owner": ""}, NOTE, "flag", "no owner"),
        ({"off_variant": None}, WARNING, "flag", "the caller's default"),
        ({"prerequisites": (Prerequisite("b"),)}, NOTE, "flag", 'prerequisites do: "b"'),
        ({"rules": (Rule("on"),)}, ERROR, "flag", "rule 1 serves everybody"),
        ({"rules": (Rule("on", (CONDITION,)),)}, WARNING, "flag", "also serves 1 rule"),
        ({"rules": (Rule("on", (CONDITION,)),), "on": True}, NOTE, "flag", "1 of its rules"),
        (
            {"targets": (Target("on", frozenset({"x", "y"})), Target("off", frozenset("z")))},
            WARNING,
            "flag",
            "also serves 2 targets,",
        ),
    ],
)
def test_what_the_flag_makes_of_the_plan_is_told(fields, severity, path, part):
    found = told(PLAN, flag_with(**fields))
    if severity is None:
        assert not found
    else:
        says(found, severity, path, part)


@pytest.mark.rule("K5")
def test_a_killed_flag_is_no_flag_to_roll_out():
    kill = KillRecord(Scope.parse("tag:agents"), 1, killed=True, actor="ana", reason="loops")
    found = told(PLAN, FLAG, killed=kill)
    says(found, ERROR, "flag", "it is killed by ana: loops")
    hints = [one.hint for one in lint(PLAN, FLAG, killed=kill)]
    assert any("downhaul revive tag:agents" in hint for hint in hints)


def test_the_variant_is_the_one_that_the_flag_says():
    open_flag = Flag(
        key="a",
        kind=FlagKind.STRING,
        variants={"v1": "1", "v2": "2", "v3": "3"},
        off_variant="v1",
        default="v1",
    )
    unsaid = replace(PLAN, variant="")
    says(told(unsaid, open_flag), ERROR, "variant", "no variant is named")
    assert lint(unsaid, FLAG) == ()


def test_without_its_flag_a_plan_is_judged_by_itself():
    assert [(one.severity, one.path) for one in lint(PLAN, None)] == [(NOTE, "flag")]


def test_errors_come_first_and_notes_last():
    plan = replace(PLAN, steps=steps(20, 10), guardrails=(), on_undecided=OnUndecided.PROMOTE)
    severities = [one.severity for one in lint(plan, replace(FLAG, owner=""))]
    order = [ERROR, WARNING, NOTE]
    assert severities == sorted(severities, key=order.index)
    assert set(severities) == set(order)


# --- what it lets through is possible


@pytest.mark.rule("R3")
@given(flags_to_raise())
def test_a_plan_that_is_let_through_only_raises_and_can_be_written(case):
    flag, plan = case
    assume(not refusing(lint(plan, flag)))
    before = weight_of_variant(flag, plan.variant) if flag.on else 0
    for step in plan.steps:
        flag = with_rollout(flag, plan.variant, step.weight)
        assert before <= weight_of_variant(flag, plan.variant) == step.weight
        before = step.weight
