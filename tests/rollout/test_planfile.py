"""Plans out of files and arguments: what they mean, and every problem named where it is."""

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from downhaul.analysis.model import Against, Check, Count, Measure
from downhaul.errors import DocumentError, Refused
from downhaul.flag import Flag, FlagKind, percentage
from downhaul.rollout.lint import lint, refusing
from downhaul.rollout.plan import (
    CANARY_PERCENTS,
    DAY,
    HOUR,
    MINUTE,
    OnMetricsLost,
    OnUndecided,
    Plan,
    Step,
    Strategy,
)
from downhaul.rollout.planfile import (
    ARGUMENTS,
    json_schema,
    make_plan,
    parse_plan,
    read_plan,
    resolved,
)
from downhaul.rollout.planmodel import TABLES, PlanTable, fields_of
from downhaul.rollout.units import percent_of, seconds_of, span_text

ROOT = Path(__file__).parents[2]
WHOLE_FILE = """
flag = "new_agent_version"
variant = "v2"
description = "The second agent"
steps = [1, "5 %", { percent = 12.5, bake = "1h", max_bake = "90m" }, 100]
bake = "24h"
min_sample = 200
on_undecided = "promote"
on_metrics_lost = "rollback"
metrics_lost_after = "20m"
max_duration = "14d"
revert_window = 3600
interval = "10s"

[[guardrails]]
measure = "error_rate"
limit = "5 %"

[[guardrails]]
measure = "slow_rate"
slower_than = "2s"
limit = "10 %"
window = "10m"

[[signals]]
measure = "latency"
over_control = "30 %"
min_sample = 50
dry_run = true

[metrics]
source = "sql"
table = "agent_logs"
columns = { variant = "version" }
"""
WHOLE_PLAN = Plan(
    flag="new_agent_version",
    variant="v2",
    description="The second agent",
    steps=(
        Step(1_000, DAY, 3 * DAY),
        Step(5_000, DAY, 3 * DAY),
        Step(12_500, HOUR, 90 * MINUTE),
        Step(100_000, DAY, 3 * DAY),
    ),
    guardrails=(
        Check(Measure.ERROR_RATE, limit=0.05, min_sample=200),
        Check(Measure.SLOW_RATE, limit=0.1, slower_than=2000.0, min_sample=200, window=600.0),
    ),
    signals=(Check(Measure.LATENCY, over_control=0.3, min_sample=50, dry_run=True),),
    on_undecided=OnUndecided.PROMOTE,
    on_metrics_lost=OnMetricsLost.ROLLBACK,
    metrics_lost_after=20 * MINUTE,
    max_duration=14 * DAY,
    revert_window=HOUR,
    interval=10.0,
    metrics={"source": "sql", "table": "agent_logs", "columns": {"variant": "version"}},
)


def problems(text, format_="toml"):
    with pytest.raises(DocumentError) as caught:
        parse_plan(text, format_, "plan.toml")
    return [(one.origin, one.path, one.message, one.hint) for one in caught.value.problems]


def of_arguments(**arguments):
    with pytest.raises(DocumentError) as caught:
        make_plan(**arguments)
    return {one.path: str(one) for one in caught.value.problems}


# --- what a file means


@pytest.mark.rule("R1")
def test_a_whole_file_says_a_whole_plan():
    assert parse_plan(WHOLE_FILE, "toml") == WHOLE_PLAN


@pytest.mark.parametrize("suffix", [".toml", ".json", ".yaml", ".yml"])
def test_the_name_of_a_file_says_its_format(suffix, tmp_path):
    import tomllib

    data = tomllib.loads(WHOLE_FILE)
    text = {".toml": WHOLE_FILE, ".json": json.dumps(data)}.get(suffix) or yaml.safe_dump(data)
    path = tmp_path / f"plan{suffix}"
    path.write_text(text)
    assert read_plan(path) == WHOLE_PLAN


@pytest.mark.parametrize("name", ["plan.txt", "plan"])
def test_a_file_of_no_known_format_is_refused(name, tmp_path):
    (tmp_path / name).write_text(WHOLE_FILE)
    with pytest.raises(DocumentError, match=r"name the file \.toml, \.yaml or \.json"):
        read_plan(tmp_path / name)


def test_the_least_plan_is_the_guides():
    plan = parse_plan('flag = "a"', "toml")
    assert plan.strategy is Strategy.CANARY
    assert tuple(step.percent for step in plan.steps) == CANARY_PERCENTS
    assert {(step.bake, step.max_bake) for step in plan.steps} == {(DAY, 3 * DAY)}
    assert plan.variant == ""
    assert plan.metrics == {}


def test_checks_read_the_request_log_unless_another_source_is_named():
    assert make_plan(flag="a", error_rate=5).metrics == {"source": "requests"}


def test_linear_steps_are_equal_and_end_where_they_should():
    text = 'flag = "a"\nstrategy = "linear"\n[linear]\nstart = 5\nstep = 30\nto = 80'
    assert [one.percent for one in parse_plan(text, "toml").steps] == [5, 35, 65, 80]
    assert [one.percent for one in make_plan(flag="a", strategy="linear").steps] == [
        *range(10, 101, 10)
    ]


@pytest.mark.rule("R9")
@pytest.mark.parametrize("word", ["blue-green", "blue_green"])
def test_blue_green_is_a_preview_and_one_switch(word):
    text = f"""
    flag = "a"
    strategy = "{word}"
    bake = "2h"
    [{word}]
    audience = ["qa-1", "qa-2"]
    preview = "1h"
    """
    plan = parse_plan(text, "toml")
    assert plan.strategy is Strategy.BLUE_GREEN
    assert plan.audience == ("qa-1", "qa-2")
    assert plan.steps == (
        Step(0, HOUR, 3 * HOUR, preview=True),
        Step(100_000, 2 * HOUR, 6 * HOUR),
    )


def test_blue_green_without_an_audience_is_the_switch_alone():
    assert make_plan(flag="a", strategy="blue-green").steps == (Step(100_000, DAY, 3 * DAY),)


def test_a_table_says_its_strategy():
    assert make_plan(flag="a", step=20).strategy is Strategy.LINEAR
    assert make_plan(flag="a", audience="qa-1").strategy is Strategy.BLUE_GREEN


def test_a_bake_may_be_said_for_each_step():
    plan = make_plan(flag="a", steps="1, 50 %, 100", bake="10m,1h,1d")
    assert [one.bake for one in plan.steps] == [10 * MINUTE, HOUR, DAY]


# --- every problem, where it is


def test_every_problem_is_named_with_its_line():
    text = """flag = "a"
bakes = "1h"
steps = [1, 101, { percent = 0.0001 }]
on_undecided = "wait"

[[guardrails]]
measure = "eror_rate"
limit = 0.05

[linear]
stop = 3
"""
    assert sorted(problems(text)) == [
        ("plan.toml:11", "linear.stop", "there is no such field", 'did you mean "step"?'),
        ("plan.toml:2", "bakes", "there is no such field", 'did you mean "bake"?'),
        (
            "plan.toml:3",
            "steps[1]",
            "a percentage lies between 0 and 100, not at 101",
            None,
        ),
        (
            "plan.toml:3",
            "steps[2].percent",
            "the finest percentage is 0.001, so 0.0001 cannot be kept",
            None,
        ),
        (
            "plan.toml:4",
            "on_undecided",
            '"wait" is no way to go on',
            'known: "pause", "promote", "rollback"',
        ),
        (
            "plan.toml:7",
            "guardrails[0].measure",
            '"eror_rate" is no measure',
            'did you mean "error_rate"?',
        ),
        (
            "plan.toml:8",
            "guardrails[0].limit",
            "0.05 has no unit",
            'write "0.05 %" for a share, "0.05 ms" or "0.05s" for a latency',
        ),
    ]


@pytest.mark.parametrize(
    "text, path, message",
    [
        ("", "flag", "is missing"),
        ('flag = ""', "flag", "not empty"),
        ("flag = 1", "flag", "should be text"),
        ('flag = "a"\nsteps = []', "steps", "should not be empty"),
        ('flag = "a"\nbake = "soon"', "bake", "is no time"),
        ('flag = "a"\nbake = 0', "bake", "longer than no time"),
        ('flag = "a"\nbake = ["1h", "2h"]', "bake", "6 steps and 2 bakes"),
        ('flag = "a"\nbake = []', "bake", "6 steps and 0 bakes"),
        ('flag = "a"\nbake = "2h"\nmax_bake = "1h"', "max_bake", "shorter than the bake"),
        ('flag = "a"\nmin_sample = 0', "min_sample", "greater than or equal to 1"),
        ('flag = "a"\nstrategy = "big-bang"', "strategy", "is no strategy"),
        ('flag = "a"\nstrategy = "linear"\nsteps = [1]', "steps", "takes no such field"),
        ('flag = "a"\nsteps = [1]\n[linear]', "steps", "takes no such field"),
        ('flag = "a"\n[linear]\nstep = 0', "linear.step", "more than nothing"),
        ('flag = "a"\n[linear]\nstep = 0.01', "linear.step", "more than 100 steps"),
        ('flag = "a"\n[linear]\nstart = 50\nto = 40', "linear.start", "above the last"),
        ('flag = "a"\nmetrics = 1', "metrics", "should be a table"),
        ('flag = "a"\n["blue-green"]\n[blue_green]', "blue_green", "is there as well"),
    ],
)
def test_what_no_plan_can_be_is_refused(text, path, message):
    found = problems(text)
    assert (path, True) in [(where, message in said) for _, where, said, _ in found]


@pytest.mark.parametrize(
    "check, path, message",
    [
        ('measure = "error_rate"', "guardrails[0]", "either a limit or over_control"),
        (
            'measure = "error_rate"\nlimit = "1 %"\nover_control = "1 %"',
            "guardrails[0]",
            "both a limit and over_control",
        ),
        ('measure = "error_rate"\nlimit = "5s"', "guardrails[0].limit", "is a percentage"),
        ('measure = "error_rate"\nlimit = "500 %"', "guardrails[0].limit", "between 0 and 100"),
        ('measure = "latency"\nlimit = "5 %"', "guardrails[0].limit", "a time with its unit"),
        ('measure = "latency"\nlimit = "0 ms"', "guardrails[0].limit", "a time with its unit"),
        (
            'measure = "latency"\nover_control = "300 ms"',
            "guardrails[0].over_control",
            "is a percentage",
        ),
        ('measure = "slow_rate"\nlimit = "5 %"', "guardrails[0].slower_than", "is missing"),
        (
            'measure = "error_rate"\nlimit = "5 %"\nslower_than = "1s"',
            "guardrails[0].slower_than",
            "takes no such field",
        ),
        ('limit = "5 %"', "guardrails[0].measure", "is missing"),
        (
            'measure = "latency"\nagainst = "control"',
            "guardrails[0].measure",
            "can't be tested after every request",
        ),
        (
            'measure = "error_rate"\nagainst = "control"\nlimit = "5 %"',
            "guardrails[0].limit",
            "takes no such field",
        ),
        (
            'measure = "error_rate"\nagainst = "slo"\nlimit = "5 %"\nwindow = "1m"',
            "guardrails[0].window",
            "takes no such field",
        ),
        (
            'measure = "error_rate"\nagainst = "slo"\nlimit = "5 %"\ntolerate = "5 %"',
            "guardrails[0].tolerate",
            "takes no such field",
        ),
        ('measure = "error_rate"\nagainst = "slo"', "guardrails[0].limit", "is missing"),
        ('measure = "error_rate"\nagainst = "them"', "guardrails[0].against", "no comparison"),
        (
            'measure = "error_rate"\nagainst = "control"\nclean_below = 1',
            "guardrails[0].clean_below",
            "more than once",
        ),
        (
            'measure = "error_rate"\nagainst = "control"\ntolerate = "2s"',
            "guardrails[0].tolerate",
            "is a percentage",
        ),
        (
            'measure = "slow_rate"\nagainst = "control"',
            "guardrails[0].slower_than",
            "is missing",
        ),
        (
            'measure = "error_rate"\nlimit = "5 %"\ncount = "users"',
            "guardrails[0].count",
            "is for sequential tests",
        ),
        (
            'measure = "sample_ratio"\nlimit = "5 %"',
            "guardrails[0].limit",
            "takes no such field",
        ),
    ],
)
def test_a_check_that_says_too_little_or_too_much_is_refused(check, path, message):
    ((origin, where, said, _hint),) = problems(f'flag = "a"\n[[guardrails]]\n{check}')
    assert (where, message in said) == (path, True)
    assert origin.startswith("plan.toml:")


def test_the_same_check_twice_is_refused():
    check = '[[guardrails]]\nmeasure = "latency"\nlimit = "1s"\n'
    ((_, path, message, _),) = problems(f'flag = "a"\n{check}{check}')
    assert (path, message) == ("guardrails[1]", "latency <= 1000 ms is there twice")


@pytest.mark.parametrize("format_", ["json", "yaml"])
def test_the_other_formats_have_lines_too(format_):
    ((origin, path, _, _),) = problems('{\n"flag": "a",\n"bake": "soon"\n}', format_)
    assert (origin, path) == ("plan.toml:3", "bake")


@pytest.mark.parametrize("text", ["[1]", '"a"', "null"])
def test_a_document_that_is_no_table_is_no_plan(text):
    ((_, _, message, _),) = problems(text, "json")
    assert message == "a plan is a table with fields"


@given(st.binary(max_size=60), st.sampled_from(["toml", "json", "yaml"]))
def test_garbage_raises_nothing_but_the_one_error(garbage, format_):
    with pytest.raises(DocumentError):
        parse_plan(garbage, format_)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 200) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["percent", "measure", "limit", "bake", "x"]), inner)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(json_schema()["properties"])), _JSON, max_size=5))
def test_any_value_in_any_field_is_a_plan_or_the_one_error(data):
    try:
        plan = parse_plan(json.dumps({"flag": "a", **data}), "json")
    except DocumentError:
        return
    assert Plan.from_mapping(plan.as_mapping()) == plan


# --- arguments


def test_arguments_say_what_a_file_says():
    plan = make_plan(
        flag="new_agent_version",
        variant="v2",
        steps="1,5,12.5,100",
        bake="24h",
        error_rate="5%",
        success_rate="95",
        latency="5s",
        slow="2s:10%",
        min_sample="200",
    )
    assert plan.guardrails == (
        Check(Measure.ERROR_RATE, limit=0.05, min_sample=200),
        Check(Measure.SUCCESS_RATE, limit=0.95, min_sample=200),
        Check(Measure.LATENCY, limit=5000.0, min_sample=200),
        Check(Measure.SLOW_RATE, limit=0.1, slower_than=2000.0, min_sample=200),
    )
    assert [one.weight for one in plan.steps] == [1_000, 5_000, 12_500, 100_000]


def test_bare_numbers_have_the_unit_of_their_argument():
    plan = make_plan(flag="a", error_rate=5, latency=800, slow=(2000, 10), success_rate=99.5)
    assert [(one.limit, one.slower_than) for one in plan.guardrails] == [
        (0.05, None),
        (0.995, None),
        (800.0, None),
        (0.1, 2000.0),
    ]


def test_a_limit_with_a_plus_is_over_the_control():
    plan = make_plan(flag="a", error_rate="+2", latency="+30%", slow="2s:+ 5 %")
    assert [(one.limit, one.over_control) for one in plan.guardrails] == [
        (None, 0.02),
        (None, 0.3),
        (None, 0.05),
    ]


@pytest.mark.rule("R6")
def test_sequential_tests_are_read_whole():
    plan = parse_plan(
        """
        flag = "a"
        false_alarms = "2 %"
        [[guardrails]]
        measure = "error_rate"
        against = "control"
        tolerate = "25 %"
        clean_below = "1.5x"
        count = "users"
        together = 3
        [[guardrails]]
        measure = "success_rate"
        against = "slo"
        limit = "99 %"
        [[guardrails]]
        measure = "slow_rate"
        slower_than = "2s"
        against = "control"
        dry_run = true
        [[signals]]
        measure = "sample_ratio"
        """,
        "toml",
    )
    errors, success, slow = plan.guardrails
    assert errors == Check(
        Measure.ERROR_RATE,
        against=Against.CONTROL,
        tolerate=0.25,
        clean_below=1.5,
        count=Count.USERS,
        together=3,
    )
    assert (success.against, success.limit, slow.slower_than) == (Against.SLO, 0.99, 2000)
    assert [one.name for one in plan.checks] == [
        "error_rate by user vs control +25 %",
        "success_rate vs SLO 99 %",
        "slower than 2000 ms vs control",
        "users as the split says",
    ]
    # Two guardrails decide and share the budget; a dry run takes nothing of it.
    assert plan.alphas == {errors.name: 0.01, success.name: 0.01, slow.name: 0.02}
    assert plan.counts_users
    assert Plan.from_mapping(plan.as_mapping()) == plan


@pytest.mark.parametrize("value", ["0 %", "50 %", "60 %", 1, 0.01, "often"])
def test_a_chance_of_false_alarms_is_a_small_percentage(value):
    ((_, path, _, _),) = problems(json.dumps({"flag": "a", "false_alarms": value}), "json")
    assert path == "false_alarms"


def test_a_limit_that_is_the_control_is_the_sequential_test_against_it():
    plan = make_plan(flag="a", error_rate="control", slow="800ms:control + 10%")
    assert [(one.against, one.tolerate, one.limit) for one in plan.guardrails] == [
        (Against.CONTROL, 0.0, None),
        (Against.CONTROL, 0.1, None),
    ]


@pytest.mark.parametrize("text,part", [("p95", 0.95), (" P50 ", 0.5), ("p99.9", 0.999)])
def test_what_is_slow_may_be_todays_quantile(text, part):
    (check,) = make_plan(flag="a", slow=f"{text}:control").guardrails
    assert (check.quantile, check.slower_than) == (part, None)
    assert check.name == f"slower than p{part * 100:g} vs control"


@pytest.mark.parametrize("text", ["p0", "p100", "p", "q95", "p95 ms", "95"])
def test_what_is_no_quantile_and_no_time_is_refused(text):
    table = {"measure": "slow_rate", "against": "control", "slower_than": text}
    ((_, path, _, _),) = problems(json.dumps({"flag": "a", "guardrails": [table]}), "json")
    assert path == "guardrails[0].slower_than"


def test_what_is_none_was_not_given():
    assert make_plan(flag="a", **dict.fromkeys(ARGUMENTS[1:])) == make_plan(flag="a")


def test_problems_of_arguments_stand_at_the_argument():
    found = of_arguments(flag="a", error_rates=3, error_rate="much", slow="2s", step=0)
    assert {*found} == {"error_rates", "error_rate", "slow", "step"}
    assert 'did you mean "error_rate"?' in found["error_rates"]
    assert "flag" in of_arguments(variant="v2")
    assert "bake" in of_arguments(flag="a", bake="1h,2h")


# --- what the flag says


def test_the_flag_says_the_variant_and_the_exposure_that_a_preview_leaves():
    plan = make_plan(flag="a", audience="qa-1")
    off = Flag.boolean("a", on=False, percent=25)
    assert resolved(plan, off).variant == "on"
    assert resolved(plan, off).steps[0].weight == 0
    assert resolved(plan, Flag.boolean("a", percent=25)).steps[0].weight == 25_000


def test_a_variant_that_could_be_several_is_refused():
    flag = Flag(
        key="a",
        kind=FlagKind.STRING,
        variants={"v1": "1", "v2": "2", "v3": "3"},
        off_variant="v1",
        default="v1",
    )
    with pytest.raises(Refused, match='name one of them: "v2", "v3"'):
        resolved(make_plan(flag="a"), flag)
    assert resolved(make_plan(flag="a", variant="v3"), flag).variant == "v3"
    rising = Flag(
        key="a",
        kind=FlagKind.STRING,
        variants=flag.variants,
        off_variant="v1",
        default=percentage("v2", 5, rest="v1"),
    )
    assert resolved(make_plan(flag="a"), rising).variant == "v2"


# --- units


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("45s", 45),
        ("10m", 600),
        ("1h30m", 5_400),
        ("1h 30m", 5_400),
        ("24h", DAY),
        ("2d", 2 * DAY),
        ("1w", 7 * DAY),
        ("800 ms", 0.8),
        ("1.5h", 5_400),
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "h", "-1h", "1 year", "1h!", True, None, -1, "99999999d", float("nan"), [1]]
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match="time"):
        seconds_of(value)


@pytest.mark.parametrize("value", ["", "%", "-1", "101 %", True, None, float("nan"), "5 % x"])
def test_what_is_no_percentage_is_refused(value):
    with pytest.raises(ValueError, match="percentage"):
        percent_of(value)


@given(st.integers(0, 10_000_000))
def test_a_time_that_is_written_is_read_back_as_near_as_its_two_units(seconds):
    written = span_text(seconds)
    assert abs(seconds_of(written) - seconds) <= seconds * 0.05


# --- the published schema


def test_the_published_schema_is_the_one_of_the_code():
    published = json.loads((ROOT / "docs" / "rollout-plan.schema.json").read_text())
    assert published == json_schema(), "write json_schema() to docs/rollout-plan.schema.json"


def test_the_schema_takes_what_is_a_plan_and_refuses_what_is_none():
    import tomllib

    jsonschema.Draft202012Validator.check_schema(json_schema())
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(tomllib.loads(WHOLE_FILE))
    validator.validate({"flag": "a", "strategy": "blue-green", "blue-green": {"audience": ["q"]}})
    for data in (
        {},
        {"flag": "a", "stepz": [1]},
        {"flag": "a", "steps": [101]},
        {"flag": "a", "bake": "soon"},
        {"flag": "a", "strategy": "big-bang"},
        {"flag": "a", "guardrails": [{"measure": "error_rate", "limit": 0.05}]},
    ):
        assert not validator.is_valid(data), data


# --- the page and the example

PAGE = (ROOT / "docs" / "rollout-plans.md").read_text()
SHOWN = re.findall(r"```(toml|yaml)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("language, text", SHOWN, ids=lambda one: one[:12])
def test_the_plans_of_the_page_hold(language, text):
    plan = parse_plan(text, language, "rollout-plans.md")
    assert not refusing(lint(plan, None))


def test_the_first_plan_of_the_page_is_what_its_options_say():
    (options,) = re.findall(r"The same as options: `(.*?)`", PAGE)
    words = options.split()
    given = {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in zip(words[::2], words[1::2], strict=True)
    }
    assert replace(parse_plan(SHOWN[0][1], "toml"), signals=()) == make_plan(**given)


def test_the_page_names_every_field_and_word():
    fields = {name for table in (PlanTable, *TABLES.values()) for name in fields_of(table)}
    words = {one.value for kind in (OnUndecided, OnMetricsLost, Measure) for one in kind}
    assert [one for one in sorted(fields | words) if not re.search(rf"\b{one}\b", PAGE)] == []


def test_the_page_has_the_defaults_of_the_code():
    plan = parse_plan('flag = "a"', "toml")
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows["steps"] == ", ".join(f"{one.percent:g}" for one in plan.steps)
    assert rows["min_sample"] == str(make_plan(flag="a", error_rate=5).guardrails[0].min_sample)
    for name in ("metrics_lost_after", "revert_window", "interval"):
        assert seconds_of(rows[name].strip("`")) == getattr(plan, name)
    assert {seconds_of(rows["bake"].strip("`"))} == {one.bake for one in plan.steps}
    for name in ("on_undecided", "on_metrics_lost"):
        assert rows[name].strip("`") == getattr(plan, name).value


def test_the_example_is_a_plan_without_errors():
    assert not refusing(lint(read_plan(ROOT / "examples" / "rollout_plan.toml"), None))
