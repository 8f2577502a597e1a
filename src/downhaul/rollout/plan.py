"""What a rollout will do: steps, bakes, guardrails, limits. Frozen once it is started (rule R1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from downhaul.analysis.model import Check, Measure
from downhaul.flag import WHOLE
from downhaul.rollout.gates.model import NO_GATES, Gates

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

SCHEMA: Final = 2
"""The version of a plan's stored form, as far as this code reads it."""

_WITHOUT_GATES: Final = 1  # what code before gates reads too; it must not move a plan that has some

CANARY_PERCENTS: Final = (1.0, 5.0, 10.0, 25.0, 50.0, 100.0)
"""The guide's steps, one a day."""

DEFAULT_BAKE: Final = DAY
DEFAULT_REVERT_WINDOW: Final = 72 * HOUR
DEFAULT_INTERVAL: Final = 5.0
DEFAULT_MIN_SAMPLE: Final = 100
MAX_BAKES: Final = 3.0
"""How often its bake a step may last before it counts as undecided for good."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Strategy(StrEnum):
    """How exposure rises."""

    CANARY = "canary"
    LINEAR = "linear"
    BLUE_GREEN = "blue_green"


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
    step serves the plan's audience alone: its weight is that of the flag before.
    """

    weight: int
    bake: float
    max_bake: float
    preview: bool = False

    @property
    def percent(self) -> float:
        """The exposure in percent."""
        return self.weight * 100 / WHOLE


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollout will do, whole. Made by :mod:`downhaul.rollout.planfile` or by hand.

    ``min_sample`` stands in each check already. ``unguarded`` says why there are no guardrails
    (rule R3). ``max_duration`` (seconds) pauses a rollout that takes longer. ``interval`` is the
    seconds between two looks. ``audience`` are targeting keys that a preview step serves.
    ``metrics`` says where counts come from: ``{"source": "requests"}``, or ``{"source": "sql",
    "table": ..., "columns": {...}}``. ``template`` is the name and version of the template that it
    was made of, as ``guide@1``.
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
    gates: Gates = NO_GATES
    template: str = ""

    @property
    def checks(self) -> tuple[Check, ...]:
        """Guardrails and signals."""
        return (*self.guardrails, *self.signals)

    def checks_at(self, step: int) -> tuple[Check, ...]:
        """Return the checks that can be made at a step: with everybody in, there is no control."""
        if self.steps[step].weight < WHOLE:
            return self.checks
        return tuple(check for check in self.checks if check.over_control is None)

    @property
    def guarded(self) -> bool:
        """Whether any guardrail decides."""
        return any(not check.dry_run for check in self.guardrails)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The latencies, in milliseconds, by which requests count as slow."""
        found = {check.slower_than for check in self.checks if check.slower_than is not None}
        return tuple(sorted(found))

    def as_mapping(self) -> dict[str, Any]:
        """Return this as JSON data, as it is stored."""
        return {
            "schema": SCHEMA if self.gates else _WITHOUT_GATES,
            "flag": self.flag,
            "variant": self.variant,
            "strategy": self.strategy.value,
            "steps": [
                {
                    "weight": step.weight,
                    "bake": float(step.bake),  # whole numbers read back as floats: one digest
                    "max_bake": float(step.max_bake),
                    "preview": step.preview,
                }
                for step in self.steps
            ],
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
            steps=tuple(
                Step(
                    int(step["weight"]),
                    float(step["bake"]),
                    float(step.get("max_bake", step["bake"] * MAX_BAKES)),
                    bool(step.get("preview", False)),
                )
                for step in data["steps"]
            ),
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


def _check_data(check: Check) -> dict[str, Any]:
    return {
        "measure": check.measure.value,
        "limit": check.limit,
        "over_control": check.over_control,
        "slower_than": check.slower_than,
        "min_sample": check.min_sample,
        "window": check.window,
        "dry_run": check.dry_run,
    }


def _check(data: Mapping[str, Any]) -> Check:
    return Check(
        measure=Measure(data["measure"]),
        limit=data.get("limit"),
        over_control=data.get("over_control"),
        slower_than=data.get("slower_than"),
        min_sample=int(data.get("min_sample", DEFAULT_MIN_SAMPLE)),
        window=data.get("window"),
        dry_run=bool(data.get("dry_run", False)),
    )
