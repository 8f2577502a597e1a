"""From a plan's ``metrics`` to the source that counts come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.analysis.model import MetricSource
from downhaul.documents.faults import did_you_mean, quoted
from downhaul.errors import ConfigError
from downhaul.store.database import Database

REQUESTS: Final = "requests"
SQL: Final = "sql"


def source_for(metrics: Mapping[str, Any], database: Database, environment: str) -> MetricSource:
    """Return the source that a plan names: the request log unless said.

    ``database`` is the control store's. Raises ConfigError, with every problem, for what can't be a
    source. Contacts nothing.
    """
    name = metrics.get("source", REQUESTS)
    if name == REQUESTS:
        return _requests(metrics, database, environment)
    if name == SQL:
        from downhaul.analysis.sql_source import SqlSource  # noqa: PLC0415  (few plans have one)

        return SqlSource.from_plan(metrics, database)
    hint = did_you_mean(name, (REQUESTS, SQL), all_of="known")
    raise ConfigError(f"no metric source is called {quoted(name)}", hint=hint)


def _requests(metrics: Mapping[str, Any], database: Database, environment: str) -> MetricSource:
    from downhaul.analysis.requests_source import LAG, RequestsSource  # noqa: PLC0415
    from downhaul.analysis.sql_mapping import lag_of, refuse, unknown_fields  # noqa: PLC0415
    from downhaul.store.requests import RequestLog  # noqa: PLC0415

    lag, problems = lag_of(metrics, LAG, LAG)
    refuse([*problems, *unknown_fields(metrics, ("source", "lag"))])
    return RequestsSource(RequestLog(database, environment), lag=lag)
