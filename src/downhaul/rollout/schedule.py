"""What a plan would do, with dates. Pure."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass

from downhaul.rollout.gates.times import UnknownZone, datetime_of, microseconds_of, open_from
from downhaul.rollout.plan import Plan, Step


@dataclass(frozen=True, slots=True)
class ScheduledStep:
    """One step in time: when it begins and ends at the earliest, and at the latest.

    At the latest, every step needs its longest bake. After that a person decides, so a rollout can
    take longer still. ``capped`` says that the plan's ``max_duration`` may end before the latest.
    """

    number: int
    step: Step
    enters: dt.datetime
    enters_latest: dt.datetime
    ends: dt.datetime
    ends_latest: dt.datetime
    capped: bool = False

    @property
    def percent(self) -> float:
        """The exposure in percent."""
        return self.step.percent


def schedule(plan: Plan, starts_at: dt.datetime) -> tuple[ScheduledStep, ...]:
    """Return the steps of a plan that starts then, in UTC.

    Where the plan names a later time to start, from then on; what falls into a freeze begins when
    that is over. A pause, a person who promotes, one who has to approve, and controllers that were
    away move what comes after. Raises ValueError for a time without an offset.
    """
    if starts_at.utcoffset() is None:
        message = (
            f"{starts_at.isoformat()} has no UTC offset: pass a time such as datetime.now(UTC)"
        )
        raise ValueError(message)
    # In UTC: where the clocks change, a day on the wall is not 24 hours.
    starts_at = max(starts_at.astimezone(dt.UTC), datetime_of(plan.gates.starts_at))
    starts_at = _thawed(plan, starts_at)
    limit = None if plan.max_duration is None else starts_at + _span(plan.max_duration)
    enters = latest = starts_at
    found: list[ScheduledStep] = []
    for number, step in enumerate(plan.steps, start=1):
        ends, ends_latest = enters + _span(step.bake), latest + _span(step.max_bake)
        capped = limit is not None and ends_latest > limit
        found.append(ScheduledStep(number, step, enters, latest, ends, ends_latest, capped))
        enters, latest = _thawed(plan, ends), _thawed(plan, ends_latest)
    return tuple(found)


def _thawed(plan: Plan, at: dt.datetime) -> dt.datetime:
    """Return the first moment from then on that no freeze covers; the same where none is known."""
    with suppress(UnknownZone):  # the lint says so
        opens = open_from(plan.gates.freezes, microseconds_of(at))
        return at if opens is None else datetime_of(opens)
    return at


def durations(plan: Plan) -> tuple[float, float]:
    """Return how many seconds all steps take together, at the least and at the most."""
    return sum(one.bake for one in plan.steps), sum(one.max_bake for one in plan.steps)


def _span(seconds: float) -> dt.timedelta:
    return dt.timedelta(seconds=seconds)
