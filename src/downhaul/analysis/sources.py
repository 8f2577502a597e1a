"""From a plan's ``metrics`` to the source that counts come from, through the plugin that has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from downhaul.analysis.model import MetricSource
from downhaul.analysis.settings import SourceSettings
from downhaul.documents.faults import Fault, problems_of
from downhaul.errors import ConfigError, DownhaulError
from downhaul.hookspecs import MetricSourceSpec
from downhaul.plugins.metric_sources import metric_sources
from downhaul.plugins.specs import load, why
from downhaul.store.database import Database

REQUESTS: Final = "requests"
"""The source of a plan that names none."""

_PLACE: Final = ("metrics",)


def source_for(metrics: Mapping[str, Any], database: Database, environment: str) -> MetricSource:
    """Return the source that a plan names: the request log unless said.

    ``database`` is the control store's. Raises ConfigError, with every problem, for what can't be a
    source, and for a plugin that can't make it. Contacts nothing.
    """
    spec = metric_sources().spec_named(metrics.get("source", REQUESTS))
    options, faults = _checked(spec, metrics)
    if faults:
        raise _refused(faults)
    factory = _loaded(spec, spec.factory)
    settings = SourceSettings(spec.name, options, environment, database)
    try:
        source: MetricSource = factory(settings)
    except DownhaulError:
        raise
    except Exception as error:
        message = f'metric source "{spec.name}" cannot be made: {why(error)}'
        raise ConfigError(message, hint=f"see {spec.factory}") from error
    _see_that_it_is_one(source, spec)
    return source


def faults_of_metrics(metrics: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with a plan's ``metrics``, as far as it can be seen in the plan alone.

    That is a source that nobody has, and what its settings model refuses. Contacts nothing.
    """
    try:
        spec = metric_sources().spec_named(metrics.get("source", REQUESTS))
        return _checked(spec, metrics)[1]
    except ConfigError as error:
        return [Fault((*_PLACE, "source"), error.message, error.hint)]


def _checked(spec: MetricSourceSpec, metrics: Mapping[str, Any]) -> tuple[Any, list[Fault]]:
    """Return the table as the source's model has it, and what the model finds wrong."""
    table = {name: value for name, value in metrics.items() if name != "source"}
    if spec.settings is None:
        return table, []
    from pydantic import ValidationError  # noqa: PLC0415  (few plans have more than the default)

    from downhaul.analysis.options import faults_of  # noqa: PLC0415  (as above)

    model = _loaded(spec, spec.settings)
    try:
        return model.model_validate(table), []
    except ValidationError as error:
        return None, faults_of(error, model, _PLACE)


def _loaded(spec: MetricSourceSpec, path: str) -> Any:
    try:
        return load(path)
    except Exception as error:
        message = f'metric source "{spec.name}" cannot be imported: {why(error)}'
        raise ConfigError(message, hint=spec.install_hint) from error


def _refused(faults: list[Fault]) -> ConfigError:
    problems = problems_of(faults)
    if len(problems) == 1:
        (one,) = problems
        return ConfigError(f"{one.path}: {one.message}", hint=one.hint)
    return ConfigError("the metric source can't be used", problems)


_VERBS: Final = ("probe", "watermark", "sample", "counts_users")


def _see_that_it_is_one(source: Any, spec: MetricSourceSpec) -> None:
    """Raise ConfigError for what a factory returned that is no metric source."""
    lacks = [name for name in _VERBS if not hasattr(source, name)]
    if lacks:
        kind = type(source).__name__
        raise ConfigError(
            f'the factory of metric source "{spec.name}" returned {kind}, which has no '
            f"{' and no '.join(lacks)}",
            hint=f"see {spec.factory}",
        )
