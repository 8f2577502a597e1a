"""Whom a step of a plan serves, as people say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from downhaul.rollout.plan import Plan, Strategy
from downhaul.rollout.units import percent_text

_FEW: Final = 3  # users that are called by name


def step_text(plan: Plan, number: int) -> str:
    """Return whom a step lets in: ``25 %``, ``ana, ben and segment staff``."""
    if not plan.steps[number].preview:
        return percent_text(plan.steps[number].weight)
    match plan.strategy:
        case Strategy.BLUE_GREEN:
            return "the preview audience"
        case Strategy.RINGS:
            return f"{label(plan, number)} ({whom(plan, number)})"
        case _:
            return whom(plan, number)


def label(plan: Plan, number: int) -> str:
    """Return what a step is called where there is room for little: ``25 %``, ``ring staff``."""
    if not plan.steps[number].preview:
        return percent_text(plan.steps[number].weight)
    match plan.strategy:
        case Strategy.BLUE_GREEN:
            return "preview"
        case Strategy.RINGS:
            return f"ring {_ring(plan, number)}"
        case _:
            return "named"


def _ring(plan: Plan, number: int) -> str:
    return plan.steps[number].name or str(number + 1)


def whom(plan: Plan, number: int) -> str:
    """Return whom a step names: ``12 users``, ``ana, ben and segment staff``, or nothing."""
    users = plan.targets_at(number)
    found = [*users] if len(users) <= _FEW else [f"{len(users)} users"]
    return listed([*found, *(f"segment {one}" for one in plan.steps[number].segments)])


def served(plan: Plan, number: int) -> str:
    """Return whom the steps up to this one serve by name, if it names any: ``rings 1 and 2``."""
    if not plan.steps[number].preview:
        return ""
    if plan.strategy is Strategy.RINGS and number:
        return f"rings {listed([_ring(plan, one) for one in range(number + 1)])}"
    return step_text(plan, number)


def listed(words: Sequence[str]) -> str:
    """Return words as people list them: ``a, b and c``."""
    *before, last = words or [""]
    return f"{', '.join(before)} and {last}" if before else last
