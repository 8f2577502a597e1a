"""Counts out of the request log that ``observe`` writes."""

from __future__ import annotations

from typing import Final

from downhaul.analysis.model import Sample, Window
from downhaul.store.requests import RequestLog

LAG: Final = 1.0
"""Seconds that counting stays behind: rows are stamped before their transaction is seen."""

_SECOND: Final = 1_000_000


class RequestsSource:
    """A metric source on the request log of the control store."""

    def __init__(self, log: RequestLog, *, lag: float = LAG) -> None:
        self._log = log
        self._lag = int(lag * _SECOND)

    def probe(self, flag: str, thresholds: tuple[float, ...]) -> None:
        """Ask once. Raises Unreachable, SchemaMissing."""
        now = self._log.now()
        self._log.counts(flag, Window(now, now), thresholds)

    def watermark(self) -> int:
        """Return until when the counts are complete."""
        return self._log.now() - self._lag

    def sample(
        self, flag: str, window: Window, thresholds: tuple[float, ...], *, preview: bool = False
    ) -> Sample:
        """Return the counts of the window; for a preview, those of who was named as well."""
        served = ("split", "target", "rule") if preview else ("split",)
        arms = self._log.counts(flag, window, thresholds, served)
        query = f"requests of {flag} served by {' or '.join(served)}"
        return Sample(window, arms, query)
