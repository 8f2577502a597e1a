"""Counts out of this process: what applications in it record, beside a controller in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from downhaul.analysis.counters import DEFAULT, Counters, known_counters
from downhaul.analysis.model import Counts, Sample, Window
from downhaul.analysis.options import SourceTable, VariantsOption
from downhaul.analysis.settings import SourceSettings, no_users
from downhaul.analysis.variants import Variants
from downhaul.documents.faults import did_you_mean, quoted
from downhaul.errors import ConfigError

_SECOND: Final = 1_000_000


class MemorySettings(SourceTable):
    """``[metrics]`` with ``source = "memory"``."""

    counters: Annotated[str, Field(min_length=1)] = DEFAULT
    """the name of the counters in this process"""
    variants: VariantsOption = Field(default_factory=Variants)


class MemorySource:
    """Counters of this process as a :class:`~downhaul.analysis.model.MetricSource`."""

    counts_users: Final = False
    """Counters are of all requests together."""

    def __init__(self, options: MemorySettings) -> None:
        self._options = options

    def probe(
        self, flag: str, thresholds: tuple[float, ...], *, users: bool = False
    ) -> Sequence[str]:
        """See that something counts in this process. Raises ConfigError where nothing does."""
        if users:
            raise no_users("memory", "leave it out, or count by requests or sql")
        held = self._held()
        now = held.now()
        self.sample(flag, Window(held.began, now), thresholds)
        if flag not in held.flags():
            return (f"nothing was counted for {quoted(flag)} in this process yet",)
        return ()

    def watermark(self) -> int:
        """Return until when the counts are complete, by this process's clock."""
        return self._held().complete()

    def sample(
        self,
        flag: str,
        window: Window,
        thresholds: tuple[float, ...],
        *,
        preview: bool = False,
        users_since: int | None = None,
    ) -> Sample:
        """Return the counts of the window. What was before this process is gone with another."""
        held = self._held()
        served = ("split", "target") if preview else ("split",)
        arms: dict[str, Counts] = {}
        for name, counts in held.counts(flag, window, thresholds, served).items():
            ours = self._options.variants.of(name)
            arms[ours] = arms[ours] + counts if ours in arms else counts
        warnings: tuple[str, ...] = ()
        if window.since < held.began:
            gone = (held.began - window.since) / _SECOND
            warnings = (f"nothing is known of {gone:.1f} s before this process began to count",)
        query = f"counters {self._options.counters} of {flag} in this process"
        return Sample(window, arms, query, warnings)

    def _held(self) -> Counters:
        every = known_counters()
        name = self._options.counters
        if name in every:
            return every[name]
        hint = did_you_mean(name, every, all_of="there are")
        raise ConfigError(
            f"nothing counts as {quoted(name)} in this process",
            hint=hint or "the application has to run in the controller's process: see counters()",
        )


def create(settings: SourceSettings) -> MemorySource:
    """Return the source that a plan describes."""
    return MemorySource(settings.options)
