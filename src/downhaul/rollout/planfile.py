"""Plans out of files (TOML, YAML, JSON) and out of arguments, with every problem named at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from downhaul.analysis.model import Check, Measure
from downhaul.backends.edits import weight_of_variant
from downhaul.control.describe import rising_variant
from downhaul.documents.faults import Fault, Place, did_you_mean, problems_of, quoted
from downhaul.documents.reading import LineOf, lines_of, read_data
from downhaul.documents.sanity import insane
from downhaul.errors import DocumentError, Refused
from downhaul.flag import Flag
from downhaul.rollout.gates.tables import gates_of
from downhaul.rollout.plan import CANARY_PERCENTS, MAX_BAKES, Plan, Step, Strategy
from downhaul.rollout.planmodel import (
    BLUE_GREEN,
    TABLES,
    CheckTable,
    PlanTable,
    StepTable,
    fields_of,
    json_schema,
)
from downhaul.rollout.units import is_span, percent_of, seconds_of, weight_from

__all__ = ["ARGUMENTS", "json_schema", "make_plan", "parse_plan", "read_plan", "resolved"]

_FORMATS: Final = {"json": "json", "toml": "toml", "yaml": "yaml", "yml": "yaml"}
_MOST_STEPS: Final = 100
_MESSAGES: Final = {
    "bool_type": "should be true or false",
    "dict_type": "should be a table with fields",
    "int_from_float": "should be a whole number",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "model_type": "should be a table with fields",
    "string_type": "should be text",
    "string_too_short": "should be text that is not empty",
    "too_short": "should not be empty",
}
_SHARES: Final = (Measure.ERROR_RATE, Measure.SUCCESS_RATE, Measure.SLOW_RATE)


def read_plan(path: str | PathLike[str]) -> Plan:
    """Return the plan that a file says, whose format its name says.

    Raises DocumentError with every problem and its line, and OSError.
    """
    origin = fspath(path)
    suffix = Path(origin).suffix.removeprefix(".").lower()
    if suffix not in _FORMATS:
        raise DocumentError(
            f"its name says no format of plans: {quoted(suffix)}" if suffix else "no format",
            hint="name the file .toml, .yaml or .json",
            origin=origin,
        )
    return parse_plan(Path(origin).read_bytes(), _FORMATS[suffix], origin)


def parse_plan(text: str | bytes, format: str, origin: str = "") -> Plan:  # noqa: A002  (the field's word)
    """Return the plan that a text in ``toml``, ``yaml`` or ``json`` says.

    ``origin`` is its file, for messages. Raises DocumentError with every problem and its line.
    """
    data = read_data(text, format, origin)
    plan, faults = _built(data)
    if plan is None or faults:
        line_of = _toml_lines(text) if format == "toml" else lines_of(text, format)
        raise _refused(faults, origin, line_of)
    return plan


def resolved(plan: Plan, flag: Flag) -> Plan:
    """Return the plan with what it left for the flag to say.

    That is the variant where none is named, and the exposure that a preview leaves as it is. Raises
    Refused where the flag doesn't say which variant rises.
    """
    variant = plan.variant or rising_variant(flag)
    if variant is None:
        names = ", ".join(f'"{name}"' for name in flag.variants if name != flag.off_variant)
        raise Refused(
            f'the plan names no variant, and several of flag "{flag.key}" could rise',
            flag=flag.key,
            hint=f"name one of them: {names}" if names else "give the flag a second variant",
        )
    present = int(weight_of_variant(flag, variant)) if flag.on else 0
    steps = tuple(replace(one, weight=present) if one.preview else one for one in plan.steps)
    return replace(plan, variant=variant, steps=steps)


# --- from data


def _refused(faults: Iterable[Fault], origin: str, line_of: LineOf | None) -> DocumentError:
    problems = problems_of(faults, origin, line_of)
    count = f"{len(problems)} problems" if len(problems) != 1 else "1 problem"
    return DocumentError(f"the plan is refused: {count}", problems, origin=origin or None)


def _built(data: Any) -> tuple[Plan | None, list[Fault]]:
    """Return the plan that the data says; whole only if there are no faults."""
    faults = list(insane(data))
    if faults:
        return None, faults
    if not isinstance(data, Mapping):
        return None, [Fault((), "a plan is a table with fields", 'begin with flag = "its-key"')]
    data = dict(data)
    if "blue_green" in data:
        if BLUE_GREEN in data:
            faults.append(Fault(("blue_green",), f'"{BLUE_GREEN}" is there as well', "keep one"))
        data.setdefault(BLUE_GREEN, data.pop("blue_green"))
    try:
        table = PlanTable.model_validate(data)
    except ValidationError as error:
        return None, faults + [_fault(one) for one in error.errors(include_url=False)]
    building = _Building(table)
    plan = building.plan()
    return plan, faults + building.faults


def _fault(error: Mapping[str, Any]) -> Fault:
    place: Place = tuple(one for one in error["loc"] if not str(one).startswith("<"))
    kind, value = error["type"], error.get("input")
    if kind == "told":
        return Fault(place, error["ctx"]["message"], error["ctx"]["hint"])
    if kind == "extra_forbidden":
        names = [one for one in place[:-1] if isinstance(one, str)]
        known = fields_of(TABLES.get(names[-1], PlanTable) if names else PlanTable)
        hint = did_you_mean(place[-1], known, all_of="known")
        return Fault(place, "there is no such field", hint)
    if kind == "missing":
        return Fault(place, "is missing")
    message = _MESSAGES.get(kind) or str(error["msg"]).replace("Input should", "should")
    return Fault(place, f"{message}, not {quoted(value)}")


class _Building:
    """One plan as it is put together out of its table, and every fault."""

    def __init__(self, table: PlanTable) -> None:
        self.faults: list[Fault] = []
        self._table = table
        self._strategy = table.strategy or _implied(table)

    def plan(self) -> Plan:
        """Return the plan; it counts only if there are no faults."""
        table = self._table
        self._tables_fit()
        guardrails = self._checks("guardrails", table.guardrails)
        signals = self._checks("signals", table.signals)
        metrics = table.metrics.model_dump() if table.metrics is not None else {}
        if not metrics and (guardrails or signals):
            metrics = {"source": "requests"}
        audience = table.blue_green.audience if table.blue_green is not None else []
        return Plan(
            flag=table.flag,
            variant=table.variant,
            steps=tuple(self._steps()),
            strategy=self._strategy,
            guardrails=guardrails,
            signals=signals,
            unguarded=table.unguarded.strip(),
            on_undecided=table.on_undecided,
            on_metrics_lost=table.on_metrics_lost,
            metrics_lost_after=table.metrics_lost_after,
            max_duration=table.max_duration,
            revert_window=table.revert_window,
            interval=table.interval,
            audience=tuple(dict.fromkeys(audience)),
            metrics=metrics,
            description=table.description,
            gates=gates_of(table, self.faults),
            template=table.template.strip(),
        )

    # Steps

    def _tables_fit(self) -> None:
        """Refuse what belongs to another strategy: it would be read by nobody."""
        table = self._table
        said = BLUE_GREEN if self._strategy is Strategy.BLUE_GREEN else self._strategy.value
        for name, there, owner in (
            ("steps", table.steps, Strategy.CANARY),
            ("linear", table.linear, Strategy.LINEAR),
            (BLUE_GREEN, table.blue_green, Strategy.BLUE_GREEN),
        ):
            if there is not None and owner is not self._strategy:
                message = f"the strategy is {said}, which takes no such field"
                word = BLUE_GREEN if owner is Strategy.BLUE_GREEN else owner.value
                hint = f'leave it out, or say strategy = "{word}"'
                self.faults.append(Fault((name,), message, hint))

    def _steps(self) -> Iterator[Step]:
        tables = list(self._step_tables())
        bakes = self._bakes(len(tables))
        for index, (one, bake) in enumerate(zip(tables, bakes, strict=True)):
            bake = one.bake or bake  # noqa: PLW2901  (its own, where it has one)
            longest = one.max_bake or self._table.max_bake or bake * MAX_BAKES
            if longest < bake:
                place: Place = ("steps", index) if one.max_bake or one.bake else ("max_bake",)
                message = "the longest bake is shorter than the bake"
                self.faults.append(Fault(place, message, "raise max_bake, or leave it out"))
            yield Step(one.percent, bake, longest, preview=self._is_preview(index))

    def _is_preview(self, index: int) -> bool:
        return self._previews and index == 0

    @property
    def _previews(self) -> bool:
        table = self._table.blue_green
        return table is not None and bool(table.audience or table.preview)

    def _step_tables(self) -> Iterable[StepTable]:
        table = self._table
        if self._strategy is Strategy.LINEAR:
            return self._linear()
        if self._strategy is Strategy.BLUE_GREEN:
            preview = StepTable.model_construct(
                percent=0, bake=table.blue_green.preview if table.blue_green else None
            )
            switch = StepTable.model_construct(percent=weight_from(100))
            return [preview, switch] if self._previews else [switch]
        if table.steps is None:
            return [StepTable.model_construct(percent=weight_from(one)) for one in CANARY_PERCENTS]
        return [
            one if isinstance(one, StepTable) else StepTable.model_construct(percent=one)
            for one in table.steps
        ]

    def _linear(self) -> list[StepTable]:
        table = self._table.linear or TABLES["linear"]()
        by, last = table.step, table.to  # type: ignore[attr-defined]
        first = by if table.start is None else table.start  # type: ignore[attr-defined]
        if by <= 0:
            self.faults.append(Fault(("linear", "step"), "should be more than nothing"))
            return []
        if first > last:
            message = "the first step lies above the last"
            self.faults.append(Fault(("linear", "start"), message, "lower it, or raise to"))
            return []
        if (last - first) // by >= _MOST_STEPS:
            message = f"that makes more than {_MOST_STEPS} steps"
            self.faults.append(Fault(("linear", "step"), message, "take larger steps"))
            return []
        weights = [*range(first, last, by), last]
        return [StepTable.model_construct(percent=one) for one in weights]

    def _bakes(self, count: int) -> list[float]:
        bake = self._table.bake
        if not isinstance(bake, list):
            return [bake] * count
        if len(bake) != count:
            message = f"there are {count} steps and {len(bake)} bakes"
            self.faults.append(Fault(("bake",), message, "give one for each step, or one for all"))
        return (bake + bake[-1:] * count)[:count] if bake else [1.0] * count

    # Checks

    def _checks(self, name: str, tables: list[CheckTable]) -> tuple[Check, ...]:
        found: list[Check] = []
        for index, one in enumerate(tables):
            place: Place = (name, index)
            before = len(self.faults)
            self.faults += [fault.under(place) for fault in _unfit(one)]
            if len(self.faults) > before:
                continue
            check = Check(
                measure=one.measure,
                limit=None if one.limit is None else _limit(one.measure, one.limit),
                over_control=None
                if one.over_control is None
                else percent_of(one.over_control) / 100,
                slower_than=None if one.slower_than is None else _milliseconds(one.slower_than),
                min_sample=one.min_sample or self._table.min_sample,
                window=one.window,
                dry_run=one.dry_run,
            )
            if any(check.name == other.name for other in found):
                message = f"{check.name} is there twice"
                self.faults.append(Fault(place, message, "leave one of them"))
            found.append(check)
        return tuple(found)


def _implied(table: PlanTable) -> Strategy:
    if table.linear is not None and table.blue_green is None:
        return Strategy.LINEAR
    if table.blue_green is not None and table.linear is None:
        return Strategy.BLUE_GREEN
    return Strategy.CANARY


def _unfit(one: CheckTable) -> Iterator[Fault]:
    """Yield what is wrong with a check beyond the types of its fields."""
    if (one.limit is None) == (one.over_control is None):
        message = "give either a limit or over_control" if one.limit is None else (
            "both a limit and over_control are given"
        )  # fmt: skip
        yield Fault((), message, "a second check can have the other" if one.limit else None)
    if one.limit is not None:
        shares = one.measure in _SHARES
        if shares:
            yield from _no_percentage(("limit",), one.limit, f"the limit of {one.measure.value}")
        else:
            yield from _no_time(("limit",), one.limit, "the limit of a latency")
    if one.over_control is not None:
        what = "how much worse than the control it may be"
        yield from _no_percentage(("over_control",), one.over_control, what)
    if one.measure is Measure.SLOW_RATE:
        if one.slower_than is None:
            yield Fault(("slower_than",), "is missing", 'say what is slow: slower_than = "2s"')
        else:
            yield from _no_time(("slower_than",), one.slower_than, "what is slow")
    elif one.slower_than is not None:
        hint = 'for a share of slow requests say measure = "slow_rate"'
        yield Fault(("slower_than",), f"{one.measure.value} takes no such field", hint)


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


# --- from arguments

_CHECKS: Final = {
    "error_rate": Measure.ERROR_RATE,
    "success_rate": Measure.SUCCESS_RATE,
    "latency": Measure.LATENCY,
    "slow": Measure.SLOW_RATE,
}
_SAME: Final = (
    "flag",
    "variant",
    "description",
    "strategy",
    "max_bake",
    "unguarded",
    "min_sample",
    "on_undecided",
    "on_metrics_lost",
    "metrics_lost_after",
    "max_duration",
    "revert_window",
    "interval",
    "metrics",
    "checklist",
    "approvals",
    "freeze",
    "hooks",
    "starts_at",
    "template",
)
_LINEAR: Final = ("start", "step", "to")
_BLUE_GREEN: Final = ("audience", "preview")
ARGUMENTS: Final = (*_SAME, "steps", "bake", *_LINEAR, *_BLUE_GREEN, *_CHECKS)
"""What :func:`make_plan` takes."""


def make_plan(**arguments: Any) -> Plan:
    """Return the plan that arguments say: :data:`ARGUMENTS`, each left out or None for its default.

    They are a file's fields, as text or as values. ``steps`` and ``bake`` may be text with commas,
    as may ``audience``. ``error_rate``, ``success_rate`` (percentages), ``latency`` (a time, or a
    number of milliseconds) and ``slow`` (``2s:10%``: a time and a share) make a guardrail each; a
    limit that begins with ``+`` is over the control. Raises DocumentError with every problem, whose
    path is the argument.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    faults = [
        Fault((name,), "there is no such argument", did_you_mean(name, ARGUMENTS, all_of="known"))
        for name in given
        if name not in ARGUMENTS
    ]
    data: dict[str, Any] = {name: given[name] for name in _SAME if name in given}
    for name, read in (("steps", _listed), ("bake", _one_or_many)):
        if name in given:
            data[name] = read(given[name])
    if isinstance(data.get("min_sample"), str) and data["min_sample"].strip().isdecimal():
        data["min_sample"] = int(data["min_sample"])
    for table, names in (("linear", _LINEAR), (BLUE_GREEN, _BLUE_GREEN)):
        if found := {name: given[name] for name in names if name in given}:
            data[table] = found
    if "audience" in given:
        data[BLUE_GREEN]["audience"] = _listed(given["audience"])
    checks = {name: _check_data(name, given[name]) for name in _CHECKS if name in given}
    if checks:
        data["guardrails"] = list(checks.values())
    plan, found_faults = _built(data)
    faults += [_of_argument(fault, tuple(checks)) for fault in found_faults]
    if plan is None or faults:
        raise _refused(faults, "", None)
    return plan


def _of_argument(fault: Fault, checks: tuple[str, ...]) -> Fault:
    """Return the fault at the argument that it comes from."""
    place = fault.place
    if place[:1] == ("guardrails",) and len(place) > 1 and isinstance(place[1], int):
        place = (checks[place[1]],)
    elif place[:1] in (("linear",), (BLUE_GREEN,)) and len(place) > 1:
        place = place[1:]
    return Fault(place, fault.message, fault.hint)


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return [one.strip() for one in value.split(",") if one.strip()]
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return list(value)
    return [value]


def _one_or_many(value: Any) -> Any:
    many = _listed(value)
    return many[0] if len(many) == 1 else many


def _check_data(name: str, value: Any) -> dict[str, Any]:
    """Return the table of a guardrail that an argument says; its faults are found later."""
    data: dict[str, Any] = {"measure": _CHECKS[name].value}
    if name == "slow":
        slower, colon, share = value.partition(":") if isinstance(value, str) else ("", "", "")
        if not isinstance(value, str) and isinstance(value, Iterable):
            slower, share = [*value, "", ""][:2]
            colon = ":"
        data["slower_than"] = _with_unit(slower, "ms") if colon else value
        value = share
    text = _with_unit(value, "ms" if name == "latency" else "%")
    if isinstance(text, str) and text.lstrip().startswith("+"):
        share = text.lstrip()[1:]
        data["over_control"] = share.replace("ms", "%") if _bare(value) else share
    else:
        data["limit"] = text
    return data


def _bare(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\s*\+?\s*[0-9.]+\s*", value) is not None


def _with_unit(value: Any, unit: str) -> Any:
    """Return the text with its unit; an argument's name says which one a bare number has."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return f"{value:g} {unit}" if not isinstance(value, float) else f"{value!r} {unit}"
    return f"{value.strip()} {unit}" if _bare(value) else value


# --- lines of TOML

_HEAD: Final = re.compile(r"[ \t]*\[(\[?)[ \t]*([^\]#]+?)[ \t]*\]")
_FIELD: Final = re.compile(r"""[ \t]*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*=""")


def _toml_lines(text: str | bytes) -> Callable[[Place], int | None]:
    """Return what gives the line of a place: that of its field, else of its table, or none."""
    text = text if isinstance(text, str) else text.decode(errors="replace")
    lines: dict[Place, int] = {}
    counts: dict[str, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if head := _HEAD.match(line):
            name = head[2].strip("\"'")
            table = (name,)
            if head[1]:
                counts[name] = counts.get(name, -1) + 1
                table = (name, counts[name])
            lines[table] = number
        elif field := _FIELD.match(line):
            lines.setdefault((*table, field[1].strip("\"'")), number)

    def line_of(place: Place) -> int | None:
        while place and place not in lines:
            place = place[:-1]
        return lines.get(place)

    return line_of
