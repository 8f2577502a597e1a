"""What people ask of a rollout, and why it may be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from downhaul.analysis.model import Verdict
from downhaul.encoding import flag_from_data
from downhaul.rollout.deciding.case import Asked, Case
from downhaul.rollout.deciding.moves import accept, ended_as, paused, resumed, spoken
from downhaul.rollout.deciding.watching import drift_words, is_told
from downhaul.rollout.deciding.wayback import begin_return, is_off
from downhaul.rollout.drift import Drift, drift_of, exposure_of
from downhaul.rollout.state import RETURNING, Because, Phase, Verb


def obey(case: Case) -> None:
    """Take every command that waits: carry it out, or say why not."""
    for asked in case.seen.asked:
        refusal = _refusal(case, asked)
        if refusal:
            case.done[asked.id] = refusal
            case.refused.add(asked.id)
            continue
        case.done[asked.id] = _carry_out(case, asked)


def _refusal(case: Case, asked: Asked) -> str:
    """Return why a command can't be carried out now, or nothing."""
    phase, step = case.state.phase, case.state.step
    allowed: Mapping[Verb, tuple[Phase, ...]] = {
        Verb.PAUSE: (Phase.STARTING, Phase.PROGRESSING, Phase.PAUSED),
        Verb.RESUME: (Phase.PAUSED,),
        Verb.PROMOTE: (Phase.PROGRESSING, Phase.PAUSED),
        Verb.ROLLBACK: (
            Phase.STARTING, Phase.PROGRESSING, Phase.PAUSED, Phase.LATCHED, Phase.ROLLING_BACK,
            Phase.REVERTING,
        ),
        Verb.REVERT: (),
        Verb.CANCEL: (Phase.STARTING, Phase.PROGRESSING, Phase.PAUSED, Phase.LATCHED),
    }  # fmt: skip
    if asked.verb is Verb.CANCEL and phase in RETURNING and is_off(case):
        return ""  # what is left is a restore, which the backend may refuse for good
    if phase not in allowed[asked.verb]:
        return f"{asked.verb} means nothing to a rollout that is {spoken(phase)}"
    if asked.verb is Verb.PROMOTE and asked.step != step:
        return f"it was meant for step {asked.step + 1}, and the rollout is at step {step + 1}"
    if asked.verb is Verb.PROMOTE:
        return _no_promotion(case)
    if asked.verb is Verb.RESUME:
        return _no_resumption(case)
    return ""


def _no_promotion(case: Case) -> str:
    state, findings = case.state, case.seen.findings
    if not state.entered:
        return "its step is not at the backend yet"
    if case.plan.checks and findings is None:
        return f"the metric source does not answer ({case.seen.metrics_error})"
    bad = [one for one in findings or () if one.verdict is Verdict.NO_DATA and not one.dry_run]
    if bad:
        return f"nothing is raised without data ({bad[0].check}: no requests)"
    worse = [one for one in findings or () if one.verdict is Verdict.REGRESSED and not one.dry_run]
    if worse:
        return f"{worse[0].check} is bad: {worse[0].message}"
    if state.phase is Phase.PAUSED and _is_below(case):
        return "its step is not at the backend any more: resume it first"
    return _no_resumption(case)


def _no_resumption(case: Case) -> str:  # noqa: PLR0911  (a reason each)
    """Return why a rollout can't go on from how the flag is now (rules R3, R7)."""
    seen, state = case.seen, case.state
    if seen.unreachable:
        return f"the backend does not answer ({seen.unreachable})"
    if seen.flag is None:
        return "the flag is gone: cancel, or create it again"
    if state.desired is None:
        return ""
    desired = flag_from_data(state.desired)
    if exposure_of(seen.flag, case.plan.variant) > exposure_of(desired, case.plan.variant):
        return "somebody raised it by hand: lower it again, cancel, or roll back"
    if state.started_at and not seen.flag.on:
        return "the flag is off, and a rollout turns nothing on: cancel it and start another"
    drift = drift_of(desired, seen.flag, case.plan.variant)
    if drift is Drift.NONE or is_told(state, *drift_words(case, drift, seen.flag)):
        return ""
    return "somebody changed it by hand meanwhile: look at what, and ask again"


def _is_below(case: Case) -> bool:
    """Return whether the flag serves less than the step that was entered: it was lowered."""
    state, flag = case.state, case.seen.flag
    if flag is None or not state.entered:
        return False
    return exposure_of(flag, case.plan.variant) < case.plan.steps[state.step].weight


def _carry_out(case: Case, asked: Asked) -> str:  # noqa: PLR0911  (a verb each)
    state, seen = case.state, case.seen
    match asked.verb:
        case Verb.PAUSE:
            if state.phase is Phase.PAUSED:
                return "it is paused already"
            case.state = paused(state, Because.BY_HAND, asked.reason or "paused by hand")
            case.tell("paused", asked.reason, actor=asked.actor)
            return "paused"
        case Verb.RESUME:
            below = _is_below(case)
            accept(case, seen.flag)
            case.state = resumed(case.state, case.plan, seen.now)
            if below:
                case.state = replace(case.state, entered=False)
            case.fresh = True
            case.tell("resumed", asked.reason, actor=asked.actor)
            return "resumed; the step bakes anew"
        case Verb.PROMOTE:
            if state.phase is Phase.PAUSED:
                accept(case, seen.flag)
                case.state = resumed(case.state, case.plan, seen.now)
            bake = case.plan.steps[state.step].bake
            case.state = replace(case.state, baked=max(case.state.baked, bake))
            case.promoted = asked.actor
            case.tell("promoted", asked.reason, actor=asked.actor)
            return "promoted: the rest of this bake is skipped"
        case Verb.CANCEL:
            case.state = ended_as(state, Phase.STOPPED, Because.BY_HAND, asked.reason, seen.now)
            case.tell("cancelled", asked.reason, actor=asked.actor)
            return "cancelled; the flag stays as it is"
        case _:
            if state.phase in RETURNING:
                overwrite = state.overwrite or asked.overwrite
                case.state = replace(state, overwrite=overwrite, reasserted=0)
                return "it is on its way back already"
            begin_return(
                case, Because.BY_HAND, asked.reason or "rolled back by hand", actor=asked.actor
            )
            case.state = replace(case.state, overwrite=asked.overwrite)
            return "rolling back"
