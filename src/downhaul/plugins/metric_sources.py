"""Which plugin brings the metric source that a plan names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final

from downhaul.documents.faults import did_you_mean, quoted
from downhaul.errors import ConfigError
from downhaul.hookspecs import METRIC_SOURCES, MetricSourceSpec
from downhaul.plugins.shelf import Kind, Shelf, how_to_settle
from downhaul.plugins.specs import flaw_of_source

_OWN: Final = "downhaul.analysis"

BUILTIN_SOURCES: Final[Mapping[str, MetricSourceSpec]] = MappingProxyType(
    {
        name: MetricSourceSpec(
            name=name,
            factory=f"{_OWN}.{module}:create",
            settings=f"{_OWN}.{model}" if model else None,
        )
        for name, module, model in (
            ("datadog", "datadog_source", "datadog_settings:DatadogSettings"),
            ("http", "http_source", "http_source:HttpSettings"),
            ("memory", "memory_source", "memory_source:MemorySettings"),
            ("prometheus", "prometheus_source", "prometheus_settings:PrometheusSettings"),
            ("requests", "requests_source", None),
            ("sql", "sql_source", None),
        )
    }
)
"""The core's own. No plugin can take one of these names."""

_SOURCES: Final = Kind(
    "metric source",
    METRIC_SOURCES,
    "downhaul_metric_sources",
    flaw_of_source,
    BUILTIN_SOURCES,
)


class MetricSources(Shelf[MetricSourceSpec]):
    """The metric sources of one process, by name."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, path: Sequence[str] | None = None
    ) -> None:
        super().__init__(_SOURCES, environ, path)

    def spec_named(self, name: object) -> MetricSourceSpec:
        """Return what a plugin says of the source of this name.

        Raises ConfigError: there is none (it says which there are), two distributions claim it, or
        its plugin is broken or switched off.
        """
        if name in BUILTIN_SOURCES:
            return self._builtin(str(name))
        if not isinstance(name, str) or name not in self._claims:
            raise self._nobody(name)
        one = self._load(name)
        if one.spec is None:
            message, hint = how_to_settle(one, _SOURCES.word)
            raise ConfigError(message, hint=hint)
        return one.spec

    def _nobody(self, name: object) -> ConfigError:
        for one in self.installed():
            if one.name == name:
                message, hint = how_to_settle(one, _SOURCES.word)
                return ConfigError(message, hint=hint)
        near = did_you_mean(name, self.names(), all_of="known")
        return ConfigError(f"no metric source is called {quoted(name)}", hint=near)


@cache
def metric_sources() -> MetricSources:
    """Return this process's; ``metric_sources.cache_clear()`` has the next call look again."""
    return MetricSources()
