"""What metric sources, evidence and the rollout engine say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

_NOTHING: Final[Mapping[float, int]] = MappingProxyType({})


class Measure(StrEnum):
    """What a check looks at."""

    ERROR_RATE = "error_rate"
    """Errors by requests, 0 to 1."""
    SUCCESS_RATE = "success_rate"
    """Successes by requests, 0 to 1. A limit is what it must not fall below."""
    LATENCY = "latency"
    """The mean latency of the requests that have one, in milliseconds."""
    SLOW_RATE = "slow_rate"
    """The share of the requests with a latency that took longer than ``slower_than``, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is watched. A guardrail rolls back, a signal holds.

    Exactly one of ``limit`` and ``over_control`` is set. ``limit`` is absolute: a fraction for
    rates, milliseconds for latency; a success rate must not fall below it, everything else not
    exceed it. ``over_control`` compares with those who get another variant at the same time: for
    rates the points that it may be worse by (0.02 is two points), for latency the fraction that it
    may be slower by (0.3 is 30 %). ``min_sample`` is how many requests of the variant (and, with
    ``over_control``, of the control as well) a verdict needs. ``window`` is how many seconds are
    looked back on; None is the whole step. ``dry_run`` reports and decides nothing.
    """

    measure: Measure
    limit: float | None = None
    over_control: float | None = None
    slower_than: float | None = None
    min_sample: int = 100
    window: float | None = None
    dry_run: bool = False

    @property
    def name(self) -> str:
        """A name that tells it from the other checks: ``error_rate < 5 %``."""
        if self.measure is Measure.LATENCY:
            allowed = (
                f"{self.limit:g} ms"
                if self.limit is not None
                else f"control +{(self.over_control or 0) * 100:g} %"
            )
        elif self.limit is not None:
            allowed = f"{round(self.limit * 100, 6):g} %"
        elif self.measure is Measure.SUCCESS_RATE:
            allowed = f"control -{round((self.over_control or 0) * 100, 6):g} points"
        else:
            allowed = f"control +{round((self.over_control or 0) * 100, 6):g} points"
        what: str = self.measure.value
        if self.measure is Measure.SLOW_RATE:
            what = f"slower than {self.slower_than:g} ms"
        sign = ">=" if self.measure is Measure.SUCCESS_RATE else "<="
        window = "" if self.window is None else f" in {self.window:g} s"
        return f"{what} {sign} {allowed}{window}"


class Verdict(StrEnum):
    """What the counts prove (rule R5). No data is never good news."""

    REGRESSED = "regressed"
    CLEAN = "clean"
    UNDECIDED = "undecided"
    NO_DATA = "no_data"


@dataclass(frozen=True, slots=True)
class Finding:
    """A judge's answer on one check.

    ``value`` and ``control`` are in the unit of the measure, None without data. ``requests`` is how
    many the variant had in the time looked at, ``needed`` how many a verdict needs.
    """

    check: str
    verdict: Verdict
    value: float | None = None
    control: float | None = None
    requests: int = 0
    needed: int = 0
    dry_run: bool = False
    message: str = ""

    def as_mapping(self) -> dict[str, Any]:
        """Return this as JSON data."""
        return {
            "check": self.check,
            "verdict": self.verdict.value,
            "value": self.value,
            "control": self.control,
            "requests": self.requests,
            "needed": self.needed,
            "dry_run": self.dry_run,
            "message": self.message,
        }

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Finding:
        """Return the finding that :meth:`as_mapping` wrote."""
        return cls(
            check=str(data["check"]),
            verdict=Verdict(data["verdict"]),
            value=data.get("value"),
            control=data.get("control"),
            requests=int(data.get("requests", 0)),
            needed=int(data.get("needed", 0)),
            dry_run=bool(data.get("dry_run", False)),
            message=str(data.get("message", "")),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open stretch of time: from ``since`` up to but without ``until``.

    Microseconds since 1970 by the clock of the store that the requests are logged in.
    """

    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What one arm did in a window. ``timed`` is how many requests have a latency.

    ``slow`` counts, by threshold in milliseconds, the requests that took longer.
    """

    requests: int = 0
    errors: int = 0
    successes: int = 0
    timed: int = 0
    latency_ms: float = 0.0
    slow: Mapping[float, int] = field(default_factory=lambda: _NOTHING)

    def __add__(self, other: Counts) -> Counts:
        """Return both together."""
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            self.successes + other.successes,
            self.timed + other.timed,
            self.latency_ms + other.latency_ms,
            {
                threshold: self.slow.get(threshold, 0) + other.slow.get(threshold, 0)
                for threshold in {**self.slow, **other.slow}
            },
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """A source's answer for one window: counts by variant, and the query that gave them."""

    window: Window
    arms: Mapping[str, Counts]
    query: str = ""


class MetricSource(Protocol):
    """Where counts come from. Every method may raise a :class:`~downhaul.errors.DownhaulError`."""

    def probe(self, flag: str, thresholds: tuple[float, ...]) -> None:
        """Ask once, so that a wrong table or column is told before a rollout starts."""

    def watermark(self) -> int:
        """Return until when the counts are complete, in microseconds since 1970."""

    def sample(
        self, flag: str, window: Window, thresholds: tuple[float, ...], *, preview: bool = False
    ) -> Sample:
        """Return the counts of the window. ``thresholds`` are the latencies to count ``slow`` by.

        ``preview`` counts requests of targets and rules too, not only those that a split decided:
        whom a step names, by key or by segment, is served by them.
        """
