"""Whether the metrics of a plan are in Prometheus, and are what the plan takes them for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from downhaul.analysis.prometheus_api import NAME, Prometheus
from downhaul.analysis.prometheus_counting import boundary, requests_of
from downhaul.analysis.prometheus_query import selector
from downhaul.analysis.prometheus_settings import Matcher, PrometheusSettings
from downhaul.documents.faults import did_you_mean, quoted
from downhaul.errors import ConfigError, Problem

_BOUNDARIES: Final = 14  # of a histogram, in a message
_NOTICED: Final = 2.0  # seconds that two clocks may be apart without a word
_COUNTS: Final = ("", "counter", "histogram", "unknown", "untyped")


class Probe:
    """One look before a rollout starts. ``now`` is the control store's time in microseconds."""

    def __init__(self, options: PrometheusSettings, api: Prometheus, now: int) -> None:
        self._options = options
        self._api = api
        self._now = now / 1_000_000
        self._since = self._now - options.look_back
        self._problems: list[Problem] = []
        self._odd: list[str] = []

    def all(self, flag: str, thresholds: Sequence[float]) -> Sequence[str]:
        """Return what is odd, and may be right. Raises ConfigError with every problem."""
        self._clocks()
        for field, name in self._metrics():
            self._metric(field, name)
        if thresholds and not self._problems:
            self._boundaries(thresholds)
        if not self._problems and not self._odd:
            self._traffic(flag)
        if len(self._problems) == 1:
            (one,) = self._problems
            raise ConfigError(f"{one.path}: {one.message}", hint=one.hint)
        if self._problems:
            raise ConfigError("the metrics can't be counted by", self._problems)
        return self._odd

    def _metrics(self) -> Iterable[tuple[str, str]]:
        options = self._options
        if options.requests:
            yield "requests", options.requests
        if options.error_counter:
            yield "error_counter", options.error_counter
        if options.latency:
            yield "latency", f"{options.latency}_count"

    def _clocks(self) -> None:
        ahead = self._api.time() - self._now
        if -ahead > self._options.lag:
            self._refuse(
                "lag",
                f"Prometheus' clock is {-ahead:.0f} s behind the control store's, so a window is "
                "over before its samples are there",
                "set the clocks, or raise metrics.lag above that",
            )
        elif abs(ahead) > _NOTICED:
            where = "ahead of" if ahead > 0 else "behind"
            self._odd.append(
                f"Prometheus' clock is {abs(ahead):.0f} s {where} the control store's: its counts "
                "are of that much earlier or later than they seem"
            )

    # Metrics

    def _metric(self, field: str, name: str) -> None:
        labels = self._api.labels(f"{{{Matcher(NAME, '=', name)}}}", self._since)
        if not labels:
            self._missing(field, name)
            return
        kind = self._api.kind(name)
        if kind not in _COUNTS:
            message = f"{quoted(name)} is a {kind}: what rises and falls counts nothing"
            self._refuse(field, message, "name a counter")
        own = [one for one in labels if one != NAME]
        for where, label in self._needed(field):
            if label not in own:
                message = f"{quoted(name)} has no label {quoted(label)}"
                self._refuse(where, message, did_you_mean(label, own, all_of="its labels are"))

    def _needed(self, field: str) -> Iterable[tuple[str, str]]:
        """Yield the labels that all series of a metric need, or some, and where that is said."""
        options = self._options
        for role, label in options.labels.items():
            yield f"labels.{role}", label
        for one in options.where:
            if not one.holds({}):
                yield f"where.{one.label}", one.label
        if field == "requests" or (field == "latency" and not options.requests):
            for one in options.errors:
                if not one.holds({}):
                    yield f"errors.{one.label}", one.label
            for one in options.successes:
                if not one.holds({}):
                    yield f"successes.{one.label}", one.label

    def _missing(self, field: str, name: str) -> None:
        """Tell a name that nobody has from one that nothing was counted in lately."""
        every = self._api.values(NAME, None, None)
        if name in every:
            self._odd.append(f"nothing was counted in {quoted(name)} lately")
            return
        message = f"there is no metric {quoted(name)}"
        shown = self._options.latency
        if field == "latency" and shown in every:
            message = f"{quoted(shown)} is no classic histogram: it has no {quoted(name)}"
            self._refuse(field, message, "native histograms and summaries can't be counted by")
            return
        near = did_you_mean(name, every)
        if field == "error_counter":  # which many clients make at the first error
            hint = f" ({near})" if near else ""
            self._odd.append(f"{message} yet: is it made at the first error?{hint}")
            return
        self._refuse(
            field, message, near or "has nothing been counted yet? let one request through"
        )

    def _boundaries(self, thresholds: Sequence[float]) -> None:
        options, name = self._options, f"{self._options.latency}_bucket"
        match = f"{{{', '.join(map(str, [Matcher(NAME, '=', name), *options.where]))}}}"
        ends = sorted(_numbers(self._api.values("le", match, self._since)))
        if not ends:
            self._odd.append(f"no bucket of {quoted(name)} was counted in lately")
            return
        for threshold in thresholds:
            wanted = boundary(threshold, options)
            if not any(abs(one - wanted) <= 1e-9 * wanted for one in ends):
                unit = options.latency_unit
                known = ", ".join(f"{one:g}" for one in ends[:_BOUNDARIES])
                more = ", ..." if len(ends) > _BOUNDARIES else ""
                self._refuse(
                    "latency",
                    f"{quoted(options.latency)} has no bucket that ends at {wanted:g} {unit}",
                    f"slower_than has to be one of {known}{more} {unit}",
                )

    def _traffic(self, flag: str) -> None:
        options = self._options
        chosen = selector(options, flag, (), requests_of(options))
        if not self._api.labels(chosen, self._since):
            self._odd.append(f"nothing was counted in {chosen} lately: are all its labels right?")

    def _refuse(self, field: str, message: str, hint: str | None) -> None:
        path = f"metrics.{field}"
        if all((one.path, one.message) != (path, message) for one in self._problems):
            self._problems.append(Problem(path, message, hint=hint))


def _numbers(texts: Iterable[str]) -> Iterable[float]:
    for one in texts:
        try:
            end = float(one)
        except ValueError:
            continue
        if end != float("inf"):
            yield end
