"""Whole rollouts, simulated: the plan, the judge and the decisions as shipped; traffic out of dice.

No store and no backend: what a controller writes happens at once. A look every five minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from downhaul import Flag
from downhaul.analysis.evidence import Evidence
from downhaul.analysis.judge import judge_all
from downhaul.analysis.model import Against, Check, Counts, Measure, Sample, Window
from downhaul.analysis.sequential import gather
from downhaul.flag import WHOLE
from downhaul.rollout.decide import decide
from downhaul.rollout.deciding.case import Operation, Seen
from downhaul.rollout.plan import OnUndecided, Plan, Step
from downhaul.rollout.state import Phase, State

LOOK: Final = 300.0
_SECOND: Final = 1_000_000
_FLAG: Final = Flag.boolean("agent", on=False, percent=0)
_GUARDRAIL: Final = Check(Measure.ERROR_RATE, against=Against.CONTROL)
NAIVE: Final = Check(Measure.ERROR_RATE, limit=0.05, min_sample=1, window=LOOK)
"""What most begin with: back when more than 5 % of the last five minutes' requests failed."""


def plan_with(*guardrails: Check, bake: float = 3600.0) -> Plan:
    """Return the rollout that is simulated: 1, 5, 10, 25, 50 %, an hour each."""
    steps = tuple(Step(one * 1000, bake, bake) for one in (1, 5, 10, 25, 50))
    return Plan(
        "agent", "on", steps, guardrails=guardrails, interval=LOOK, on_undecided=OnUndecided.PROMOTE
    )


SEQUENTIAL: Final = plan_with(_GUARDRAIL)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rollout ended: whether it was taken back, at which step (from 1), after how many hours.

    ``failed`` is how many more requests were in error than had the variant been as good.
    """

    back: bool
    step: int
    hours: float
    failed: float


def simulate(
    random: np.random.Generator, plan: Plan, per_minute: float, good: float, bad: float
) -> Ended:
    """Roll out a variant that fails in ``bad`` of its requests, where the others do in ``good``."""
    state, now, failed = State(), _SECOND, 0.0  # a rollout that began at no time has not begun
    evidence, snapshot = Evidence(0, now), _FLAG
    while state.phase in (Phase.STARTING, Phase.PROGRESSING):
        findings = ()
        if state.started_at:
            now += round(LOOK * _SECOND)
            share = plan.steps[state.step].weight / WHOLE
            requests = int(random.poisson(per_minute * LOOK / 60))
            treated = int(random.binomial(requests, share))
            errors = int(random.binomial(treated, bad))
            failed += errors - treated * good
            others = requests - treated
            arms = {
                "on": _counts(treated, errors),
                "off": _counts(others, int(random.binomial(others, good))),
            }
            sample = Sample(Window(evidence.cursor, now), arms)
            evidence = gather(evidence, sample, plan.checks, "on")
            findings = judge_all(
                plan.checks_at(state.step), evidence, "on", now, alphas=plan.alphas, share=share
            )
        decision = decide(plan, state, Seen(now, snapshot, snapshot, findings=findings))
        state = decision.state
        if decision.action is not None:
            if decision.action.operation not in (Operation.START, Operation.RAISE):
                break  # it is taken back
            assert decision.then is not None
            state = replace(decision.then, entered_at=now)
            evidence = evidence.for_step(state.step, now)
    return Ended(state.phase is Phase.ROLLED_BACK, state.step + 1, now / _SECOND / 3600, failed)


def _counts(requests: int, errors: int) -> Counts:
    return Counts(requests, errors, requests - errors, requests, 100.0 * requests)
