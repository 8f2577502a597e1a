"""Telling people of a way back that the backend stands in the way of, until it is through.

The flag is killed in the control store meanwhile, which holds for every process that reads it. This
is for whoever doesn't: clients of the backend in other languages, and its own console.
"""

from __future__ import annotations

from dataclasses import replace
from shlex import quote
from typing import Final

from downhaul.rollout.deciding.case import SECOND, Happening
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import RETURNING, Act, State

FIRST_WORD: Final = 30.0
"""Seconds after the first failure of a way back until people hear of it ..."""

NEXT_WORD: Final = 300.0
"""... and between that and the next time."""

NOT_BACK: Final = "not_rolled_back"
"""What it is called in the history."""


def remind(plan: Plan, state: State, why: str, now: int) -> tuple[State, tuple[Happening, ...]]:
    """Return what people are to hear of a failure on the way back, and the state that remembers it.

    ``now`` is the control store's clock, in microseconds. What was told is kept with the rollout,
    so that whoever goes on with it tells nothing twice and leaves nothing out.
    """
    if state.phase not in RETURNING or not state.failed_at:
        return state, ()
    age = (now - state.failed_at) / SECOND
    silent = (now - state.told_at) / SECOND if state.told_at else NEXT_WORD
    if age < FIRST_WORD or silent < NEXT_WORD:
        return state, ()
    key = quote(plan.flag)
    if state.act is Act.OFF:
        words = f"off, and not restored for {age:.0f} s: {why}"
        commands = [f"downhaul rollout status {key}", f"downhaul rollout cancel {key}"]
    else:
        words = f"not off at its backend for {age:.0f} s: {why}"
        commands = [f"downhaul flags off {key}", f'downhaul kill {key} --reason "{why_not(age)}"']
    detail = {
        "step": state.step,
        "because": state.because,
        "since": age,
        "error": why,
        "type": commands[0],
        "or_type": commands[1],
    }
    told = Happening(NOT_BACK, words, detail=detail, announce=True)
    return replace(state, told_at=now), (told,)


def why_not(age: float) -> str:
    """Return the reason that a kill is given in the command that people are told."""
    return f"its rollback hangs for {age:.0f} s"
