"""Single moments of a rollout, for tests of its decisions: a plan, a state, what is seen."""

from dataclasses import replace
from typing import Any

from downhaul.analysis.model import Check, Finding, Measure, Verdict
from downhaul.backends.edits import with_on
from downhaul.encoding import flag_to_data
from downhaul.flag import Flag
from downhaul.provider import Change
from downhaul.rollout.acts import aim, lowered
from downhaul.rollout.deciding.case import SECOND, Action, Asked, Operation, Seen
from downhaul.rollout.deciding.rising import exposing
from downhaul.rollout.drift import with_about
from downhaul.rollout.plan import Plan, Step, Strategy
from downhaul.rollout.state import Act, Phase, State, Verb

NOW = 1_790_000_000 * SECOND
TICK = 5.0
BAKE = 60.0
WHO = Change("tester", "to see it hold")
RISES = (Operation.START, Operation.RAISE)

ERRORS = Check(Measure.ERROR_RATE, limit=0.05)
LATENCY = Check(Measure.LATENCY, limit=500)
SLOW = Check(Measure.SLOW_RATE, limit=0.1, slower_than=1000, dry_run=True)


def plan_of(*percents: float, **fields: Any) -> Plan:
    """Return a plan with a guardrail, a signal and a dry run, unless others are given."""
    steps = tuple(Step(int(one * 1000), BAKE, 3 * BAKE) for one in percents or (10, 50, 100))
    given = {"guardrails": (ERRORS, SLOW), "signals": (LATENCY,), "interval": TICK, **fields}
    return Plan("agent", "on", steps, **given)


def held_back(plan: Plan, weight: int = 2_000) -> Plan:
    """Return the plan with a holdback through its final bake."""
    *steps, last = plan.steps
    return replace(
        plan, steps=(*steps, replace(last, weight=100_000 - weight), Step(100_000, 0.0, 0.0))
    )


CANARY = plan_of()
HELD_BACK = held_back(plan_of(50, 100))
BLUE_GREEN = plan_of(100, strategy=Strategy.BLUE_GREEN)
NAMED = Step(0, BAKE, 3 * BAKE, preview=True, targets=("qa",), segments=("staff",))
RELEASE = replace(
    plan_of(10, 100), strategy=Strategy.RELEASE, steps=(NAMED, *plan_of(10, 100).steps)
)
RINGS = replace(
    plan_of(50, 100),
    strategy=Strategy.RINGS,
    steps=(
        replace(NAMED, segments=(), name="us"),
        replace(NAMED, targets=(), segments=("staff",)),
        replace(NAMED, targets=("zoe",), segments=("beta",)),
        *plan_of(50, 100).steps,
    ),
)
BEFORE = Flag.boolean("agent", on=True, percent=0, deny=["ben"])


def found(errors: Verdict, latency: Verdict = Verdict.CLEAN, slow: Verdict = Verdict.CLEAN):
    """Return the findings of :func:`plan_of`'s three checks."""
    return (
        Finding(ERRORS.name, errors, 0.1, requests=200, needed=100, message="10 % errors"),
        Finding(SLOW.name, slow, 0.2, requests=200, needed=100, dry_run=True, message="slow"),
        Finding(LATENCY.name, latency, 700.0, requests=200, needed=100, message="700 ms"),
    )


CLEAN = found(Verdict.CLEAN)
UNDECIDED = found(Verdict.UNDECIDED)
NO_DATA = found(Verdict.NO_DATA)
REGRESSED = found(Verdict.REGRESSED)
SIGNAL = found(Verdict.CLEAN, Verdict.REGRESSED)
DRY_RUN = found(Verdict.CLEAN, slow=Verdict.REGRESSED)


def at_step(flag: Flag, plan: Plan, step: int) -> Flag:
    """Return the flag as a rollout leaves it at a step."""
    before = flag
    for number in range(step + 1):
        raised = aim(flag, plan.variant, exposing(plan, number, before, first=number == 0))
        assert raised is not None
        flag = raised
    return with_on(flag, True)


def state_at(
    plan: Plan = CANARY,
    step: int = 0,
    phase: Phase = Phase.PROGRESSING,
    *,
    before: Flag = BEFORE,
    **fields: Any,
) -> State:
    """Return the state of a rollout that entered a step half a minute ago and looked just now."""
    return replace(
        State(
            phase=phase,
            step=step,
            entered=True,
            entered_at=NOW - 30 * SECOND,
            baked=25.0,
            waited=25.0,
            desired=flag_to_data(at_step(before, plan, step)),
            started_at=NOW - 300 * SECOND,
            looked_at=NOW - int(TICK * SECOND),
            act=Act.EXPOSED,
        ),
        **fields,
    )


def new_state(before: Flag = BEFORE, **fields: Any) -> State:
    """Return the state of a rollout that nobody has looked at yet."""
    return replace(State(desired=flag_to_data(before)), **fields)


def seen_with(flag: Flag | None, before: Flag = BEFORE, **fields: Any) -> Seen:
    """Return an observation, with clean findings unless others are given."""
    return Seen(**{"now": NOW, "flag": flag, "snapshot": before, "findings": CLEAN, **fields})


def asks(verb: Verb, step: int = 0, **fields: Any) -> tuple[Asked, ...]:
    """Return one command of ana's."""
    return (Asked(**{"id": 7, "verb": verb, "step": step, "actor": "ana", "reason": "", **fields}),)


def carried_out(action: Action, flag: Flag, before: Flag, plan: Plan) -> Flag:
    """Return the flag after an action, made by the pure edits."""
    match action.operation:
        case Operation.START | Operation.RAISE:
            raised = aim(flag, plan.variant, action)
            assert raised is not None
            return raised
        case Operation.LOWER:
            return lowered(flag, plan.variant, action)
        case Operation.OFF:
            return with_on(flag, False)
        case Operation.RESTORE:
            return with_about(before, flag)
