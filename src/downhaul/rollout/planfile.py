"""Plans out of files (TOML, YAML, JSON) and out of arguments, with every problem named at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from downhaul.analysis.model import Against, Measure
from downhaul.analysis.sources import faults_of_metrics
from downhaul.analysis.statistics.budget import FALSE_ROLLBACK
from downhaul.backends.edits import weight_of_variant
from downhaul.control.describe import rising_variant
from downhaul.documents.faults import Fault, Place, did_you_mean, problems_of, quoted
from downhaul.documents.reading import LineOf, lines_of, read_data
from downhaul.documents.sanity import insane
from downhaul.errors import DocumentError, Refused
from downhaul.flag import Flag
from downhaul.rollout.gates.tables import gates_of
from downhaul.rollout.plan import Plan, Strategy
from downhaul.rollout.planchecks import checks_of
from downhaul.rollout.planmodel import (
    BLUE_GREEN,
    TABLES,
    PlanTable,
    fields_of,
    json_schema,
)
from downhaul.rollout.plansteps import implied, steps_of

__all__ = ["ARGUMENTS", "json_schema", "make_plan", "parse_plan", "read_plan", "resolved"]

_FORMATS: Final = {"json": "json", "toml": "toml", "yaml": "yaml", "yml": "yaml"}
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
        self._strategy = table.strategy or implied(table)

    def plan(self) -> Plan:
        """Return the plan; it counts only if there are no faults."""
        table = self._table
        steps = steps_of(table, self._strategy, self.faults)
        guardrails, wrong = checks_of("guardrails", table.guardrails, table.min_sample)
        signals, also_wrong = checks_of("signals", table.signals, table.min_sample)
        self.faults += [*wrong, *also_wrong]
        metrics = table.metrics.model_dump() if table.metrics is not None else {}
        if not metrics and (guardrails or signals):
            metrics = {"source": "requests"}
        self.faults += faults_of_metrics(metrics)
        audience = table.blue_green.audience if table.blue_green is not None else []
        return Plan(
            flag=table.flag,
            variant=table.variant,
            steps=steps,
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
            false_alarms=table.false_alarms or FALSE_ROLLBACK,
            gates=gates_of(table, self.faults),
            template=table.template.strip(),
        )


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
    "final_bake",
    "holdback",
    "unguarded",
    "min_sample",
    "on_undecided",
    "on_metrics_lost",
    "metrics_lost_after",
    "max_duration",
    "revert_window",
    "interval",
    "false_alarms",
    "metrics",
    "checklist",
    "approvals",
    "freeze",
    "hooks",
    "starts_at",
    "template",
)
_CONTROL: Final = re.compile(r"\s*control\s*(?:\+\s*([0-9.]+\s*%?))?\s*")
_SHARED: Final = ("start", "to")
_LINEAR: Final = ("step",)
_EXPONENTIAL: Final = ("factor",)
_BLUE_GREEN: Final = ("audience",)
_RELEASE: Final = ("targets",)
_NAMED: Final = ("segments", "preview")
_LISTS: Final = ("audience", "targets", "segments")
_BY_ARGUMENT: Final = (("linear",), ("exponential",), (BLUE_GREEN,), ("release",))
ARGUMENTS: Final = (
    *_SAME,
    "steps",
    "bake",
    *_SHARED,
    *_LINEAR,
    *_EXPONENTIAL,
    *_BLUE_GREEN,
    *_RELEASE,
    *_NAMED,
    *_CHECKS,
)
"""What :func:`make_plan` takes."""


def make_plan(**arguments: Any) -> Plan:
    """Return the plan that arguments say: :data:`ARGUMENTS`, each left out or None for its default.

    They are a file's fields, as text or as values. ``start`` and ``to`` belong to ``exponential``
    steps where that is the strategy or a ``factor`` is given, else to ``linear`` ones; ``segments``
    and ``preview`` to ``release``, unless the strategy is blue-green or an ``audience`` is given.
    ``steps`` and ``bake`` may be text with commas, as may ``audience``, ``targets`` and
    ``segments``. ``error_rate``, ``success_rate`` (percentages), ``latency`` (a time, or a number
    of milliseconds) and ``slow`` (``2s:10%``: a time and a share) make a guardrail each; a limit
    that begins with ``+`` is over the control, and ``control`` or ``control+25%`` is the sequential
    test against it. Raises DocumentError with every problem, whose path is the argument.
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
    data |= _tables(given)
    checks = {name: _check_data(name, given[name]) for name in _CHECKS if name in given}
    if checks:
        data["guardrails"] = list(checks.values())
    plan, found_faults = _built(data)
    faults += [_of_argument(fault, tuple(checks)) for fault in found_faults]
    if plan is None or faults:
        raise _refused(faults, "", None)
    return plan


def _tables(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of strategies that arguments say."""
    strategy = given.get("strategy")
    grows = "factor" in given or _is(strategy, Strategy.EXPONENTIAL)
    linear = _LINEAR if grows else (*_SHARED, *_LINEAR)
    exponential = (*_SHARED, *_EXPONENTIAL) if grows else ()
    released = strategy is not None and _is(strategy, Strategy.RELEASE)
    if strategy is None and "audience" not in given:
        released = any(name in given for name in ("targets", "segments"))
    blue_green = _BLUE_GREEN if released else (*_BLUE_GREEN, *_NAMED)
    release = (*_RELEASE, *_NAMED) if released else _RELEASE
    found = {
        table: {name: given[name] for name in names if name in given}
        for table, names in (
            ("linear", linear),
            ("exponential", exponential),
            (BLUE_GREEN, blue_green),
            ("release", release),
        )
    }
    for fields in found.values():
        fields |= {name: _listed(fields[name]) for name in _LISTS if name in fields}
    if "factor" in given:
        found["exponential"]["factor"] = _number(given["factor"])
    return {table: fields for table, fields in found.items() if fields}


def _is(said: Any, strategy: Strategy) -> bool:
    return isinstance(said, str) and said.strip().lower().replace("-", "_") == strategy.value


def _of_argument(fault: Fault, checks: tuple[str, ...]) -> Fault:
    """Return the fault at the argument that it comes from."""
    place = fault.place
    if place[:1] == ("guardrails",) and len(place) > 1 and isinstance(place[1], int):
        place = (checks[place[1]],)
    elif place[:1] in _BY_ARGUMENT and len(place) > 1:
        place = place[1:]
    return Fault(place, fault.message, fault.hint)


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return [one.strip() for one in value.split(",") if one.strip()]
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return list(value)
    return [value]


def _number(value: Any) -> Any:
    """Return the number that a text says; what says none is found out later."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


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
    if isinstance(value, str) and (against := _CONTROL.fullmatch(value)):
        more = {"tolerate": _with_unit(against[1], "%")} if against[1] else {}
        return data | {"against": Against.CONTROL.value} | more
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
