"""The checks of a plan, out of the tables of a file: what fits together, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from downhaul.analysis.model import CLEAN_BELOW, Against, Check, Count, Measure
from downhaul.documents.faults import Fault, Place, quoted
from downhaul.rollout.planmodel import QUANTILE_PATTERN, CheckTable
from downhaul.rollout.units import is_span, percent_of, seconds_of

_SHARES: Final = (Measure.ERROR_RATE, Measure.SUCCESS_RATE, Measure.SLOW_RATE)
_SEQUENTIAL: Final = frozenset(
    {"measure", "against", "slower_than", "count", "together", "dry_run"}
)


def checks_of(
    name: str, tables: Sequence[CheckTable], min_sample: int
) -> tuple[tuple[Check, ...], list[Fault]]:
    """Return the checks of ``guardrails`` or ``signals``, and what is wrong about them."""
    found: list[Check] = []
    faults: list[Fault] = []
    for index, one in enumerate(tables):
        place: Place = (name, index)
        wrong = [fault.under(place) for fault in _unfit(one)]
        faults += wrong
        if wrong:
            continue
        check = _check(one, min_sample)
        if any(check.name == other.name for other in found):
            message = f"{check.name} is there twice"
            faults.append(Fault(place, message, "leave one of them"))
        found.append(check)
    return tuple(found), faults


def _check(one: CheckTable, min_sample: int) -> Check:
    return Check(
        measure=one.measure,
        limit=None if one.limit is None else _limit(one.measure, one.limit),
        over_control=None if one.over_control is None else percent_of(one.over_control) / 100,
        slower_than=None
        if one.slower_than is None or _quantile(one.slower_than)
        else _milliseconds(one.slower_than),
        quantile=_quantile(one.slower_than or ""),
        min_sample=one.min_sample or min_sample,
        window=one.window,
        dry_run=one.dry_run,
        against=one.against,
        tolerate=0.0 if one.tolerate is None else percent_of(one.tolerate) / 100,
        clean_below=one.clean_below or CLEAN_BELOW,
        count=one.count or Count.REQUESTS,
        together=one.together or 1.0,
    )


def _unfit(one: CheckTable) -> Iterator[Fault]:
    """Yield what is wrong with a check beyond the types of its fields."""
    if one.against is not None or one.measure is Measure.SAMPLE_RATIO:
        yield from _unfit_sequential(one)
    else:
        yield from _unfit_threshold(one)
    if one.limit is not None and one.measure is not Measure.SAMPLE_RATIO:
        if one.measure in _SHARES:
            yield from _no_percentage(("limit",), one.limit, f"the limit of {one.measure.value}")
        else:
            yield from _no_time(("limit",), one.limit, "the limit of a latency")
    if one.measure is Measure.SLOW_RATE:
        if one.slower_than is None:
            yield Fault(("slower_than",), "is missing", 'say what is slow: slower_than = "2s"')
        elif _quantile(one.slower_than) is None:
            yield from _no_time(("slower_than",), one.slower_than, "what is slow")
    elif one.slower_than is not None:
        hint = 'for a share of slow requests say measure = "slow_rate"'
        yield Fault(("slower_than",), f"{one.measure.value} takes no such field", hint)


def _quantile(text: str) -> float | None:
    """Return the quantile that a text says: 0.95 for ``p95``, None for any other text."""
    found = re.match(QUANTILE_PATTERN, text)
    return round(float(found[1]) / 100, 6) if found else None


def _unfit_sequential(one: CheckTable) -> Iterator[Fault]:
    """Yield what a test that may be looked at at any time can't have, or lacks."""
    ratio = one.measure is Measure.SAMPLE_RATIO
    allowed = {"measure", "min_sample", "dry_run"} if ratio else _SEQUENTIAL
    if one.against is Against.CONTROL:
        allowed = allowed | {"tolerate", "clean_below"}
    if one.against is Against.SLO:
        allowed = allowed | {"limit"}
    kind = "sample_ratio" if ratio else f'against = "{one.against}"'
    for name in one.model_fields_set - allowed:
        if getattr(one, name) not in (None, False):
            yield Fault((name,), f"a check with {kind} takes no such field", "leave it out")
    if one.measure is Measure.LATENCY:
        hint = 'say measure = "slow_rate" with slower_than at what is slow today'
        yield Fault(("measure",), "a mean latency can't be tested after every request", hint)
    if one.against is Against.SLO and one.limit is None:
        yield Fault(("limit",), "is missing", 'say what was promised: limit = "1 %"')
    if one.tolerate is not None:
        yield from _no_percentage(("tolerate",), one.tolerate, "what is tolerated")


def _unfit_threshold(one: CheckTable) -> Iterator[Fault]:
    for name in ("tolerate", "clean_below", "count", "together"):
        if getattr(one, name) is not None:
            yield Fault((name,), "is for sequential tests", 'say against = "control" or "slo"')
    if (one.limit is None) == (one.over_control is None):
        message = "give either a limit or over_control" if one.limit is None else (
            "both a limit and over_control are given"
        )  # fmt: skip
        yield Fault((), message, "a second check can have the other" if one.limit else None)
    if one.over_control is not None:
        what = "how much worse than the control it may be"
        yield from _no_percentage(("over_control",), one.over_control, what)


def _no_percentage(place: Place, text: str, what: str) -> Iterator[Fault]:
    if not text.strip().endswith("%"):
        yield Fault(place, f"{what} is a percentage, not {quoted(text)}", 'such as "5 %"')
        return
    try:
        percent_of(text)
    except ValueError as error:
        yield Fault(place, str(error))


def _no_time(place: Place, text: str, what: str) -> Iterator[Fault]:
    if not is_span(text) or not seconds_of(text):
        hint = 'such as "800 ms" or "5s"'
        yield Fault(place, f"{what} is a time with its unit, not {quoted(text)}", hint)


def _limit(measure: Measure, text: str) -> float:
    return percent_of(text) / 100 if measure in _SHARES else _milliseconds(text)


def _milliseconds(text: str) -> float:
    return round(seconds_of(text) * 1000, 6)
