"""A rollout drawn as a tree: its steps with what was seen at each, its guards, and what it needs.

Lines only, each with a style; whoever prints them decides on colours. Signs that the terminal's
encoding has no room for are drawn in ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from downhaul.analysis.model import Check, Finding, Verdict
from downhaul.cli import gate_words
from downhaul.cli import rollout_words as words
from downhaul.rollout.plan import Step, Strategy
from downhaul.rollout.results import Rollout
from downhaul.rollout.spoken import label, whom
from downhaul.rollout.state import RETURNING, Act, Baked, Phase
from downhaul.rollout.units import percent_text, span_text


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs of a tree."""

    done: str
    now: str
    later: str
    bad: str
    paused: str
    warn: str
    branch: str
    last: str


DRAWN: Final = Signs("✔", "●", "○", "✖", "॥", "⚠", "├─", "└─")
TYPED: Final = Signs("+", "*", "o", "x", "=", "!", "|-", "`-")

_BACK: Final = frozenset({*RETURNING, Phase.LATCHED, Phase.ROLLED_BACK, Phase.REVERTED})
_STYLES: Final = {
    Phase.PROGRESSING: "green",
    Phase.COMPLETED: "green",
    Phase.PAUSED: "yellow",
    Phase.LATCHED: "yellow",
    Phase.ROLLING_BACK: "red",
    Phase.REVERTING: "red",
    Phase.ROLLED_BACK: "red",
    Phase.REVERTED: "red",
    Phase.STOPPED: "red",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and how it is to look: a colour, ``dim``, or None."""

    text: str
    style: str | None = None


def signs_for(encoding: str | None) -> Signs:
    """Return the signs that this encoding has, drawn ones if it can."""
    drawn = "".join(getattr(DRAWN, name) for name in Signs.__slots__)
    try:
        drawn.encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return TYPED
    return DRAWN


def headline(rollout: Rollout, signs: Signs = DRAWN) -> str:
    """Return where it stands in one line."""
    state, steps = rollout.state, rollout.plan.steps
    parts = [
        f"{rollout.flag}  {rollout.plan.variant}  {rollout.environment}  {rollout.id}",
        f"{_sign_of(rollout, signs)} {words.spoken(state.phase)}",
        f"step {min(state.step + 1, len(steps))}/{len(steps)}",
        words.exposed(rollout),
    ]
    if state.live and not rollout.controllers:
        parts.append("no controller")
    elif state.phase is Phase.PROGRESSING:
        parts.append("held" if state.hold else f"next {words.coming(rollout)}")
    return "   ".join(parts)


def tree(rollout: Rollout, signs: Signs = DRAWN) -> list[Line]:
    """Return the whole tree, and under it what else is to be known."""
    branches = [*_steps(rollout, signs), *_acts(rollout, signs), *_guards(rollout)]
    lines = [Line(headline(rollout, signs), _STYLES.get(rollout.phase))]
    for number, branch in enumerate(branches, 1):
        sign = signs.last if number == len(branches) else signs.branch
        lines.append(Line(f"{sign} {branch.text}".rstrip(), branch.style))
    return [*lines, *_below(rollout)]


def _sign_of(rollout: Rollout, signs: Signs) -> str:
    state = rollout.state
    if state.phase is Phase.PROGRESSING and state.hold:
        return signs.warn
    return {
        Phase.STARTING: signs.later,
        Phase.PROGRESSING: signs.now,
        Phase.PAUSED: signs.paused,
        Phase.LATCHED: signs.warn,
        Phase.COMPLETED: signs.done,
    }.get(state.phase, signs.bad)


def _steps(rollout: Rollout, signs: Signs) -> Iterator[Line]:
    history = {one.step: one for one in rollout.state.history}
    rows = [
        [label(rollout.plan, number), *_step_words(rollout, number, step, history)]
        for number, step in enumerate(rollout.plan.steps)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for number, (name, time, *rest) in enumerate(rows):
        sign, style = _step_sign(rollout, number, signs)
        parts = [f"{sign} {name.ljust(widths[0])}", time.ljust(widths[1]), *rest]
        yield Line("   ".join(parts).rstrip(), style)


def _step_sign(rollout: Rollout, number: int, signs: Signs) -> tuple[str, str | None]:
    state = rollout.state
    if number < state.step or state.phase is Phase.COMPLETED:
        return signs.done, "green"
    if number > state.step:
        return signs.later, "dim"
    if state.phase in _BACK or state.phase is Phase.STOPPED:
        return signs.bad, "red"
    if state.phase is Phase.PAUSED:
        return signs.paused, "yellow"
    if not state.entered:
        return signs.later, None
    return (signs.warn, "yellow") if state.hold else (signs.now, None)


def _step_words(
    rollout: Rollout, number: int, step: Step, history: dict[int, Baked]
) -> Iterator[str]:
    state = rollout.state
    here = number == state.step and number not in history
    if rollout.plan.ends_holdback(number):
        yield "at once"
        yield f"lets in the {percent_text(rollout.plan.holdback)} held back"
    elif number in history:
        left = history[number]
        yield f"{span_text(left.baked)} of {span_text(step.bake)}"
        yield from _findings(rollout, left.findings)
    elif here and state.entered:
        yield f"{span_text(words.baked(rollout))} of {span_text(step.bake)}"
        yield from _findings(rollout, rollout.findings)
        yield from _samples(rollout)
    elif here and state.phase in (Phase.STARTING, Phase.PROGRESSING):
        yield "on its way to the backend"
    elif not state.live or state.phase in _BACK:
        yield "not reached"
    else:
        yield span_text(step.bake)
    if step.preview:
        yield whom(rollout.plan, number)
    if rollout.plan.ends_holdback(number + 1):
        yield f"{percent_text(rollout.plan.holdback)} held back"


def _findings(rollout: Rollout, findings: Sequence[Finding]) -> Iterator[str]:
    """Give what each check saw; two checks of one measure say it once, the worst one."""
    shown: dict[str, tuple[int, str]] = {}
    for one in findings:
        check = words.check_of(rollout, one)
        name = _measured(one.check)
        text = f"{name} {words.value_of(one, check)}"
        control = words.control_of(one, check)
        if control and check is not None and check.needs_control:
            text += f" (control {control})"
        if one.evidence is not None and one.enough is not None and one.evidence > 1:
            text += f" {one.evidence:.2g} of {one.enough:g} to 1"
        bad = one.verdict is Verdict.REGRESSED
        if bad:
            text += " BAD"
        if name not in shown or bad > shown[name][0]:
            shown[name] = (bad, text)
    yield from (text for _, text in shown.values())


def _measured(check: str) -> str:
    """Return a check's name without what it allows."""
    return re.split(" [<>]= | vs ", check, maxsplit=1)[0]


def _samples(rollout: Rollout) -> Iterator[str]:
    deciding = [one for one in rollout.findings if not one.dry_run]
    short = [one for one in deciding if one.requests < one.needed]
    if short:
        worst = min(short, key=lambda one: one.requests / one.needed)
        yield f"requests {worst.requests}/{worst.needed}"
    elif deciding and all(one.verdict is Verdict.CLEAN for one in deciding):
        yield "checks ok"


def _acts(rollout: Rollout, signs: Signs) -> Iterator[Line]:
    """Give the two acts of the way back (rule R8)."""
    state = rollout.state
    if state.phase not in _BACK:
        return
    ended = state.phase in (Phase.ROLLED_BACK, Phase.REVERTED)
    blue_green = rollout.plan.strategy is Strategy.BLUE_GREEN
    first = "switched back" if blue_green else "exposure off"
    if ended or state.act in (Act.OFF, Act.RESTORED) or state.phase is Phase.LATCHED:
        yield Line(f"{signs.done} {first}", "green")
    else:
        yield Line(f"{signs.now} {first}: not seen yet", "yellow")
    if ended or state.act is Act.RESTORED:
        yield Line(f"{signs.done} restored as it was", "green")
    elif state.phase is Phase.LATCHED:
        yield Line(f"{signs.warn} restored as it was: waits for a person", "yellow")
    else:
        sign = signs.now if state.act is Act.OFF else signs.later
        yield Line(f"{sign} restored as it was: not yet")


def _guards(rollout: Rollout) -> Iterator[Line]:
    plan = rollout.plan
    if plan.signals:
        yield Line(f"signals: {_names(plan.signals)}")
    if plan.guardrails:
        yield Line(f"guards: {_names(plan.guardrails)}")
    if not plan.guarded:
        yield Line(f"unguarded: {plan.unguarded or 'no reason was given'}", "yellow")


def _names(checks: Sequence[Check]) -> str:
    return ", ".join(f"{one.name} (dry run)" if one.dry_run else one.name for one in checks)


def _below(rollout: Rollout) -> Iterator[Line]:
    state = rollout.state
    pairs: list[tuple[str, str, str | None]] = [("why", words.why(rollout), "yellow")]
    pairs.append(("but", words.trouble(rollout), "yellow"))
    pairs += [("differs", one, None) for one in state.foreign]
    if state.live:
        pairs += [("signed", one, "green") for one in gate_words.opened(rollout)]
    plain = state.phase is Phase.PROGRESSING and not state.hold and rollout.controllers
    if not plain or not state.entered:
        pairs += [("waits", one, None) for one in words.waits(rollout) if one != words.ALONE]
    else:
        needs = [text for text in map(words.in_way, rollout.findings) if text]
        pairs += [("needs", one, None) for one in (*needs, *gate_words.waiting(rollout))]
    if not plain:
        pairs.append(("next", words.coming(rollout), None))
    if rollout.pending:
        pairs.append(("asked", f"{', '.join(rollout.pending)}: no controller took it yet", None))
    if state.live and not rollout.controllers:
        pairs.append(("alone", words.NOBODY, "red"))
    if state.phase in (Phase.PAUSED, Phase.LATCHED):
        pairs += [("do", one, None) for one in words.commands(rollout)]
    before = ""
    for name, text, style in pairs:
        if text:
            shown = "" if name == before else name
            before = name
            yield Line(f"   {shown.ljust(7)}  {text}", style)
