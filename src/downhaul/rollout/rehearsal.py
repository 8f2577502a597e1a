"""The way back, proved on our evaluator before it is needed; nobody is exposed (rule R8). Pure.

A population of contexts is asked as the flag is, at each step, after the first act of the way back
from there, and after the second. The flag of each moment is made by the functions that a controller
uses to say what it will write.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from downhaul.backends.edits import with_on, with_rollout, with_segments
from downhaul.context import as_context
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.errors import Refused
from downhaul.evaluator.batch import results_of
from downhaul.evaluator.compile import World, utc_clock
from downhaul.evaluator.needs import requires
from downhaul.evaluator.view import View
from downhaul.flag import (
    Bucketing,
    Flag,
    FlagSet,
    Gate,
    NoKey,
    Rule,
    Scheme,
    Segment,
    SegmentRule,
    Serve,
    Split,
)
from downhaul.result import Result
from downhaul.rollout.acts import aim
from downhaul.rollout.deciding.rising import exposing
from downhaul.rollout.drift import exposure_of
from downhaul.rollout.plan import Plan, Strategy
from downhaul.rollout.planfile import resolved
from downhaul.rollout.population import population as made_population
from downhaul.rollout.results import Moved, Rehearsal


def rehearse(
    plan: Plan,
    flag: Flag,
    others: FlagSet,
    population: Iterable[Any] | None = None,
    now: dt.datetime | None = None,
) -> Rehearsal:
    """Return whether the way back from each step of the plan leads to the answers of before.

    ``others`` is what the flag may name; kills are left out. ``population`` are contexts, or what
    can be read as one; without it they are made up to fit the flag. Raises Refused for a step that
    the flag can't take, InvalidContext for what is no context.
    """
    plan = resolved(plan, flag)
    _require_segments(plan, others)
    asked = list(
        made_population(flag, others.segments, plan.targets, plan.segments)
        if population is None
        else population
    )
    stage = _Stage(with_segments(flag, plan.variant, plan.segments), others, now or utc_clock())
    before = stage.answers(flag, asked)
    after = stage.answers(_restored(flag), asked)
    cases = _Cases(asked)
    cases.unlike("after the restore", before, after)
    exposed: list[int] = []
    last = _served(before, plan.variant)
    for number, step_flag in _climbing(plan, flag):
        name = f"step {number}"
        during = _served(stage.answers(step_flag, asked), plan.variant)
        cases.fewer(f"raising to {name}", plan.variant, last, during)
        back = _served(stage.answers(_first_act(plan, flag, step_flag), asked), plan.variant)
        cases.more(f"going back from {name}", plan.variant, during, back)
        exposed.append(sum(during))
        last = during
    return Rehearsal(
        flag=flag.key,
        variant=plan.variant,
        digest=plan.digest,
        population=len(asked),
        exposed=tuple(exposed),
        more=tuple(cases.found_more),
        unlike=tuple(cases.found_unlike),
        lost=tuple(cases.found_fewer),
    )


# --- the flag at each moment


def _climbing(plan: Plan, flag: Flag) -> Iterator[tuple[int, Flag]]:
    """Yield the flag as each step leaves it, beginning with the flag as it is."""
    before = flag
    for number in range(len(plan.steps)):
        aimed = aim(flag, plan.variant, exposing(plan, number, before, first=number == 0))
        assert aimed is not None  # noqa: S101  (both operations raise it)
        flag = aimed
        yield number + 1, flag


def _first_act(plan: Plan, before: Flag, flag: Flag) -> Flag:
    """Return the flag after the exposure was taken off: switched off, or blue in its place (R9)."""
    if plan.strategy is Strategy.BLUE_GREEN and before.on:
        try:
            return with_rollout(flag, plan.variant, int(exposure_of(before, plan.variant)))
        except Refused:
            return with_on(flag, False)  # as the controller does: this is never refused
    return with_on(flag, False)


def _restored(flag: Flag) -> Flag:
    """Return the flag out of its snapshot, which is kept as JSON text."""
    return flag_from_data(json.loads(json.dumps(flag_to_data(flag))))


# --- asking


class _Stage:
    """A world of its own with what the flag needs, and nothing else."""

    def __init__(self, flag: Flag, others: FlagSet, now: dt.datetime) -> None:
        flags, segments = _needed(flag, others)
        self._view = View(
            World(
                {key: _steady(one) for key, one in flags.items()},
                {key: _steady_segment(one) for key, one in segments.items()},
                clock=lambda: now,
            )
        )

    def answers(self, flag: Flag, contexts: Sequence[Any]) -> list[Result]:
        """Return what each context gets from this flag."""
        self._view.change({flag.key: _steady(flag)}, {})
        shape, decide = self._view.decision(flag.key)
        plain = [one for one in contexts if type(one) is str]
        rest = iter([decide(one) for one in contexts if type(one) is not str])
        texts = iter(results_of(shape, decide, plain))
        return [next(texts) if type(one) is str else next(rest) for one in contexts]


def _require_segments(plan: Plan, others: FlagSet) -> None:
    missing = [f'"{one}"' for one in plan.segments if one not in others.segments]
    if missing:
        raise Refused(
            f"there is no segment {', '.join(missing)} to rehearse with",
            flag=plan.flag,
            hint="make it, or name targeting keys",
        )


def _needed(flag: Flag, others: FlagSet) -> tuple[dict[str, Flag], dict[str, Segment]]:
    """Return the flags and segments that the flag's answers depend on."""
    flags: dict[str, Flag] = {flag.key: flag}
    segments: dict[str, Segment] = {}
    pending = [flag]
    while pending:
        for node in requires(pending.pop(), others.segments):
            if node.sort == "segment" and node.key in others.segments:
                segments[node.key] = others.segments[node.key]
            elif node.sort == "flag" and node.key in others.flags and node.key not in flags:
                flags[node.key] = others.flags[node.key]
                pending.append(flags[node.key])
    return flags, segments


# A split that throws dice answers the same person otherwise each time. For the rehearsal a hash of
# the key stands in for the dice, or else no two moments could be compared.


def _steady(flag: Flag) -> Flag:
    rules = tuple(
        replace(rule, serve=_steady_serve(rule.serve), gate=_steady_gate(rule))
        for rule in flag.rules
    )
    return replace(flag, default=_steady_serve(flag.default), rules=rules)


def _steady_segment(segment: Segment) -> Segment:
    rules = tuple(replace(rule, gate=_steady_gate(rule)) for rule in segment.rules)
    return replace(segment, rules=rules)


def _steady_serve(serve: Serve) -> Serve:
    return (
        replace(serve, bucketing=_without_dice(serve.bucketing))
        if isinstance(serve, Split)
        else serve
    )


def _steady_gate(rule: Rule | SegmentRule) -> Gate | None:
    gate = rule.gate
    return None if gate is None else replace(gate, bucketing=_without_dice(gate.bucketing))


def _without_dice(bucketing: Bucketing) -> Bucketing:
    return replace(
        bucketing,
        scheme=Scheme.DOWNHAUL if bucketing.scheme is Scheme.RANDOM else bucketing.scheme,
        no_key=NoKey.FIRST if bucketing.no_key is NoKey.RANDOM else bucketing.no_key,
    )


# --- comparing


def _served(answers: Iterable[Result], variant: str) -> list[bool]:
    return [one.variant == variant for one in answers]


@dataclass(slots=True)
class _Cases:
    """Who was answered otherwise than a good way back would."""

    contexts: Sequence[Any]
    found_more: list[Moved] = field(default_factory=list)
    found_unlike: list[Moved] = field(default_factory=list)
    found_fewer: list[Moved] = field(default_factory=list)

    def more(self, when: str, variant: str, before: list[bool], got: list[bool]) -> None:
        """Note who gets the variant and did not."""
        for context, had, has in zip(self.contexts, before, got, strict=True):
            if has and not had:
                self.found_more.append(Moved(_name(context), when, None, variant))

    def fewer(self, when: str, variant: str, before: list[bool], got: list[bool]) -> None:
        """Note who had the variant and does not get it."""
        for context, had, has in zip(self.contexts, before, got, strict=True):
            if had and not has:
                self.found_fewer.append(Moved(_name(context), when, variant, None))

    def unlike(self, when: str, before: Sequence[Result], got: Sequence[Result]) -> None:
        """Note who gets another answer than before."""
        for context, had, has in zip(self.contexts, before, got, strict=True):
            if had is not has and _told(had) != _told(has):
                self.found_unlike.append(Moved(_name(context), when, had.variant, has.variant))


def _told(answer: Result) -> tuple[Any, ...]:
    """Return all of an answer that a caller could tell apart, but for the flag's version."""
    metadata: Mapping[str, Any] = answer.metadata
    return (
        type(answer.value),
        answer.value,
        answer.variant,
        answer.reason,
        answer.error_code,
        answer.authoritative,
        dict(metadata),
    )


def _name(context: Any) -> str:
    if isinstance(context, str):
        return context
    return as_context(context).targeting_key or "(no key)"
