"""OpenTelemetry's metrics as counts of rollouts, within one process.

An exporter that takes what instruments counted since the last time, and adds it to the counters
that ``source = "memory"`` reads. It goes into a reader of the SDK::

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = CountersExporter("app.requests", latency="app.request.duration")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=1000)
    provider = MeterProvider(metric_readers=[reader])
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

try:
    from opentelemetry.sdk.metrics import Counter, Histogram
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        HistogramDataPoint,
        Metric,
        MetricExporter,
        MetricExportResult,
        MetricsData,
        NumberDataPoint,
    )
except ImportError as error:  # pragma: no cover  (tested in a process of its own)
    raise ImportError(
        "downhaul.integrations.opentelemetry needs the OpenTelemetry SDK: "
        "pip install 'downhaul[opentelemetry]'"
    ) from error

from downhaul.analysis.counters import Counters, counters
from downhaul.analysis.model import Counts

__all__ = ["CountersExporter", "failed"]

_log: Final = logging.getLogger("downhaul")
_UNITS: Final = {"s": 1000.0, "ms": 1.0, "us": 0.001}
_DELTAS: Final[dict[type, AggregationTemporality]] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}

Attributes = Mapping[str, Any]


def failed(attributes: Attributes) -> bool:
    """Return whether a request was an error, by OpenTelemetry's attribute for that."""
    return bool(attributes.get("error.type"))


class CountersExporter(MetricExporter):
    """Adds what instruments counted to the counters of this process.

    ``requests`` is the name of the counter of requests, ``latency`` that of the histogram of their
    durations in ``unit``. Either is enough for requests to be counted by. ``flag`` and ``variant``
    are the attributes that say what was served; points without both are nobody's. ``error`` says of
    a point's attributes whether its requests are errors.

    The time of a count is the time of its export.
    """

    def __init__(
        self,
        requests: str = "",
        *,
        latency: str = "",
        unit: str = "s",
        flag: str = "feature_flag.key",
        variant: str = "feature_flag.result.variant",
        error: Callable[[Attributes], bool] = failed,
        into: Counters | None = None,
    ) -> None:
        """Raise ValueError where nothing is named to count by, or the unit is none."""
        super().__init__(preferred_temporality=dict(_DELTAS))
        if not requests and not latency:
            message = "name the counter of requests, or the histogram of their latencies"
            raise ValueError(message)
        if unit not in _UNITS:
            message = f"{unit!r} is no unit: it is s, ms or us"
            raise ValueError(message)
        self._requests = requests or latency
        self._latency = latency
        self._scale = _UNITS[unit]
        self._flag, self._variant = flag, variant
        self._error = error
        self._into = counters() if into is None else into

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Take in all points of the instruments that were named."""
        good = True
        for metric in _metrics(metrics_data):
            if metric.name in (self._requests, self._latency):
                good = self._take(metric) and good
        return MetricExportResult.SUCCESS if good else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Return that nothing waits: what was exported is counted."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """End. There is nothing to give back."""

    def _take(self, metric: Metric) -> bool:
        temporality = getattr(metric.data, "aggregation_temporality", None)
        if temporality != AggregationTemporality.DELTA:
            _log.error(
                "the metric %s is no sum or histogram of increases, and is not counted: "
                "don't override the temporality of this exporter",
                metric.name,
            )
            return False
        for point in metric.data.data_points:
            self._point(metric.name, point)
        return True

    def _point(self, name: str, point: Any) -> None:
        attributes: Attributes = point.attributes or {}
        flag, variant = attributes.get(self._flag), attributes.get(self._variant)
        if not isinstance(flag, str) or not isinstance(variant, str):
            return
        if name == self._requests:
            many = _many(point)
            errors = many if self._error(attributes) else 0
            self._into.add(flag, variant, Counts(many, errors, many - errors))
        if name == self._latency and isinstance(point, HistogramDataPoint):
            self._into.add_latencies(
                flag,
                variant,
                point.sum * self._scale,
                [end * self._scale for end in point.explicit_bounds],
                list(point.bucket_counts),
            )


def _many(point: Any) -> int:
    return round(point.value if isinstance(point, NumberDataPoint) else point.count)


def _metrics(data: MetricsData) -> Iterator[Metric]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            yield from scope.metrics
