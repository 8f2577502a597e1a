"""Counts out of Prometheus: raw counters, read at both edges of a window and in between.

Never by ``rate()`` or ``increase()``, which extrapolate to the edges of their range: windows that
follow each other would count requests twice, and others never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from downhaul.analysis.model import Counts, Sample, Window
from downhaul.analysis.prometheus_api import Key, Prometheus, series_text
from downhaul.analysis.prometheus_counting import Beginnings, counts_of, increases, target_of
from downhaul.analysis.prometheus_probe import Probe
from downhaul.analysis.prometheus_query import before, selector
from downhaul.analysis.prometheus_settings import PrometheusSettings, any_of, literal
from downhaul.analysis.settings import SourceSettings, no_users
from downhaul.analysis.web import Asking, Web, basic
from downhaul.documents.faults import quoted
from downhaul.errors import ConfigError, Unreachable

_Began = Callable[[Key, int], bool]

LONGEST: Final = 600 * 1_000_000
"""Microseconds of a window that are counted at once; the rest is left for the next look."""

_SECOND: Final = 1_000_000
_RECENT: Final = 300.0  # seconds within which a counter's last value is found, unless it was away
_MOST_ARMS: Final = 100


class PrometheusSource:
    """Counters in Prometheus as a :class:`~downhaul.analysis.model.MetricSource`."""

    counts_users: Final = False
    """Counters are of all requests together."""

    def __init__(self, options: PrometheusSettings, settings: SourceSettings) -> None:
        self._options = options
        self._settings = settings
        self._web = Web(
            "Prometheus", options.url, options.timeout, options.headers, self._credentials
        )

    def probe(
        self, flag: str, thresholds: tuple[float, ...], *, users: bool = False
    ) -> Sequence[str]:
        """See that the metrics are there, with the labels and buckets that the plan says.

        Raises ConfigError, Unreachable. Returns what was not counted in yet, and may be right.
        """
        if users:
            raise no_users("prometheus", "leave it out, or count by requests or sql")
        if thresholds and not self._options.latency:
            message = "metrics.latency is missing, and the plan asks who is slow"
            raise ConfigError(message, hint="name the histogram of latencies")
        now = self._settings.now()

        def look(asking: Asking) -> Sequence[str]:
            api = Prometheus(asking, self._options.params)
            return Probe(self._options, api, now).all(flag, thresholds)

        odd = self._web.look(look)
        until = now - round(self._options.lag * _SECOND)
        self.sample(flag, Window(until - _SECOND, until), thresholds)
        return odd

    def watermark(self) -> int:
        """Return until when the counts are complete, in microseconds since 1970."""
        return self._settings.now() - round(self._options.lag * _SECOND)

    def sample(
        self,
        flag: str,
        window: Window,
        thresholds: tuple[float, ...],
        *,
        preview: bool = False,
        users_since: int | None = None,
    ) -> Sample:
        """Return the counts of the window, or of its first ten minutes.

        Of everybody: a counter doesn't say who was targeted.
        """
        window = Window(window.since, min(window.until, window.since + LONGEST))
        since, until = before(window.since), before(window.until)
        chosen = selector(self._options, flag, thresholds)
        if until <= since:
            return Sample(window, {}, chosen)

        def look(asking: Asking) -> Sample:
            api = Prometheus(asking, self._options.params)
            arms, odd = self._count(api, chosen, since, until, thresholds)
            self._see_that_it_was_over(api, asking, window)
            query = asking.plain(f"raw samples of {chosen} within {(until - since) / 1000:g} s")
            return Sample(window, arms, query, (*api.warnings, *odd))

        return self._web.look(look)

    def _count(
        self,
        api: Prometheus,
        chosen: str,
        since: int,
        until: int,
        thresholds: Sequence[float],
    ) -> tuple[dict[str, Counts], list[str]]:
        inside = api.samples(chosen, since, until)
        last = api.last(chosen, since, _RECENT) if inside else {}
        if any(key not in last for key in inside):  # new, or away for longer
            last = {**api.last(chosen, since, self._options.look_back), **last}
        began = self._beginnings(api, [key for key in inside if key not in last], since, until)
        rises, unknown = increases(last, inside, began)
        arms = counts_of(rises, [*inside, *last], self._options, thresholds)
        if len(arms) > _MOST_ARMS:
            label = quoted(self._options.labels["variant"])
            message = f"the label {label} holds more than {_MOST_ARMS} values: is it the variant?"
            raise ConfigError(message, hint="see metrics.labels")
        return arms, list(_left_out(unknown))

    def _beginnings(self, api: Prometheus, new: Sequence[Key], since: int, until: int) -> _Began:
        if self._options.new_series != "auto" or not new:
            always = self._options.new_series == "zero"
            return lambda _key, _at: always
        targets = {one for one in map(target_of, new) if one is not None}
        if not targets:
            return lambda _key, _at: False
        jobs = any_of(tuple(sorted({job for job, _ in targets})))
        instances = any_of(tuple(sorted({instance for _, instance in targets})))
        about = (
            '{__name__=~"up|process_start_time_seconds", '
            f"job=~{literal(jobs)}, instance=~{literal(instances)}}}"
        )
        long = round(self._options.look_back * 1000)
        return Beginnings.of(api.samples(about, since - long, until)).began

    def _see_that_it_was_over(self, api: Prometheus, asking: Asking, window: Window) -> None:
        """Raise Unreachable where the server's clock says that the window isn't over yet."""
        if api.at is not None and (api.at + 1) * _SECOND < window.until:
            behind = window.until / _SECOND - api.at
            raise Unreachable(
                f"the clock of {asking.place} is behind the control store's: it has not come to "
                f"the window's end by {behind:.0f} s, and would miss what is still to come",
                hint="set the clocks, or raise metrics.lag",
            )

    def _credentials(self) -> Mapping[str, str]:
        options = self._options
        if options.token is not None:
            return {"Authorization": f"Bearer {options.token.reveal('metrics.token').reveal()}"}
        if options.username is not None and options.password is not None:
            password = options.password.reveal("metrics.password").reveal()
            return {"Authorization": basic(options.username, password)}
        return {}


def create(settings: SourceSettings) -> PrometheusSource:
    """Return the source that a plan describes. Contacts nothing."""
    return PrometheusSource(settings.options, settings)


def _left_out(unknown: Sequence[Key]) -> Iterator[str]:
    if unknown:
        many = "1 counter" if len(unknown) == 1 else f"{len(unknown)} counters"
        yield (
            f"{many} appeared without a sign of when it began, so its first value is in no count: "
            f"{series_text(unknown[0])}"
        )
