"""What a rollout will do: steps, bakes, guardrails, limits. Frozen once it is started (rule R1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from downhaul.analysis.model import CLEAN_BELOW, Against, Check, Count, Measure
from downhaul.analysis.statistics.budget import FALSE_ROLLBACK, shares
from downhaul.flag import WHOLE
from downhaul.rollout.gates.model import NO_GATES, Gates

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

SCHEMA: Final = 2
"""The version of a plan's stored form, as far as this code reads it."""

_FIRST: Final = 1  # read too by code that knows neither gates nor steps for named users

CANARY_PERCENTS: Final = (1.0, 5.0, 10.0, 25.0, 50.0, 100.0)
"""The guide's steps, one a day."""

DEFAULT_BAKE: Final = DAY
DEFAULT_REVERT_WINDOW: Final = 72 * HOUR
DEFAULT_INTERVAL: Final = 5.0
DEFAULT_MIN_SAMPLE: Final = 100
MAX_BAKES: Final = 3.0
"""How often its bake a step may last before it counts as undecided for good."""

_HELD_BACK: Final = 2  # the step that bakes, and the one that lets everybody in
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Strategy(StrEnum):
    """How exposure rises."""

    CANARY = "canary"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    BLUE_GREEN = "blue_green"
    RELEASE = "release"
    """Named users and segments first, then percentages."""
    RINGS = "rings"
    """One named group after the other, and everybody last."""


class OnUndecided(StrEnum):
    """What happens to a step whose checks are still undecided when its time is up (rule R5)."""

    PAUSE = "pause"
    PROMOTE = "promote"
    """Only where there was data and nothing in it is bad; without data it pauses all the same."""
    ROLLBACK = "rollback"


class OnMetricsLost(StrEnum):
    """What happens when the metric source stays away for ``metrics_lost_after``."""

    HOLD = "hold"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Step:
    """One exposure and how long it bakes.

    ``weight`` is in thousandths of a percent; ``bake`` and ``max_bake`` are seconds. A ``preview``
    step serves named users alone: its weight is that of the flag before. They are its own
    ``targets`` (targeting keys) and ``segments``, and the plan's audience. Who was named stays in
    at the steps that follow. A step may have a
    ``name`` for people. Only the write that ends a holdback bakes for no time at all.
    """

    weight: int
    bake: float
    max_bake: float
    preview: bool = False
    targets: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    name: str = ""

    @property
    def percent(self) -> float:
        """The exposure in percent."""
        return self.weight * 100 / WHOLE


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollout will do, whole. Made by :mod:`downhaul.rollout.planfile` or by hand.

    ``min_sample`` stands in each check already. ``unguarded`` says why there are no guardrails
    (rule R3). ``max_duration`` (seconds) pauses a rollout that takes longer. ``interval`` is the
    seconds between two looks. ``audience`` are targeting keys that every preview step serves.
    ``metrics`` says where counts come from: ``{"source": "requests"}``, or ``{"source": "sql",
    "table": ..., "columns": {...}}``. ``false_alarms`` is how likely chance alone may take a
    healthy rollout back, by all sequential guardrails together and in its whole life: 0.01 is once
    in a hundred. ``template`` is the name and version of the template that it was made of, as
    ``guide@1``.
    """

    flag: str
    variant: str
    steps: tuple[Step, ...]
    strategy: Strategy = Strategy.CANARY
    guardrails: tuple[Check, ...] = ()
    signals: tuple[Check, ...] = ()
    unguarded: str = ""
    on_undecided: OnUndecided = OnUndecided.PAUSE
    on_metrics_lost: OnMetricsLost = OnMetricsLost.HOLD
    metrics_lost_after: float = 15 * MINUTE
    max_duration: float | None = None
    revert_window: float = DEFAULT_REVERT_WINDOW
    interval: float = DEFAULT_INTERVAL
    audience: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    description: str = ""
    false_alarms: float = FALSE_ROLLBACK
    gates: Gates = NO_GATES
    template: str = ""

    @property
    def checks(self) -> tuple[Check, ...]:
        """Guardrails and signals."""
        return (*self.guardrails, *self.signals)

    def checks_at(self, step: int) -> tuple[Check, ...]:
        """Return the checks that can be made at a step.

        With everybody in, there is no control, and no split to hold users against. Nor is there one
        at a preview, which serves whom somebody named.
        """
        here = self.steps[step]
        if here.weight == WHOLE:
            return tuple(check for check in self.checks if not check.needs_control)
        if here.preview:
            return tuple(one for one in self.checks if one.measure is not Measure.SAMPLE_RATIO)
        return self.checks

    @property
    def alphas(self) -> Mapping[str, float]:
        """The chance of a false alarm of each sequential check, by its name (rule R6).

        Guardrails share what the plan allows all of them together; what can't take a rollout back
        spends nothing of it.
        """
        deciding = [one for one in self.guardrails if one.sequential and not one.dry_run]
        each = shares(len(deciding), self.false_alarms)
        found = {one.name: self.false_alarms for one in self.checks if one.sequential}
        return found | {one.name: each for one in deciding}

    @property
    def counts_users(self) -> bool:
        """Whether any check counts users."""
        return any(
            one.count is Count.USERS or one.measure is Measure.SAMPLE_RATIO for one in self.checks
        )

    @property
    def holdback(self) -> int:
        """What the last bake holds back of everybody, in thousandths of a percent; 0 for nothing.

        So there is a control while it bakes. The last step lets them in and ends the rollout.
        """
        if len(self.steps) < _HELD_BACK:
            return 0
        baking, last = self.steps[-2:]
        if last.bake or last.weight < WHOLE or baking.preview:
            return 0
        return WHOLE - baking.weight

    def ends_holdback(self, step: int) -> bool:
        """Return whether a step only lets in what the final bake held back."""
        return self.holdback > 0 and step == len(self.steps) - 1

    @property
    def guarded(self) -> bool:
        """Whether any guardrail decides."""
        return any(not check.dry_run for check in self.guardrails)

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments that any step serves by name."""
        return tuple(dict.fromkeys(one for step in self.steps for one in step.segments))

    @property
    def targets(self) -> tuple[str, ...]:
        """The targeting keys that any step serves by name."""
        numbers = range(len(self.steps))
        return tuple(dict.fromkeys(one for number in numbers for one in self.targets_at(number)))

    def targets_at(self, step: int) -> tuple[str, ...]:
        """Return the targeting keys that a step begins to serve by name."""
        one = self.steps[step]
        return tuple(dict.fromkeys((*(self.audience if one.preview else ()), *one.targets)))

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The latencies, in milliseconds, by which requests count as slow."""
        found = {check.slower_than for check in self.checks if check.slower_than is not None}
        return tuple(sorted(found))

    def as_mapping(self) -> dict[str, Any]:
        """Return this as JSON data, as it is stored."""
        named = any(one.targets or one.segments for one in self.steps)
        data: dict[str, Any] = {
            "schema": SCHEMA if named or self.gates else _FIRST,
            "flag": self.flag,
            "variant": self.variant,
            "strategy": self.strategy.value,
            "steps": [_step_data(step) for step in self.steps],
            "guardrails": [_check_data(check) for check in self.guardrails],
            "signals": [_check_data(check) for check in self.signals],
            "unguarded": self.unguarded,
            "on_undecided": self.on_undecided.value,
            "on_metrics_lost": self.on_metrics_lost.value,
            "metrics_lost_after": float(self.metrics_lost_after),
            "max_duration": None if self.max_duration is None else float(self.max_duration),
            "revert_window": float(self.revert_window),
            "interval": float(self.interval),
            "audience": list(self.audience),
            "metrics": dict(self.metrics),
            "description": self.description,
            **self.gates.as_mapping(),  # nothing where there are none: the digest is what it was
            **({"template": self.template} if self.template else {}),
        }
        # What a plan does not use is not written, so that its digest stays what it was.
        if self.false_alarms != FALSE_ROLLBACK:
            data["false_alarms"] = self.false_alarms
        return data

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that :meth:`as_mapping` wrote, by this or an earlier version.

        A field that an earlier version did not write has its default. Raises ValueError for a plan
        that a later version wrote.
        """
        if int(data.get("schema", SCHEMA)) > SCHEMA:
            message = f"the plan was written by a newer version (schema {data['schema']})"
            raise ValueError(message)
        plan = cls(str(data["flag"]), str(data["variant"]), ())
        return cls(
            flag=plan.flag,
            variant=plan.variant,
            steps=tuple(_step(step) for step in data["steps"]),
            strategy=Strategy(data.get("strategy", plan.strategy)),
            guardrails=tuple(_check(one) for one in data.get("guardrails", ())),
            signals=tuple(_check(one) for one in data.get("signals", ())),
            unguarded=str(data.get("unguarded", "")),
            on_undecided=OnUndecided(data.get("on_undecided", plan.on_undecided)),
            on_metrics_lost=OnMetricsLost(data.get("on_metrics_lost", plan.on_metrics_lost)),
            metrics_lost_after=float(data.get("metrics_lost_after", plan.metrics_lost_after)),
            max_duration=None if data.get("max_duration") is None else float(data["max_duration"]),
            revert_window=float(data.get("revert_window", plan.revert_window)),
            interval=float(data.get("interval", plan.interval)),
            audience=tuple(data.get("audience", ())),
            metrics=dict(data.get("metrics", {})),
            description=str(data.get("description", "")),
            false_alarms=float(data.get("false_alarms", FALSE_ROLLBACK)),
            gates=Gates.from_mapping(data),
            template=str(data.get("template", "")),
        )

    @property
    def digest(self) -> str:
        """A hash over all of it, so that an edited plan is seen."""
        return digest_of(self.as_mapping())


def digest_of(data: Mapping[str, Any]) -> str:
    """Return the digest of a plan as it is kept, whichever version wrote it."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _step_data(step: Step) -> dict[str, Any]:
    return {
        "weight": step.weight,
        "bake": float(step.bake),  # whole numbers read back as floats: one digest
        "max_bake": float(step.max_bake),
        "preview": step.preview,
        # Left out where there are none: such a step has the form, and its plan the digest, of ever.
        **({"targets": list(step.targets)} if step.targets else {}),
        **({"segments": list(step.segments)} if step.segments else {}),
        **({"name": step.name} if step.name else {}),
    }


def _step(data: Mapping[str, Any]) -> Step:
    return Step(
        weight=int(data["weight"]),
        bake=float(data["bake"]),
        max_bake=float(data.get("max_bake", data["bake"] * MAX_BAKES)),
        preview=bool(data.get("preview", False)),
        targets=tuple(data.get("targets", ())),
        segments=tuple(data.get("segments", ())),
        name=str(data.get("name", "")),
    )


def _check_data(check: Check) -> dict[str, Any]:
    data: dict[str, Any] = {
        "measure": check.measure.value,
        "limit": check.limit,
        "over_control": check.over_control,
        "slower_than": check.slower_than,
        "min_sample": check.min_sample,
        "window": check.window,
        "dry_run": check.dry_run,
    }
    if check.quantile is not None:
        data["quantile"] = float(check.quantile)
    if check.against is not None:  # written where it is used: digests stay what they were
        data |= {
            "against": check.against.value,
            "tolerate": float(check.tolerate),
            "clean_below": float(check.clean_below),
            "count": check.count.value,
            "together": float(check.together),
        }
    return data


def _check(data: Mapping[str, Any]) -> Check:
    against = data.get("against")
    return Check(
        measure=Measure(data["measure"]),
        limit=data.get("limit"),
        over_control=data.get("over_control"),
        slower_than=data.get("slower_than"),
        min_sample=int(data.get("min_sample", DEFAULT_MIN_SAMPLE)),
        window=data.get("window"),
        dry_run=bool(data.get("dry_run", False)),
        against=None if against is None else Against(against),
        tolerate=float(data.get("tolerate", 0.0)),
        clean_below=float(data.get("clean_below", CLEAN_BELOW)),
        count=Count(data.get("count", Count.REQUESTS)),
        together=float(data.get("together", 1.0)),
        quantile=None if data.get("quantile") is None else float(data["quantile"]),
    )
