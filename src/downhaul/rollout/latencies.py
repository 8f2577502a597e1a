"""What is slow today: a quantile of the latencies that a metric source saw lately.

A plan may say ``slower_than = "p95"``. It is worked out once, before the start, and stands in the
plan as milliseconds from then on: what is slow does not move while a rollout is watched by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from downhaul.analysis.model import Check, Counts, MetricSource, Window
from downhaul.errors import Refused
from downhaul.rollout.plan import Plan

LEAST: Final = 200
"""How many requests with a latency a quantile needs."""

_SECOND: Final = 1_000_000
_COARSE: Final = tuple(float(f"{1.3**at:.3g}") for at in range(52))  # 1 ms to ten minutes
_BETWEEN: Final = 20


def with_latencies(plan: Plan, source: MetricSource, seconds: float) -> Plan:
    """Return the plan with milliseconds in place of quantiles.

    They are those of the last ``seconds``, over all variants. Raises Refused for too few requests,
    and what the source says that does not answer.
    """
    wanted = sorted({one.quantile for one in plan.checks if one.quantile is not None})
    if not wanted:
        return plan
    until = source.watermark()
    window = Window(until - round(seconds * _SECOND), until)
    found = {one: _quantile(plan.flag, source, window, one) for one in wanted}

    def settled(checks: Sequence[Check]) -> tuple[Check, ...]:
        return tuple(
            one
            if one.quantile is None
            else replace(one, slower_than=found[one.quantile], quantile=None)
            for one in checks
        )

    return replace(plan, guardrails=settled(plan.guardrails), signals=settled(plan.signals))


def _quantile(flag: str, source: MetricSource, window: Window, part: float) -> float:
    coarse = _slower(flag, source, window, _COARSE)
    if coarse.timed < LEAST:
        hours = (window.until - window.since) / _SECOND / 3600
        raise Refused(
            f'"{flag}" had {coarse.timed} requests with a latency in the last {hours:g} h, and '
            f"p{part * 100:g} needs {LEAST}",
            hint='give slower_than as a time: "800 ms"',
            flag=flag,
        )
    above = _first(coarse, _COARSE, part)
    if above == 0:
        return _COARSE[0]
    if above == len(_COARSE):
        raise Refused(
            f'p{part * 100:g} of "{flag}" lies above {_COARSE[-1] / 1000:g} s',
            hint='give slower_than as a time, such as "20m"; or look at what logs the latencies',
            flag=flag,
        )
    low, high = _COARSE[above - 1], _COARSE[above]
    step = (high - low) / _BETWEEN
    fine = tuple(float(f"{low + step * at:.4g}") for at in range(1, _BETWEEN + 1))
    return fine[min(_first(_slower(flag, source, window, fine), fine, part), _BETWEEN - 1)]


def _first(counts: Counts, limits: Sequence[float], part: float) -> int:
    """Return the index of the first limit that no more than the rest of the requests exceed."""
    allowed = (1 - part) * counts.timed
    for index, limit in enumerate(limits):
        if counts.slow.get(limit, 0) <= allowed:
            return index
    return len(limits)


def _slower(flag: str, source: MetricSource, window: Window, limits: tuple[float, ...]) -> Counts:
    return sum(source.sample(flag, window, limits).arms.values(), Counts())
