"""From a plan's ``metrics`` to the source that counts come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.analysis.model import MetricSource
from downhaul.errors import ConfigError
from downhaul.store.database import Database

REQUESTS: Final = "requests"
SQL: Final = "sql"


def source_for(metrics: Mapping[str, Any], database: Database, environment: str) -> MetricSource:
    """Return the source that a plan names: the request log unless said.

    ``database`` is the control store's. Raises ConfigError for what can't be a source.
    """
    name = str(metrics.get("source", REQUESTS))
    if name == REQUESTS:
        from downhaul.analysis.requests_source import RequestsSource  # noqa: PLC0415
        from downhaul.store.requests import RequestLog  # noqa: PLC0415

        return RequestsSource(RequestLog(database, environment))
    if name == SQL:
        from downhaul.analysis.sql_source import SqlSource  # noqa: PLC0415

        return SqlSource.from_plan(metrics, database)
    message = f'no metric source is called "{name}"'
    raise ConfigError(message, hint=f"known: {REQUESTS}, {SQL}")
