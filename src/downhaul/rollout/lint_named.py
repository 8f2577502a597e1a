"""What is wrong, or unwise, about whom a plan names: by targeting key, or by segment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from downhaul.backends.edits import serves_segment
from downhaul.documents.faults import did_you_mean, quoted
from downhaul.evaluator.needs import requires
from downhaul.flag import Clause, Flag, Operator, Rule, Segment
from downhaul.provider import Capability
from downhaul.rollout.advice import error, note, warning
from downhaul.rollout.plan import Plan, Strategy
from downhaul.rollout.results import Advice

_FEW: Final = 3  # names in a message


@dataclass(frozen=True, slots=True)
class Place:
    """Where a flag lives: what its provider can do, and the segments that it has.

    ``refusal`` is what the provider would refuse of the plan in the middle of it: why, and what to
    do.
    """

    provider: str
    capabilities: frozenset[Capability]
    segments: Mapping[str, Segment]
    refusal: tuple[str, str] | None = None


def steps(plan: Plan) -> Iterator[Advice]:
    """Yield what is wrong with the steps for named users, in the plan by itself."""
    seen: dict[str, int] = {}
    percents = [index for index, one in enumerate(plan.steps) if not one.preview]
    for index, step in enumerate(plan.steps):
        named = [f"user {quoted(one)}" for one in plan.targets_at(index)]
        named += [f"segment {quoted(one)}" for one in step.segments]
        if step.preview and percents and percents[0] < index:
            yield error(f"steps[{index}]", "a preview comes first", "make it the first step")
        if step.preview and not named:
            yield error(*_NOBODY.get(plan.strategy, (f"steps[{index}]", "nobody is named", "")))
        elif named and not step.preview:
            message = "it names users beside a percentage"
            yield error(f"steps[{index}]", message, "give them a step of their own, before it")
        again = [one for one in named if one in seen]
        if again:
            message = f"{_few(again)} got the variant at step {seen[again[0]] + 1} already"
            yield note(f"steps[{index}]", message)
        seen |= dict.fromkeys(named, index)
    if plan.steps and not percents:
        yield error("steps", "nothing follows the preview", "add a step for everybody")


_NOBODY: Final = {
    Strategy.BLUE_GREEN: (
        "blue-green.audience",
        "nobody is there to see the preview",
        "name targeting keys, or leave the preview out",
    ),
}


def on_flag(plan: Plan, flag: Flag, variant: str) -> Iterator[Advice]:
    """Yield what the flag makes of whom a plan names."""
    users = set(plan.targets)
    for target in flag.targets:
        taken = sorted(users & target.keys)
        if target.variant != variant and taken:
            what = "the preview" if plan.strategy is Strategy.BLUE_GREEN else quoted(variant)
            who, gets = _few(map(quoted, taken)), quoted(target.variant)
            message = f"{who} always gets {gets} now, and would get {what}"
            yield warning(_users_path(plan), message, "until a rollback restores it")
    yield from _deciding_before(plan, flag, variant)


def _deciding_before(plan: Plan, flag: Flag, variant: str) -> Iterator[Advice]:
    for segment in plan.segments:
        for number, rule in enumerate(flag.rules, start=1):
            if serves_segment(rule, variant, segment):
                break
            if any(
                clause.operator is Operator.IN_SEGMENT and segment in clause.values
                for clause in rule.clauses
            ):
                message = f"rule {number} names segment {quoted(segment)} too, and decides before"
                yield warning(_segments_path(plan), message, "take it out, or name somebody else")
                break


def at_place(plan: Plan, flag: Flag | None, place: Place) -> Iterator[Advice]:
    """Yield what the provider makes of the plan, and of the segments that it names."""
    if place.refusal is not None:
        yield error("flag", *place.refusal)
    if not plan.segments:
        return
    path = _segments_path(plan)
    if Capability.SEGMENTS not in place.capabilities:
        message = f"provider {quoted(place.provider)} has no rules for segments of ours"
        yield error(path, message, "name targeting keys, or begin with a percentage")
        return
    for one in plan.segments:
        segment = place.segments.get(one)
        if segment is None:
            hint = did_you_mean(one, place.segments, all_of="there are") or ""
            hint = hint or "make it first: downhaul segments set"
            yield error(path, f"there is no segment {quoted(one)}", hint)
        elif not segment.included and not segment.rules:
            yield warning(path, f"nobody is in segment {quoted(one)}", "no data moves no step on")
        elif flag is not None and _asks_for(flag.key, one, place.segments):
            message = f"who is in segment {quoted(one)} depends on what this flag serves"
            yield error(path, message, "take the flag out of its rules, or name somebody else")


def _asks_for(flag: str, segment: str, segments: Mapping[str, Segment]) -> bool:
    named = Clause("", Operator.IN_SEGMENT, (segment,))
    asking = Flag(key="", default="off", rules=(Rule("off", (named,)),))
    return any(node.sort == "flag" and node.key == flag for node in requires(asking, segments))


def _users_path(plan: Plan) -> str:
    return _PATHS.get(plan.strategy, ("steps", "steps"))[0]


def _segments_path(plan: Plan) -> str:
    return _PATHS.get(plan.strategy, ("steps", "steps"))[1]


_PATHS: Final = {
    Strategy.BLUE_GREEN: ("blue-green.audience", "blue-green.segments"),
    Strategy.RELEASE: ("release.targets", "release.segments"),
    Strategy.RINGS: ("rings", "rings"),
}


def _few(words: Iterable[str]) -> str:
    return ", ".join([*words][:_FEW])
