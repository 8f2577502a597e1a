"""Rollouts as data for programs, and as words for people. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from downhaul.analysis.model import Finding
from downhaul.cli import gate_words
from downhaul.cli import rollout_words as words
from downhaul.rollout.results import Advice, CommandResult, Rehearsal, Rollout, RolloutEvent
from downhaul.rollout.state import Act, Phase
from downhaul.rollout.units import span_text

_SHOWN = 10  # moved users in a report


def rollout_data(rollout: Rollout) -> dict[str, Any]:
    """Return a rollout whole: where it stands, why, each step, and its plan."""
    state = rollout.state
    return {
        **summary_data(rollout),
        "message": state.message,
        "hold": state.hold or None,
        "hold_message": state.hold_message,
        "act": state.act.value,
        "foreign": list(state.foreign),
        "waits": words.waits(rollout),
        "next": words.coming(rollout),
        "gates": gate_words.gate_data(rollout),
        "checklist": gate_words.checklist_data(rollout.checklist),
        "steps": _steps_data(rollout),
        "findings": [one.as_mapping() for one in rollout.findings],
        "started_at": _time(state.started_at),
        "looked_at": _time(state.looked_at),
        "due_at": _time(rollout.due_at) if state.live else None,
        "controllers": rollout.controllers,
        "pending": list(rollout.pending),
        "plan": rollout.plan.as_mapping(),
        "digest": rollout.plan.digest,
    }


def summary_data(rollout: Rollout) -> dict[str, Any]:
    """Return a rollout as a list shows it. Steps count from 1."""
    state, weight = rollout.state, words.exposure(rollout)
    return {
        "id": rollout.id,
        "environment": rollout.environment,
        "provider": rollout.provider,
        "flag": rollout.flag,
        "variant": rollout.plan.variant,
        "strategy": rollout.plan.strategy.value,
        "phase": state.phase.value,
        "live": state.live,
        "step": state.step + 1,
        "percent": None if weight is None else weight / 1000,
        "because": state.because or None,
        "created_at": _time(rollout.created_at),
        "updated_at": _time(rollout.updated_at),
        "ended_at": _time(state.ended_at),
        "actor": rollout.actor,
        "reason": rollout.reason,
    }


def list_rows(rollouts: Iterable[Rollout]) -> list[list[str]]:
    """Return rows for a table: id, flag, variant, phase, step, exposure, started, by, why."""
    return [
        [
            one.id,
            one.flag,
            one.plan.variant,
            words.spoken(one.phase),
            f"{one.state.step + 1}/{len(one.plan.steps)}",
            words.exposed(one),
            words.moment(one.created_at),
            one.actor,
            one.state.message or one.state.hold_message or one.reason,
        ]
        for one in rollouts
    ]


def advice_data(advice: Iterable[Advice]) -> list[dict[str, Any]]:
    """Return what a lint found."""
    return [
        {
            "severity": one.severity.value,
            "path": one.path,
            "message": one.message,
            "hint": one.hint or None,
        }
        for one in advice
    ]


def advice_line(one: Advice) -> str:
    """Return one piece of advice as a line: where, what, and what to do."""
    where = f"{one.path}: " if one.path else ""
    return f"{where}{one.message}{f' ({one.hint})' if one.hint else ''}"


def command_data(result: CommandResult) -> dict[str, Any]:
    """Return what became of a verb."""
    return {
        "verb": result.verb,
        "applied": result.applied,
        "refused": result.refused,
        "outcome": result.outcome,
        "rollout": rollout_data(result.rollout),
    }


def event_data(events: Iterable[RolloutEvent]) -> list[dict[str, Any]]:
    """Return events in their order."""
    return [
        {
            "id": one.id,
            "at": one.at,
            "action": one.action,
            "actor": one.actor,
            "reason": one.reason,
            "detail": dict(one.detail),
        }
        for one in events
    ]


def event_lines(events: Iterable[RolloutEvent]) -> list[str]:
    """Return events as lines: when, what, by whom, why."""
    rows = [(one.at, one.action.replace("_", " "), one.actor, one.reason) for one in events]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (1, 2)]
    return [
        f"{at}  {action.ljust(widths[0])}  {actor.ljust(widths[1])}  {reason}".rstrip()
        for at, action, actor, reason in rows
    ]


def rehearsal_data(found: Rehearsal) -> dict[str, Any]:
    """Return a rehearsal. Of those who moved, the first few; their numbers are whole."""
    return {
        "flag": found.flag,
        "variant": found.variant,
        "digest": found.digest,
        "held": found.held,
        "at": found.at or None,
        "population": found.population,
        "exposed": list(found.exposed),
        "served_more": len(found.more),
        "answered_unlike": len(found.unlike),
        "moved": [
            {"key": one.key, "when": one.when, "before": one.before, "got": one.got}
            for one in (*found.more[:_SHOWN], *found.unlike[:_SHOWN])
        ],
    }


def rehearsal_lines(found: Rehearsal) -> list[str]:
    """Return a rehearsal in words, with the first of those whom the way back did not bring home."""
    verdict = "the way back is proved" if found.held else "THE WAY BACK IS NOT PROVED"
    exposed = ", ".join(str(one) for one in found.exposed)
    lines = [
        f"{found.flag}  {found.variant}  rehearsed: {verdict}",
        f"  asked    {found.population} contexts before, at each step, on the way back, and after",
        f"  exposed  {exposed} of them, step by step; nobody for real",
    ]
    for name, moved in (("more", found.more), ("unlike", found.unlike)):
        if not moved:
            continue
        what = "served more on the way back" if name == "more" else "answered otherwise after it"
        lines.append(f"  {name.ljust(7)}  {len(moved)} {what}")
        lines += [
            f"           {one.key or '(no key)'}: {one.before} -> {one.got}, {one.when}"
            for one in moved[:_SHOWN]
        ]
    return lines


def explain_data(rollout: Rollout, events: Sequence[RolloutEvent]) -> dict[str, Any]:
    """Return everything that :func:`explain_lines` says."""
    return {
        "rollout": rollout_data(rollout),
        "stands": stands(rollout),
        "why": words.why(rollout),
        "waits": words.waits(rollout),
        "next": words.coming(rollout),
        "commands": words.commands(rollout),
        "events": event_data(events),
    }


def explain_lines(
    rollout: Rollout, events: Sequence[RolloutEvent], counted: Sequence[str] = ()
) -> list[str]:
    """Return it all in words: where it stands and why, what is seen, what is next, the past."""
    who = f"by {rollout.actor} at {words.moment(rollout.created_at)}"
    lines = [f"{rollout.flag}: rollout {rollout.id} of {rollout.plan.variant}, asked for {who}"]
    if rollout.reason:
        lines.append(f'"{rollout.reason}"')
    waits = words.waits(rollout)
    differs = [f"differs: {one}" for one in rollout.state.foreign]
    sections = [
        ("Where it stands", [stands(rollout)]),
        ("Why", [words.why(rollout), words.trouble(rollout), *differs]),
        ("What each check sees", _checks(rollout)),
        ("What was counted", list(counted)),
        ("Gates before what comes next", gate_words.lines(rollout)),
        ("Checklist", gate_words.checklist_lines(rollout.checklist)),
        ("What it waits for", waits or ["nothing"]),
        ("What happens next", [words.coming(rollout)]),
        ("What you can do", words.commands(rollout)),
        ("What happened", event_lines(events)),
    ]
    if rollout.state.live and not rollout.controllers:
        sections.insert(0, ("Before anything else", [words.NOBODY]))
    for title, texts in sections:
        said = [text for text in texts if text]
        if said:
            lines += ["", title, *(f"  {text}" for text in said)]
    return lines


def stands(rollout: Rollout) -> str:  # noqa: PLR0911  (a phase each)
    """Return in one sentence where it stands."""
    state, count = rollout.state, len(rollout.plan.steps)
    served = words.exposed(rollout)
    at = f"at step {state.step + 1} of {count}"
    bake = span_text(words.step_of(rollout).bake)
    match state.phase:
        case Phase.STARTING:
            return "It is recorded, and its first step is not at the backend yet. Nobody gets it."
        case Phase.PROGRESSING if not state.entered:
            return f"It goes {at}; the backend still serves {served}."
        case Phase.PROGRESSING:
            held = "is held" if state.hold else "goes on"
            behind = span_text(words.baked(rollout))
            return f"It {held} {at}, which serves {served}: baked {behind} of {bake}."
        case Phase.PAUSED:
            return f"It is paused {at}, and serves {served}. Time does not count."
        case Phase.ROLLING_BACK | Phase.REVERTING:
            off = "the exposure was not seen to be off yet"
            if state.act in (Act.OFF, Act.RESTORED):
                off = "the exposure is off"
            return f"It is {words.spoken(state.phase)} from step {state.step + 1}: {off}."
        case Phase.LATCHED:
            return "The exposure is off. The flag is not restored: somebody changed it since."
        case Phase.COMPLETED:
            return f"It is completed: all {count} steps, and {served} get {rollout.plan.variant}."
        case Phase.STOPPED:
            return f"It ended {at}, and left the flag as it was by then."
    return f"It is {words.spoken(state.phase)}, from step {state.step + 1} of {count}."


def _checks(rollout: Rollout) -> list[str]:
    found = {one.check: one for one in rollout.findings}
    rows: list[list[str]] = []
    for kind, checks in (
        ("guardrail", rollout.plan.guardrails),
        ("signal", rollout.plan.signals),
    ):
        for check in checks:
            one = found.get(check.name)
            needed = 0 if check.sequential else check.min_sample
            rows.append([kind, check.name, *_seen(rollout, one, needed)])
    if not rows:
        return [f"There are none: {rollout.plan.unguarded or 'and nobody said why'}"]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  ".join([*(row[column].ljust(widths[column]) for column in range(3)), row[3]]).rstrip()
        for row in rows
    ]


def _seen(rollout: Rollout, finding: Finding | None, needed: int) -> tuple[str, str]:
    """Return a verdict, and what it stands on."""
    if finding is None:
        return "not asked", f"needs {needed} requests" if needed else ""
    verdict = finding.verdict.value.replace("_", " ")
    text = finding.message
    if not text:
        value = words.value_of(finding, words.check_of(rollout, finding))
        text = f"{value} in {finding.requests} requests"
    if finding.requests < finding.needed:
        text += f" (needs {finding.needed})"
    return (f"{verdict} (dry run)" if finding.dry_run else verdict), text


def _steps_data(rollout: Rollout) -> list[dict[str, Any]]:
    history = {one.step: one for one in rollout.state.history}
    found = []
    for number, step in enumerate(rollout.plan.steps):
        past = history.get(number)
        here = number == rollout.state.step
        found.append(
            {
                "number": number + 1,
                "percent": step.percent,
                "preview": step.preview,
                "name": step.name,
                "targets": list(rollout.plan.targets_at(number)),
                "segments": list(step.segments),
                "bake": step.bake,
                "max_bake": step.max_bake,
                "entered_at": _time(
                    past.entered_at if past else rollout.state.entered_at if here else 0
                ),
                "left_at": _time(past.left_at if past else 0),
                "baked": past.baked if past else rollout.state.baked if here else 0.0,
                "findings": [one.as_mapping() for one in past.findings] if past else [],
            }
        )
    return found


def _time(microseconds: float) -> str | None:
    return words.moment(microseconds) or None
