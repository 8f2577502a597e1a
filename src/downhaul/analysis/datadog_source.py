"""Counts out of Datadog: sums of whole points, by ``.as_count()`` and never ``.as_rate()``.

A point is of ``interval`` seconds, and belongs to the window that its beginning lies in. So windows
that follow each other add up, whatever their edges are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from downhaul.analysis.datadog_settings import DatadogSettings
from downhaul.analysis.model import Counts, Sample, Window
from downhaul.analysis.options import Address
from downhaul.analysis.settings import SourceSettings, no_users
from downhaul.analysis.web import Answer, Asking, Web
from downhaul.documents.faults import quoted
from downhaul.errors import ConfigError, Unreachable

_SECOND: Final = 1_000_000
_MOST_ARMS: Final = 100
_MOST_POINTS: Final = 300  # of a series at once; Datadog joins points above 1,500
_MILLISECONDS: Final = {"s": 1000.0, "ms": 1.0, "us": 0.001}
_COUNTS: Final = ("count", "rate", "distribution")
_LOOKED_AT: Final = 3600  # seconds of the past that are looked at before a rollout starts

Queries = Mapping[str, str]
"""What is asked, by what it is: ``requests``, ``errors``, ``timed``, ``latency``, ``slow_0``."""


class DatadogSource:
    """Metrics in Datadog as a :class:`~downhaul.analysis.model.MetricSource`."""

    counts_users: Final = False
    """Metrics are of all requests together."""

    def __init__(self, options: DatadogSettings, settings: SourceSettings) -> None:
        self._options = options
        self._settings = settings
        address = options.url or Address(f"https://api.{options.site}")
        self._web = Web("Datadog", address, options.timeout, options.headers, self._credentials)

    def probe(
        self, flag: str, thresholds: tuple[float, ...], *, users: bool = False
    ) -> Sequence[str]:
        """See that the metrics are there, are counts, and can be asked for with these keys.

        Raises ConfigError, Unreachable. Returns what was not counted in yet, and may be right.
        """
        if users:
            raise no_users("datadog", "leave it out, or count by requests or sql")
        if thresholds and not self._options.latency:
            message = "metrics.latency is missing, and the plan asks who is slow"
            raise ConfigError(message, hint="name the distribution of latencies")
        odd = self._web.look(lambda asking: list(self._metrics(asking)))
        until = self.watermark()
        looked_at = min(_LOOKED_AT, _MOST_POINTS * self._options.interval)
        sample = self.sample(flag, Window(until - looked_at * _SECOND, until), thresholds)
        if not odd and not sample.arms:
            odd.append(f"nothing was counted lately: are all tags right? {sample.query}")
        return odd

    def watermark(self) -> int:
        """Return until when the counts are complete: the end of a point, in microseconds."""
        now = self._settings.now() - round(self._options.lag * _SECOND)
        return now - now % (self._options.interval * _SECOND)

    def sample(
        self,
        flag: str,
        window: Window,
        thresholds: tuple[float, ...],
        *,
        preview: bool = False,
        users_since: int | None = None,
    ) -> Sample:
        """Return the counts of the window, or of as much as fits into one answer."""
        grain = self._options.interval * _SECOND
        first = -(-window.since // grain) * grain  # the first point that begins in it
        until = min(window.until, first + _MOST_POINTS * grain)
        window = Window(window.since, max(window.since, until))
        asked = queries(self._options, flag, thresholds)
        shown = "; ".join(asked.values())
        if first >= window.until:
            return Sample(window, {}, shown)

        def look(asking: Asking) -> Sample:
            body = _question(asked, first, window.until, self._options.interval)
            answer = asking.post("/api/v2/query/timeseries", body=body)
            sums = self._sums(asking, answer, list(asked), first, window.until)
            return Sample(window, self._counts(sums, thresholds), asking.plain(shown))

        return self._web.look(look)

    # What Datadog answers

    def _sums(
        self, asking: Asking, answer: Answer, names: Sequence[str], since: int, until: int
    ) -> dict[str, dict[str, float]]:
        """Return by variant, and by what was asked, the sum of the points in between."""
        odd = _Odd(asking)
        wrong = answer.data.get("errors") if isinstance(answer.data, Mapping) else None
        if wrong:
            raise odd.of(f"errors: {asking.plain(str(wrong))[:200]}")
        attributes = odd.table(odd.table(answer.data, "data"), "attributes")
        times = odd.list(attributes, "times")
        rows = odd.list(attributes, "values")
        series = odd.list(attributes, "series")
        if len(rows) != len(series):
            raise odd.of(f"{len(series)} series and {len(rows)} lists of values")
        moments = [self._moment(odd, one) for one in times]
        found: dict[str, dict[str, float]] = {}
        for one, values in zip(series, rows, strict=True):
            index = one.get("query_index") if isinstance(one, Mapping) else None
            if not isinstance(index, int) or not 0 <= index < len(names):
                raise odd.of("a series of no query that was asked")
            if not isinstance(values, list) or len(values) != len(moments):
                raise odd.of("values that don't fit their times")
            variant = self._variant(one.get("group_tags"))
            if variant is None:
                continue
            sums = found.setdefault(variant, defaultdict(float))
            for moment, value in zip(moments, values, strict=True):
                if value is not None and since <= moment < until:
                    sums[names[index]] += odd.number(value)
        if len(found) > _MOST_ARMS:
            tag = quoted(self._options.tags["variant"])
            message = f"the tag {tag} holds more than {_MOST_ARMS} values: is it the variant?"
            raise ConfigError(message, hint="see metrics.tags")
        return found

    def _moment(self, odd: _Odd, time: Any) -> int:
        """Return a point's beginning in microseconds; it has to be one of those asked for."""
        if not isinstance(time, (int, float)) or isinstance(time, bool):
            raise odd.of(f"{quoted(time)}, which is no time")
        milliseconds = round(time)
        if milliseconds % (self._options.interval * 1000):
            raise odd.of(
                f"a point at {milliseconds} ms, and points of {self._options.interval} s were "
                "asked for: it has joined them"
            )
        return milliseconds * 1000

    def _variant(self, tags: Any) -> str | None:
        """Return whose series it is. What has no such tag is Datadog's ``N/A``."""
        start = f"{self._options.tags['variant']}:"
        for one in tags if isinstance(tags, list) else ():
            if isinstance(one, str) and one.startswith(start):
                held = one.removeprefix(start)
                return None if held in ("", "N/A") else self._options.variants.of(held)
        return None

    def _counts(
        self, sums: Mapping[str, Mapping[str, float]], thresholds: Sequence[float]
    ) -> dict[str, Counts]:
        scale = _MILLISECONDS[self._options.latency_unit]
        arms: dict[str, Counts] = {}
        for variant, found in sums.items():
            requests = round(found.get("requests", 0.0))
            errors = min(requests, round(found.get("errors", 0.0)))
            timed = round(found.get("timed", 0.0))
            slow = {
                one: min(timed, round(found.get(f"slow_{at}", 0.0)))
                for at, one in enumerate(thresholds)
            }
            latency = found.get("latency", 0.0) * scale
            arms[variant] = Counts(requests, errors, requests - errors, timed, latency, slow)
        return arms

    # Before a rollout starts

    def _metrics(self, asking: Asking) -> Iterator[str]:
        options = self._options
        for field, name in (
            ("requests", options.requests),
            ("error_count", options.error_count),
            ("latency", options.latency),
        ):
            if name:
                yield from self._metric(asking, field, name)

    def _metric(self, asking: Asking, field: str, name: str) -> Iterator[str]:
        try:
            found = asking.get(f"/api/v1/metrics/{name}").data
        except ConfigError as error:
            if "(403)" in error.message:
                yield f"the keys may not look up metrics, so {quoted(name)} was not looked at"
                return
            if "(404)" not in error.message:
                raise
            message = f"Datadog has no metric {quoted(name)}"
            if field == "error_count":
                yield f"{message} yet: is it made at the first error?"
                return
            raise ConfigError(
                f"metrics.{field}: {message}", hint="has nothing been counted yet?"
            ) from None
        kind = found.get("type") if isinstance(found, Mapping) else None
        wanted = ("distribution",) if field == "latency" else _COUNTS
        if isinstance(kind, str) and kind not in wanted:
            message = f"metrics.{field}: {quoted(name)} is a {kind}, and no {wanted[0]}"
            raise ConfigError(message, hint="nothing can be counted by it")

    def _credentials(self) -> Mapping[str, str]:
        return {
            "DD-API-KEY": self._options.api_key.reveal("metrics.api_key").reveal(),
            "DD-APPLICATION-KEY": self._options.app_key.reveal("metrics.app_key").reveal(),
        }


def create(settings: SourceSettings) -> DatadogSource:
    """Return the source that a plan describes. Contacts nothing."""
    return DatadogSource(settings.options, settings)


def queries(options: DatadogSettings, flag: str, thresholds: Sequence[float]) -> Queries:
    """Return what is asked, by what it is."""
    where = list(options.where)
    if "flag" in options.tags:
        where.append(f"{options.tags['flag']}:{_tag_value(flag)}")
    by, end = f"by {{{options.tags['variant']}}}", f".rollup(sum, {options.interval})"

    def query(aggregator: str, metric: str, *more: str, count: bool = True) -> str:
        scope = " AND ".join([*where, *more]) or "*"
        return f"{aggregator}:{metric}{{{scope}}} {by}{'.as_count()' if count else ''}{end}"

    latency = options.latency
    counted = options.requests or latency
    first = "sum" if options.requests else "count"
    asked = {"requests": query(first, counted)}
    if options.error_count:
        asked["errors"] = query("sum", options.error_count)
    else:
        asked["errors"] = query(first, counted, *options.errors)
    if latency:
        asked["timed"] = query("count", latency)
        asked["latency"] = query("sum", latency, count=False)
        scale = _MILLISECONDS[options.latency_unit]
        for at, threshold in enumerate(thresholds):
            asked[f"slow_{at}"] = query(f"count(v: v>{threshold / scale:.15g})", latency)
    return asked


def _tag_value(text: str) -> str:
    """Return a flag's key as Datadog keeps it in a tag: in lower case, oddities as ``_``."""
    return "".join(one if one.isalnum() or one in "_-:./" else "_" for one in text.lower())


def _question(asked: Queries, since: int, until: int, interval: int) -> dict[str, Any]:
    return {
        "data": {
            "type": "timeseries_request",
            "attributes": {
                "from": since // 1000,
                "to": -(-until // 1000),
                "interval": interval * 1000,
                "queries": [
                    {"data_source": "metrics", "name": name, "query": query}
                    for name, query in asked.items()
                ],
                "formulas": [{"formula": name} for name in asked],
            },
        }
    }


class _Odd:
    """Reads an answer, and tells what is odd about it."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def of(self, what: str) -> Unreachable:
        hint = "see whether metrics.url leads to Datadog's API"
        return Unreachable(f"{self._asking.place} answers with {what}", hint=hint)

    def table(self, found: Any, name: str) -> Mapping[str, Any]:
        inner = found.get(name) if isinstance(found, Mapping) else None
        if not isinstance(inner, Mapping):
            raise self.of(f"no table {name}")
        return inner

    def list(self, found: Mapping[str, Any], name: str) -> list[Any]:
        inner = found.get(name)
        if not isinstance(inner, list):
            raise self.of(f"no list {name}")
        return inner

    def number(self, value: Any) -> float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise self.of(f"{quoted(value)}, which is no count")
        return float(value)
