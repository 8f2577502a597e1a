"""``rollout lint|plan|start|rehearse``: everything that takes a plan, as a file or as arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from downhaul.cli.commands import command
from downhaul.cli.exits import CheckFailed
from downhaul.cli.inputs import REASON
from downhaul.cli.rollout import rollouts_of
from downhaul.cli.rollout_templates import advice_on
from downhaul.cli.session import Session
from downhaul.errors import DownhaulError, Problem, Refused

if TYPE_CHECKING:
    from downhaul.cli.output import Output
    from downhaul.rollout.forecast import Forecast
    from downhaul.rollout.plan import Plan
    from downhaul.rollout.results import Advice
    from downhaul.rollout.schedule import ScheduledStep
    from downhaul.rollout.service import Rollouts

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = {
    "flag": ("KEY", "The flag to raise."),
    "variant": ("NAME", "The variant that rises; the flag's own rising one unless said."),
    "description": ("TEXT", "What this rollout is about."),
    "strategy": (
        "NAME",
        "canary, linear, exponential, blue-green or release; rings are for files.",
    ),
    "steps": ("LIST", "Percentages that rise: 1,5,25,100."),
    "bake": ("TIME", "How long each step lasts: 10m, or a list with one for each step."),
    "max_bake": ("TIME", "How long a step may last while its checks are undecided."),
    "final_bake": ("TIME", "How long the last step lasts."),
    "holdback": ("PERCENT", "What the final bake holds back of everybody, for a control."),
    "start": ("PERCENT", "linear, exponential: the first step."),
    "step": ("PERCENT", "linear: how much each step adds."),
    "factor": ("NUMBER", "exponential: what each step is multiplied by."),
    "to": ("PERCENT", "linear, exponential: the last step."),
    "audience": ("KEYS", "blue-green: targeting keys that see it first."),
    "targets": ("KEYS", "release: targeting keys that get it first."),
    "segments": ("KEYS", "blue-green, release: segments that get it first."),
    "preview": ("TIME", "blue-green, release: how long they alone get it."),
    "error_rate": (
        "PERCENT",
        "Take it back above this; +2%: two points over the control; control: tested against it.",
    ),
    "success_rate": ("PERCENT", "Take it back below this."),
    "latency": ("TIME", "Take it back where the mean is above this: 800ms."),
    "slow": ("TIME:PERCENT", "Take it back where more than this share is slower: 2s:10%."),
    "min_sample": ("NUMBER", "How many requests of the variant a verdict needs."),
    "unguarded": ("TEXT", "Why there are no guardrails."),
    "on_undecided": ("WORD", "pause, promote or rollback, where the longest bake tells nothing."),
    "on_metrics_lost": ("WORD", "hold or rollback, where the metric source stays away."),
    "metrics_lost_after": ("TIME", "How long it may stay away before that."),
    "max_duration": ("TIME", "How long all of it may last before it pauses."),
    "revert_window": ("TIME", "How long it can be reverted once it is completed."),
    "interval": ("TIME", "The time between two looks."),
    "false_alarms": ("PERCENT", "How often chance alone may take a healthy rollout back: 1 %."),
}


class PlanRefused(Refused):
    """The plan can't be started. ``problems`` names everything that is wrong with it."""

    def __init__(self, plan: Plan, wrong: Sequence[Advice]) -> None:
        count = "1 error" if len(wrong) == 1 else f"{len(wrong)} errors"
        super().__init__(
            f'the plan for "{plan.flag}" is refused: {count}',
            hint="mend what is said above, and look again with: downhaul rollout lint",
            flag=plan.flag,
        )
        self.problems = tuple(
            Problem(one.path, one.message, hint=one.hint or None) for one in wrong
        )


def _takes_plan(function: F) -> F:
    """Give a command the plan's file and the options that say a plan instead."""
    for name, (metavar, text) in reversed(_OPTIONS.items()):
        option = click.option(f"--{name.replace('_', '-')}", name, metavar=metavar, help=text)
        function = option(function)
    file = click.argument("file", required=False, type=click.Path(dir_okay=False))
    return file(function)


@command("rollout lint", example="downhaul rollout lint rollout.toml")
@_takes_plan
@click.option("--offline", is_flag=True, help="Look at the plan alone; ask no backend.")
@click.option(
    "--requests-per-hour",
    type=click.FloatRange(0, min_open=True),
    metavar="NUMBER",
    help="The traffic of the flag, to tell whether the bakes can see enough of it.",
)
def lint(
    session: Session,
    file: str | None,
    offline: bool,
    requests_per_hour: float | None,
    **given: Any,
) -> None:
    """Say what is wrong with a plan, or unwise about it.

    A plan is a FILE (.toml, .yaml, .json), or is said by options. Exit code 3 means that it can't
    be started.
    """
    from downhaul.cli.rollout_render import advice_data, advice_line  # noqa: PLC0415

    plan = _plan_of(file, given)
    if offline:
        from downhaul.rollout.lint import lint as looked_at  # noqa: PLC0415

        advice = looked_at(plan, None, requests_per_hour=requests_per_hour)
    else:
        with rollouts_of(session) as rollouts:
            advice = _advice(rollouts, plan, requests_per_hour)
    advice = (*advice, *advice_on(session, plan))
    wrong = _wrong(advice)
    if session.as_json:
        session.out.json(
            {"flag": plan.flag, "ok": not wrong, "advice": advice_data(advice)},
        )
    elif not advice:
        session.out.line(f"{plan.flag}: there is nothing to say about this plan")
    else:
        for one in advice:
            session.out.line(f"{one.severity.value.ljust(7)}  {advice_line(one)}")
    if wrong:
        message = f'the plan for "{plan.flag}" can\'t be started'
        raise CheckFailed(message)


@command("rollout plan", example="downhaul rollout plan --flag agent --steps 1,10,100 --bake 1h")
@_takes_plan
@click.option(
    "--lookback",
    default="24h",
    show_default=True,
    metavar="TIME",
    help="How far back to look for the traffic that a forecast stands on.",
)
def plan(session: Session, file: str | None, lookback: str, **given: Any) -> None:
    """Show what a rollout would do, with dates, if it were started now. Nothing is changed.

    Of sequential checks it foretells what each step can find, when it is clean, and how many
    requests would have failed before a rollback.
    """
    from downhaul.cli.forecast_words import forecast_data  # noqa: PLC0415

    seconds = _span(lookback, "--lookback")
    found = _plan_of(file, given)
    with rollouts_of(session) as rollouts:
        advice = (*_advice(rollouts, found, None), *advice_on(session, found))
        found = rollouts.resolve(found)
        rehearsed = rollouts.rehearsed(found.flag)
        foretold, trouble = _foretold(rollouts, found, seconds)
    if session.as_json:
        data = _plan_data(found, advice, rehearsed)
        session.out.json({**data, "forecast": forecast_data(foretold)})
        return
    _advise(session.out, advice)
    _print_plan(session.out, found, rehearsed)
    if foretold is not None:
        _print_forecast(session.out, foretold)
    elif trouble:
        session.out.warning(trouble)


def _span(text: str, option: str) -> float:
    from downhaul.rollout.units import seconds_of  # noqa: PLC0415

    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
    if seconds <= 0:
        message = "should be longer than no time at all"
        raise click.BadParameter(message, param_hint=option)
    return seconds


def _foretold(rollouts: Rollouts, plan: Plan, seconds: float) -> tuple[Forecast | None, str]:
    """Return a forecast, or why there is none; a metric source that is away stops no plan."""
    if not any(one.sequential for one in plan.checks):
        return None, ""
    try:
        found = rollouts.forecast(plan, seconds=seconds)
    except DownhaulError as error:
        return None, f"what its checks can see is not foretold: {error.message}"
    if found is None:
        return None, "what its checks can see is not foretold: there was no traffic lately"
    return found, ""


def _print_forecast(out: Output, found: Forecast) -> None:
    from downhaul.cli.forecast_words import (  # noqa: PLC0415
        forecast_head,
        forecast_rows,
        harm_lines,
    )

    out.line(forecast_head(found))
    out.table(["step", "requests", "check", "finds by its end", "clean"], forecast_rows(found))
    for line in harm_lines(found):
        out.line(line)


@command("rollout start", example='downhaul rollout start rollout.toml --reason "v2 goes out"')
@_takes_plan
@REASON
@click.option("--at", metavar="TIME", help="When it begins, at the earliest: 2026-09-01T06:00:00Z.")
def start(session: Session, file: str | None, reason: str, at: str | None, **given: Any) -> None:
    """Start a rollout, now or later. A controller moves it from then on.

    A plan is a FILE (.toml, .yaml, .json), or is said by options. One with errors is refused, and
    so is a flag that is killed or has a live rollout.
    """
    from downhaul.cli.rollout_render import rollout_data  # noqa: PLC0415
    from downhaul.cli.rollout_words import NOBODY  # noqa: PLC0415

    found, later = _plan_of(file, given), _moment(at)
    out = session.out
    with rollouts_of(session) as rollouts:
        advice = (*_advice(rollouts, found, None), *advice_on(session, found))
        _advise(out, advice)
        if wrong := _wrong(advice):
            raise PlanRefused(found, wrong)
        rehearsed = rollouts.rehearsed(found.flag)
        started = rollouts.start(found, reason, at=later)
    if session.as_json:
        planned = _plan_data(started.plan, advice, rehearsed)
        out.json({**planned, "rollout": rollout_data(started)})
    else:
        said = "SCHEDULED" if started.plan.gates.starts_at > started.now else "STARTED"
        out.line(f"{said}  {started.flag}  {started.id}  {started.environment}  by {started.actor}")
        _print_plan(out, started.plan, rehearsed)
        out.line(f"  watch      downhaul rollout status {started.id} -w")
        out.line(f'  undo       downhaul rollout rollback {started.id} --reason "..."')
    if not started.controllers:
        out.warning(NOBODY)


@command("rollout rehearse", example="downhaul rollout rehearse rollout.toml")
@_takes_plan
def rehearse(session: Session, file: str | None, **given: Any) -> None:
    """Prove the way back before it is needed, without exposing anyone.

    A population of contexts is asked before, at each step, on the way back, and after. Exit code 3
    means that somebody would be served more on the way, or otherwise after it.
    """
    from downhaul.cli.rollout_render import rehearsal_data, rehearsal_lines  # noqa: PLC0415

    found = _plan_of(file, given)
    with rollouts_of(session) as rollouts:
        result = rollouts.rehearse(found)
    if session.as_json:
        session.out.json(rehearsal_data(result))
    else:
        for line in rehearsal_lines(result):
            session.out.line(line)
    if not result.held:
        message = f'the way back of "{result.flag}" is not proved'
        raise CheckFailed(message)


def _plan_of(file: str | None, given: dict[str, Any]) -> Plan:
    """Return the plan that a file or the options say. Raises UsageError, DocumentError, OSError."""
    from downhaul.rollout.planfile import make_plan, read_plan  # noqa: PLC0415  (pydantic)

    said = {name: value for name, value in given.items() if value is not None}
    if file is not None and said:
        option = next(iter(said)).replace("_", "-")
        message = f"a plan is a file or options: --{option} stands beside {file}"
        raise click.UsageError(message)
    if file is not None:
        return read_plan(file)
    if "flag" not in said:
        message = "name a plan's file, or say what it holds: --flag KEY --steps 1,10,100 ..."
        raise click.UsageError(message)
    return make_plan(**said)


def _moment(text: str | None) -> datetime | None:
    """Read a time with its offset. Raises BadParameter."""
    from downhaul.rollout.gates.times import datetime_of, moment_of  # noqa: PLC0415  (the engine)

    try:
        return None if text is None else datetime_of(moment_of(text))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None


def _advice(rollouts: Rollouts, plan: Plan, traffic: float | None) -> tuple[Advice, ...]:
    advice = rollouts.lint(plan)
    if traffic is None:
        return advice
    from downhaul.rollout.lint import lint as looked_at  # noqa: PLC0415

    without = looked_at(plan, None)
    at_traffic = looked_at(plan, None, requests_per_hour=traffic)
    return (*advice, *(one for one in at_traffic if one not in without))


def _wrong(advice: Sequence[Advice]) -> list[Advice]:
    return [one for one in advice if one.severity.value == "error"]


def _advise(out: Output, advice: Sequence[Advice]) -> None:
    from downhaul.cli.rollout_render import advice_line  # noqa: PLC0415

    for one in advice:
        text = advice_line(one)
        match one.severity.value:
            case "error":
                out.error(text)
            case "warning":
                out.warning(text)
            case _:
                out.note(f"note: {text}")


def _schedule(plan: Plan) -> tuple[ScheduledStep, ...]:
    from downhaul.rollout.schedule import schedule  # noqa: PLC0415

    return schedule(plan, datetime.now(UTC))


def _plan_data(plan: Plan, advice: Sequence[Advice], rehearsed: str) -> dict[str, Any]:
    from downhaul.cli.rollout_render import advice_data  # noqa: PLC0415

    return {
        "flag": plan.flag,
        "variant": plan.variant,
        "strategy": plan.strategy.value,
        "digest": plan.digest,
        "advice": advice_data(advice),
        "rehearsed": rehearsed or None,
        "schedule": [
            {
                "number": one.number,
                "percent": one.percent,
                "preview": one.step.preview,
                "name": one.step.name,
                "targets": list(plan.targets_at(one.number - 1)),
                "segments": list(one.step.segments),
                "enters": _stamp(one.enters),
                "enters_latest": _stamp(one.enters_latest),
                "ends": _stamp(one.ends),
                "ends_latest": _stamp(one.ends_latest),
                "capped": one.capped,
            }
            for one in _schedule(plan)
        ],
        "plan": plan.as_mapping(),
    }


def _print_plan(out: Output, plan: Plan, rehearsed: str) -> None:
    from downhaul.cli.gate_words import plan_lines  # noqa: PLC0415  (the engine)
    from downhaul.rollout.units import span_text  # noqa: PLC0415

    steps = _schedule(plan)
    out.line(f"{plan.flag}  {plan.variant}  {plan.strategy.value.replace('_', '-')}")
    out.table(
        ["step", "exposure", "begins", "or by", "bakes", "at most"],
        [
            [
                str(one.number),
                _exposure(plan, one.number - 1),
                _stamp(one.enters),
                _stamp(one.enters_latest),
                *(span_text(time) if time else "-" for time in (one.step.bake, one.step.max_bake)),
            ]
            for one in steps
        ],
    )
    last = steps[-1]
    capped = " (its time limit pauses it before)" if last.capped else ""
    out.line(f"  completed  {_stamp(last.ends)}, or by {_stamp(last.ends_latest)}{capped}")
    for name, checks in (("guards", plan.guardrails), ("signals", plan.signals)):
        if checks:
            out.line(f"  {name.ljust(9)}  {', '.join(one.name for one in checks)}")
    if not plan.guarded:
        out.line(f"  unguarded  {plan.unguarded or 'no reason was given'}")
    for word, said in plan_lines(plan):
        out.line(f"  {word.ljust(9)}  {said}")
    way_back = f"rehearsed at {rehearsed}" if rehearsed else "never rehearsed: rollout rehearse"
    out.line(f"  way back   {way_back}")


def _exposure(plan: Plan, number: int) -> str:
    from downhaul.rollout.spoken import label, whom  # noqa: PLC0415

    named = whom(plan, number) if plan.steps[number].preview else ""
    return f"{label(plan, number)}: {named}" if named else label(plan, number)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
