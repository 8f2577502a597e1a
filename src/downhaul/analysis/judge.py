"""What the counts of a step say about each of its checks. Pure.

Sequential checks have a module of their own. A threshold's verdict needs ``min_sample`` requests.
One exception: where so many requests failed already that the limit will be exceeded at
``min_sample`` whatever comes, the check has regressed now. It is the verdict that would be reached
anyhow, with fewer people harmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from downhaul.analysis.evidence import Evidence
from downhaul.analysis.model import Check, Counts, Finding, Measure, Verdict
from downhaul.analysis.sequential import examine, examine_split, others
from downhaul.analysis.statistics.budget import FALSE_ROLLBACK

_SECOND: Final = 1_000_000
_NO_ALPHAS: Final[Mapping[str, float]] = MappingProxyType({})
_HAIR: Final = 1e-9  # 0.29 * 100 is not quite 29, and 29 errors in 100 requests are just allowed


def judge_all(
    checks: Iterable[Check],
    evidence: Evidence,
    variant: str,
    now: int,
    *,
    alphas: Mapping[str, float] = _NO_ALPHAS,
    share: float = 0.0,
) -> tuple[Finding, ...]:
    """Return one finding for each check, in their order.

    ``alphas`` are the chances of a false alarm that sequential checks have, by their names.
    ``share`` is the part of the users who are to get the variant, 0 to 1.
    """
    return tuple(
        _judged(check, evidence, variant, now, alphas.get(check.name, FALSE_ROLLBACK), share)
        for check in checks
    )


def _judged(
    check: Check, evidence: Evidence, variant: str, now: int, alpha: float, share: float
) -> Finding:
    if check.measure is Measure.SAMPLE_RATIO:
        return examine_split(check, evidence, variant, share)
    if check.sequential:
        return examine(check, evidence, alpha)
    return judge(check, evidence, variant, now)


def judge(check: Check, evidence: Evidence, variant: str, now: int) -> Finding:
    """Return what the evidence says of a threshold for this variant.

    ``now`` is until when the evidence goes, in microseconds since 1970. The control is all other
    variants together.
    """
    since = None if check.window is None else now - round(check.window * _SECOND)
    arms = evidence.since(since)
    treated = _read(check, arms.get(variant, Counts()))
    control = _read(check, others(arms, variant))
    verdict, message = _verdict(check, treated, control)
    return Finding(
        check=check.name,
        verdict=verdict,
        value=_finite(treated.value),
        control=_finite(control.value),
        requests=treated.requests,
        needed=max(1, check.min_sample),
        dry_run=check.dry_run,
        message=message,
    )


@dataclass(frozen=True, slots=True)
class _Arm:
    """What one arm did, as the check looks at it. ``bad`` of ``requests`` were bad.

    ``total`` is how many requests there were, those without a latency too.
    """

    requests: int
    bad: int
    value: float | None
    total: int


def _read(check: Check, counts: Counts) -> _Arm:
    total = max(0, counts.requests)
    match check.measure:
        case Measure.ERROR_RATE:
            return _Arm(total, counts.errors, _share(counts.errors, total), total)
        case Measure.SUCCESS_RATE:
            failed = total - counts.successes
            return _Arm(total, failed, _share(counts.successes, total), total)
        case Measure.SLOW_RATE:
            timed = max(0, counts.timed)
            slow = counts.slow.get(check.slower_than or 0.0, 0)
            return _Arm(timed, slow, _share(slow, timed), total)
        case _:
            timed = max(0, counts.timed)
            mean = counts.latency_ms / timed if timed else None
            return _Arm(timed, 0, mean, total)


def _verdict(check: Check, treated: _Arm, control: _Arm) -> tuple[Verdict, str]:
    if not treated.requests:
        return Verdict.NO_DATA, _nothing(treated)
    if treated.value is None or not math.isfinite(treated.value):
        return Verdict.UNDECIDED, "the latencies do not add up to a number"
    if treated.requests < max(1, check.min_sample):
        return _early(check, treated)
    if check.over_control is None:
        return _against_limit(check, treated)
    return _against_control(check, treated, control)


def _early(check: Check, treated: _Arm) -> tuple[Verdict, str]:
    needed = max(1, check.min_sample)
    if _bound_to_exceed(check, treated, needed):
        allowed = _allowed(check, check.limit or 0.0)
        words = f"{_found(check, treated)}, which is too many even in {needed}: {allowed}"
        return Verdict.REGRESSED, words
    return Verdict.UNDECIDED, f"{treated.requests} of {needed} {_counted(check)}"


def _against_limit(check: Check, treated: _Arm) -> tuple[Verdict, str]:
    limit = check.limit if check.limit is not None else math.nan
    value = treated.value or 0.0
    if not math.isfinite(limit):
        return Verdict.UNDECIDED, "the check has no limit"
    if check.measure is Measure.LATENCY:
        worse = value > limit + _HAIR * abs(limit)
    elif check.measure is Measure.SUCCESS_RATE:
        worse = value < limit - _HAIR
    else:
        worse = value > limit + _HAIR
    words = f"{_found(check, treated)}: {_shown(check, value)}, and {_allowed(check, limit)}"
    return (Verdict.REGRESSED if worse else Verdict.CLEAN), words


def _against_control(check: Check, treated: _Arm, others: _Arm) -> tuple[Verdict, str]:
    margin = check.over_control if check.over_control is not None else math.nan
    value, control = treated.value or 0.0, others.value
    needed = max(1, check.min_sample)
    if not math.isfinite(margin):
        return Verdict.UNDECIDED, "the check has no margin"
    if control is None or not math.isfinite(control):
        return Verdict.UNDECIDED, "nobody got another variant: there is nothing to compare with"
    if others.requests < needed:
        words = f"{others.requests} of {needed} {_counted(check)} of the other variants"
        return Verdict.UNDECIDED, words
    if check.measure is Measure.LATENCY:
        allowed = control * (1 + margin)
        worse = value > allowed + _HAIR * abs(allowed)
    elif check.measure is Measure.SUCCESS_RATE:
        allowed = control - margin
        worse = value < allowed - _HAIR
    else:
        allowed = control + margin
        worse = value > allowed + _HAIR
    words = (
        f"{_found(check, treated)}: {_shown(check, value)}; the other variants have "
        f"{_shown(check, control)}, and {_allowed(check, allowed)}"
    )
    return (Verdict.REGRESSED if worse else Verdict.CLEAN), words


def _bound_to_exceed(check: Check, treated: _Arm, needed: int) -> bool:
    """Return whether the limit will be exceeded at ``needed`` requests, whatever comes."""
    if check.limit is None or check.measure is Measure.LATENCY:
        return False
    allowed = 1 - check.limit if check.measure is Measure.SUCCESS_RATE else check.limit
    return treated.bad / needed > allowed + _HAIR


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _finite(value: float | None) -> float | None:
    """Return a number that JSON can hold, or None."""
    return value if value is not None and math.isfinite(value) else None


# --- in words


def _nothing(treated: _Arm) -> str:
    if treated.total:
        return f"none of {treated.total} requests has a latency"
    return "no requests"


def _counted(check: Check) -> str:
    timed = check.measure in (Measure.LATENCY, Measure.SLOW_RATE)
    return "requests with a latency" if timed else "requests"


def _found(check: Check, treated: _Arm) -> str:
    many = f"{treated.requests} {'request' if treated.requests == 1 else 'requests'}"
    match check.measure:
        case Measure.ERROR_RATE:
            return f"{treated.bad} {'error' if treated.bad == 1 else 'errors'} in {many}"
        case Measure.SUCCESS_RATE:
            return f"{treated.bad} of {many} without success"
        case Measure.SLOW_RATE:
            return f"{treated.bad} of {many} took longer than {check.slower_than:g} ms"
        case _:
            return f"the mean latency of {many}"


def _shown(check: Check, value: float) -> str:
    if check.measure is Measure.LATENCY:
        return f"{value:.4g} ms"
    return f"{round(value * 100, 2):g} %"


def _allowed(check: Check, limit: float) -> str:
    if check.measure is Measure.SUCCESS_RATE:
        return f"at least {_shown(check, limit)} are wanted"
    return f"{_shown(check, limit)} are allowed"
