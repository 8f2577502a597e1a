"""Taking in what is new at a rollout's metric source, and judging it."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from downhaul.analysis.evidence import Evidence
from downhaul.analysis.judge import judge_all
from downhaul.analysis.model import Counts, Finding, MetricSource, Sample, Window
from downhaul.analysis.sequential import gather
from downhaul.errors import DownhaulError
from downhaul.flag import WHOLE
from downhaul.rollout.deciding.case import Decision
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import State

_log: Final = logging.getLogger("downhaul.controller")

_EVERY: Final = 60_000_000  # microseconds between two looks of which the second tells nothing new

_SETTLES: Final = 30.0
"""Seconds of a step in which nobody is counted as a user: what was served before the raise is still
being logged then, and all of it by those who do not have the variant. A quarter of a short bake."""

SourceFor = Callable[[Plan], MetricSource]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a look at the metric source brought.

    ``findings`` is None where the source did not answer, and ``error`` says why. ``sample`` is what
    was new, None if nothing was.
    """

    evidence: Evidence
    findings: tuple[Finding, ...] | None = ()
    error: str = ""
    sample: Sample | None = None


class Measuring:
    """The metric sources of a controller's plans. Each is made once for each thread that looks.

    So a source need not serve two at once.
    """

    def __init__(self, source_for: SourceFor) -> None:
        self._source_for = source_for
        self._sources = threading.local()

    def answers(self, plan: Plan) -> bool:
        """Return whether the plan's metric source answers at all."""
        try:
            self._source(plan).watermark()
        except Exception as error:  # noqa: BLE001  (a defect in a source is no answer either)
            _log.warning("the metric source of a rollout of %s: %s", plan.flag, error)
            return False
        return True

    def look(
        self, plan: Plan, step: int, evidence: Evidence, watermarks: MutableMapping[int, int]
    ) -> Measured:
        """Add what is new since the evidence's cursor, and judge the checks of this step.

        ``watermarks`` holds those of sources that were asked in the same tick. Raises nothing: what
        a source does must not stop a way back.
        """
        try:
            return self._look(plan, step, evidence, watermarks)
        except DownhaulError as error:
            return Measured(evidence, None, error.message)
        except Exception as error:  # noqa: BLE001  (a defect in a source is told like its absence)
            _log.exception("the metric source of a rollout of %s failed", plan.flag)
            return Measured(evidence, None, f"{type(error).__name__}: {error}")

    def _look(
        self, plan: Plan, step: int, evidence: Evidence, watermarks: MutableMapping[int, int]
    ) -> Measured:
        source = self._source(plan)
        until = watermarks.get(id(source)) or source.watermark()
        watermarks[id(source)] = until
        here = plan.steps[step]
        sample = None
        if until > evidence.cursor:
            users: dict[str, Any] = {}
            if plan.counts_users:
                settling = min(_SETTLES, here.bake / 4)
                users = {"users_since": evidence.begun + round(settling * 1_000_000)}
            sample = source.sample(
                plan.flag,
                Window(evidence.cursor, until),
                plan.thresholds,
                preview=here.preview,
                **users,
            )
            evidence = gather(evidence, sample, plan.checks, plan.variant)
        findings = judge_all(
            plan.checks_at(step),
            evidence,
            plan.variant,
            until,
            alphas=plan.alphas,
            share=here.weight / WHOLE,
        )
        return Measured(evidence, findings, sample=sample)

    def _source(self, plan: Plan) -> MetricSource:
        key = repr(sorted(plan.metrics.items(), key=str))
        sources: dict[str, MetricSource] = vars(self._sources)
        if key not in sources:
            sources[key] = self._source_for(plan)
        return sources[key]


def look_of(
    plan: Plan, state: State, measured: Measured, decision: Decision
) -> Mapping[str, Any] | None:
    """Return what the history keeps of a look; None where there is nothing new to it.

    ``state`` is the one before the decision. What changed a verdict, a hold or the phase is kept,
    what something was decided upon, and beside that one look a minute.
    """
    after = decision.state
    changed = (
        _verdicts(measured.findings) != _verdicts(state.findings)
        or decision.action is not None
        or (after.phase, after.hold) != (state.phase, state.hold)
    )
    evidence = measured.evidence
    if not changed and evidence.cursor - evidence.told < _EVERY:
        return None
    return {
        "step": state.step + 1,
        "percent": plan.steps[state.step].percent,
        "phase": after.phase.value,
        "since": evidence.begun,
        "until": evidence.cursor,
        "query": "" if measured.sample is None else measured.sample.query,
        "warnings": [] if measured.sample is None else list(measured.sample.warnings),
        "arms": {name: _arm(counts) for name, counts in evidence.since(None).items()},
        "findings": [one.as_mapping() for one in measured.findings or ()],
        "error": measured.error,
        "hold": after.hold_message,
        "action": "" if decision.action is None else decision.action.operation.value,
    }


def _verdicts(findings: Sequence[Finding] | None) -> list[tuple[str, str]]:
    return [(one.check, one.verdict.value) for one in findings or ()]


def _arm(counts: Counts) -> dict[str, Any]:
    found: dict[str, Any] = {
        "requests": counts.requests,
        "errors": counts.errors,
        "successes": counts.successes,
        "timed": counts.timed,
        "latency_ms": counts.latency_ms if math.isfinite(counts.latency_ms) else None,
        "slow": {f"{limit:g}": many for limit, many in counts.slow.items()},
    }
    if counts.users or counts.new_users:
        found["users"] = counts.new_users
    return found
