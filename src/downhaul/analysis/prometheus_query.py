"""The PromQL that chooses what is read."""

from __future__ import annotations

from collections.abc import Sequence

from downhaul.analysis.prometheus_api import NAME
from downhaul.analysis.prometheus_counting import requests_of, spellings
from downhaul.analysis.prometheus_settings import Matcher, PrometheusSettings, any_of


def before(at: int) -> int:
    """Return the last millisecond before a moment in microseconds: samples have milliseconds."""
    return -(-at // 1000) - 1


def selector(
    options: PrometheusSettings, flag: str, thresholds: Sequence[float], *names: str
) -> str:
    """Return the PromQL that chooses all series that are read, or those of these names."""
    names = names or metrics_of(options, thresholds)
    matchers = [
        Matcher(NAME, "=", names[0]) if len(names) == 1 else Matcher(NAME, "=~", any_of(names)),
        Matcher(options.labels["variant"], "!=", ""),
    ]
    if "flag" in options.labels:
        matchers.append(Matcher(options.labels["flag"], "=", flag))
    if thresholds and any(one.endswith("_bucket") for one in names):
        ends = {text for one in thresholds for text in spellings(one, options)}
        matchers.append(Matcher("le", "=~", f"|{any_of(tuple(sorted(ends)))}"))  # or none at all
    return f"{{{', '.join(map(str, [*matchers, *options.where]))}}}"


def metrics_of(options: PrometheusSettings, thresholds: Sequence[float]) -> tuple[str, ...]:
    """Return the names of all series that are read."""
    latency = options.latency
    names = [requests_of(options), options.error_counter]
    names += [f"{latency}_sum", f"{latency}_count"] if latency else []
    names += [f"{latency}_bucket"] if latency and thresholds else []
    return tuple(dict.fromkeys(one for one in names if one))
