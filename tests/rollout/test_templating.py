"""Templates of plans: what a file says, what comes of it, and how a plan stands to its template."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.errors import DocumentError, Refused
from downhaul.rollout.gates.model import Auto, Gates, When
from downhaul.rollout.lint import lint, refusing
from downhaul.rollout.planfile import parse_plan
from downhaul.rollout.results import Severity
from downhaul.rollout.templating import (
    BUILT_IN,
    filled,
    parse_template,
    plan_text,
    template_advice,
    templates,
)

TEAM = """
name = "team"
version = 3
description = "How we do it"

[arguments.lead]
description = "who approves"

[arguments.steps]
default = [5, 50, 100]

[arguments.error_rate]
default = "2 %"

[plan]
description = "The rollout of ${flag}, at $$0, by ${lead}"
steps = "${steps}"
bake = "6h"

[plan.approvals]
by = ["${lead}", "on-call"]

[[plan.guardrails]]
measure = "error_rate"
limit = "${error_rate}"

[[plan.checklist]]
id = "told"
text = "${lead} knows"

[[plan.hooks]]
name = "deploys"
url = { env = "GATE" }

[[plan.freeze]]
weekly = "Fri 16:00 - Mon 08:00 Europe/Berlin"
"""


def test_the_guide_is_built_in_and_makes_a_plan_without_errors():
    guide = templates()["guide"]
    assert (guide.title, guide.origin) == ("guide@1", BUILT_IN)
    plan = parse_plan(plan_text(guide, "agent", {}), "toml")
    assert not refusing(lint(plan, None))
    assert plan.template == "guide@1"
    assert [one.percent for one in plan.steps] == [1, 5, 10, 25, 50, 100]
    assert {one.bake for one in plan.steps} == {86_400.0}
    counts = {when: len(plan.gates.items(when)) for when in When}
    assert counts == {When.BEFORE: 8, When.DURING: 6, When.AFTER: 5}
    automatic = {one.auto for one in plan.gates.checklist if one.auto}
    assert automatic == {
        Auto.METRICS,
        Auto.REHEARSAL,
        Auto.SMALL_START,
        Auto.LOOKS,
        Auto.GRADUAL,
        Auto.BAKES,
        Auto.EVERYBODY,
        Auto.WATCHED,
    }
    quick = parse_plan(plan_text(guide, "agent", {"bake": "1h", "min_sample": 7}), "toml")
    assert not refusing(lint(quick, None))
    assert {one.min_sample for one in quick.guardrails} == {7}


def test_arguments_take_the_place_of_their_marks():
    team = parse_template(TEAM, "team.toml")
    data = filled(team, "agent", {"lead": "ana", "steps": [1, 100]})
    assert data["description"] == "The rollout of agent, at $0, by ana"
    assert data["steps"] == [1, 100]
    assert data["approvals"]["by"] == ["ana", "on-call"]
    plan = parse_plan(plan_text(team, "agent", {"lead": "ana"}), "toml")
    assert (plan.flag, plan.template) == ("agent", "team@3")
    assert [one.percent for one in plan.steps] == [5, 50, 100]
    assert plan.gates.checklist[0].text == "ana knows"
    assert plan.gates.hooks[0].url.as_data() == {"env": "GATE"}


@pytest.mark.rule("R1")
def test_the_template_is_a_part_of_the_plan_and_of_its_digest():
    team = parse_template(TEAM, "team.toml")
    plan = parse_plan(plan_text(team, "agent", {"lead": "ana"}), "toml")
    again = type(plan).from_mapping(plan.as_mapping())
    assert again == plan
    assert replace(plan, template="team@2").digest != plan.digest


values = st.recursive(
    st.booleans() | st.integers(-(1 << 40), 1 << 40) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3)
    ),
    max_leaves=6,
).filter(lambda one: "\\ud" not in ascii(one) and "\\x00" not in ascii(one))


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), values, max_size=4))
def test_what_is_written_is_read_back(plan):
    from downhaul.rollout import templating

    assert tomllib.loads("".join(templating._toml(plan))) == plan


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "given, said",
    [
        ({}, r"team@3 needs lead \(who approves\)"),
        ({"lead": "ana", "leed": "b"}, 'has no argument "leed"'),
    ],
)
def test_what_it_needs_and_what_it_does_not_have_is_told(given, said):
    with pytest.raises(Refused, match=said):
        plan_text(parse_template(TEAM), "agent", given)


@pytest.mark.rule("X1")
def test_an_argument_that_makes_no_plan_is_refused_where_it_stands():
    with pytest.raises(DocumentError) as caught:
        plan_text(parse_template(TEAM), "agent", {"lead": "ana", "error_rate": 2})
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == ("guardrails[0].limit", "2 has no unit")
    assert problem.origin.startswith("team@3 for agent:")


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "edit, path, said",
    [
        (('name = "team"', 'name = "The Team"'), "name", "should match pattern"),
        (("version = 3", "version = 0"), "version", "greater than or equal to 1"),
        (("version = 3", 'version = "3"'), "version", "valid integer"),
        (("version = 3\n", ""), "version", "is missing"),
        (("description = ", "descripton = "), "descripton", "no such field"),
        (("[arguments.lead]", "[arguments.Lead]"), "arguments.Lead", "no name of an argument"),
        (("${lead} knows", "${leed} knows"), "plan.checklist[0].text", 'no argument "leed"'),
        (('"${error_rate}"', '"2 %"'), "arguments.error_rate", "nothing in the plan uses it"),
        (('bake = "6h"', 'flag = "x"'), "plan.flag", "it is filled in"),
        (("default = [5", "defualt = [5"), "arguments.steps.defualt", "no such field"),
    ],
)
def test_a_template_that_is_wrong_is_refused_with_every_problem(edit, path, said):
    with pytest.raises(DocumentError) as caught:
        parse_template(TEAM.replace(*edit, 1), "team.toml")
    found = {one.path: one for one in caught.value.problems}
    assert path in found, caught.value
    assert said in found[path].message
    assert found[path].origin.startswith("team.toml")


def test_a_folder_is_shared_and_files_of_other_kinds_are_left_alone(tmp_path):
    (tmp_path / "team.toml").write_text(TEAM)
    (tmp_path / "README.md").write_text("# ours")
    found = templates(tmp_path)
    assert list(found) == ["guide", "team"]
    assert found["team"].origin == str(tmp_path / "team.toml")


@pytest.mark.rule("X1")
@pytest.mark.parametrize("name", ["team", "guide"])
def test_two_of_one_name_are_an_error_that_names_both(tmp_path, name):
    text = TEAM.replace('name = "team"', f'name = "{name}"')
    (tmp_path / "a.toml").write_text(text)
    (tmp_path / "b.toml").write_text(text.replace("version = 3", "version = 4"))
    with pytest.raises(DocumentError, match=f'called "{name}"') as caught:
        templates(tmp_path)
    origins = {one.origin for one in caught.value.problems}
    assert len(origins) == 2
    assert origins < {BUILT_IN, str(tmp_path / "a.toml"), str(tmp_path / "b.toml")}


def test_a_folder_that_is_named_has_to_be_there(tmp_path):
    assert list(templates(tmp_path / "none")) == ["guide"]
    with pytest.raises(FileNotFoundError):
        templates(tmp_path / "none", needed=True)


def advice(plan, known):
    return [(one.severity, one.path, one.message) for one in template_advice(plan, known)]


def test_a_plan_that_is_as_its_template_has_nothing_to_say_about():
    team = parse_template(TEAM)
    plan = parse_plan(plan_text(team, "agent", {"lead": "ana"}), "toml")
    assert advice(plan, {"team": team}) == []
    assert advice(replace(plan, template=""), {}) == []
    guide = templates()["guide"]
    assert advice(parse_plan(plan_text(guide, "agent", {}), "toml"), {"guide": guide}) == []


@pytest.mark.parametrize(
    "template, severity, said",
    [
        ("team", Severity.ERROR, '"team" is no name and version'),
        ("team@x", Severity.ERROR, "no name and version"),
        ("teem@3", Severity.WARNING, 'no template "teem" is known here'),
        ("team@2", Severity.NOTE, "made of version 2, and version 3 is there"),
        ("team@4", Severity.WARNING, "made of version 4, and only 3 is known here"),
    ],
)
def test_a_template_that_is_another_or_none_is_told(template, severity, said):
    team = parse_template(TEAM)
    plan = parse_plan(plan_text(team, "agent", {"lead": "ana"}), "toml")
    (one,) = advice(replace(plan, template=template), {"team": team})
    assert one[:2] == (severity, "template")
    assert said in one[2]


def test_what_a_plan_left_out_of_its_template_is_told():
    team = parse_template(TEAM)
    plan = parse_plan(plan_text(team, "agent", {"lead": "ana"}), "toml")
    bare = replace(plan, gates=Gates(), guardrails=(), unguarded="why not")
    found = advice(bare, {"team": team})
    assert {one[0] for one in found} == {Severity.WARNING}
    assert [(one[1], one[2]) for one in found] == [
        ("checklist", 'team@3 has "told", and this plan doesn\'t'),
        ("hooks", 'team@3 has "deploys", and this plan doesn\'t'),
        ("guardrails", 'team@3 has "error_rate", and this plan doesn\'t'),
        ("approvals", "team@3 has approvals, and this plan has none"),
        ("freeze", "team@3 has freeze, and this plan has none"),
    ]


def test_the_template_of_the_page_makes_a_plan():
    page = (Path(__file__).parents[2] / "docs" / "rollout-templates.md").read_text()
    (shown,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    plan = parse_plan(plan_text(parse_template(shown), "agent", {"lead": "ana"}), "toml")
    assert not refusing(lint(plan, None))
    assert plan.unguarded == "the team of ana watches agent"
