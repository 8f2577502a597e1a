"""How exposure rises, strategy by strategy: what a plan makes of each, and of what it can't be."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.backends.edits import with_segments
from downhaul.errors import DocumentError
from downhaul.flag import (
    WHOLE,
    Clause,
    Flag,
    Keys,
    Operator,
    Rule,
    Segment,
    SegmentRule,
    Target,
)
from downhaul.provider import Capability
from downhaul.rollout.lint import lint, refusing
from downhaul.rollout.lint_named import Place
from downhaul.rollout.plan import CANARY_PERCENTS, DAY, HOUR, Plan, Step, Strategy
from downhaul.rollout.planfile import make_plan, parse_plan, resolved
from downhaul.rollout.results import Severity
from downhaul.rollout.schedule import schedule


def problems(text):
    with pytest.raises(DocumentError) as caught:
        parse_plan(text, "toml")
    return {one.path: one.message for one in caught.value.problems}


def refused(text, path, message):
    found = problems(f'flag = "a"\n{text}')
    assert message in found.get(path, ""), found


def read(**said):
    """Return the paths of what is wrong with arguments, and the plan if nothing is."""
    try:
        return set(), make_plan(flag="a", **said)
    except DocumentError as error:
        return {one.path for one in error.problems}, None


NAMES = {
    Strategy.RELEASE: {"release": {"targets": ["ana"]}},
    Strategy.RINGS: {"rings": [{"targets": ["ana"], "name": "us"}, {"segments": ["staff"]}]},
}


def a_plan(strategy, **said):
    """Return a plan of a strategy, with somebody named where one has to be."""
    named = NAMES.get(strategy, {})
    return parse_plan(
        json.dumps({"flag": "a", "strategy": strategy.value, **named, **said}), "json"
    )


def percents(plan):
    return [one.percent for one in plan.steps]


# --- what was kept before is what it was


@pytest.mark.rule("R1")
@pytest.mark.parametrize(
    "said, digest",
    [
        ({}, "347170eeb8b66179"),
        (
            {
                "variant": "v2",
                "strategy": "linear",
                "error_rate": "5%",
                "slow": "2s:10%",
                "max_duration": "14d",
            },
            "3b7b770752bbbdc4",
        ),
        (
            {
                "variant": "on",
                "audience": "qa-1,qa-2",
                "preview": "1h",
                "bake": "2h",
                "error_rate": "+2%",
            },
            "f09e9c0243c34a0e",
        ),
    ],
    ids=["canary", "linear", "blue-green"],
)
def test_the_digest_of_a_plan_outlives_the_version_that_made_it(said, digest):
    assert make_plan(flag="a", **said).digest == digest


# --- exponential


@pytest.mark.parametrize(
    "fields, rising",
    [
        ("", [1, 2, 4, 8, 16, 32, 64, 100]),
        ("factor = 3\nto = 50", [1, 3, 9, 27, 50]),
        ("start = 5", [5, 10, 20, 40, 80, 100]),
        ("factor = 1.5", [1, 2, 3, 5, 7, 11, 17, 25, 38, 57, 86, 100]),  # whole percents
        ("start = 0.5", [0.5, 1, 2, 4, 8, 16, 32, 64, 100]),
        ("start = 0.5\nfactor = 5.5\nto = 20", [0.5, 2.75, 15.125, 20]),
        ("start = 100", [100]),
    ],
)
def test_exponential_steps_grow_by_a_factor(fields, rising):
    plan = parse_plan(f'flag = "a"\n[exponential]\n{fields}', "toml")
    assert plan.strategy is Strategy.EXPONENTIAL
    assert percents(plan) == rising


def test_exponential_steps_may_be_said_by_arguments():
    assert percents(make_plan(flag="a", strategy="exponential")) == [1, 2, 4, 8, 16, 32, 64, 100]
    plan = make_plan(flag="a", start=2, factor="10", to="60 %")
    assert plan.strategy is Strategy.EXPONENTIAL
    assert percents(plan) == [2, 20, 60]
    assert make_plan(flag="a", start=2, to=60, step=29).strategy is Strategy.LINEAR


@given(st.integers(1, WHOLE), st.integers(1, WHOLE), st.floats(1.001, 100))
def test_exponential_steps_rise_to_where_they_should_or_are_refused(start, to, factor):
    said = {"start": start / 1000, "to": to / 1000, "factor": factor}
    paths, plan = read(**said)
    assert paths <= {"start", "factor"}
    if plan is None:
        return
    weights = [one.weight for one in plan.steps]
    assert weights == sorted(set(weights))
    assert (weights[0], weights[-1]) == (start, to)
    assert len(weights) <= 100
    for one, following in pairwise(weights[:-1]):
        assert following <= one * factor + 1000  # rounded down, and what was lost of the one before


@pytest.mark.parametrize(
    "text, path, message",
    [
        ("[exponential]\nstart = 0", "exponential.start", "more than nothing"),
        ("[exponential]\nstart = 60\nto = 50", "exponential.start", "above the last"),
        ("[exponential]\nfactor = 1", "exponential.factor", "more than 1"),
        ("[exponential]\nfactor = 101", "exponential.factor", "100 at most"),
        ("[exponential]\nfactor = true", "exponential.factor", "should be a number"),
        ("[exponential]\nstart = 0.001\nfactor = 1.01", "exponential.factor", "than 100 steps"),
        ("[exponential]\nstep = 1", "exponential.step", "no such field"),
        ("steps = [1]\n[exponential]", "steps", "exponential, which takes no such field"),
        ("[exponential]\n[linear]", "exponential", "canary, which takes no such field"),
    ],
)
def test_what_is_no_exponential_plan_is_refused(text, path, message):
    refused(text, path, message)


def test_an_argument_that_is_no_factor_is_told_at_the_argument():
    with pytest.raises(DocumentError) as caught:
        make_plan(flag="a", factor="much")
    assert [one.path for one in caught.value.problems] == ["factor"]


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_is_read_back_as_it_was_kept(strategy):
    plan = a_plan(strategy)
    again = Plan.from_mapping(plan.as_mapping())
    assert (again, again.digest) == (plan, plan.digest)


# --- the final bake, and what it holds back


def test_a_final_bake_is_the_last_steps_alone():
    plan = make_plan(flag="a", steps="1,50,100", bake="1h", final_bake="2d")
    assert [one.bake for one in plan.steps] == [HOUR, HOUR, 2 * DAY]
    assert plan.steps[-1].max_bake == 6 * DAY
    assert make_plan(flag="a", strategy="blue-green", final_bake="2h").steps[-1].bake == 2 * HOUR


@pytest.mark.parametrize("strategy", Strategy)
def test_a_holdback_is_let_in_after_the_final_bake(strategy):
    plan = a_plan(strategy, bake="1h", final_bake="2h", holdback="2 %")
    *_, baking, last = plan.steps
    assert (baking.weight, baking.bake, baking.max_bake) == (98_000, 2 * HOUR, 6 * HOUR)
    assert last == Step(WHOLE, 0.0, 0.0)
    assert plan.holdback == 2_000
    assert [plan.ends_holdback(number) for number in range(len(plan.steps))] == [
        *[False] * (len(plan.steps) - 1),
        True,
    ]
    assert Plan.from_mapping(plan.as_mapping()) == plan
    ends = schedule(plan, datetime(2026, 3, 2, 9, tzinfo=UTC))
    assert ends[-1].enters == ends[-1].ends == ends[-2].ends


def test_a_control_is_there_while_the_holdback_stands():
    plan = make_plan(flag="a", steps="50,100", holdback=2, error_rate="+2%", latency="1s")
    named = [[one.name for one in plan.checks_at(number)] for number in range(3)]
    assert named[0] == named[1] == [one.name for one in plan.guardrails]
    assert named[2] == ["latency <= 1000 ms"]


def test_only_a_baking_step_below_everybody_is_a_holdback():
    for steps in (
        (Step(WHOLE, 0.0, 0.0),),
        (Step(10_000, 60.0, 60.0), Step(50_000, 0.0, 0.0)),
        (Step(0, 60.0, 60.0, preview=True), Step(WHOLE, 0.0, 0.0)),
    ):
        plan = Plan("a", "on", steps, unguarded="an example")
        assert plan.holdback == 0
        errors = refusing(lint(plan, Flag.boolean("a", percent=0)))
        assert f"steps[{len(steps) - 1}].bake" in {one.path for one in errors}


@pytest.mark.parametrize(
    "text, path, message",
    [
        ("holdback = 0", "holdback", "more than nothing"),
        ("holdback = 100", "holdback", "less than 100 %"),
        ("steps = [1, 50]\nholdback = 2", "holdback", "the plan ends at 50 %"),
        ("steps = [1, 98, 100]\nholdback = 2", "holdback", "above 98 % already"),
        ('bake = ["1h", "2h"]\nsteps = [1, 100]\nfinal_bake = "1h"', "final_bake", "said twice"),
        ('steps = [{percent = 100, bake = "1h"}]\nfinal_bake = "1h"', "final_bake", "said twice"),
        ('max_bake = "1h"\nbake = "1h"\nfinal_bake = "2h"', "steps[5]", "shorter than the bake"),
    ],
)
def test_what_is_no_final_bake_is_refused(text, path, message):
    refused(text, path, message)


def test_a_check_with_a_control_is_told_of_the_holdback():
    without = make_plan(flag="a", steps="1,50,100", bake="1h", error_rate="+2%")
    flag = Flag.boolean("a", on=False, percent=0, owner="team", description="The new one")
    (told,) = lint(without, flag)
    assert (told.severity, told.path) == (Severity.WARNING, "guardrails[0]")
    assert "holdback" in told.hint
    held = make_plan(flag="a", steps="1,50,100", bake="1h", error_rate="+2%", holdback=2)
    assert lint(held, flag) == ()
    large = make_plan(flag="a", steps="1,50,100", bake="1h", error_rate="+2%", holdback=20)
    assert [(one.severity, one.path) for one in lint(large, flag)] == [
        (Severity.WARNING, "holdback")
    ]
    (told,) = [one for one in lint(held, flag, requests_per_hour=1500) if one.path == "steps[2]"]
    assert "the sample of 100 is there after 3h 20m" in told.message  # of the control's 2 %


# --- release


RELEASED = """
flag = "a"
steps = [1, 100]
bake = "1d"
unguarded = "an example"
[release]
targets = ["ana", "ben", "ana"]
segments = ["staff"]
preview = "2h"
"""


def test_a_release_names_users_and_segments_before_its_steps():
    plan = parse_plan(RELEASED, "toml")
    assert plan.strategy is Strategy.RELEASE
    assert plan.steps == (
        Step(0, 2 * HOUR, 6 * HOUR, True, ("ana", "ben"), ("staff",)),
        Step(1_000, DAY, 3 * DAY),
        Step(WHOLE, DAY, 3 * DAY),
    )
    assert (plan.targets, plan.segments, plan.audience) == (("ana", "ben"), ("staff",), ())
    assert plan.as_mapping()["schema"] == 2  # what knows no names must not move it
    assert plan == make_plan(
        flag="a",
        steps="1,100",
        bake="1d",
        unguarded="an example",
        targets="ana,ben,ana",
        segments="staff",
        preview="2h",
    )
    assert len(make_plan(flag="a", segments="staff").steps) == 1 + len(CANARY_PERCENTS)


def test_the_percentage_of_before_stays_while_users_are_named():
    plan = parse_plan(RELEASED, "toml")
    found = resolved(plan, Flag.boolean("a", percent=0.5))
    assert [one.weight for one in found.steps] == [500, 1_000, WHOLE]


@pytest.mark.parametrize(
    "text, path, message",
    [
        ("[release]", "release", "nobody is named"),
        ('strategy = "release"', "release", "nobody is named"),
        ("[release]\ntargets = []", "release", "nobody is named"),
        ('[release]\ntargets = [""]', "release.targets[0]", "not empty"),
        ('[release]\ntarget = ["a"]', "release.target", "no such field"),
        ('strategy = "canary"\n[release]\ntargets = ["a"]', "release", "takes no such field"),
        ('[release]\ntargets = ["a"]\n[linear]', "linear", "takes no such field"),
    ],
)
def test_what_is_no_release_is_refused(text, path, message):
    refused(text, path, message)


# --- what a lint says of names

NATIVE = frozenset(Capability)
STAFF = Segment("staff", (Keys(frozenset({"eve"})),))
OPEN = Flag.boolean("a", percent=0, owner="team", description="The new one")
NAMED = make_plan(
    flag="a", targets="ana,ben", segments="staff", steps="1,100", bake="1h", error_rate="5%"
)


def told(plan=NAMED, flag=OPEN, *segments, capabilities=NATIVE):
    place = Place("split", capabilities, {one.key: one for one in segments or (STAFF,)})
    return [
        (one.severity, one.path, one.message, one.hint) for one in lint(plan, flag, place=place)
    ]


def says(found, severity, path, message, hint=""):
    assert any(
        one[:2] == (severity, path) and message in one[2] and hint in one[3] for one in found
    ), found


def test_of_a_good_release_there_is_nothing_to_say():
    assert told() == []
    assert lint(NAMED, OPEN) == ()


@pytest.mark.rule("P4")
def test_a_backend_without_rules_for_segments_is_told_of_before_the_start():
    can = NATIVE - {Capability.SEGMENTS}
    (found,) = told(capabilities=can)
    assert found[:2] == (Severity.ERROR, "release.segments")
    assert found[2:] == (
        'provider "split" has no rules for segments of ours',
        "name targeting keys, or begin with a percentage",
    )
    assert told(make_plan(flag="a", targets="ana", error_rate="5%"), capabilities=can) == []


def test_a_segment_that_is_not_there_is_told_of():
    says(
        told(NAMED, OPEN, Segment("staf")), Severity.ERROR, "release.segments", "no segment", "staf"
    )
    place = Place("memory", NATIVE, {})
    (found,) = refusing(lint(NAMED, OPEN, place=place))
    assert found.hint == "make it first: downhaul segments set"
    says(told(NAMED, OPEN, Segment("staff")), Severity.WARNING, "release.segments", "nobody is in")


def test_a_segment_that_asks_for_the_flag_itself_is_told_of():
    asks = Clause("a", Operator.SERVES, ("on",))
    inner = Segment("inner", rules=(SegmentRule((asks,)),))
    outer = Clause("", Operator.IN_SEGMENT, ("inner",))
    staff = Segment("staff", rules=(SegmentRule((outer,)),))
    message = "depends on what this flag serves"
    says(told(NAMED, OPEN, staff, inner), Severity.ERROR, "release.segments", message)


def test_what_decides_before_the_names_is_told():
    denied = replace(OPEN, targets=(Target("off", frozenset({"ben", "zoe"})),))
    message = '"ben" always gets "off" now, and would get "on"'
    says(told(NAMED, denied), Severity.WARNING, "release.targets", message)
    before = Rule("off", (Clause("", Operator.IN_SEGMENT, ("beta", "staff")),))
    message = 'rule 1 names segment "staff" too'
    ruled = replace(OPEN, rules=(before,))
    says(told(NAMED, ruled), Severity.WARNING, "release.segments", message)
    same = with_segments(OPEN, "on", ["staff"])
    assert not any(one[1] == "release.segments" for one in told(NAMED, same))


def test_names_stand_before_percentages_and_once():
    first, one, last = NAMED.steps
    late = replace(NAMED, steps=(one, first, last))
    says(told(late), Severity.ERROR, "steps[1]", "a preview comes first")
    alone = replace(NAMED, steps=(first,))
    says(told(alone), Severity.ERROR, "steps", "nothing follows the preview")
    nobody = replace(NAMED, steps=(replace(first, targets=(), segments=()), last))
    says(told(nobody), Severity.ERROR, "steps[0]", "nobody is named")
    beside = replace(NAMED, steps=(first, replace(one, targets=("eve",)), last))
    says(told(beside), Severity.ERROR, "steps[1]", "beside a percentage")
    twice = replace(NAMED, steps=(first, replace(first, segments=()), last))
    says(told(twice), Severity.NOTE, "steps[1]", 'user "ana", user "ben" got the variant at step 1')


# --- rings


RINGS = """
flag = "a"
bake = "1d"
steps = [10, 100]
unguarded = "an example"

[[rings]]
name = "us"
targets = ["ana", "ben"]
bake = "2h"
max_bake = "3h"

[[rings]]
segments = ["staff"]
"""


def test_rings_come_one_after_the_other_and_everybody_last():
    plan = parse_plan(RINGS, "toml")
    assert plan.strategy is Strategy.RINGS
    assert plan.steps == (
        Step(0, 2 * HOUR, 3 * HOUR, True, ("ana", "ben"), name="us"),
        Step(0, DAY, 3 * DAY, True, segments=("staff",)),
        Step(10_000, DAY, 3 * DAY),
        Step(WHOLE, DAY, 3 * DAY),
    )
    assert (plan.targets, plan.segments) == (("ana", "ben"), ("staff",))
    assert plan.as_mapping()["schema"] == 2
    alone = parse_plan('flag = "a"\n[[rings]]\ntargets = ["ana"]', "toml")
    assert percents(alone) == [0, 100]  # everybody at once, unless steps say otherwise
    each = parse_plan('flag = "a"\nbake = ["1h", "2h"]\n[[rings]]\ntargets = ["ana"]', "toml")
    assert [one.bake for one in each.steps] == [HOUR, 2 * HOUR]


@pytest.mark.parametrize(
    "text, path, message",
    [
        ("rings = []", "rings", "not be empty"),
        ('strategy = "rings"', "rings", "there are none"),
        ("[[rings]]", "rings[0]", "nobody is in it"),
        ('[[rings]]\ntargets = ["a"]\n[[rings]]\nname = "us"', "rings[1]", "nobody is in it"),
        ('[[rings]]\ntargets = ["a"]\nbak = "1h"', "rings[0].bak", "no such field"),
        ('[[rings]]\ntargets = ["a"]\nbake = "2h"\nmax_bake = "1h"', "rings[0]", "shorter than"),
        (
            '[[rings]]\nname = "us"\ntargets = ["a"]\n[[rings]]\nname = "us"\ntargets = ["b"]',
            "rings[1].name",
            'two rings are called "us"',
        ),
        ('[[rings]]\ntargets = ["a"]\n[linear]', "linear", "takes no such field"),
        ('strategy = "release"\n[[rings]]\ntargets = ["a"]', "rings", "takes no such field"),
    ],
)
def test_what_are_no_rings_is_refused(text, path, message):
    refused(text, path, message)


def test_a_problem_of_a_ring_has_its_line():
    with pytest.raises(DocumentError) as caught:
        parse_plan(f'{RINGS}\n[[rings]]\nname = "beta"\n', "toml", "plan.toml")
    assert [one.origin for one in caught.value.problems] == ["plan.toml:16"]


def test_what_a_lint_says_of_rings():
    plan = replace(parse_plan(RINGS, "toml"), variant="on")
    (found,) = [one for one in told(plan) if one[1] != "unguarded"]
    assert found[:2] == (Severity.NOTE, "steps[2]")
    assert found[2] == "after the rings come 10 % at once"
    can = NATIVE - {Capability.SEGMENTS}
    says(told(plan, capabilities=can), Severity.ERROR, "rings", "no rules for segments")
    denied = replace(OPEN, targets=(Target("off", frozenset({"ben"})),))
    says(told(plan, denied), Severity.WARNING, "rings", '"ben" always gets "off" now')


# --- blue-green for a segment


@pytest.mark.rule("R9")
def test_the_audience_of_a_preview_may_be_a_segment():
    text = 'flag = "a"\nbake = "1h"\n[blue-green]\nsegments = ["staff"]\npreview = "2h"'
    plan = parse_plan(text, "toml")
    assert plan.strategy is Strategy.BLUE_GREEN
    assert plan.steps[0] == Step(0, 2 * HOUR, 6 * HOUR, True, segments=("staff",))
    both = make_plan(flag="a", audience="qa-1", segments="staff", bake="1h")
    assert (both.strategy, both.audience, both.segments) == (
        Strategy.BLUE_GREEN,
        ("qa-1",),
        ("staff",),
    )
    again = make_plan(flag="a", strategy="blue-green", segments="staff", bake="1h", preview="2h")
    assert again == plan
    guarded = replace(plan, unguarded="an example", variant="on")
    missing = told(guarded, OPEN, Segment("other"))
    says(missing, Severity.ERROR, "blue-green.segments", 'no segment "staff"')
