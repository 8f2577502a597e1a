"""Prometheus' HTTP API: questions, and answers as series of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from downhaul.analysis.web import Answer, Asking
from downhaul.documents.faults import quoted
from downhaul.errors import ConfigError, DownhaulError, Unreachable

Key = tuple[tuple[str, str], ...]
"""A series: its labels with their values, the metric's name among them, in order."""

NAME: Final = "__name__"

_SHORT: Final = 80  # characters of a series in a message
_TAKES_NO_POST: Final = ("(405)", "(501)")


class Prometheus:
    """What is asked within one look. ``params`` are sent along with each query.

    ``warnings`` gathers what the server says beside its answers, ``at`` its clock in seconds.
    """

    def __init__(self, asking: Asking, params: Mapping[str, str]) -> None:
        self._asking = asking
        self._params = params
        self.warnings: dict[str, None] = {}
        self.at: float | None = None

    def samples(self, selector: str, since: int, until: int) -> dict[Key, list[tuple[int, float]]]:
        """Return the raw samples of each series after ``since`` up to ``until``, milliseconds.

        They are as they were scraped, each with its own time. Markers of staleness are none.
        """
        found: dict[Key, list[tuple[int, float]]] = {}
        for key, values in self._series(f"{selector}[{until - since}ms]", until, "matrix"):
            inside = [one for one in values if since < one[0] <= until]  # 2 gives both ends, 3 one
            if inside:
                found[key] = inside
        return found

    def last(self, selector: str, at: int, back: float) -> dict[Key, float]:
        """Return the last value of each series at ``at``, milliseconds, of those ``back`` seconds.

        A value counts however it ended: markers of staleness don't hide it, as they would from a
        plain query.
        """
        query = f"last_over_time({selector}[{round(back * 1000)}ms])"
        return {key: values[-1][1] for key, values in self._series(query, at, "vector")}

    def time(self) -> float:
        """Return the server's clock, in seconds since 1970."""
        data = self._query("time()", None)
        try:
            return float(data["result"][1])
        except (KeyError, IndexError, TypeError, ValueError):
            raise self._odd("no time") from None

    def labels(self, match: str, since: float) -> list[str]:
        """Return the names of labels that matching series have had since then."""
        return self._strings("/api/v1/labels", match, since)

    def values(self, label: str, match: str | None, since: float | None) -> list[str]:
        """Return the values of a label, of matching series since then."""
        return self._strings(f"/api/v1/label/{label}/values", match, since)

    def kind(self, metric: str) -> str:
        """Return of which type a metric is said to be; nothing where that isn't known."""
        found = self._data(self._asking.get("/api/v1/metadata", {"metric": metric, "limit": "1"}))
        entries = found.get(metric) if isinstance(found, Mapping) else None
        first = entries[0] if isinstance(entries, list) and entries else {}
        return str(first.get("type", "")) if isinstance(first, Mapping) else ""

    def _strings(self, path: str, match: str | None, since: float | None) -> list[str]:
        params = {
            **({} if match is None else {"match[]": match}),
            **({} if since is None else {"start": f"{since:.3f}"}),
        }
        found = self._data(self._asking.get(path, params))
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self._odd("no list of names")
        return found

    def _series(
        self, query: str, at: int, kind: str
    ) -> Iterator[tuple[Key, list[tuple[int, float]]]]:
        data = self._query(query, at)
        if not isinstance(data, Mapping) or data.get("resultType") != kind:
            raise self._odd(f"no {kind}")
        result = data.get("result")
        if not isinstance(result, list):
            raise self._odd("no list of series")
        for one in result:
            yield self._one(one, kind)

    def _one(self, one: Any, kind: str) -> tuple[Key, list[tuple[int, float]]]:
        if not isinstance(one, Mapping) or not isinstance(one.get("metric"), Mapping):
            raise self._odd("a series without labels")
        key: Key = tuple(sorted((str(name), str(value)) for name, value in one["metric"].items()))
        if "histogram" in one or "histograms" in one:
            message = f"{series_text(key)} is a native histogram, and those are not read"
            raise ConfigError(message, hint="name a classic histogram, or a counter")
        values = [one.get("value")] if kind == "vector" else one.get("values")
        if not isinstance(values, list):
            raise self._odd("a series without values")
        return key, [self._point(key, point) for point in values]

    def _point(self, key: Key, point: Any) -> tuple[int, float]:
        try:
            at, text = point
            moment, value = round(float(at) * 1000), float(text)
        except (TypeError, ValueError, OverflowError):
            raise self._odd(f"{quoted(point)}, which is no sample") from None
        if not math.isfinite(value) or value < 0:
            message = f"{series_text(key)} holds {text}, and no counter does"
            raise Unreachable(message, hint="see whether the plan's metrics name counters")
        return moment, value

    def _query(self, query: str, at: int | None) -> Any:
        form = {
            **self._params,
            "query": query,
            **({} if at is None else {"time": f"{at / 1000:.3f}"}),
            "timeout": f"{round(self._asking.left() * 1000)}ms",
        }
        path = "/api/v1/query"
        try:
            answer = self._asking.post(path, form=form)
        except DownhaulError as error:
            if not any(one in error.message for one in _TAKES_NO_POST):
                raise
            answer = self._asking.get(path, form)  # a proxy that lets nothing be posted
        return self._data(answer)

    def _data(self, answer: Answer) -> Any:
        body = answer.data
        if answer.at is not None:
            self.at = answer.at
        if not isinstance(body, Mapping) or body.get("status") != "success" or "data" not in body:
            said = body.get("error") if isinstance(body, Mapping) else None
            raise self._odd(
                f"no success: {self._asking.plain(str(said))}" if said else "no success"
            )
        for name in ("warnings", "infos"):
            for one in _texts(body.get(name)):
                self.warnings[self._asking.plain(one)] = None
        return body["data"]

    def _odd(self, what: str) -> Unreachable:
        return Unreachable(
            f"{self._asking.place} answers with {what}",
            hint="see whether metrics.url leads to Prometheus, or to what speaks as it does",
        )


def series_text(key: Key) -> str:
    """Return a series as messages show it."""
    labels = dict(key)
    name = labels.pop(NAME, "")
    inner = ", ".join(f"{label}={quoted(value)}" for label, value in labels.items())
    text = f"{name}{{{inner}}}"
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def _texts(found: Any) -> Iterable[str]:
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else ()
