"""What a service of one's own answers with, when it is asked for counts over HTTP.

It is read strictly: a count that can't be is told, and is never made to fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from downhaul.analysis.model import Counts, Window
from downhaul.analysis.variants import Variants
from downhaul.documents.faults import quoted

MOST_ARMS = 100
"""Arms in an answer, at most: more are no variants of a flag."""

Many = Annotated[int, Field(ge=0, lt=2**53)]
ByThreshold = dict[str, Many]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class AnsweredWindow(_Strict):
    """The stretch that was counted: it begins where it was asked to, and may end earlier."""

    since: Many
    until: Many


class AnsweredArm(_Strict):
    """What one variant did."""

    requests: Many
    errors: Many
    successes: Many | None = None
    """left out, the requests without an error"""
    timed: Many = 0
    """how many requests have a latency"""
    latency_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """the sum of their latencies"""
    slow: ByThreshold = Field(default_factory=dict)
    """by threshold in milliseconds, how many took longer"""
    users: Many | None = None
    new_users: Many | None = None
    error_users: Many | None = None
    failed_users: Many | None = None
    slow_users: ByThreshold | None = None
    anonymous: Many = 0


class Answered(_Strict):
    """A whole answer."""

    window: AnsweredWindow
    arms: dict[str, AnsweredArm]
    query: str = ""
    warnings: list[str] = Field(default_factory=list)


class Impossible(Exception):
    """An answer that can't be, with why."""


def read(
    data: Any, asked: Window, thresholds: Sequence[float], variants: Variants, *, users: bool
) -> tuple[Window, dict[str, Counts], Answered]:
    """Return the window that was counted, and the counts by variant.

    Raises Impossible, which says what is wrong and where.
    """
    try:
        answer = Answered.model_validate(data)
    except ValidationError as error:
        raise Impossible(_first(error)) from None
    since, until = answer.window.since, answer.window.until
    if since != asked.since or not since <= until <= asked.until:
        raise Impossible(
            f"window: it is of {since} to {until}, and {asked.since} to {asked.until} was asked "
            "for (is there a cache in between?)"
        )
    if len(answer.arms) > MOST_ARMS:
        raise Impossible(f"arms: {len(answer.arms)} are more than {MOST_ARMS}: are they variants?")
    arms: dict[str, Counts] = {}
    for name, arm in answer.arms.items():
        for wrong in _wrong(arm, thresholds, users=users):
            raise Impossible(f"arms.{name}: {wrong}")
        ours = variants.of(name)
        arms[ours] = arms.get(ours, Counts()) + _counts(arm, thresholds, users=users)
    return Window(since, until), arms, answer


def _wrong(arm: AnsweredArm, thresholds: Sequence[float], *, users: bool) -> Iterator[str]:
    requests, timed = arm.requests, arm.timed
    for name in ("errors", "successes", "timed", "anonymous"):
        many = getattr(arm, name)
        if many is not None and many > requests:
            yield f"{many} {name} in {requests} requests"
    if arm.latency_ms and not timed:
        yield f"latency_ms is {arm.latency_ms:g}, and no request has a latency"
    slow = _by_threshold(arm.slow)
    for threshold in thresholds:
        if threshold not in slow and timed:
            yield f"slow has nothing for {threshold:g}, which was asked for"
        if slow.get(threshold, 0) > timed:
            yield f"{slow[threshold]} took longer than {threshold:g} ms, of {timed} with a latency"
    if users:
        yield from _wrong_users(arm, thresholds)


def _wrong_users(arm: AnsweredArm, thresholds: Sequence[float]) -> Iterator[str]:
    if arm.users is None or arm.slow_users is None:
        yield f"{'users' if arm.users is None else 'slow_users'} is missing, and was asked for"
        return
    if arm.users + arm.anonymous > arm.requests:
        yield f"{arm.users} users and {arm.anonymous} anonymous in {arm.requests} requests"
    for name in ("new_users", "error_users", "failed_users"):
        many = getattr(arm, name)
        if many is None:
            yield f"{name} is missing, and was asked for"
        elif many > arm.users:
            yield f"{many} {name} of {arm.users} users"
    slow = _by_threshold(arm.slow_users)
    for threshold in thresholds:
        if threshold not in slow:
            yield f"slow_users has nothing for {threshold:g}, which was asked for"
        elif slow[threshold] > arm.users:
            yield f"{slow[threshold]} slow_users of {arm.users} users"


def _counts(arm: AnsweredArm, thresholds: Sequence[float], *, users: bool) -> Counts:
    slow = _by_threshold(arm.slow)
    counts = Counts(
        arm.requests,
        arm.errors,
        arm.requests - arm.errors if arm.successes is None else arm.successes,
        arm.timed,
        arm.latency_ms,
        {one: slow.get(one, 0) for one in thresholds},
    )
    if not users:
        return counts
    slow_users = _by_threshold(arm.slow_users or {})
    return counts + Counts(
        users=arm.users or 0,
        new_users=arm.new_users or 0,
        error_users=arm.error_users or 0,
        failed_users=arm.failed_users or 0,
        slow_users={one: slow_users.get(one, 0) for one in thresholds},
        anonymous=arm.anonymous,
    )


def _by_threshold(given: dict[str, int]) -> dict[float, int]:
    found: dict[float, int] = {}
    for text, many in given.items():
        try:
            found[float(text)] = many
        except ValueError:
            raise Impossible(f"{quoted(text)} is no threshold in milliseconds") from None
    return found


def _first(error: ValidationError) -> str:
    one = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in one["loc"]) or "the answer"
    if one["type"] == "missing":
        return f"{where} is missing"
    if one["type"] == "extra_forbidden":
        return f"{where} is a field that nobody reads"
    message = str(one["msg"]).replace("Input should", "should")
    value = one.get("input")
    simple = isinstance(value, (str, int, float, bool)) or value is None
    return f"{where} {message}, not {quoted(value)}" if simple else f"{where} {message}"
