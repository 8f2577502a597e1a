"""What is to be said of a rollout: why it stands where it stands, what it waits for, what is next.

Sentences only, from what the rollout itself knows. How they are laid out is for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from downhaul.analysis.model import Check, Finding, Measure, Verdict
from downhaul.cli import gate_words
from downhaul.encoding import flag_from_data
from downhaul.rollout.drift import exposure_of
from downhaul.rollout.plan import OnUndecided, Step, Strategy
from downhaul.rollout.results import Rollout
from downhaul.rollout.spoken import served, step_text
from downhaul.rollout.state import GATED, RETURNING, Act, Because, Phase
from downhaul.rollout.units import percent_text, span_text

SECOND: Final = 1_000_000  # microseconds
ALONE: Final = "a controller: none is alive"
NOBODY: Final = "no controller is alive: nothing will move until one runs: downhaul controller run"

_WHY: Final[Mapping[str, str]] = MappingProxyType(
    {
        Because.BY_HAND: "A person asked for it",
        Because.REGRESSED: "A guardrail found it worse than it may be",
        Because.UNDECIDED: "The checks can't tell yet",
        Because.NO_DATA: "No data is never good news",
        Because.SIGNAL: "A signal is bad, and that holds it",
        Because.METRICS_LOST: "Nothing is raised without metrics",
        Because.DRIFT_LOWERED: "What is lowered by hand stays lowered",
        Because.DRIFT_RAISED: "What is raised by hand is not fought, and not built upon",
        Because.DRIFT_OTHER: "The flag is not as the rollout left it",
        Because.FLAG_GONE: "There is nothing to roll out",
        Because.FLAG_CHANGED: "A restore would undo what somebody else changed",
        Because.KILLED: "A kill ends a rollout",
        Because.PROVIDER: "The backend stands in the way",
        Because.TIME_LIMIT: "Its time is up",
        Because.ABSENCE: "Nobody looked for a while",
        Because.CHECKLIST: "Its checklist is not done",
        Because.APPROVAL: "It needs an approval",
        Because.START_TIME: "It is not its time yet",
        Because.FREEZE: "Nothing rises in a freeze",
        Because.HOOK: "A service has to confirm it",
        Because.GATE: "Nobody can tell whether it may go on",
    }
)
_BACK: Final = frozenset({*RETURNING, Phase.LATCHED, Phase.ROLLED_BACK, Phase.REVERTED})


def moment(microseconds: float) -> str:
    """Return a time as RFC 3339 in UTC, to the second; nothing for never."""
    if not microseconds:
        return ""
    return datetime.fromtimestamp(microseconds / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def step_of(rollout: Rollout) -> Step:
    """Return the step at which it stands, or ended."""
    return rollout.plan.steps[min(rollout.state.step, len(rollout.plan.steps) - 1)]


def exposure(rollout: Rollout) -> float | None:
    """Return the weight of the variant in the flag's default, in thousandths of a percent.

    As far as the rollout knows: what it last wrote or accepted at the backend, 0 if off. None once
    the flag is as it was before, whatever that is.
    """
    state, plan = rollout.state, rollout.plan
    if state.act is Act.RESTORED or state.phase in (Phase.ROLLED_BACK, Phase.REVERTED):
        return None
    if state.act is Act.OFF:
        return None if plan.strategy is Strategy.BLUE_GREEN else 0.0
    if state.desired is None:
        return 0.0
    try:
        return exposure_of(flag_from_data(state.desired), plan.variant)
    except (KeyError, TypeError, ValueError):  # a row that somebody broke by hand
        return float(step_of(rollout).weight) if state.entered else 0.0


def exposed(rollout: Rollout) -> str:
    """Return the same in words: ``25 %``, ``ana and ben``, ``as before``, ``25 % (killed)``."""
    weight = exposure(rollout)
    text = "as before" if weight is None else percent_text(weight)
    if weight is not None and (named := _named(rollout)):
        text = f"{text} and {named}" if weight else named
    return f"{text} (killed)" if rollout.state.because == Because.KILLED else text


def _named(rollout: Rollout) -> str:
    """Return whom it serves by name, beside the percentage."""
    state, plan = rollout.state, rollout.plan
    if not state.entered or state.act is Act.OFF or state.step >= len(plan.steps):
        return ""
    on = bool(state.desired and state.desired.get("on", True))
    return served(plan, state.step) if on else ""


def spoken(phase: Phase) -> str:
    """Return a phase as it is said."""
    return phase.value.replace("_", " ")


def baked(rollout: Rollout) -> float:
    """Return how many seconds of this step's bake are behind, reckoned to now."""
    state = rollout.state
    if state.phase is not Phase.PROGRESSING or not state.entered or not rollout.controllers:
        return state.baked
    since = (rollout.now - max(state.looked_at, state.entered_at)) / SECOND
    # What lies between two looks counts once the next one is made, if nothing holds it up.
    counts = 0.0 if state.hold == Because.METRICS_LOST else min(since, 2 * rollout.plan.interval)
    return min(step_of(rollout).bake, state.baked + max(0.0, counts))


def bake_left(rollout: Rollout) -> float:
    """Return how many seconds of this step's bake are ahead."""
    return max(0.0, step_of(rollout).bake - baked(rollout))


def check_of(rollout: Rollout, finding: Finding) -> Check | None:
    """Return the check that a finding answers, unless the plan knows none of its name."""
    return next((one for one in rollout.plan.checks if one.name == finding.check), None)


def value_of(finding: Finding, check: Check | None) -> str:
    """Return what a check saw, in its unit: ``0.4 %``, ``1100 ms``; a dash without data."""
    if finding.value is None:
        return "-"
    return _in_unit(finding.value, check)


def control_of(finding: Finding, check: Check | None) -> str:
    """Return what the control had at the same time, or nothing."""
    return "" if finding.control is None else _in_unit(finding.control, check)


def why(rollout: Rollout) -> str:
    """Return why it stands as it does, in a sentence; nothing while it simply goes on."""
    state = rollout.state
    because, message = state.because, state.message
    if state.phase in (Phase.STARTING, Phase.PROGRESSING):
        because, message = state.hold, state.hold_message
    sentence = _WHY.get(because, "")
    if sentence and message:
        return f"{sentence}: {message}"
    return sentence or message


def trouble(rollout: Rollout) -> str:
    """Return what stands in the way of the way back, or what became of it; nothing if all is well.

    Beside :func:`why`, which goes on telling why it was begun.
    """
    state = rollout.state
    if state.phase not in _BACK or state.hold_message == state.message:
        return ""
    return state.hold_message


def waits(rollout: Rollout) -> list[str]:
    """Return everything that has to happen before it moves by itself, or a person's word."""
    state = rollout.state
    found: list[str] = []
    match state.phase:
        case Phase.STARTING:
            found = gate_words.waiting(rollout) or ["the first step to be seen at the backend"]
        case Phase.PROGRESSING if not state.entered:
            seen = [f"step {state.step + 1} to be seen at the backend"]
            found = gate_words.waiting(rollout) or seen
        case Phase.PROGRESSING:
            found = _baking(rollout)
        case Phase.PAUSED:
            found = ["a person: resume, promote, roll back or cancel"]
        case Phase.LATCHED:
            found = ["a person: restore the flag over what somebody changed, or leave it as it is"]
        case _ if state.phase in RETURNING:
            off = state.act is Act.OFF
            found = ["the flag as it was to be seen back" if off else "the exposure to be seen off"]
    if found and state.failures and state.hold != Because.PROVIDER:
        found.append(f"the backend, which failed {_times(state.failures)}")
    if state.live and not rollout.controllers:
        found.append(ALONE)
    return found


def coming(rollout: Rollout) -> str:  # noqa: PLR0911  (a phase each)
    """Return what happens next, and when at the earliest."""
    state, plan = rollout.state, rollout.plan
    match state.phase:
        case Phase.STARTING:
            return f"{step_text(plan, 0)}, and the flag is turned on"
        case Phase.PROGRESSING if not state.entered:
            return step_text(plan, state.step)
        case Phase.PROGRESSING:
            return _after_bake(rollout)
        case Phase.PAUSED:
            watched = "; guardrails go on watching, and take it back" if plan.guarded else ""
            return f"nothing until a person decides{watched}"
        case Phase.ROLLING_BACK | Phase.REVERTING:
            return "the exposure goes off, then the flag is restored as it was"
        case Phase.LATCHED:
            return "nothing until a person decides; the exposure stays off"
        case Phase.COMPLETED:
            return _revertible(rollout)
    return "nothing: it has ended"


def commands(rollout: Rollout) -> list[str]:
    """Return the command lines that a person can give now, with what each does."""
    reason = '--reason "..."'
    every = {
        "pause": f"downhaul rollout pause {rollout.id} {reason}",
        "resume": f"downhaul rollout resume {rollout.id}",
        "promote": f"downhaul rollout promote {rollout.id} {reason}",
        "rollback": f"downhaul rollout rollback {rollout.id} {reason}",
        "overwrite": f"downhaul rollout rollback {rollout.id} --overwrite {reason}",
        "cancel": f"downhaul rollout cancel {rollout.id} {reason}",
        "revert": f"downhaul rollout revert {rollout.id} {reason}",
        "kill": f"downhaul kill {rollout.flag} {reason}",
    }
    offered = {
        Phase.STARTING: ("pause", "rollback", "cancel", "kill"),
        Phase.PROGRESSING: ("pause", "promote", "rollback", "cancel", "kill"),
        Phase.PAUSED: ("resume", "promote", "rollback", "cancel", "kill"),
        Phase.ROLLING_BACK: ("kill",),
        Phase.REVERTING: ("kill",),
        Phase.LATCHED: ("overwrite", "cancel", "kill"),
        Phase.COMPLETED: ("revert", "kill") if rollout.now < revert_until(rollout) else ("kill",),
    }
    gates = gate_words.commands(rollout) if rollout.state.hold in GATED else []
    return gates + [every[name] for name in offered.get(rollout.phase, ())]


def revert_until(rollout: Rollout) -> int:
    """Return until when a completed one can be taken back."""
    return rollout.state.ended_at + int(rollout.plan.revert_window * SECOND)


def in_way(finding: Finding) -> str:
    """Return what a check still needs before it lets a step go on; nothing if it is content."""
    if finding.dry_run or finding.verdict is Verdict.CLEAN:
        return ""
    if finding.verdict is Verdict.NO_DATA:
        return f"requests for {finding.check}: none were seen"
    if finding.verdict is Verdict.REGRESSED:
        return f"{finding.check} to be good again{_because(finding)}"
    if finding.requests < finding.needed:
        return f"{finding.check}: {finding.requests} of {finding.needed} requests"
    return f"{finding.check} to be decided{_because(finding)}"


def _because(finding: Finding) -> str:
    return f": {finding.message}" if finding.message else ""


def _in_unit(value: float, check: Check | None) -> str:
    if check is None:
        return f"{value:g}"
    if check.measure is Measure.LATENCY:
        return f"{value:.0f} ms"
    return f"{value * 100:.2f}".rstrip("0").rstrip(".") + " %"


def _baking(rollout: Rollout) -> list[str]:
    left = bake_left(rollout)
    found = [f"{span_text(left)} more of this bake"] if left else []
    if rollout.state.hold == Because.PROVIDER:
        return ["the backend to answer"]
    if rollout.state.hold == Because.METRICS_LOST:
        return [*found, "the metric source to answer"]
    if rollout.state.hold not in GATED:
        found += [text for text in map(in_way, rollout.findings) if text]
    return found + gate_words.waiting(rollout)


def _after_bake(rollout: Rollout) -> str:
    state, plan = rollout.state, rollout.plan
    last = state.step + 1 >= len(plan.steps)
    following = "it is completed" if last else step_text(plan, state.step + 1)
    left = bake_left(rollout)
    if state.hold:
        return f"{following} once that is so{_limit(rollout)}"
    return f"{following} in {span_text(left)}" if left else f"{following} at the next look"


def _limit(rollout: Rollout) -> str:
    """Return what becomes of a step that stays as it is for too long."""
    state, plan = rollout.state, rollout.plan
    left = step_of(rollout).max_bake - state.waited
    if state.hold in (Because.PROVIDER, Because.METRICS_LOST, *GATED):
        return ""
    verb = "is paused"
    if plan.on_undecided is OnUndecided.ROLLBACK and state.hold != Because.SIGNAL:
        verb = "is rolled back"
    elif plan.on_undecided is OnUndecided.PROMOTE and state.hold == Because.UNDECIDED:
        verb = "goes on all the same"
    return f", else it {verb} in {span_text(max(0.0, left))}"


def _revertible(rollout: Rollout) -> str:
    until = revert_until(rollout)
    if rollout.now < until:
        armed = "blue stays armed, and " if rollout.plan.strategy is Strategy.BLUE_GREEN else ""
        return f"nothing; {armed}it can be reverted until {moment(until)}"
    return "nothing: its time to be reverted is over"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
