"""The steps of a plan: what each strategy makes of its tables, and how long each step bakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from downhaul.documents.faults import Fault, Place
from downhaul.flag import WHOLE
from downhaul.rollout.plan import CANARY_PERCENTS, MAX_BAKES, Step, Strategy
from downhaul.rollout.planmodel import (
    BLUE_GREEN,
    BlueGreenTable,
    ExponentialTable,
    LinearTable,
    PlanTable,
    ReleaseTable,
    StepTable,
)
from downhaul.rollout.units import percent_text, weight_from

_MOST: Final = 100
_PERCENT: Final = WHOLE // 100
_TABLES: Final[Mapping[str, tuple[Strategy, ...]]] = MappingProxyType(
    {
        "steps": (Strategy.CANARY, Strategy.RELEASE, Strategy.RINGS),
        "linear": (Strategy.LINEAR,),
        "exponential": (Strategy.EXPONENTIAL,),
        BLUE_GREEN: (Strategy.BLUE_GREEN,),
        "release": (Strategy.RELEASE,),
        "rings": (Strategy.RINGS,),
    }
)
"""Which strategies read a table. The first one is meant where none is named."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A step as its table says it: what it leaves out is for the plan to say."""

    weight: int
    place: Place
    bake: float | None = None
    max_bake: float | None = None
    preview: bool = False
    targets: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    name: str = ""


def implied(table: PlanTable) -> Strategy:
    """Return the strategy of a plan that names none: the one whose table is there."""
    there = [name for name in _TABLES if name != "steps" and _of(table, name) is not None]
    return _TABLES[there[0]][0] if len(there) == 1 else Strategy.CANARY


def steps_of(table: PlanTable, strategy: Strategy, faults: list[Fault]) -> tuple[Step, ...]:
    """Return the steps of a plan. What is wrong with them is added to ``faults``."""
    faults += _misplaced(table, strategy)
    drafts = list(_STRATEGIES[strategy](table, faults))
    bakes = _bakes(table, len(drafts), faults)
    if drafts:
        drafts[-1] = _last(table, drafts, faults)
    steps = [_step(table, draft, bake, faults) for draft, bake in zip(drafts, bakes, strict=True)]
    if drafts and table.holdback is not None:
        steps.append(Step(WHOLE, 0.0, 0.0))
    return tuple(steps)


def _last(table: PlanTable, drafts: Sequence[_Draft], faults: list[Fault]) -> _Draft:
    """Return the step of the final bake, with what it holds back."""
    *before, last = drafts
    if table.final_bake is not None:
        if last.bake is not None or isinstance(table.bake, list):
            message = "the bake of the last step is said twice"
            faults.append(Fault(("final_bake",), message, "leave one of them out"))
        last = replace(last, bake=table.final_bake)
    if table.holdback is None:
        return last
    weight = WHOLE - table.holdback
    if not 0 < weight < WHOLE:
        faults.append(Fault(("holdback",), "should be more than nothing, and less than 100 %"))
    elif last.weight < WHOLE:
        message = f"the plan ends at {percent_text(last.weight)}, and lets nobody in after that"
        faults.append(Fault(("holdback",), message, "end at 100 %, or leave it out"))
    elif any(one.weight >= weight for one in before):
        message = f"a step before the last one is above {percent_text(weight)} already"
        faults.append(Fault(("holdback",), message, "hold back less, or leave that step out"))
    return replace(last, weight=weight)


def _step(table: PlanTable, draft: _Draft, bake: float, faults: list[Fault]) -> Step:
    bake = draft.bake or bake
    longest = draft.max_bake or table.max_bake or bake * MAX_BAKES
    if longest < bake:
        place: Place = draft.place if draft.max_bake or draft.bake else ("max_bake",)
        message = "the longest bake is shorter than the bake"
        faults.append(Fault(place, message, "raise max_bake, or leave it out"))
    return Step(
        draft.weight,
        bake,
        longest,
        preview=draft.preview,
        targets=draft.targets,
        segments=draft.segments,
        name=draft.name,
    )


def _bakes(table: PlanTable, count: int, faults: list[Fault]) -> list[float]:
    bake = table.bake
    if not isinstance(bake, list):
        return [bake] * count
    if len(bake) != count:
        message = f"there are {count} steps and {len(bake)} bakes"
        faults.append(Fault(("bake",), message, "give one for each step, or one for all"))
    return (bake + bake[-1:] * count)[:count] if bake else [1.0] * count


def _misplaced(table: PlanTable, strategy: Strategy) -> Iterable[Fault]:
    """Yield what belongs to another strategy: it would be read by nobody."""
    for name, owners in _TABLES.items():
        if _of(table, name) is not None and strategy not in owners:
            message = f"the strategy is {_word(strategy)}, which takes no such field"
            hint = f'leave it out, or say strategy = "{_word(owners[0])}"'
            yield Fault((name,), message, hint)


def _of(table: PlanTable, name: str) -> object:
    return getattr(table, name.replace("-", "_"))


def _word(strategy: Strategy) -> str:
    return strategy.value.replace("_", "-")


# --- by strategy


def _canary(table: PlanTable, _faults: list[Fault]) -> Iterable[_Draft]:
    listed = map(weight_from, CANARY_PERCENTS) if table.steps is None else table.steps
    for index, one in enumerate(listed):
        place = ("steps", index)
        if isinstance(one, StepTable):
            yield _Draft(one.percent, place, one.bake, one.max_bake)
        else:
            yield _Draft(one, place)


def _linear(table: PlanTable, faults: list[Fault]) -> Iterable[_Draft]:
    linear = table.linear or LinearTable()
    by, last = linear.step, linear.to
    first = by if linear.start is None else linear.start
    if by <= 0:
        faults.append(Fault(("linear", "step"), "should be more than nothing"))
        return []
    if first > last:
        faults.append(_starts_too_high("linear"))
        return []
    if (last - first) // by >= _MOST:
        faults.append(_too_many(("linear", "step"), "take larger steps"))
        return []
    return _rising([*range(first, last, by), last], "linear")


def _exponential(table: PlanTable, faults: list[Fault]) -> Iterable[_Draft]:
    """Multiply by the factor, rounding down: to whole percents where the start is one.

    Not every backend splits finer, and who starts at a whole percent asks for nothing finer.
    """
    growth = table.exponential or ExponentialTable()
    first, last = growth.start, growth.to
    if first <= 0:
        faults.append(Fault(("exponential", "start"), "should be more than nothing"))
        return []
    if first > last:
        faults.append(_starts_too_high("exponential"))
        return []
    unit = 1 if first % _PERCENT else _PERCENT
    weights: list[int] = []
    exact = float(first)
    while exact < last and len(weights) < _MOST - 1:
        weight = int(exact) // unit * unit
        if not weights or weight > weights[-1]:
            weights.append(weight)
        exact *= growth.factor
    if exact < last:
        faults.append(_too_many(("exponential", "factor"), "take a larger factor"))
        return []
    return _rising([*weights, last], "exponential")


def _blue_green(table: PlanTable, _faults: list[Fault]) -> Iterable[_Draft]:
    said = table.blue_green or BlueGreenTable()
    if said.audience or said.segments or said.preview:
        named = _once(said.segments)
        yield _Draft(0, (BLUE_GREEN,), said.preview, preview=True, segments=named)
    yield _Draft(WHOLE, (BLUE_GREEN,))


def _release(table: PlanTable, faults: list[Fault]) -> Iterable[_Draft]:
    said = table.release or ReleaseTable()
    if not (said.targets or said.segments):
        hint = 'say whom: targets = ["ana"], or segments = ["staff"]'
        faults.append(Fault(("release",), "nobody is named to get it first", hint))
    yield _Draft(
        0,
        ("release",),
        said.preview,
        preview=True,
        targets=_once(said.targets),
        segments=_once(said.segments),
    )
    yield from _canary(table, faults)


def _rings(table: PlanTable, faults: list[Fault]) -> Iterable[_Draft]:
    if not table.rings:
        hint = "give them, the first one first: [[rings]]"
        faults.append(Fault(("rings",), "there are none", hint))
    names: set[str] = set()
    for index, one in enumerate(table.rings or ()):
        place, name = ("rings", index), one.name.strip()
        if not (one.targets or one.segments):
            hint = 'say who: targets = ["ana"], or segments = ["staff"]'
            faults.append(Fault(place, "nobody is in it", hint))
        if name in names:
            faults.append(Fault((*place, "name"), f'two rings are called "{name}"'))
        names |= {name} - {""}
        yield _Draft(
            0,
            place,
            one.bake,
            one.max_bake,
            preview=True,
            targets=_once(one.targets),
            segments=_once(one.segments),
            name=name,
        )
    if table.steps is None:
        yield _Draft(WHOLE, ("rings",))
    else:
        yield from _canary(table, faults)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _rising(weights: Iterable[int], name: str) -> list[_Draft]:
    return [_Draft(one, (name,)) for one in weights]


def _starts_too_high(name: str) -> Fault:
    message = "the first step lies above the last"
    return Fault((name, "start"), message, "lower it, or raise to")


def _too_many(place: Place, hint: str) -> Fault:
    return Fault(place, f"that makes more than {_MOST} steps", hint)


_STRATEGIES: Final[Mapping[Strategy, Callable[[PlanTable, list[Fault]], Iterable[_Draft]]]] = (
    MappingProxyType(
        {
            Strategy.CANARY: _canary,
            Strategy.LINEAR: _linear,
            Strategy.EXPONENTIAL: _exponential,
            Strategy.BLUE_GREEN: _blue_green,
            Strategy.RELEASE: _release,
            Strategy.RINGS: _rings,
        }
    )
)
