"""What is wrong with a plan, or unwise about it, before it touches anybody. Pure.

An error refuses the start. A warning is about harm that may come, a note about what is easily
overlooked. Each says where in the plan it is, and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

from downhaul.analysis.model import Against, Check, Count, Measure
from downhaul.backends.edits import weight_of_variant, with_rollout
from downhaul.control.describe import rising_variant
from downhaul.documents.faults import did_you_mean, quoted
from downhaul.errors import Refused
from downhaul.flag import WHOLE, Flag, Rule, Scheme, Split
from downhaul.overlay import KillRecord
from downhaul.rollout import lint_named
from downhaul.rollout.advice import error as _error
from downhaul.rollout.advice import note as _note
from downhaul.rollout.advice import warning as _warning
from downhaul.rollout.gates.lint import gate_advice
from downhaul.rollout.lint_named import Place
from downhaul.rollout.plan import OnMetricsLost, OnUndecided, Plan, Strategy
from downhaul.rollout.results import Advice, Severity
from downhaul.rollout.schedule import durations
from downhaul.rollout.units import percent_text, span_text

SMALL_START: Final = 5_000
"""Thousandths of a percent that a first step adds at most, by the guide."""

_LARGE_HOLDBACK: Final = 10_000
_TINY: Final = 0.001
_HALF: Final = 0.5
_RATES: Final = (Measure.ERROR_RATE, Measure.SUCCESS_RATE, Measure.SLOW_RATE)
_WEIGHS: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def lint(
    plan: Plan,
    flag: Flag | None,
    *,
    killed: KillRecord | None = None,
    requests_per_hour: float | None = None,
    place: Place | None = None,
) -> tuple[Advice, ...]:
    """Return all advice on a plan, errors first; empty is a plan with nothing to say about.

    ``flag`` is what the plan will move, None where it isn't known. ``killed`` is a kill of it that
    stands. ``requests_per_hour`` is the traffic of the whole flag, and ``place`` where it lives,
    where they are known.
    """
    variant, found = _variant(plan, flag)
    found += [
        *_steps(plan),
        *_times(plan),
        *_guards(plan),
        *_checks(plan),
        *_traffic(plan, requests_per_hour),
        *(lint_named.at_place(plan, flag, place) if place is not None else ()),
        *gate_advice(plan),
    ]
    if flag is None:
        found.append(_note("flag", "the flag was not looked at"))
    else:
        found += [*_of_flag(plan, flag, killed)]
        if variant is not None:
            found += _exposure(plan, flag, variant)
    return tuple(sorted(found, key=lambda one: _WEIGHS[one.severity]))


def refusing(advice: Iterable[Advice]) -> tuple[Advice, ...]:
    """Return the errors among the advice."""
    return tuple(one for one in advice if one.severity is Severity.ERROR)


# --- the variant


def _variant(plan: Plan, flag: Flag | None) -> tuple[str | None, list[Advice]]:
    """Return the variant that rises, None where there is none, and what is wrong about it."""
    if flag is None:
        return plan.variant or None, []
    variant = plan.variant or rising_variant(flag)
    if variant is None:
        others = [name for name in flag.variants if name != flag.off_variant]
        names = ", ".join(quoted(name) for name in others)
        hint = f"name one of them: {names}" if names else "give the flag a second variant"
        return None, [_error("variant", "no variant is named, and the flag doesn't say one", hint)]
    if variant not in flag.variants:
        hint = did_you_mean(variant, flag.variants, all_of="its variants are") or ""
        return None, [_error("variant", f"the flag has no variant {quoted(variant)}", hint)]
    if variant == flag.off_variant:
        message = f"{quoted(variant)} is the off variant: a rollback would serve it to everybody"
        return None, [_error("variant", message, "name the variant that is new")]
    return variant, []


# --- the plan by itself


def _steps(plan: Plan) -> Iterator[Advice]:
    if not plan.steps:
        yield _error("steps", "there are no steps")
    before = 0
    for index, step in enumerate(plan.steps):
        path = f"steps[{index}]"
        if not 0 <= step.weight <= WHOLE:
            yield _error(path, f"{step.percent:g} % does not lie between 0 and 100 %")
        elif step.preview:
            continue
        elif step.weight == 0:
            yield _error(path, "a step at 0 % serves nobody", "begin above it")
        elif step.weight <= before:
            message = f"{percent_text(step.weight)} comes after {percent_text(before)}"
            yield _error(path, message, "a rollout only rises: sort the steps, each once")
        if not step.preview:
            before = max(before, step.weight)
    if plan.steps and 0 < before < WHOLE:
        message = f"the last step is {percent_text(before)}: there it completes"
        yield _note("steps", message)
    yield from lint_named.steps(plan)


def _times(plan: Plan) -> Iterator[Advice]:
    short: set[float] = set()  # each length of bake is told about once
    for index, step in enumerate(plan.steps):
        path = f"steps[{index}].bake"
        if plan.ends_holdback(index):
            continue
        if not (math.isfinite(step.bake) and step.bake > 0):
            yield _error(path, "a step bakes longer than no time at all", 'such as "10m"')
        elif not step.max_bake >= step.bake:
            yield _error(path, "the longest bake is shorter than the bake", "raise max_bake")
        elif step.bake < 2 * plan.interval and step.bake not in short:
            short.add(step.bake)
            message = (
                f"in a bake of {span_text(step.bake)} there are fewer than two looks, "
                f"one each {span_text(plan.interval)}"
            )
            yield _warning(path, message, "bake longer, or look more often")
    if not (math.isfinite(plan.interval) and plan.interval > 0):
        yield _error("interval", "the time between two looks is longer than nothing")
    if plan.metrics_lost_after < 2 * plan.interval:
        message = "one look that fails already counts as metrics lost"
        yield _warning("metrics_lost_after", message, "make it several intervals long")
    yield from _whole_time(plan)


def _whole_time(plan: Plan) -> Iterator[Advice]:
    if plan.max_duration is None:
        return
    least, most = durations(plan)
    allowed = span_text(plan.max_duration)
    if plan.max_duration < least:
        message = f"the bakes take {span_text(least)}, so it always pauses after {allowed}"
        yield _error("max_duration", message, "raise it, or bake less")
    elif plan.max_duration < most:
        message = f"if steps need their longest bake ({span_text(most)}), it pauses after {allowed}"
        yield _note("max_duration", message)


def _guards(plan: Plan) -> Iterator[Advice]:
    if not plan.guarded and not plan.unguarded.strip():
        found = "only dry runs" if plan.guardrails else "none"
        message = f"there is no guardrail that decides ({found})"
        hint = 'add one, or say why there is none: unguarded = "..."'
        yield _error("guardrails", message, hint)
    elif not plan.guarded:
        message = "nothing takes this rollout back by itself"
        yield _warning("unguarded", message, f"watch it by hand ({plan.unguarded.strip()})")
    elif plan.unguarded.strip():
        message = "it says why there are no guardrails, and there are some"
        yield _warning("unguarded", message, "leave one of them out")
    if plan.on_undecided is OnUndecided.PROMOTE:
        message = "a step whose checks stay undecided is promoted all the same"
        yield _note("on_undecided", message, "without any data it pauses even so")
    if plan.on_metrics_lost is OnMetricsLost.ROLLBACK and plan.checks:
        message = "an outage of the metric source takes the rollout back"
        hint = 'on_metrics_lost = "hold" waits for it'
        yield _note("on_metrics_lost", message, hint)


def _checks(plan: Plan) -> Iterator[Advice]:
    for name, checks in (("guardrails", plan.guardrails), ("signals", plan.signals)):
        for index, check in enumerate(checks):
            path = f"{name}[{index}]"
            if check.sequential or check.measure is Measure.SAMPLE_RATIO:
                yield from _sequential(path, check)
            else:
                yield from _limits(path, check)
                yield from _samples(path, check, plan)
    yield from _whose(plan)
    slow = any(one.measure is Measure.SLOW_RATE for one in plan.checks)
    for index, check in enumerate(plan.guardrails):
        if check.measure is Measure.LATENCY and not slow:
            message = "the mean latency hides the slow tail: one in ten may wait long unseen"
            hint = 'add measure = "slow_rate" with slower_than'
            yield _warning(f"guardrails[{index}]", message, hint)
    if plan.steps and plan.steps[-1].weight == WHOLE and not plan.holdback:
        yield from _without_control(plan)
    if plan.holdback > _LARGE_HOLDBACK:
        message = f"{percent_text(plan.holdback)} are let in at the end without a bake"
        yield _warning("holdback", message, "a control needs 1 to 5 %")


def _without_control(plan: Plan) -> Iterator[Advice]:
    for name, checks in (("guardrails", plan.guardrails), ("signals", plan.signals)):
        for index, check in enumerate(checks):
            compares = check.needs_control and check.measure is not Measure.SAMPLE_RATIO
            if compares and not check.dry_run:
                message = "at 100 % there is no control to compare with: this check is not made"
                hint = 'holdback = "2 %" keeps one through the final bake; or give a limit as well'
                yield _warning(f"{name}[{index}]", message, hint)


def _sequential(path: str, check: Check) -> Iterator[Advice]:
    """Say what a test that may be looked at at any time can't do."""
    if check.measure is Measure.SAMPLE_RATIO:
        if path.startswith("guardrails"):
            message = "a split that loses users says nothing of the variant, and takes it back"
            yield _note(path, message, "as a signal it holds until somebody has looked")
        return
    if check.measure is Measure.LATENCY:
        message = "a mean latency can't be tested after every request"
        yield _error(path, message, "slow_rate with slower_than can")
    if check.measure is Measure.SLOW_RATE and not _says_what_is_slow(check):
        yield _error(path, "it doesn't say from when on a request is slow", "add slower_than")
    if check.against is Against.SLO and not (check.limit is not None and 0 < check.limit < 1):
        hint = "it lies between 0 and 100 %, and is neither"
        yield _error(path, "it doesn't say what rate was promised", hint)
    if check.against is Against.CONTROL and not check.clean_below > 1 + check.tolerate:
        message = (
            f"clean is what lies below {check.clean_below:g} times the control, and worse what "
            f"lies above {1 + check.tolerate:g} times"
        )
        yield _error(path, message, "raise clean_below, or tolerate less")


def _says_what_is_slow(check: Check) -> bool:
    return check.quantile is not None or (check.slower_than or 0) > 0


def _whose(plan: Plan) -> Iterator[Advice]:
    """Say where errors of one user could be taken for errors of many."""
    for index, check in enumerate(plan.guardrails):
        if check.sequential and check.count is Count.REQUESTS and check.together == 1:
            message = "requests of one user fail together, and look like more proof than they are"
            hint = 'count = "users" counts each once, where the log knows who asked'
            yield _note(f"guardrails[{index}]", message, hint)
            return


def _limits(path: str, check: Check) -> Iterator[Advice]:
    limit, over = check.limit, check.over_control
    if (limit is None) == (over is None):
        yield _error(path, "a check has either a limit or over_control", "leave one of them")
        return
    if check.measure is Measure.SLOW_RATE and not _says_what_is_slow(check):
        yield _error(path, "it doesn't say from when on a request is slow", "add slower_than")
    if over is not None:
        yield from _over_control(path, check, over)
    elif limit is not None and check.measure is Measure.LATENCY:
        if not (math.isfinite(limit) and limit > 0):
            yield _error(path, f"{limit:g} ms is no limit of a latency")
    elif limit is not None:
        yield from _rate(path, check, limit)


def _rate(path: str, check: Check, limit: float) -> Iterator[Advice]:
    shown = f"{limit * 100:g} %"
    if not 0 <= limit <= 1:
        yield _error(path, f"{shown} is no limit of a rate", "it lies between 0 and 100 %")
    elif check.measure is Measure.SUCCESS_RATE:
        if limit == 0:
            yield _error(path, "no success rate falls below 0 %", "raise the limit")
        elif limit == 1:
            yield _warning(path, "a single failure takes it back", "such as 99 %")
        elif limit < _HALF:
            message = f"it takes more failures than successes to fall below {shown}"
            yield _warning(path, message, "a success rate is near 100 %: is this an error rate?")
    elif limit == 1:
        yield _error(path, "no rate exceeds 100 %", "lower the limit")
    elif limit == 0:
        yield _warning(path, "a single request of that kind takes it back", "such as 1 %")
    elif limit < _TINY:
        message = f"{shown} is less than one in a thousand"
        yield _warning(path, message, f"was {limit * 10_000:g} % meant?")


def _over_control(path: str, check: Check, over: float) -> Iterator[Advice]:
    if not (math.isfinite(over) and over >= 0):
        yield _error(path, f"{over * 100:g} % is no margin over the control")
    elif over == 0:
        message = "no margin over the control: chance alone makes one of two equals the worse one"
        yield _warning(path, message, "such as 2 %")
    elif check.measure in _RATES and over >= 1:
        yield _error(path, "no rate is worse by more than 100 points", "lower the margin")


def _samples(path: str, check: Check, plan: Plan) -> Iterator[Advice]:
    if check.min_sample < 1:
        yield _error(path, "a verdict needs at least one request", "raise min_sample")
    if check.window is None:
        return
    if not check.window > 0:
        yield _error(path, "a window is longer than no time at all")
    elif check.window < plan.interval:
        message = "its window is shorter than the time between two looks, so requests are missed"
        yield _error(path, message, f"at least {span_text(plan.interval)}")


def _traffic(plan: Plan, per_hour: float | None) -> Iterator[Advice]:
    """Say where a step is over before a check has its sample, at the traffic there is."""
    if per_hour is None or not plan.checks:
        return
    for index, step in enumerate(plan.steps):
        if step.preview or not 0 < step.weight <= WHOLE or not step.bake > 0:
            continue
        share = step.weight / WHOLE
        needed, time = _slowest(plan.checks, share, per_hour)
        if time <= step.bake:
            continue
        path = f"steps[{index}]"
        would = "at this traffic never" if math.isinf(time) else f"after {span_text(time)}"
        message = (
            f"at {percent_text(step.weight)} of {per_hour:g} requests an hour the sample of "
            f"{needed} is there {would}, and the bake is {span_text(step.bake)}"
        )
        if time > step.max_bake:
            hint = f"bake longer or lower min_sample, or it will {plan.on_undecided.value}"
            yield _warning(path, message, hint)
        else:
            yield _note(path, message, "the step waits for it")


def _slowest(checks: Iterable[Check], share: float, per_hour: float) -> tuple[int, float]:
    """Return the sample that takes longest, and how many seconds it takes."""
    found = (0, 0.0)
    for check in checks:
        if check.sequential:
            continue  # what it needs depends on what it finds: `rollout plan` says
        arm = min(share, 1 - share) if check.over_control is not None and share < 1 else share
        rate = per_hour * arm / 3600
        time = check.min_sample / rate if rate > 0 else math.inf
        if check.window is not None and time > check.window:
            time = math.inf
        if time > found[1] and not check.dry_run:
            found = (check.min_sample, time)
    return found


# --- the plan on its flag


def _of_flag(plan: Plan, flag: Flag, killed: KillRecord | None) -> Iterator[Advice]:
    if flag.key != plan.flag:
        yield _error("flag", f"the plan is for {quoted(plan.flag)}, not for {quoted(flag.key)}")
    if killed is not None:
        who = f" by {killed.actor}" if killed.actor else ""
        why = f": {killed.reason}" if killed.reason else ""
        hint = f'a rollout lifts no kill: first "downhaul revive {killed.scope}"'
        yield _error("flag", f"it is killed{who}{why}", hint)
    if flag.off_variant is None:
        message = "while off it serves the caller's default, and so does a rollback on its way"
        yield _warning("flag", message, "give it an off variant")
    yield from _deciding_first(flag)
    if isinstance(flag.default, Split):
        yield from _bucketing(flag, flag.default)
    missing = [
        name
        for name, there in (("owner", flag.owner), ("description", flag.description))
        if not there
    ]
    if missing:
        whom = "for whoever is called at night"
        yield _note("flag", f"it has no {' and no '.join(missing)}", f"add it {whom}")


def _deciding_first(flag: Flag) -> Iterator[Advice]:
    """Say what decides before the percentage does."""
    targets = sum(len(target.keys) for target in flag.targets if target.variant != flag.off_variant)
    rules = [one for one in flag.rules if one.serve != flag.off_variant]
    parts = [
        f"{count} {word if count == 1 else word + 's'}"
        for count, word in ((targets, "target"), (len(rules), "rule"))
        if count
    ]
    if parts and not flag.on:
        message = f"switching it on also serves {' and '.join(parts)}, whatever the percentage"
        yield _warning("flag", message, "look at them with `downhaul flags show`")
    elif rules:
        message = f"{len(rules)} of its rules decide before the percentage does"
        yield _note("flag", message)
    for index, rule in enumerate(flag.rules):
        if _takes_all(rule):
            name = quoted(rule.id) if rule.id else str(index + 1)
            message = f"rule {name} serves everybody, so the percentage decides for nobody"
            yield _error("flag", message, "give the rule a condition, or take it out")
            break
    if flag.prerequisites:
        names = ", ".join(quoted(one.flag) for one in flag.prerequisites)
        yield _note("flag", f"it serves only where its prerequisites do: {names}")


def _takes_all(rule: Rule) -> bool:
    if rule.clauses or rule.gate is not None:
        return False
    if isinstance(rule.serve, str):
        return True
    return all(one.variant is not None for one in rule.serve.weights if one.weight)


def _bucketing(flag: Flag, split: Split) -> Iterator[Advice]:
    bucketing = split.bucketing
    if bucketing.scheme is Scheme.RANDOM:
        message = "its split is drawn anew at each request: nobody keeps what they got"
        yield _warning("flag", message, "give it a bucketing by key")
    elif bucketing.salt not in (None, flag.key):
        message = (
            f"its salt is {quoted(bucketing.salt)}: with flags of the same salt it reaches the "
            "same users first"
        )
        yield _note("flag", message, "who gets several new things at once blurs the metrics")


def _exposure(plan: Plan, flag: Flag, variant: str) -> Iterator[Advice]:
    """Compare the steps with what the flag serves now (rule R3: a rollout never lowers)."""
    present = weight_of_variant(flag, variant) if flag.on else 0.0
    steps = [(index, one) for index, one in enumerate(plan.steps) if not one.preview]
    if present >= WHOLE:
        yield _error(
            "flag", f"everybody gets {quoted(variant)} already", "there is nothing to raise"
        )
        return
    if steps:
        index, first = steps[0]
        path = f"steps[{index}]"
        if first.weight < present:
            message = (
                f"the flag serves {percent_text(present)} now, and the first step would lower it "
                f"to {percent_text(first.weight)}"
            )
            yield _error(path, message, "begin above what it serves, or lower it by hand first")
        elif first.weight == present:
            yield _note(path, f"the flag serves {percent_text(present)} already")
        elif plan.strategy is not Strategy.BLUE_GREEN and first.weight - present > SMALL_START:
            message = f"the first step exposes {percent_text(first.weight - present)} at once"
            if plan.strategy is Strategy.RINGS:
                message = f"after the rings come {percent_text(first.weight - present)} at once"
                yield _note(path, message, "let them come step by step: steps = [10, 50, 100]")
            else:
                yield _warning(path, message, "start with 1 to 5 %")
    yield from _resolution(flag, variant, plan, int(present))
    yield from lint_named.on_flag(plan, flag, variant)


def _resolution(flag: Flag, variant: str, plan: Plan, present: int) -> Iterator[Advice]:
    """Say which steps the flag's split can't keep. A preview writes what is there already."""
    told: set[str] = set()
    for index, step in enumerate(plan.steps):
        path = f"steps[{index}]"
        if step.preview and step.weight not in (0, present):
            message = f"a preview leaves the percentage as it is, at {percent_text(present)}"
            yield _error(path, message, "only its audience gets more")
        weight = present if step.preview else step.weight
        if not 0 <= weight <= WHOLE:
            continue
        try:
            with_rollout(flag, variant, weight)
        except Refused as error:
            if error.message not in told:
                told.add(error.message)
                yield _error(path, error.message, error.hint or "")
