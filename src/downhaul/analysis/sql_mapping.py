"""What a plan says of its table: read, and every problem named. Contacts nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from downhaul.analysis.patience import LONGEST, TIMEOUT
from downhaul.analysis.variants import Variants
from downhaul.config.urls import local_path, secrets_of
from downhaul.documents.faults import did_you_mean, quoted
from downhaul.errors import ConfigError, Problem

TABLE: Final = "agent_logs"
"""The guide's table."""

COLUMNS: Final[Mapping[str, str]] = {
    "variant": "version",
    "success": "success",
    "error": "error",
    "latency_ms": "latency_ms",
    "time": "timestamp",
}
"""What the columns of the guide's table say."""

LAG: Final = 5.0
"""Seconds that counting stays behind unless said, for rows that are written late."""

UNITS: Final[Mapping[str, int]] = {"s": 1_000_000, "ms": 1000, "us": 1}
"""Units of times and latencies, in microseconds."""

_FIELDS: Final = (
    "source",
    "table",
    "columns",
    "variants",
    "where",
    "lag",
    "url",
    "time_unit",
    "latency_unit",
    "timeout",
)
_ROLES: Final = (*COLUMNS, "id", "subject", "flag")


@dataclass(frozen=True, slots=True)
class TableMapping:
    """A table, and what its columns say. ``named`` are the roles that the plan itself gives.

    ``lag`` and ``timeout`` are in seconds, the units in microseconds. ``url`` is a database of its
    own, empty for the control store's.
    """

    table: str
    columns: Mapping[str, str]
    named: frozenset[str]
    variants: Variants
    where: Mapping[str, Any]
    lag: float
    time_unit: int
    latency_unit: int
    url: str
    timeout: float = TIMEOUT


def read(metrics: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> TableMapping:
    """Return what ``metrics`` of a plan says. Raises ConfigError with every problem."""
    problems = unknown_fields(metrics, _FIELDS)
    table = metrics.get("table", TABLE)
    if not _is_name(table):
        problems.append(Problem("metrics.table", f"{quoted(table)} is no name of a table"))
    columns = _columns(metrics.get("columns", {}), problems)
    lag, wrong = lag_of(metrics, 0.0, LAG)
    timeout = metrics.get("timeout", TIMEOUT)
    if (
        isinstance(timeout, bool)
        or not isinstance(timeout, (int, float))
        or not (0 < timeout <= LONGEST)
    ):
        message = f"{quoted(timeout)} is no number of seconds up to {LONGEST:g}"
        problems.append(Problem("metrics.timeout", message))
        timeout = TIMEOUT
    mapped = TableMapping(
        table=str(table),
        columns={**COLUMNS, **columns},
        named=frozenset(columns),
        variants=Variants.read(metrics.get("variants", {}), problems),
        where=_where(metrics.get("where", {}), problems),
        lag=lag,
        time_unit=_unit(metrics, "time_unit", "s", problems),
        latency_unit=_unit(metrics, "latency_unit", "ms", problems),
        url=_url(metrics.get("url", ""), os.environ if environ is None else environ, problems),
        timeout=float(timeout),
    )
    refuse([*problems, *wrong])
    return mapped


def refuse(problems: Iterable[Problem], where: str = "the metric source can't be used") -> None:
    """Raise ConfigError for problems, if there are any; a lone one is in the message itself."""
    found = list(problems)
    if len(found) == 1:
        (one,) = found
        raise ConfigError(f"{one.path}: {one.message}", hint=one.hint)
    if found:
        raise ConfigError(where, found)


def unknown_fields(metrics: Mapping[str, Any], known: tuple[str, ...]) -> list[Problem]:
    """Return a problem for each field that a source does not read."""
    return [
        Problem(
            f"metrics.{name}",
            "no metric source of this kind has such a field",
            hint=did_you_mean(name, known, all_of="known"),
        )
        for name in metrics
        if name not in known
    ]


def lag_of(metrics: Mapping[str, Any], least: float, default: float) -> tuple[float, list[Problem]]:
    """Return how many seconds counting stays behind, and what is wrong with that."""
    lag = metrics.get("lag", default)
    if isinstance(lag, bool) or not isinstance(lag, (int, float)) or not math.isfinite(lag):
        return default, [Problem("metrics.lag", f"{quoted(lag)} is no number of seconds")]
    if lag < least:
        message = f"{lag:g} s are too few: what is written later would never be counted"
        return default, [Problem("metrics.lag", message, hint=f"{least:g} or more")]
    return float(lag), []


def _columns(given: Any, problems: list[Problem]) -> dict[str, str]:
    if not isinstance(given, Mapping):
        problems.append(Problem("metrics.columns", 'is a table, such as { variant = "version" }'))
        return {}
    for role, name in given.items():
        path = f"metrics.columns.{role}"
        if role not in _ROLES:
            hint = did_you_mean(role, _ROLES, all_of="known")
            problems.append(Problem(path, "nothing of this name is read from a table", hint=hint))
        elif not _is_name(name):
            problems.append(Problem(path, f"{quoted(name)} is no name of a column"))
    return {role: str(name) for role, name in given.items()}


def _where(given: Any, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        problems.append(Problem("metrics.where", 'is a table, such as { flag = "agent" }'))
        return {}
    for column, value in given.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if not values or not all(_is_comparable(one) for one in values):
            message = f"{quoted(value)} is nothing that a column is equal to"
            problems.append(Problem(f"metrics.where.{column}", message))
    return dict(given)


def _unit(metrics: Mapping[str, Any], field: str, default: str, problems: list[Problem]) -> int:
    unit = metrics.get(field, default)
    if not isinstance(unit, str) or unit not in UNITS:
        hint = did_you_mean(unit, UNITS, all_of="known")
        problems.append(Problem(f"metrics.{field}", f"{quoted(unit)} is no unit", hint=hint))
        return UNITS[default]
    return UNITS[unit]


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and "\0" not in name


def _is_comparable(value: Any) -> bool:
    """Return whether a database can be asked for a value at all."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _url(given: Any, environ: Mapping[str, str], problems: list[Problem]) -> str:
    """Return the URL of the database: plain without secrets, or out of the environment."""
    path = "metrics.url"
    if isinstance(given, Mapping) and set(given) == {"env"}:
        name = str(given["env"])
        if not environ.get(name):
            hint = "set it where this runs, and where the controller runs"
            problems.append(Problem(path, f"the variable {quoted(name)} is not set", hint=hint))
        return _whole(environ.get(name, ""), problems)
    if not isinstance(given, str):
        hint = 'such as "sqlite:////srv/logs.db" or { env = "LOGS_URL" }'
        problems.append(Problem(path, "is no URL", hint=hint))
        return ""
    if secrets_of(given):
        hint = 'put it into the environment: url = { env = "LOGS_URL" }'
        problems.append(Problem(path, "holds a secret, and plans are kept and shown", hint=hint))
    return _whole(given, problems)


def _whole(url: str, problems: list[Problem]) -> str:
    """Return a URL; a file must be the same one wherever the controller runs."""
    file = local_path(url)
    if file is not None and not file.is_absolute():
        message = f"{quoted(str(file))} is another file in each folder"
        hint = "write its whole path: sqlite:////srv/logs.db"
        problems.append(Problem("metrics.url", message, hint=hint))
    return url
