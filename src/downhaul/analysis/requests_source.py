"""Counts out of the request log that ``observe`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from downhaul.analysis.model import Sample, Window
from downhaul.analysis.settings import SourceSettings
from downhaul.analysis.sql_mapping import lag_of, refuse, unknown_fields
from downhaul.store.requests import RequestLog

LAG: Final = 1.0
"""Seconds that counting stays behind: rows are stamped before their transaction is seen."""

_SECOND: Final = 1_000_000


class RequestsSource:
    """A metric source on the request log of the control store."""

    counts_users: Final = True
    """Rows bear a hash of who asked, if the application said it."""

    def __init__(self, log: RequestLog, *, lag: float = LAG) -> None:
        self._log = log
        self._lag = int(lag * _SECOND)

    def probe(
        self, flag: str, thresholds: tuple[float, ...], *, users: bool = False
    ) -> Sequence[str]:
        """Ask once. Raises Unreachable, SchemaMissing."""
        now = self._log.now()
        since = now if users else None
        self._log.counts(flag, Window(now, now), thresholds, users_since=since)
        return ()

    def watermark(self) -> int:
        """Return until when the counts are complete."""
        return self._log.now() - self._lag

    def sample(
        self,
        flag: str,
        window: Window,
        thresholds: tuple[float, ...],
        *,
        preview: bool = False,
        users_since: int | None = None,
    ) -> Sample:
        """Return the counts of the window; for a preview, those of who was named as well."""
        served = ("split", "target", "rule") if preview else ("split",)
        arms = self._log.counts(flag, window, thresholds, served, users_since=users_since)
        query = f"requests of {flag} served by {' or '.join(served)}"
        return Sample(window, arms, query)


def create(settings: SourceSettings) -> RequestsSource:
    """Return the source that a plan describes. Raises ConfigError with every problem."""
    lag, problems = lag_of(settings.options, LAG, LAG)
    refuse([*problems, *unknown_fields(settings.options, ("source", "lag"))])
    return RequestsSource(RequestLog(settings.database, settings.environment), lag=lag)
