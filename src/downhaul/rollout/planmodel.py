"""The form of a plan file as pydantic models: which fields there are, and of what type.

What the fields mean together is worked out in :mod:`downhaul.rollout.planfile`; what a flag makes
of them is checked by :mod:`downhaul.rollout.lint`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

from downhaul.analysis.model import Against, Count, Measure
from downhaul.documents.faults import quoted
from downhaul.rollout.gates.tables import (
    GATE_TABLES,
    Approvals,
    FreezeTable,
    HookTable,
    ItemTable,
    Moment,
)
from downhaul.rollout.plan import (
    DEFAULT_BAKE,
    DEFAULT_INTERVAL,
    DEFAULT_MIN_SAMPLE,
    DEFAULT_REVERT_WINDOW,
    MINUTE,
    OnMetricsLost,
    OnUndecided,
    Strategy,
)
from downhaul.rollout.planfields import STRICT, Percent, Seconds, told
from downhaul.rollout.planfields import choice as _choice
from downhaul.rollout.planfields import reading as _reading
from downhaul.rollout.units import PERCENT_PATTERN, SPAN_PATTERN, percent_of

BLUE_GREEN: Final = "blue-green"
"""How files write the strategy and its table."""

_HALF: Final = 0.5

QUANTILE_PATTERN: Final = r"^\s*[pP]([1-9][0-9]?(\.[0-9]+)?)\s*$"
"""How files write a quantile: p50, p95, p99.9."""

LINEAR_STEP: Final = 10_000
"""Thousandths of a percent."""

EXPONENTIAL_START: Final = 1_000
EXPONENTIAL_FACTOR: Final = 2.0
_LARGEST_FACTOR: Final = 100


def _with_unit(value: Any) -> str:
    """Take text only: whether 0.05 means 5 % or 0.05 %, and 5 seconds or milliseconds, is a guess.

    A guardrail that is wrong by a factor of a hundred either never fires or always does.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise told(f"should be text with its unit, not {quoted(value)}", 'such as "5 %" or "800ms"')
    if not isinstance(value, str):
        raise told(
            f"{value!r} has no unit",
            f'write "{value:g} %" for a share, "{value:g} ms" or "{value:g}s" for a latency',
        )
    return value


def _times(value: Any) -> float:
    """Read how many times the control's rate: more than once."""
    text = value.strip().lower().removesuffix("x").strip() if isinstance(value, str) else value
    try:
        times = math.nan if isinstance(text, bool) else float(text)
    except (TypeError, ValueError):
        times = math.nan
    if not (math.isfinite(times) and times > 1):
        message = f'should be more than once, such as 2 or "2x", not {quoted(value)}'
        raise ValueError(message)
    return times


def _chance(value: Any) -> float:
    if not isinstance(value, str) or not value.strip().endswith("%"):
        message = f'should be a percentage such as "1 %", not {quoted(value)}'
        raise ValueError(message)
    chance = percent_of(value) / 100
    if not 0 < chance < _HALF:
        message = f"should lie above 0 and below 50 %, not at {quoted(value)}"
        raise ValueError(message)
    return chance


def _growth(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = f"should be a number, not {quoted(value)}"
        raise ValueError(message)  # noqa: TRY004  (one error for one value, whatever is wrong)
    if not 1 < value <= _LARGEST_FACTOR:
        message = f"should be more than 1, and {_LARGEST_FACTOR} at most, not {value!r}"
        raise ValueError(message)
    return float(value)


_STRATEGIES: Final = {one.value: one for one in Strategy}
_LIMIT: Final = {
    "anyOf": [
        {"type": "string", "pattern": PERCENT_PATTERN},
        {"type": "string", "pattern": SPAN_PATTERN},
    ]
}

Limit = Annotated[str, BeforeValidator(_with_unit), WithJsonSchema(_LIMIT)]
"""What may be exceeded by no means: text with its unit."""

Slow = Annotated[
    str,
    BeforeValidator(_with_unit),
    WithJsonSchema({"anyOf": [*_LIMIT["anyOf"], {"type": "string", "pattern": QUANTILE_PATTERN}]}),
]

Factor = Annotated[
    float,
    BeforeValidator(_reading(_growth)),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 1, "maximum": _LARGEST_FACTOR}),
]
"""What each step is multiplied by."""

ControlMargin = Annotated[
    str,
    BeforeValidator(_with_unit),
    WithJsonSchema({"type": "string", "pattern": PERCENT_PATTERN}),
]

Times = Annotated[
    float,
    BeforeValidator(_reading(_times)),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 1}, {"type": "string"}]}),
]
"""How many times the control's rate: 2, or "2x"."""

FalseAlarms = Annotated[
    float,
    BeforeValidator(_reading(_chance)),
    WithJsonSchema({"type": "string", "pattern": PERCENT_PATTERN}),
]

_StrategyName = Annotated[
    Strategy,
    BeforeValidator(_choice("strategy", _STRATEGIES)),
    WithJsonSchema({"enum": [one.value.replace("_", "-") for one in Strategy]}),
]
_MeasureName = Annotated[
    Measure,
    BeforeValidator(_choice("measure", {one.value: one for one in Measure})),
    WithJsonSchema({"enum": [one.value for one in Measure]}),
]
_AgainstName = Annotated[
    Against,
    BeforeValidator(_choice("comparison", {one.value: one for one in Against})),
    WithJsonSchema({"enum": [one.value for one in Against]}),
]
_CountName = Annotated[
    Count,
    BeforeValidator(_choice("count", {one.value: one for one in Count})),
    WithJsonSchema({"enum": [one.value for one in Count]}),
]
_Undecided = Annotated[
    OnUndecided,
    BeforeValidator(_choice("way to go on", {one.value: one for one in OnUndecided})),
    WithJsonSchema({"enum": [one.value for one in OnUndecided]}),
]
_Lost = Annotated[
    OnMetricsLost,
    BeforeValidator(_choice("way to go on", {one.value: one for one in OnMetricsLost})),
    WithJsonSchema({"enum": [one.value for one in OnMetricsLost]}),
]


class _Model(BaseModel):
    model_config = STRICT


class StepTable(_Model):
    """One exposure, with times of its own."""

    percent: Percent
    bake: Seconds | None = None
    """how long it lasts; left out, the `bake` of the plan"""
    max_bake: Seconds | None = None
    """how long it may last while its checks are undecided; left out, that of the plan"""


def _step_tag(value: Any) -> str:
    return "<step>" if isinstance(value, (dict, StepTable)) else "<percent>"


def _bake_tag(value: Any) -> str:
    return "<each>" if isinstance(value, list) else "<all>"


_Step = Annotated[
    Annotated[Percent, Tag("<percent>")] | Annotated[StepTable, Tag("<step>")],
    Discriminator(_step_tag),
]
_Bake = Annotated[
    Annotated[Seconds, Tag("<all>")] | Annotated[list[Seconds], Tag("<each>")],
    Discriminator(_bake_tag),
]


class CheckTable(_Model):
    """One thing that is watched."""

    measure: _MeasureName
    limit: Limit | None = None
    """what it must not exceed (a success rate: not fall below)"""
    over_control: ControlMargin | None = None
    """how much worse it may be than for those who get another variant at the same time"""
    slower_than: Slow | None = None
    """for `slow_rate`: the latency from which a request is slow, or today's quantile: `p95`"""
    min_sample: Annotated[int, Field(ge=1)] | None = None
    """how many requests a verdict needs; left out, that of the plan"""
    window: Seconds | None = None
    """how far to look back; left out, the whole step"""
    against: _AgainstName | None = None
    """`control` or `slo`: a sequential test, which may be looked at at any time"""
    tolerate: ControlMargin | None = None
    """with `against = "control"`: how far above the control's rate it may lie; left out, 0 %"""
    clean_below: Times | None = None
    """with `against = "control"`: clean once it is shown to be below so many times the control's
    rate; left out, 2"""
    count: _CountName | None = None
    """with `against`: `users` counts each user once as bad; left out, `requests`"""
    together: Annotated[float, Field(ge=1)] | None = None
    """with `against`: how many bad requests come together, where that is known"""
    dry_run: bool = False
    """report, and decide nothing"""


class LinearTable(_Model):
    """Equal steps."""

    start: Percent | None = None
    """the first step; left out, one `step`"""
    step: Percent = LINEAR_STEP
    """how much each step adds; left out, 10"""
    to: Percent = 100_000
    """the last step; left out, 100"""


class ExponentialTable(_Model):
    """Steps that grow by a factor each."""

    start: Percent = EXPONENTIAL_START
    """the first step; left out, 1"""
    factor: Factor = EXPONENTIAL_FACTOR
    """what each step is multiplied by; left out, 2"""
    to: Percent = 100_000
    """the last step; left out, 100"""


class BlueGreenTable(_Model):
    """A preview for an audience, then everybody in one write."""

    audience: list[Annotated[str, Field(min_length=1)]] = []
    """targeting keys that get the variant first"""
    segments: list[Annotated[str, Field(min_length=1)]] = []
    """segments that get it with them"""
    preview: Seconds | None = None
    """how long they alone get it; left out, the `bake` of the plan"""


class ReleaseTable(_Model):
    """Named users and segments first, then the steps."""

    targets: list[Annotated[str, Field(min_length=1)]] = []
    """targeting keys that get the variant first"""
    segments: list[Annotated[str, Field(min_length=1)]] = []
    """segments that get it with them"""
    preview: Seconds | None = None
    """how long they alone get it; left out, the `bake` of the plan"""


class RingTable(_Model):
    """One ring: who gets the variant next, by name."""

    name: str = ""
    """what it is called"""
    targets: list[Annotated[str, Field(min_length=1)]] = []
    """targeting keys that are in it"""
    segments: list[Annotated[str, Field(min_length=1)]] = []
    """segments that are in it"""
    bake: Seconds | None = None
    """how long it lasts; left out, the `bake` of the plan"""
    max_bake: Seconds | None = None
    """how long it may last while its checks are undecided; left out, that of the plan"""


class MetricsTable(BaseModel):
    """Where counts come from; what else stands here is for the source to read."""

    model_config = ConfigDict(strict=True, extra="allow", use_attribute_docstrings=True)

    source: str = "requests"
    """`requests` (the log that `observe` fills), `sql`, `prometheus`, `http`, `datadog`, `memory`,
    or one of a plugin"""


class PlanTable(_Model):
    """A plan: what a rollout will do, and when it will go back."""

    flag: Annotated[str, Field(min_length=1)]
    """the flag's key"""
    variant: str = ""
    """the variant that rises; left out, `on`, or the only one beside the off variant"""
    description: str = ""
    strategy: _StrategyName | None = None
    """left out, the one whose table is there, else `canary`"""
    steps: Annotated[list[_Step], Field(min_length=1, max_length=100)] | None = None
    """for `canary`, `release` and `rings`: percentages that rise"""
    linear: LinearTable | None = None
    exponential: ExponentialTable | None = None
    blue_green: Annotated[BlueGreenTable | None, Field(alias=BLUE_GREEN)] = None
    release: ReleaseTable | None = None
    rings: Annotated[list[RingTable], Field(min_length=1, max_length=100)] | None = None
    """who gets the variant, one ring after the other; everybody comes after them"""
    bake: _Bake = DEFAULT_BAKE
    """how long each step lasts, or a list with a time for each step"""
    max_bake: Seconds | None = None
    """how long a step may last while its checks are undecided; left out, three times its bake"""
    final_bake: Seconds | None = None
    """how long the last step lasts; left out, as the others"""
    holdback: Percent | None = None
    """what the final bake holds back of everybody, for a control; then 100 % are let in"""
    guardrails: list[CheckTable] = []
    """checks that roll back"""
    signals: list[CheckTable] = []
    """checks that only hold"""
    unguarded: str = ""
    """why there are no guardrails"""
    min_sample: Annotated[int, Field(ge=1)] = DEFAULT_MIN_SAMPLE
    """how many requests of the variant a verdict needs"""
    on_undecided: _Undecided = OnUndecided.PAUSE
    on_metrics_lost: _Lost = OnMetricsLost.HOLD
    metrics_lost_after: Seconds = 15 * MINUTE
    """how long the metric source may stay away"""
    max_duration: Seconds | None = None
    """how long the whole rollout may last before it pauses"""
    revert_window: Seconds = DEFAULT_REVERT_WINDOW
    """how long a completed rollout can be reverted"""
    interval: Seconds = DEFAULT_INTERVAL
    """the time between two looks"""
    false_alarms: FalseAlarms | None = None
    """how often chance alone may take a healthy rollout back, by all sequential guardrails; left
    out, 1 %"""
    metrics: MetricsTable | None = None
    checklist: list[ItemTable] = []
    """what is to be done before, during and after it"""
    approvals: Approvals = []
    """who has to approve before a step is entered"""
    freeze: list[FreezeTable] = []
    """when nothing starts and nothing rises"""
    hooks: list[HookTable] = []
    """services that confirm or hold"""
    starts_at: Moment | None = None
    """when it starts, at the earliest"""
    template: str = ""
    """the template that it was made of, and its version: `guide@1`"""


TABLES: Final[dict[str, type[BaseModel]]] = {
    "steps": StepTable,
    "linear": LinearTable,
    "exponential": ExponentialTable,
    BLUE_GREEN: BlueGreenTable,
    "release": ReleaseTable,
    "rings": RingTable,
    "guardrails": CheckTable,
    "signals": CheckTable,
    "metrics": MetricsTable,
    **GATE_TABLES,
}


def fields_of(table: type[BaseModel]) -> list[str]:
    """Return the names of a table's fields as files write them."""
    return [field.alias or name for name, field in table.model_fields.items()]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a plan file, as published in ``docs/``."""
    schema = PlanTable.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
