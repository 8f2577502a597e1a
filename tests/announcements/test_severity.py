"""Every event that can be announced has a severity and words, in one table."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollout_cases import (
    BEFORE,
    BLUE_GREEN,
    CANARY,
    CLEAN,
    NO_DATA,
    NOW,
    REGRESSED,
    SIGNAL,
    UNDECIDED,
    asks,
    at_step,
    seen_with,
    state_at,
)

import downhaul
from downhaul.announcements.severity import EVENTS, Severity, severity_of
from downhaul.announcements.words import TEMPLATES
from downhaul.backends.edits import with_on, with_rollout
from downhaul.rollout.decide import decide
from downhaul.rollout.deciding.case import SECOND
from downhaul.rollout.plan import OnMetricsLost, OnUndecided
from downhaul.rollout.state import Act, Phase, Verb

SOURCE = Path(downhaul.__file__).parent
MAKERS = {"Happening", "EventRow", "AlertEvent"}
MAKERS_OF_ROLLOUTS = MAKERS | {"tell", "announce"}


def sources():
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def constants(module):
    """The strings that names of a module stand for."""
    found = {}
    for node in module.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            found[target.id] = value.value
    return found


def words_of(node, names):
    """The strings that an expression may come to, or None where that can't be read."""
    match node:
        case ast.Constant(value=str() as text):
            return {text}
        case ast.IfExp(body=body, orelse=other):
            left, right = words_of(body, names), words_of(other, names)
            return None if left is None or right is None else left | right
        case ast.Name(id=name) if isinstance(names.get(name), str):
            return {names[name]}
        case ast.Attribute(attr="value"):  # of the phase in which a way back ended
            return {Phase.ROLLED_BACK.value, Phase.REVERTED.value}
        case _:
            return None


def announced():
    """Every event that the code makes by name, with where it does."""
    for path, module in sources():
        names = constants(module)
        for node in ast.walk(module):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name not in (
                MAKERS_OF_ROLLOUTS if "rollout" in path.relative_to(SOURCE).parts else MAKERS
            ):
                continue
            given = node.args[1:] if name == "announce" else node.args
            given = [*given, *(one.value for one in node.keywords if one.arg == "what")]
            found = words_of(given[0], names) if given else None
            where = f"{path.relative_to(SOURCE)}:{node.lineno}"
            if found is None:
                yield where, None, ast.unparse(node)[:60]
            else:
                for word in found:
                    yield where, word, ""


# Calls that pass an event on, whoever made it.
PASSED_ON = {
    "control/courier.py",
    "control/drills.py",
    "control/kills.py",
    "rollout/controller.py",
    "rollout/turn.py",
    "rollout/deciding/case.py",
    "rollout/ending.py",
    "rollout/gates/hooks.py",
    "rollout/gates/signing.py",
    "store/rollouts.py",
}
# What these pass on is named where no call shows it.
NAMED_ELSEWHERE = {
    "approved", "rejected", "hook_confirmed", "hook_waits", "kill_ends_soon", "kill_ended"
}  # fmt: skip


def test_every_event_that_the_code_names_is_in_the_table():
    made = list(announced())
    unknown = [(where, word) for where, word, _ in made if word is not None and word not in EVENTS]
    assert unknown == []
    unread = [(where, text) for where, word, text in made if word is None]
    assert {where.partition(":")[0] for where, _ in unread} <= PASSED_ON, unread
    assert EVENTS.keys() >= NAMED_ELSEWHERE
    named = {word for _, word, _ in made if word}
    assert named >= {"started", "raised", "paused", "rolled_back", "killed", "not_switched_off"}


def test_the_store_names_kills_and_revives_as_the_table_does():
    text = (SOURCE / "store" / "writing.py").read_text(encoding="utf-8")
    assert '"what": "killed" if record.killed else "revived"' in text
    assert {"killed", "revived"} <= EVENTS.keys()


FLAGS = (
    None,
    at_step(BEFORE, CANARY, 0),
    at_step(BEFORE, CANARY, 1),
    with_on(BEFORE, False),
    with_rollout(BEFORE, "on", 77_000),
    BEFORE,
)


CASES = st.fixed_dictionaries(
    {
        "plan": st.sampled_from([CANARY, BLUE_GREEN]),
        "phase": st.sampled_from(Phase),
        "step": st.integers(0, 2),
        "flag": st.sampled_from(FLAGS),
        "findings": st.sampled_from([CLEAN, UNDECIDED, NO_DATA, REGRESSED, SIGNAL, None, ()]),
        "verb": st.sampled_from([None, *Verb]),
        "kill": st.sampled_from(["", "agent by ana: no"]),
        "away": st.sampled_from(["", "503"]),
        "undecided": st.sampled_from(OnUndecided),
        "lost": st.sampled_from(OnMetricsLost),
    }
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "failures": st.integers(0, 4),
        "act": st.sampled_from(Act),
        "baked": st.sampled_from([0.0, 1e6]),
        "waited": st.sampled_from([0.0, 1e6]),
        "looked_at": st.sampled_from([NOW - SECOND, NOW - 3600 * SECOND]),
        "limit_at": st.sampled_from([0, NOW - 1]),
        "reasserted": st.integers(0, 3),
        "metrics_lost_at": st.sampled_from([0, NOW - 900 * SECOND]),
        "overwrite": st.booleans(),
    },
)


@given(CASES, FIELDS)
def test_whatever_a_rollout_decides_its_events_are_in_the_table(case, fields):
    plan = replace(case["plan"], on_undecided=case["undecided"], on_metrics_lost=case["lost"])
    step = min(case["step"], len(plan.steps) - 1)
    state = replace(state_at(plan, step), phase=case["phase"], **fields)
    seen = seen_with(
        case["flag"],
        findings=case["findings"],
        kill=case["kill"],
        unreachable=case["away"],
        asked=() if case["verb"] is None else asks(case["verb"], step),
    )
    decision = decide(plan, state, seen)
    told = {one.action for one in (*decision.happened, *decision.afterwards)}
    assert told <= EVENTS.keys()


def test_every_event_has_words_and_no_words_are_for_no_event():
    assert TEMPLATES.keys() == EVENTS.keys()
    for what, template in TEMPLATES.items():
        parts = (template.title, template.text, template.markdown, template.command)
        assert all(parts), what


@pytest.mark.parametrize(
    "what, phase, severity",
    [
        ("started", "progressing", Severity.INFO),
        ("raised", "progressing", Severity.INFO),
        ("completed", "completed", Severity.INFO),
        ("paused", "paused", Severity.WARNING),
        ("held", "progressing", Severity.WARNING),
        ("metrics_lost", "progressing", Severity.WARNING),
        ("stuck", "progressing", Severity.WARNING),
        ("drift", "paused", Severity.WARNING),
        ("stuck", "rolling_back", Severity.CRITICAL),
        ("stuck", "reverting", Severity.CRITICAL),
        ("drift", "latched", Severity.CRITICAL),
        ("rolled_back", "rolled_back", Severity.CRITICAL),
        ("killed", "", Severity.CRITICAL),
        ("not_switched_off", "", Severity.CRITICAL),
        ("from a newer version", "", Severity.WARNING),
    ],
)
def test_how_bad_an_event_is(what, phase, severity):
    assert severity_of(what, {"phase": phase}) is severity


@given(st.sampled_from(Severity), st.sampled_from(Severity))
def test_severities_are_in_one_order(one, other):
    assert one.reaches(other) is (one.rank >= other.rank)
    assert one.reaches(Severity.INFO)
    assert Severity.CRITICAL.reaches(other)
