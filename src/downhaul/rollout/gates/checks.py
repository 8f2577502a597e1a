"""The items of a checklist that tick themselves: what each looks at, as pure functions of facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from downhaul.flag import WHOLE
from downhaul.rollout.gates.facts import Facts
from downhaul.rollout.gates.model import Auto, Item
from downhaul.rollout.gates.times import SECOND
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import Phase, State
from downhaul.rollout.units import percent_text, span_text

_SMALL: Final = 5_000  # thousandths of a percent, by the guide

OF_THE_PLAN: Final = frozenset(
    {Auto.GUARDRAILS, Auto.SMALL_START, Auto.GRADUAL, Auto.LOOKS, Auto.BAKES}
)
"""Items that a plan alone decides: where one is not so, it never will be."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What an item found: whether it is so (None: nobody looked), why, and what to do."""

    good: bool | None
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What an item looks at. ``now`` is the store's clock, in microseconds since 1970."""

    plan: Plan
    state: State
    facts: Facts
    now: int


def look_at(item: Item, scene: Scene) -> Looked:
    """Return what an item that ticks itself finds."""
    assert item.auto is not None  # noqa: S101  (the caller looked)
    return _LOOKS[item.auto](item, scene)


def _guardrails(_: Item, scene: Scene) -> Looked:
    names = [one.name for one in scene.plan.guardrails if not one.dry_run]
    if names:
        return Looked(True, f"guarded by {', '.join(names)}")
    return Looked(False, "no guardrail decides", "give the plan a guardrail")


def _small_start(_: Item, scene: Scene) -> Looked:
    steps = [one.weight for one in scene.plan.steps if not one.preview]
    if not steps or steps[0] <= _SMALL:
        return Looked(True, f"it starts at {percent_text(steps[0])}" if steps else "a preview only")
    return Looked(False, f"it starts at {percent_text(steps[0])}", "start with 1 to 5 %")


def _gradual(_: Item, scene: Scene) -> Looked:
    count = len(scene.plan.steps)
    return Looked(count > 1, f"{count} steps" if count != 1 else "a single step", "take more steps")


def _looks(item: Item, scene: Scene) -> Looked:
    every = scene.plan.interval
    hint = f"lower interval to {span_text(item.time)}"
    return Looked(every <= item.time, f"a look each {span_text(every)}", hint)


def _bakes(item: Item, scene: Scene) -> Looked:
    shortest = min((one.bake for one in scene.plan.steps), default=0.0)
    hint = f"raise bake to {span_text(item.time)}"
    return Looked(shortest >= item.time, f"each step bakes {span_text(shortest)} or more", hint)


def _metrics(_: Item, scene: Scene) -> Looked:
    found = scene.facts.metrics
    if not scene.plan.checks:
        return Looked(False, "nothing is measured", "give the plan a guardrail")
    if found is None:
        return Looked(None, "a controller asks the metric source when it looks")
    said = "the metric source answers" if found else "the metric source does not answer"
    return Looked(found, said, "see the controller's log")


def _alerts(_: Item, scene: Scene) -> Looked:
    found = scene.facts.alerts
    if found is None:
        return Looked(None, "a controller knows whether anybody is told")
    said = "people are told" if found else "nobody is told: there is only the log"
    return Looked(found, said, "set [alerts] webhook for the controller")


def _rehearsal(item: Item, scene: Scene) -> Looked:
    hint = f"downhaul rollout rehearse, with the plan of {scene.plan.flag}"
    return _lately(item, scene, scene.facts.rehearsed_at, "the way back was rehearsed", hint)


def _kill_switch(item: Item, scene: Scene) -> Looked:
    flag = scene.plan.flag
    hint = f'cancel, then: downhaul kill {flag} --reason "exercise", and revive it'
    return _lately(item, scene, scene.facts.killed_at, "the kill switch was used", hint)


def _lately(item: Item, scene: Scene, at: int, what: str, hint: str) -> Looked:
    if not at:
        return Looked(False, what.replace(" was ", " was never "), hint)
    ago = max(0.0, (scene.now - at) / SECOND)
    return Looked(ago <= item.time, f"{what} {span_text(ago)} ago", hint)


def _everybody(_: Item, scene: Scene) -> Looked:
    if scene.state.phase is not Phase.COMPLETED:
        return Looked(False, "it is not completed")
    weight = scene.plan.steps[-1].weight
    return Looked(weight == WHOLE, f"it is completed at {percent_text(weight)}")


def _watched(item: Item, scene: Scene) -> Looked:
    if scene.state.phase is not Phase.COMPLETED:
        return Looked(False, "it is not completed")
    ago = max(0.0, (scene.now - scene.state.ended_at) / SECOND)
    said = f"completed {span_text(ago)} ago"
    return Looked(ago >= item.time, said, f"go on watching until {span_text(item.time)} are over")


_LOOKS: Final[Mapping[Auto, Callable[[Item, Scene], Looked]]] = {
    Auto.GUARDRAILS: _guardrails,
    Auto.METRICS: _metrics,
    Auto.ALERTS: _alerts,
    Auto.REHEARSAL: _rehearsal,
    Auto.KILL_SWITCH: _kill_switch,
    Auto.SMALL_START: _small_start,
    Auto.GRADUAL: _gradual,
    Auto.LOOKS: _looks,
    Auto.BAKES: _bakes,
    Auto.EVERYBODY: _everybody,
    Auto.WATCHED: _watched,
}
