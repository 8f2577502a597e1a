"""Gates by themselves: times, what a plan says, whether each is open, and what a lint finds."""

import datetime as dt
import json
import re
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollout_cases import CANARY, ERRORS, NOW, SECOND, plan_of, state_at

from downhaul.errors import DocumentError
from downhaul.rollout.gates import model, times
from downhaul.rollout.gates.checks import Scene, look_at
from downhaul.rollout.gates.facts import NOTHING, Door, Facts, SignKind, Signoff, door_of
from downhaul.rollout.gates.lint import gate_advice, wrong_url
from downhaul.rollout.gates.model import (
    Approval,
    Auto,
    Gates,
    Hook,
    HookWhen,
    Item,
    TextAt,
    When,
)
from downhaul.rollout.gates.standing import Mark, checklist_at, gates_at
from downhaul.rollout.gates.tables import GATE_TABLES
from downhaul.rollout.gates.times import (
    UnknownZone,
    Weekly,
    Window,
    frozen_at,
    moment_of,
    moment_text,
    never_open,
    open_from,
    weekly_of,
)
from downhaul.rollout.lint import lint, refusing
from downhaul.rollout.plan import Plan, Step
from downhaul.rollout.planfile import json_schema, parse_plan
from downhaul.rollout.planmodel import fields_of
from downhaul.rollout.results import Severity
from downhaul.rollout.state import Phase, State

# Times


@pytest.mark.rule("E11")
@pytest.mark.parametrize(
    "text, again",
    [
        ("2026-09-01T06:00:00Z", "2026-09-01T06:00:00Z"),
        ("2026-09-01t08:00:00+02:00", "2026-09-01T06:00:00Z"),
        ("2026-09-01 06:00:00.25Z", "2026-09-01T06:00:00.250000Z"),
    ],
)
def test_a_time_is_read_with_its_offset(text, again):
    assert moment_text(moment_of(text)) == again
    assert moment_of(again) == moment_of(text)


@pytest.mark.rule("E11", "X1")
@pytest.mark.parametrize(
    "text, said",
    [
        ("2026-09-01T06:00:00", "has no offset"),
        ("2026-09-01", "is no time"),
        ("2026-13-01T06:00:00Z", "month must be in 1..12"),
        ("9999-01-01T06:00:00Z", "too far away"),
        ("2026-09-01T06:00:00Z\n", "is no time"),
        ("tomorrow", "is no time"),
    ],
)
def test_a_time_without_an_offset_and_what_is_none_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        moment_of(text)
    with pytest.raises(ValueError, match="offset"):
        times.microseconds_of(dt.datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    "text, again",
    [
        ("Fri 16:00 - Mon 08:00 Europe/Berlin", "Fri 16:00 - Mon 08:00 Europe/Berlin"),
        ("friday 16:00-monday 8:00   Etc/GMT+5", "Fri 16:00 - Mon 08:00 Etc/GMT+5"),
        (" Sat 00:00 \u2013 Sun 23:59 UTC ", "Sat 00:00 - Sun 23:59 UTC"),
    ],
)
def test_a_weekly_window_is_read_and_written(text, again):
    assert str(weekly_of(text)) == again
    assert weekly_of(again) == weekly_of(text)


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "text, said",
    [
        ("Fri 16:00 - Mon 08:00", "no window of a week"),
        ("Fry 16:00 - Mon 08:00 UTC", '"Fry" is no day of the week'),
        ("Fr 16:00 - Mon 08:00 UTC", "no day"),
        ("Fri 24:00 - Mon 08:00 UTC", "no time of the day"),
        ("Fri 16:60 - Mon 08:00 UTC", "no time of the day"),
    ],
)
def test_what_is_no_weekly_window_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        weekly_of(text)


def at(text):
    return moment_of(text)


WEEKEND = Window(weekly=weekly_of("Fri 16:00 - Mon 08:00 Europe/Berlin"), reason="weekend")


@pytest.mark.parametrize(
    "moment, until",
    [
        ("2026-07-03T13:59:59Z", None),  # Friday, in summer: 15:59 in Berlin
        ("2026-07-03T14:00:00Z", "2026-07-06T06:00:00Z"),
        ("2026-07-06T05:59:59Z", "2026-07-06T06:00:00Z"),
        ("2026-07-06T06:00:00Z", None),
        ("2026-01-02T14:59:59Z", None),  # in winter an hour later
        ("2026-01-02T15:00:00Z", "2026-01-05T07:00:00Z"),
        ("2026-03-28T12:00:00Z", "2026-03-30T06:00:00Z"),  # the clocks go forward within it
        ("2026-10-24T12:00:00Z", "2026-10-26T07:00:00Z"),  # and back
    ],
)
def test_a_weekly_window_goes_by_the_clock_on_the_wall(moment, until):
    found = frozen_at((WEEKEND,), at(moment))
    assert (None if found is None else moment_text(found.until)) == until


def test_a_window_that_ends_while_the_clocks_change_is_the_longer_of_both_readings():
    forward = Window(weekly=weekly_of("Sat 20:00 - Sun 02:30 Europe/Berlin"))
    assert frozen_at((forward,), at("2026-03-28T20:00:00Z")).until == at("2026-03-29T01:30:00Z")
    back = Window(weekly=weekly_of("Sat 20:00 - Sun 02:30 Europe/Berlin"))
    assert frozen_at((back,), at("2026-10-24T20:00:00Z")).until == at("2026-10-25T01:30:00Z")


weeklies = st.builds(
    Weekly,
    st.integers(0, 6),
    st.integers(0, 1439),
    st.integers(0, 6),
    st.integers(0, 1439),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Tehran"]),
).filter(lambda one: one.minutes < 7 * 1440)
moments = st.integers(at("2011-01-01T00:00:00Z"), at("2040-01-01T00:00:00Z"))
to_come = st.integers(at("2024-01-01T00:00:00Z"), at("2040-01-01T00:00:00Z"))


@given(weeklies, moments)
def test_a_moment_is_frozen_where_the_wall_says_so(weekly, moment):
    """Asked of the wall's day and minute alone, away from where the clocks change."""
    zone = ZoneInfo(weekly.zone)
    around = [times.datetime_of(moment + hours * 3600 * SECOND) for hours in range(-200, 201, 8)]
    if len({one.astimezone(zone).utcoffset() for one in around}) > 1:
        return
    wall = times.datetime_of(moment).astimezone(zone)
    minute = wall.weekday() * 1440 + wall.hour * 60 + wall.minute
    begins = weekly.first_day * 1440 + weekly.first_minute
    inside = (minute - begins) % (7 * 1440) < weekly.minutes
    found = frozen_at((Window(weekly=weekly),), moment)
    assert (found is not None) == inside
    if found is not None:
        assert 0 < found.until - moment <= weekly.minutes * 60 * SECOND
        assert frozen_at((Window(weekly=weekly),), found.until) is None


@given(st.lists(weeklies, max_size=3), to_come)
def test_what_opens_is_open_and_all_before_it_is_not(found, moment):
    windows = tuple(Window(weekly=one) for one in found)
    opens = open_from(windows, moment)
    if opens is None:
        assert never_open(windows)
        return
    assert frozen_at(windows, opens) is None
    assert opens == moment or frozen_at(windows, opens - 1) is not None
    halfway = moment + (opens - moment) // 2
    assert opens == moment or frozen_at(windows, halfway).until == opens


def test_windows_that_follow_each_other_are_one_freeze():
    holiday = Window(at("2026-07-06T00:00:00Z"), at("2026-07-08T00:00:00Z"), reason="fair")
    found = frozen_at((WEEKEND, holiday), at("2026-07-05T00:00:00Z"))
    assert (found.window, moment_text(found.until)) == (WEEKEND, "2026-07-08T00:00:00Z")


@pytest.mark.parametrize(
    "windows",
    [
        (Window(begin=at("2026-01-01T00:00:00Z")),),
        (Window(weekly=Weekly(0, 0, 0, 0, "UTC")),),
        (
            Window(weekly=weekly_of("Mon 00:00 - Fri 00:00 UTC")),
            Window(weekly=weekly_of("Thu 00:00 - Mon 00:00 UTC")),
        ),
    ],
    ids=["no end", "a whole week", "two halves"],
)
def test_a_freeze_that_never_ends_is_known(windows):
    assert never_open(windows)
    assert frozen_at(windows, at("2026-07-05T00:00:00Z")).until == 0
    assert open_from(windows, at("2026-07-05T00:00:00Z")) is None


@pytest.mark.rule("R1")
def test_a_zone_that_a_host_does_not_know_closes_the_gate_and_spoils_no_plan():
    nowhere = Gates(freezes=(Window(weekly=weekly_of("Fri 16:00 - Mon 08:00 Nowhere/Atall")),))
    plan = replace(CANARY, gates=nowhere)
    assert Plan.from_mapping(json.loads(json.dumps(plan.as_mapping()))) == plan
    (gate,) = gates_at(plan, state_at(), Door(1, 0), NOTHING, NOW)
    assert not gate.open
    assert 'the time zone "Nowhere/Atall" is not known here' in gate.message
    with pytest.raises(UnknownZone):
        frozen_at(nowhere.freezes, NOW)


# What a plan says


text_at = st.builds(TextAt, st.sampled_from(["text", "env", "file"]), st.text(min_size=1))
windows = st.builds(
    Window,
    begin=st.none() | st.integers(1, 1 << 50),
    end=st.none() | st.integers(1, 1 << 50),
    weekly=st.none() | weeklies,
    reason=st.text(max_size=5),
)
gates = st.builds(
    Gates,
    checklist=st.lists(
        st.builds(
            Item,
            st.text(min_size=1),
            st.text(),
            st.sampled_from(When),
            st.none() | st.sampled_from(Auto),
            st.none() | st.floats(1, 1e6),
            st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    approvals=st.lists(
        st.builds(
            Approval,
            st.lists(st.text(min_size=1), max_size=3).map(tuple),
            st.lists(st.integers(1, 9), max_size=3).map(tuple),
            st.none() | st.integers(0, 100_000),
            st.integers(1, 3),
            st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    freezes=st.lists(windows, max_size=2).map(tuple),
    hooks=st.lists(
        st.builds(
            Hook,
            st.text(min_size=1),
            text_at,
            st.sampled_from(HookWhen),
            st.none() | text_at,
            st.floats(0.1, 10),
        ),
        max_size=2,
    ).map(tuple),
    starts_at=st.just(0) | st.integers(1, 1 << 50),
)


@pytest.mark.rule("R1")
@given(gates)
def test_gates_are_read_back_as_they_were_kept(found):
    plan = replace(CANARY, gates=found)
    again = Plan.from_mapping(json.loads(json.dumps(plan.as_mapping())))
    assert again == plan
    assert again.digest == plan.digest
    assert (plan.digest == CANARY.digest) == (not found)


@pytest.mark.rule("R1")
def test_a_plan_without_gates_has_the_digest_that_it_had_before_there_were_any():
    plan = Plan("a", "on", (Step(1_000, 60.0, 180.0),), unguarded="a test")
    assert plan.digest == "fcc445d45fffa09a"
    assert set(plan.as_mapping()).isdisjoint(
        {"checklist", "approvals", "freeze", "hooks", "starts_at", "template"}
    )


@pytest.mark.rule("R1")
@pytest.mark.parametrize(
    "edit",
    [
        Gates(approvals=(Approval(("ana",), count=2),)),
        Gates(approvals=(Approval(("ana", "ben")),)),
        Gates(approvals=(Approval(("ana",), steps=(2,)),)),
        Gates(),
    ],
)
def test_another_gate_is_another_digest(edit):
    plan = replace(CANARY, gates=Gates(approvals=(Approval(("ana",)),)))
    assert replace(plan, gates=edit).digest != plan.digest


WHOLE = """
flag = "agent"
unguarded = "a test"
steps = [10, 50, 100]
starts_at = "2026-09-01T08:00:00+02:00"

[[checklist]]
id = "on-call"
text = "Somebody is on call"

[[checklist]]
id = "rehearsed"
text = "The way back is rehearsed"
auto = "rehearsal"
limit = "7d"

[[checklist]]
id = "feedback"
text = "Nobody complains"
when = "during"
required = false

[[approvals]]
by = ["ana", "leads", "ana"]
steps = [3, 2]
count = 2
not_author = true

[[approvals]]
by = ["ben"]
percent = ">= 25"

[[freeze]]
weekly = "Fri 16:00 - Mon 08:00 Europe/Berlin"
reason = "weekend"

[[freeze]]
from = "2026-12-20T00:00:00Z"
until = "2027-01-07T00:00:00Z"

[[hooks]]
name = "deploys"
url = { env = "DEPLOY_GATE" }
secret = { file = "/run/secrets/gate" }
when = "start"
timeout = "2s"

[[hooks]]
name = "load"
url = "https://load.test/gate"
"""


def test_a_file_says_all_gates():
    found = parse_plan(WHOLE, "toml").gates
    assert found == Gates(
        checklist=(
            Item("on-call", "Somebody is on call"),
            Item("rehearsed", "The way back is rehearsed", auto=Auto.REHEARSAL, limit=604_800.0),
            Item("feedback", "Nobody complains", When.DURING, required=False),
        ),
        approvals=(
            Approval(("ana", "leads"), steps=(2, 3), count=2, not_author=True),
            Approval(("ben",), at_least=25_000),
        ),
        freezes=(
            WEEKEND,
            Window(at("2026-12-20T00:00:00Z"), at("2027-01-07T00:00:00Z")),
        ),
        hooks=(
            Hook(
                "deploys",
                TextAt("env", "DEPLOY_GATE"),
                HookWhen.START,
                TextAt("file", "/run/secrets/gate"),
                2.0,
            ),
            Hook("load", TextAt("text", "https://load.test/gate")),
        ),
        starts_at=at("2026-09-01T06:00:00Z"),
    )


def test_one_table_of_approvals_is_enough():
    text = 'flag = "a"\n[approvals]\nby = ["ana"]\npercent = "25 %"\n'
    assert parse_plan(text, "toml").gates.approvals == (Approval(("ana",), at_least=25_000),)


@pytest.mark.rule("X1", "P7")
@pytest.mark.parametrize(
    "text, path, said",
    [
        ('starts_at = "2026-09-01T06:00:00"', "starts_at", "has no offset"),
        ('[[checklist]]\nid = "a b"\ntext = "x"', "checklist[0].id", ""),
        ('[[checklist]]\nid = "a"', "checklist[0].text", "is missing"),
        ('[[checklist]]\nid = "a"\ntext = "x"\nauto = "rehersal"', "checklist[0].auto", "rehersal"),
        ('[[checklist]]\nid = "a"\ntext = "x"\nlimit = "1d"', "checklist[0].limit", "a person"),
        (
            '[[checklist]]\nid = "a"\ntext = "x"\nauto = "alerts"\nlimit = "1d"',
            "checklist[0].limit",
            "alerts looks at no time",
        ),
        ('[approvals]\nbye = ["ana"]', "approvals[0].bye", "no such field"),
        ('[approvals]\nby = ["ana"]\npercent = "> 25"', "approvals[0].percent", "no percentage"),
        ('[approvals]\nby = ["ana"]\nsteps = [0]', "approvals[0].steps[0]", ""),
        ('[[freeze]]\nreason = "x"', "freeze[0]", "it says no time"),
        ('[[freeze]]\nweekly = "Fri - Mon"', "freeze[0].weekly", "no window of a week"),
        (
            '[[freeze]]\nweekly = "Fri 16:00 - Mon 08:00 Europe/Berlni"',
            "freeze[0].weekly",
            "is not known here",
        ),
        (
            '[[freeze]]\nweekly = "Fri 16:00 - Mon 08:00 UTC"\nuntil = "2026-09-01T06:00:00Z"',
            "freeze[0]",
            "both a weekly window and dates",
        ),
        ('[[hooks]]\nname = "a"', "hooks[0].url", "is missing"),
        ('[[hooks]]\nname = "a"\nurl = { env = "A", file = "b" }', "hooks[0].url", "names none"),
        ('[[hooks]]\nname = "a"\nurl = { file = "hook" }', "hooks[0].url", "is relative"),
        (
            '[[hooks]]\nname = "a"\nurl = "https://x"\nsecret = "hunter2"',
            "hooks[0].secret",
            "is not written into a plan",
        ),
        (
            '[[hooks]]\nname = "a"\nurl = "https://u:hunter2@x/"',
            "hooks[0].url",
            "it holds a secret",
        ),
        (
            '[[hooks]]\nname = "a"\nurl = "https://x/?token=hunter2"',
            "hooks[0].url",
            "it holds a secret",
        ),
    ],
)
def test_what_is_wrong_is_named_where_it_is_and_no_secret_is_told(text, path, said):
    with pytest.raises(DocumentError) as caught:
        parse_plan(f'flag = "agent"\n{text}\n', "toml", "plan.toml")
    problems = [one for one in caught.value.problems if one.path == path]
    assert problems, caught.value
    assert said in problems[0].message
    assert re.fullmatch(r"plan.toml:\d+", problems[0].origin)
    assert "hunter2" not in str(caught.value)


def test_a_date_of_toml_is_refused_with_what_to_write():
    with pytest.raises(DocumentError) as caught:
        parse_plan('flag = "agent"\nstarts_at = 2026-09-01T06:00:00Z\n', "toml")
    (problem,) = caught.value.problems
    assert "a date is written as text" in problem.message
    assert '"2026-09-01T06:00:00+00:00"' in problem.hint


def test_the_schema_takes_what_the_reader_takes():
    import tomllib

    import jsonschema

    jsonschema.validate(tomllib.loads(WHOLE), json_schema())
    one = {"flag": "a", "approvals": {"by": ["ana"]}}
    parse_plan(json.dumps(one), "json")


# Whether each is open

GUARDED = plan_of(1, 10, 100)


def scene(plan=GUARDED, state=None, **facts):
    return Scene(plan, state_at(plan) if state is None else state, Facts(**facts), NOW)


DAY = 86_400 * SECOND
COMPLETED = state_at(GUARDED, 2, Phase.COMPLETED, ended_at=NOW - 3 * DAY)


@pytest.mark.parametrize(
    "auto, good, bad",
    [
        (Auto.GUARDRAILS, scene(), scene(replace(GUARDED, guardrails=()))),
        (Auto.SMALL_START, scene(), scene(plan_of(6, 100))),
        (Auto.GRADUAL, scene(), scene(plan_of(100))),
        (Auto.LOOKS, scene(), scene(replace(GUARDED, interval=901.0))),
        (Auto.BAKES, scene(replace(GUARDED, steps=(Step(1, DAY, DAY),))), scene()),
        (Auto.METRICS, scene(metrics=True), scene(metrics=False)),
        (Auto.METRICS, scene(metrics=True), scene(plan_of(1, guardrails=(), signals=()))),
        (Auto.ALERTS, scene(alerts=True), scene(alerts=False)),
        (Auto.REHEARSAL, scene(rehearsed_at=NOW - 29 * DAY), scene(rehearsed_at=NOW - 31 * DAY)),
        (Auto.REHEARSAL, scene(rehearsed_at=NOW), scene()),
        (Auto.KILL_SWITCH, scene(killed_at=NOW - 89 * DAY), scene(killed_at=NOW - 91 * DAY)),
        (Auto.KILL_SWITCH, scene(killed_at=NOW), scene()),
        (Auto.EVERYBODY, scene(state=COMPLETED), scene()),
        (Auto.EVERYBODY, scene(state=COMPLETED), scene(plan_of(50), replace(COMPLETED, step=0))),
        (Auto.WATCHED, scene(state=COMPLETED), scene(state=replace(COMPLETED, ended_at=NOW))),
        (Auto.WATCHED, scene(state=COMPLETED), scene()),
    ],
)
def test_what_ticks_itself_looks_at_facts(auto, good, bad):
    item = Item("it", "it is so", auto=auto)
    assert look_at(item, good).good is True
    found = look_at(item, bad)
    assert found.good is False
    assert found.message


def test_every_thing_that_is_looked_at_has_a_reckoning():
    for auto in Auto:
        looked = look_at(Item("it", "it", auto=auto), scene())
        assert looked.message
    for auto in (Auto.METRICS, Auto.ALERTS):
        assert look_at(Item("it", "it", auto=auto), scene()).good is None
    assert set(model.DEFAULT_LIMITS) < set(Auto)


def test_a_limit_of_ones_own_counts():
    item = Item("it", "it", auto=Auto.REHEARSAL, limit=86_400.0)
    assert look_at(item, scene(rehearsed_at=NOW - DAY)).good
    assert not look_at(item, scene(rehearsed_at=NOW - DAY - SECOND)).good


def ticked(id, door, given=True, who="ana", **fields):  # noqa: A002
    return Signoff(SignKind.ITEM, id, door, given, who, **fields)


LIST = Gates(
    checklist=(
        Item("on-call", "Somebody is on call"),
        Item("feedback", "Nobody complains", When.DURING),
        Item("nice", "Cake is bought", required=False),
        Item("lessons", "What was learned is written down", When.AFTER),
    )
)


def names(plan, state, facts=NOTHING):
    """The closed gates of the door at which a rollout stands, by name."""
    door = door_of(state)
    return [one.name for one in gates_at(plan, state, door, facts, NOW) if not one.open]


def test_items_close_the_door_that_they_are_for():
    plan = replace(GUARDED, gates=LIST)
    new = State()
    assert names(plan, new) == ["on-call"]
    assert names(plan, new, Facts(signoffs=(ticked("on-call", Door(0, 0)),))) == []
    state = state_at(plan, 1)
    here = Door(2, state.entered_at)
    assert names(plan, state) == ["feedback"]
    assert names(plan, state, Facts(signoffs=(ticked("feedback", here),))) == []
    assert names(plan, state, Facts(signoffs=(ticked("feedback", Door(1, 5)),))) == ["feedback"]
    back = (ticked("feedback", here), ticked("feedback", here, given=False, who="ben"))
    assert names(plan, state, Facts(signoffs=back)) == ["feedback"]
    assert names(plan, state_at(plan, 2)) == []


def test_a_checklist_shows_every_item_as_it_stands():
    plan = replace(GUARDED, gates=LIST)
    facts = Facts(signoffs=(ticked("on-call", Door(0, 0), reason="ben, 24/7", at=NOW),))
    state = state_at(plan, 1)
    found = {
        one.item.id: one for one in checklist_at(Scene(plan, state, facts, NOW), door_of(state))
    }
    assert {name: one.mark for name, one in found.items()} == {
        "on-call": Mark.DONE,
        "feedback": Mark.OPEN,
        "nice": Mark.LATER,
        "lessons": Mark.LATER,
    }
    assert (found["on-call"].by, found["on-call"].reason) == ("ana", "ben, 24/7")
    done = checklist_at(Scene(plan, COMPLETED, facts, NOW), None)
    assert [one.mark for one in done if one.item.when is When.AFTER] == [Mark.OPEN]


@pytest.mark.rule("R9")
def test_a_preview_needs_no_approval_of_a_percentage():
    preview = Step(30_000, 60.0, 180.0, preview=True)
    plan = plan_of(100)
    gates = Gates(approvals=(Approval(("ana",), at_least=25_000),))
    plan = replace(plan, steps=(preview, *plan.steps), gates=gates)
    assert gates_at(plan, State(), Door(0, 0), NOTHING, NOW) == ()
    assert len(gates_at(plan, state_at(plan), Door(1, 0), NOTHING, NOW)) == 1


# The lint


def advice(gates, plan=GUARDED):
    return list(gate_advice(replace(plan, gates=gates)))


def hook(url="https://gate.test/x", **fields):
    return Gates(hooks=(Hook("a", TextAt("text", url), **fields),))


@pytest.mark.parametrize(
    "gates, path, said",
    [
        (Gates(checklist=(Item("a", "x"), Item("a", "y"))), "checklist[1]", "is there twice"),
        (Gates(checklist=(Item("a", " "),)), "checklist[0]", "doesn't say what"),
        (Gates(checklist=(Item("a", "x", auto=Auto.BAKES),)), "checklist[0]", "never ticks itself"),
        (Gates(checklist=(Item("a", "x", auto=Auto.EVERYBODY),)), "checklist[0]", "completed"),
        (Gates(approvals=(Approval(()),)), "approvals[0].by", "nobody may approve"),
        (Gates(approvals=(Approval(("ana",), (4,)),)), "approvals[0].steps", "there is no step 4"),
        (Gates(approvals=(Approval(("ana",), (0,)),)), "approvals[0].steps", "there is no step 0"),
        (Gates(approvals=(Approval(("ana",), count=0),)), "approvals[0].count", "by nobody"),
        (Gates(freezes=(Window(begin=5),)), "freeze[0]", "it never ends"),
        (Gates(freezes=(Window(),)), "freeze[0]", "it never ends"),
        (Gates(freezes=(Window(5, 4),)), "freeze[0]", "ends before it begins"),
        (Gates(freezes=(Window(weekly=Weekly(1, 5, 1, 5, "UTC")),)), "freeze[0]", "whole week"),
        (
            Gates(freezes=(Window(weekly=Weekly(1, 5, 2, 5, "Nowhere/Atall")),)),
            "freeze[0].weekly",
            "not known here",
        ),
        (
            Gates(
                freezes=(
                    Window(weekly=weekly_of("Mon 00:00 - Fri 00:00 UTC")),
                    Window(weekly=weekly_of("Thu 00:00 - Mon 00:00 UTC")),
                )
            ),
            "freeze",
            "together they never end",
        ),
        (hook("http://gate.test/"), "hooks[0].url", "in the clear"),
        (hook("ftp://gate.test/"), "hooks[0].url", "no URL of the web"),
        (hook("https://u:p@gate.test/"), "hooks[0].url", "holds a secret"),
        (hook(timeout=10.5), "hooks[0].timeout", "10s at most"),
        (
            Gates(hooks=hook().hooks * 2),
            "hooks[1]",
            'the hook "a" is there twice',
        ),
    ],
)
def test_a_gate_that_can_not_work_is_an_error(gates, path, said):
    found = [one for one in advice(gates) if one.path == path and one.severity is Severity.ERROR]
    assert found, advice(gates)
    assert said in found[0].message


def test_an_approval_from_a_percentage_that_no_step_reaches_is_an_error():
    (one,) = advice(Gates(approvals=(Approval(("ana",), at_least=60_000),)), plan_of(10, 50))
    assert (one.severity, one.message) == (Severity.ERROR, "no step reaches 60 %")


@pytest.mark.parametrize(
    "gates, severity, said",
    [
        (
            Gates(approvals=(Approval(("ana",), count=2),)),
            Severity.WARNING,
            "one of them a group",
        ),
        (hook(), Severity.NOTE, "nothing is signed"),
    ],
)
def test_what_is_unwise_is_told(gates, severity, said):
    (one,) = advice(gates)
    assert one.severity is severity
    assert said in f"{one.message} {one.hint}"


def test_items_for_each_step_of_a_single_step_are_for_nobody():
    (one,) = advice(LIST, plan_of(100))
    assert "there is none" in one.message


@pytest.mark.parametrize(
    "url, good",
    [
        ("https://gate.test/x", True),
        ("http://localhost:8080/", True),
        ("http://127.0.0.9/", True),
        ("http://[::1]:1/", True),
        ("http://10.0.0.1/", False),
        ("http://localhost.evil.test/", False),
        ("https://", False),
        ("https://[::1", False),
        ("gate.test", False),
        ("file:///etc/passwd", False),
    ],
)
def test_services_are_asked_over_https_or_on_this_machine(url, good):
    assert (wrong_url(url) == "") is good


def test_good_gates_have_nothing_to_say_about():
    plan = parse_plan(WHOLE.replace('unguarded = "a test"', ""), "toml")
    plan = replace(plan, guardrails=(ERRORS,))
    found = [one for one in gate_advice(plan) if one.severity is not Severity.NOTE]
    assert found == []


# The page

PAGE = (Path(__file__).parents[2] / "docs" / "rollout-gates.md").read_text()
SHOWN = [one for one in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "flag =" in one]


@pytest.mark.parametrize("text", SHOWN, ids=range(len(SHOWN)))
def test_the_plans_of_the_page_hold(text):
    plan = parse_plan(text, "toml", "rollout-gates.md")
    assert plan.gates
    assert not refusing(lint(plan, None))


def test_the_page_names_every_field_and_word_of_gates():
    fields = {name for table in GATE_TABLES.values() for name in fields_of(table)}
    words = {one.value for kind in (When, Auto, HookWhen) for one in kind}
    assert [one for one in sorted(fields | words) if not re.search(rf"`{one}\b", PAGE)] == []
