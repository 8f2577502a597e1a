"""A forecast of what a plan can see, as data for programs and as words for people."""

from __future__ import annotations

import math
from typing import Any, Final

from downhaul.rollout.forecast import Forecast, Harm, Sight, StepSight
from downhaul.rollout.units import percent_text, span_text

_WEIGHTS: Final = 1000
_TEN: Final = 10


def forecast_data(found: Forecast | None) -> dict[str, Any] | None:
    """Return a forecast as JSON data; None where there is none."""
    if found is None:
        return None
    return {
        "requests_per_hour": found.traffic.per_hour,
        "seconds": found.traffic.seconds,
        "rates": dict(found.rates),
        "steps": [
            {
                "number": one.number,
                "percent": one.percent,
                "requests": one.requests,
                "too_short": one.too_short,
                "checks": [
                    {"check": sight.check, "least": sight.least, "clear": sight.clear}
                    for sight in one.checks
                ],
            }
            for one in found.steps
        ],
        "harms": [
            {
                "check": one.check,
                "times": one.times,
                "step": one.number,
                "after": _finite(one.after),
                "failed": _finite(one.failed),
            }
            for one in found.harms
        ],
    }


def forecast_head(found: Forecast) -> str:
    """Return the traffic that a forecast stands on."""
    rates = ", ".join(
        f"{name.partition(' vs ')[0]} {rate * 100:.3g} %"
        + (" at most, none was seen" if name in found.unseen else "")
        for name, rate in found.rates.items()
    )
    return (
        f"  foretold   at {found.traffic.per_hour:,.0f} requests an hour, as in the last "
        f"{span_text(found.traffic.seconds)}: {rates}"
    )


def forecast_rows(found: Forecast) -> list[list[str]]:
    """Return a row for each step and check: step, requests, what is found, when it is clean."""
    rows = []
    for step in found.steps:
        for number, sight in enumerate(step.checks):
            first = number == 0
            rows.append(
                [
                    f"{percent_text(round(step.percent * _WEIGHTS))}" if first else "",
                    f"{step.requests:,.0f}" if first else "",
                    sight.check,
                    _least(sight),
                    _clear(step, sight),
                ]
            )
    return rows


def harm_lines(found: Forecast) -> list[str]:
    """Return what regressions would cost, a line for each check and multiple."""
    return [_harm(one) for one in found.harms]


def _least(sight: Sight) -> str:
    if sight.least is None:
        return "nothing"
    return f"{sight.least:.2g} times" if sight.least < _TEN else f"{sight.least:.0f} times"


def _clear(step: StepSight, sight: Sight) -> str:
    if sight.clear is None:
        return "never"
    late = ", past its longest bake" if sight.clear > step.max_bake else ""
    return f"after {span_text(sight.clear)}{late}"


def _harm(one: Harm) -> str:
    what = one.check.partition(" vs ")[0]
    if one.number is None:
        return f"  if worse   {what} {one.times:g} times as high: not found by this plan"
    return (
        f"  if worse   {what} {one.times:g} times as high: taken back at step {one.number}, after "
        f"{span_text(one.after)} of baking; some {math.ceil(one.failed)} more bad requests"
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
