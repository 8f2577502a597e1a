"""Templates are checked when they are read, and can be filled whatever an event has."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.announcements.severity import EVENTS
from downhaul.announcements.templates import (
    LINK_FIELDS,
    Template,
    fields_of,
    fields_of_command,
    filled,
    filled_link,
    filled_markdown,
    trouble,
)
from downhaul.announcements.words import TEMPLATES
from downhaul.control.alerts import AlertEvent
from downhaul.control.messages import Wording

NASTY = st.text(alphabet=st.sampled_from("ab{}[]!:.*_`<>\\\n %/é😀"), max_size=30)


def kill(**fields):
    given = {
        "what": "killed",
        "subject": "agent",
        "actor": "ana",
        "reason": "refund loop",
        "environment": "production",
        "at": "2026-11-26T09:00:00Z",
        "id": "3f2a",
    }
    return AlertEvent(**(given | fields))


@given(NASTY, st.dictionaries(st.sampled_from(["flag", "reason"]), NASTY))
def test_a_template_is_refused_or_can_be_filled(template, values):
    wrong = trouble(template, ("flag", "reason"))
    if wrong is None:
        filled(template, values)
        filled_markdown(template, values)
        filled_link(template, values)
    else:
        assert "field" in wrong or "template" in wrong


@pytest.mark.parametrize(
    "template, said",
    [
        ("{flagg}", "no field {flagg}; there are {flag}, {reason}"),
        ("{flag.__class__}", "is to be a plain name"),
        ("{flag[0]}", "is to be a plain name"),
        ("{flag!r}", "is to be a plain name"),
        ("{flag:>10}", "is to be a plain name"),
        ("{}", "is to be a plain name"),
        ("{0}", "is to be a plain name"),
        ("{flag", "is no template"),
        ("flag}", "is no template"),
    ],
)
def test_what_a_template_can_not_have_is_named(template, said):
    assert said in trouble(template, ("flag", "reason"))


def test_braces_are_written_twice():
    assert trouble("{{flag}}", ()) is None
    assert filled("{{flag}} {flag}", {"flag": "agent"}) == "{flag} agent"


def test_a_line_whose_fields_are_all_empty_is_left_out():
    template = "Why: {reason}\nSee: {link}\n{flag} by {actor}\nfixed"
    values = {"reason": "", "flag": "agent", "actor": ""}
    assert filled(template, values) == "agent by \nfixed"


def test_no_value_means_anything_in_markdown_but_addresses_and_code():
    values = {"reason": "*a* [b](c) <script> `d` \\e", "link": "https://x/*?a=1&b=<", "flag": "a_b"}
    assert filled_markdown("{reason}", values) == r"\*a\* \[b\](c) \<script> \`d\` \\e"
    assert filled_markdown("<{link}> {flag}", values) == "<https://x/*?a=1&b=<> a_b"


def test_what_stands_in_a_link_is_quoted():
    values = {"flag": "tag:a b/c", "environment": "*"}
    link = filled_link("https://flags.internal/{environment}/{flag}", values)
    assert link == "https://flags.internal/%2A/tag%3Aa%20b%2Fc"


def test_an_override_of_one_part_leaves_the_others():
    house = Template("t", "x", "m", "c")
    assert Template(title="mine").over(house) == Template("mine", "x", "m", "c")
    assert Template(text="mine").over(house) == Template("t", "mine", "mine", "c")
    assert Template(text="mine", markdown="*mine*").over(house).markdown == "*mine*"


@pytest.mark.parametrize("what", EVENTS)
def test_the_words_of_the_house_have_only_fields_that_exist(what):
    template = TEMPLATES[what]
    for part in (template.title, template.text, template.markdown):
        assert trouble(part, fields_of(what)) is None
    assert trouble(template.command, fields_of_command(what)) is None


@given(
    what=st.sampled_from([*EVENTS, "from_a_newer_version"]),
    subject=st.sampled_from(["agent", "tag:agents", "switch:loop", "*", "a b'c", "tag:"]),
    reason=NASTY,
    environment=st.sampled_from(["default", "production", "*"]),
    after=st.dictionaries(
        st.sampled_from(
            ["rollout", "variant", "phase", "step", "percent", "changed", "since", "error"]
        ),
        st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), NASTY, st.lists(NASTY)),
    ),
)
def test_every_event_becomes_a_message_whatever_it_has(what, subject, reason, environment, after):
    event = kill(what=what, subject=subject, reason=reason, environment=environment, after=after)
    message = Wording("https://flags.internal/{environment}/{flag}").of(event)
    assert message.title
    assert "\n" not in message.title
    assert message.text
    assert message.markdown
    assert message.link.startswith("https://flags.internal/")
    assert message.severity is event.severity
    assert "\n" not in message.command


def test_a_kill_is_told_with_who_why_where_and_what_to_type():
    message = Wording("https://flags.internal/{environment}/{flag}").of(kill())
    assert message.title == "[critical] agent is killed in production"
    assert message.text == (
        "Everybody gets the safe variant, until somebody revives it.\n"
        "Why: refund loop\n"
        "By: ana\n"
        "When: 2026-11-26T09:00:00Z\n"
        "See: https://flags.internal/production/agent\n"
        'Type: downhaul revive agent -e production --reason "..."\n'
        "Id: 3f2a"
    )
    assert "- See: <https://flags.internal/production/agent>" in message.markdown
    assert '- Type: `downhaul revive agent -e production --reason "..."`' in message.markdown


@pytest.mark.parametrize(
    "subject, environment, after, command",
    [
        ("agent", "default", {}, 'downhaul revive agent --reason "..."'),
        ("tag:agents", "default", {}, 'downhaul revive --tag agents --reason "..."'),
        ("switch:my loop", "qa", {}, "downhaul revive --switch 'my loop' -e qa --reason \"...\""),
        ("*", "*", {}, 'downhaul revive --all --all-environments --reason "..."'),
        ("agent", "*", {"kill_file": "/k"}, 'downhaul revive agent --local --reason "..."'),
    ],
)
def test_the_command_of_a_kill_lifts_it(subject, environment, after, command):
    event = kill(subject=subject, environment=environment, after=after)
    assert Wording().of(event).command == command


def test_a_rollout_is_told_with_the_command_that_shows_it():
    event = kill(
        what="raised",
        actor="controller",
        reason="step 2 of 3: 50 %",
        after={"rollout": "a1b2", "variant": "on", "step": 1, "percent": 50.0, "phase": "x"},
    )
    message = Wording().of(event)
    assert message.title == ("[info] Rollout of agent in production increased: step 2 of 3: 50 %")
    assert message.command == "downhaul rollout status a1b2 -e production"
    assert "See:" not in message.text
    mine = Wording(templates={"raised": Template(title="{flag}: {step}, {percent} %")})
    assert mine.of(event).title == "agent: 2, 50 %"
    assert mine.of(event).text == message.text


def test_every_field_is_told_of_on_the_page():
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    fields = {name for what in EVENTS for name in (*fields_of(what), *fields_of_command(what))}
    told = set(re.findall(r"`\{(\w+)\}`", page))
    assert fields | set(LINK_FIELDS) <= told
