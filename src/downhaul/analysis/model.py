"""What metric sources, evidence and the rollout engine say to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

_NOTHING: Final[Mapping[float, int]] = MappingProxyType({})


CLEAN_BELOW: Final = 2.0
"""How many times the control's rate a variant is shown to lie below when it is called clean."""


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
    SAMPLE_RATIO = "sample_ratio"
    """Whether users get the variant as often as the split says, each counted once in a step."""


class Against(StrEnum):
    """What a sequential check compares with (rule R6). It may be looked at after every request."""

    CONTROL = "control"
    """Those who get another variant at the same time: what hits both moves nothing."""
    SLO = "slo"
    """A rate that was promised, the check's ``limit``."""


class Count(StrEnum):
    """What a sequential check counts."""

    REQUESTS = "requests"
    USERS = "users"
    """Each user once as bad, however many requests failed: users are assigned, not requests."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is watched. A guardrail rolls back, a signal holds.

    A check is a threshold, or with ``against`` a sequential test.

    A threshold has exactly one of ``limit`` and ``over_control``. ``limit`` is absolute: a fraction
    for rates, milliseconds for latency; a success rate must not fall below it, everything else not
    exceed it. ``over_control`` compares with those who get another variant at the same time: for
    rates the points that it may be worse by (0.02 is two points), for latency the fraction that it
    may be slower by (0.3 is 30 %). ``min_sample`` is how many requests of the variant (and, with
    ``over_control``, of the control as well) a verdict needs. ``window`` is how many seconds are
    looked back on; None is the whole step.

    A sequential test looks at rates of what is bad: errors, requests without success, slow ones.
    Against the control it has no limit: ``tolerate`` is the fraction that the variant's rate may
    lie above the control's (0.25 is a quarter more), and it is clean once it is shown to be below
    ``clean_below`` times the control's. Against an SLO both are the ``limit``. ``together`` is how
    many bad requests come together, of one user, as far as it is known beforehand; 1 leaves it to
    what the control shows.

    ``quantile`` stands for ``slower_than`` until a rollout starts: 0.95 is what one in twenty of
    today's requests exceeds. ``dry_run`` reports and decides nothing.
    """

    measure: Measure
    limit: float | None = None
    over_control: float | None = None
    slower_than: float | None = None
    min_sample: int = 100
    window: float | None = None
    dry_run: bool = False
    against: Against | None = None
    tolerate: float = 0.0
    clean_below: float = CLEAN_BELOW
    count: Count = Count.REQUESTS
    together: float = 1.0
    quantile: float | None = None

    @property
    def sequential(self) -> bool:
        """Whether it is a sequential test."""
        return self.against is not None

    @property
    def needs_control(self) -> bool:
        """Whether it says nothing where nobody gets another variant."""
        return (
            self.over_control is not None
            or self.against is Against.CONTROL
            or self.measure is Measure.SAMPLE_RATIO
        )

    @property
    def name(self) -> str:
        """A name that tells it from the other checks: ``error_rate < 5 %``."""
        if self.measure is Measure.SAMPLE_RATIO:
            return "users as the split says"
        if self.sequential:
            return self._sequential_name()
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
            what = f"slower than {self.slow}"
        sign = ">=" if self.measure is Measure.SUCCESS_RATE else "<="
        window = "" if self.window is None else f" in {self.window:g} s"
        return f"{what} {sign} {allowed}{window}"

    @property
    def slow(self) -> str:
        """From when on a request is slow, in words: ``800 ms``, ``p95``."""
        if self.quantile is not None:
            return f"p{self.quantile * 100:g}"
        return f"{self.slower_than or 0:g} ms"

    def _sequential_name(self) -> str:
        what: str = self.measure.value
        if self.measure is Measure.SLOW_RATE:
            what = f"slower than {self.slow}"
        by = " by user" if self.count is Count.USERS else ""
        if self.against is Against.SLO:
            return f"{what}{by} vs SLO {round((self.limit or 0) * 100, 6):g} %"
        more = f" +{round(self.tolerate * 100, 6):g} %" if self.tolerate else ""
        return f"{what}{by} vs control{more}"


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
    many the variant had in the time looked at, ``needed`` how many a verdict needs. Of a sequential
    test ``evidence`` is how many times likelier what was seen is if the variant is worse, and
    ``enough`` from how much on it has regressed.
    """

    check: str
    verdict: Verdict
    value: float | None = None
    control: float | None = None
    requests: int = 0
    needed: int = 0
    dry_run: bool = False
    message: str = ""
    evidence: float | None = None
    enough: float | None = None

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
            "evidence": self.evidence,
            "enough": self.enough,
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
            evidence=data.get("evidence"),
            enough=data.get("enough"),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open stretch of time: from ``since`` up to but without ``until``.

    Microseconds since 1970 by the clock that the source stamps what it counts with.
    """

    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What one arm did in a window. ``timed`` is how many requests have a latency.

    ``slow`` counts, by threshold in milliseconds, the requests that took longer.

    The rest counts people, and is 0 unless it was asked for. ``users`` had a request in the window.
    ``new_users`` had their first one in it, ``error_users`` their first error, ``failed_users``
    their first request without success, ``slow_users`` by threshold their first slow one: the first
    since the moment that was named, so that over windows that follow each other each user is in
    each of these once at most. ``anonymous`` requests have no user, and are in none of these.

    Two windows together have ``users`` that are in both twice; all the others add up.
    """

    requests: int = 0
    errors: int = 0
    successes: int = 0
    timed: int = 0
    latency_ms: float = 0.0
    slow: Mapping[float, int] = field(default_factory=lambda: _NOTHING)
    users: int = 0
    new_users: int = 0
    error_users: int = 0
    failed_users: int = 0
    slow_users: Mapping[float, int] = field(default_factory=lambda: _NOTHING)
    anonymous: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return both together; ``users`` who are in both count twice then."""
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            self.successes + other.successes,
            self.timed + other.timed,
            self.latency_ms + other.latency_ms,
            _together(self.slow, other.slow),
            self.users + other.users,
            self.new_users + other.new_users,
            self.error_users + other.error_users,
            self.failed_users + other.failed_users,
            _together(self.slow_users, other.slow_users),
            self.anonymous + other.anonymous,
        )


def _together(one: Mapping[float, int], other: Mapping[float, int]) -> Mapping[float, int]:
    return {
        threshold: one.get(threshold, 0) + other.get(threshold, 0) for threshold in {**one, **other}
    }


@dataclass(frozen=True, slots=True)
class Sample:
    """A source's answer: counts by variant for a window, and the query that gave them.

    ``query`` is for people, without secrets. ``warnings`` are what the place that was asked said
    beside its answer, and what could not be counted.
    """

    window: Window
    arms: Mapping[str, Counts]
    query: str = ""
    warnings: tuple[str, ...] = ()


class MetricSource(Protocol):
    """Where counts come from. Every method may raise a :class:`~downhaul.errors.DownhaulError`.

    It is asked under a lease of fifteen seconds: no call may last longer than a few of them,
    whatever becomes of the place that it asks. One that raises holds a rollout, and takes nothing
    back.
    """

    @property
    def counts_users(self) -> bool:
        """Whether it can count people, for whoever asks with ``users_since``."""

    def probe(
        self, flag: str, thresholds: tuple[float, ...], *, users: bool = False
    ) -> Sequence[str]:
        """Ask once before a rollout starts, so that what is wrong is told then.

        ``users`` says that people are to be counted. Returns what is odd and may be right, such as
        a metric that nothing was counted in yet.
        """

    def watermark(self) -> int:
        """Return until when the counts are complete, in microseconds since 1970. It never falls."""

    def sample(
        self,
        flag: str,
        window: Window,
        thresholds: tuple[float, ...],
        *,
        preview: bool = False,
        users_since: int | None = None,
    ) -> Sample:
        """Return the counts of the window. ``thresholds`` are the latencies to count ``slow`` by.

        ``preview`` counts requests of targets and rules too, not only those that a split decided:
        whom a step names, by key or by segment, is served by them.
        ``users_since``, in microseconds, also counts people, whose firsts are those from then on.

        The window of the sample begins where the one that was asked begins. It may end earlier: the
        rest is asked for at the next look.
        """
