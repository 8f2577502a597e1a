"""Following a rollout: until when, with which exit code, and what is shown on the way."""

import io
import json
import sys
from dataclasses import replace

import pytest

from downhaul.cli import rollout_watch
from downhaul.cli.output import Output
from downhaul.cli.rollout_watch import follow, shown
from downhaul.cli.rollout_words import NOBODY
from downhaul.errors import Unreachable
from downhaul.rollout.plan import Plan, Step
from downhaul.rollout.results import Rollout
from downhaul.rollout.state import Phase, State


class Clock:
    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def wait(self, seconds):
        self.time += seconds


class Script:
    """Gives one rollout after the other, then the last one for ever."""

    def __init__(self, *scenes):
        self.scenes = list(scenes)
        self.asked = 0

    def __call__(self):
        self.asked += 1
        scene = self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]
        if isinstance(scene, Exception):
            raise scene
        return scene


def rollout(phase=Phase.PROGRESSING, *, controllers=1, **fields):
    steps = (Step(1000, 600.0, 1800.0), Step(100_000, 600.0, 1800.0))
    state = State(**{"phase": phase, "entered": True, "started_at": 1, **fields})
    plan = Plan("agent", "on", steps, unguarded="test")
    return Rollout("r1", "default", "sqlite", plan, state, 1, 1, 1, 2, "ana", "", controllers)


GOING = rollout()


@pytest.fixture
def seen():
    return []


def followed(script, seen, *, wait=True, timeout=None):
    out = Output("rollout status")
    return follow(script, seen.append, out, wait=wait, timeout=timeout, clock=Clock())


@pytest.mark.parametrize(
    "phase, code",
    [
        (Phase.COMPLETED, 0),
        (Phase.ROLLED_BACK, 3),
        (Phase.REVERTED, 3),
        (Phase.STOPPED, 3),
        (Phase.LATCHED, 3),
        (Phase.PAUSED, 4),
    ],
)
def test_waiting_ends_with_the_code_for_how_it_went(seen, phase, code):
    script = Script(GOING, rollout(Phase.ROLLING_BACK), rollout(phase))
    assert followed(script, seen) == code
    assert seen[-1].phase is phase


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.PROGRESSING, Phase.REVERTING])
def test_waiting_goes_on_while_it_moves_by_itself_and_gives_up_in_time(seen, phase, capsys):
    script = Script(rollout(phase))
    assert followed(script, seen, timeout=30) == 5
    assert script.asked == 31
    assert "has not come to an end" in capsys.readouterr().err


def test_watching_goes_on_through_a_pause_and_ends_with_the_rollout(seen):
    script = Script(GOING, rollout(Phase.PAUSED), rollout(Phase.LATCHED), rollout(Phase.STOPPED))
    assert followed(script, seen, wait=False) == 0
    assert [one.phase for one in seen][-1] is Phase.STOPPED
    assert len(seen) == 4


@pytest.mark.rule("X1")
def test_a_store_that_is_away_is_asked_again_and_told_once(seen, capsys):
    away = Unreachable("no route to the database")
    script = Script(GOING, away, away, away, rollout(Phase.COMPLETED))
    assert followed(script, seen, timeout=60) == 0
    assert capsys.readouterr().err.count("no route to the database") == 1


def test_a_store_that_stays_away_ends_the_wait_in_time(seen, capsys):
    assert followed(Script(Unreachable("gone")), seen, timeout=10) == 5
    assert seen == []
    assert "gone; asking again" in capsys.readouterr().err


def test_without_a_controller_it_says_so_once(seen, capsys):
    alone = rollout(controllers=0)
    followed(Script(alone, alone, alone, rollout(Phase.COMPLETED)), seen)
    assert capsys.readouterr().err.count(NOBODY) == 1


def test_plain_lines_say_what_changed_and_no_more(capsys):
    later = replace(GOING, now=GOING.now + 5_000_000)
    held = rollout(hold="undecided", hold_message="12 of 100 requests")
    with shown(Output("rollout status")) as show:
        for one in (GOING, later, later, held, held, rollout(Phase.PAUSED, message="by hand")):
            show(one)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("The checks can't tell yet: 12 of 100 requests")
    assert "paused" in lines[2]


def test_json_lines_are_a_document_each(capsys):
    with shown(Output("rollout status", as_json=True)) as show:
        for one in (GOING, GOING, rollout(Phase.COMPLETED)):
            show(one)
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["phase"] for one in documents] == ["progressing", "completed"]
    assert {one["command"] for one in documents} == {"rollout status"}


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_in_a_terminal_it_is_redrawn_in_place(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    with shown(Output("rollout status", color=False)) as show:
        show(GOING)
        show(rollout(Phase.COMPLETED))
    drawn = screen.getvalue()
    assert "● progressing" in drawn
    assert "✔ completed" in drawn
    assert "\x1b[1A" in drawn  # up a line, to draw over it
    assert "\x1b[32m" not in drawn


def test_words_that_stdout_has_no_letters_for_become_question_marks(monkeypatch):
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    assert rollout_watch.fitting("café → 5 %") == "caf? ? 5 %"
