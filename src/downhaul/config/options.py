"""What stands in ``[provider]`` for the provider alone, checked by the plugin's own model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from downhaul.config.schema import origin_of, problems_of
from downhaul.config.secret import revealed, without
from downhaul.config.settings import Settings, secrets_in
from downhaul.errors import ConfigError, Problem
from downhaul.hookspecs import ProviderSpec
from downhaul.plugins.known import KnownWrapper
from downhaul.plugins.specs import load, why


def with_checked_options(settings: Settings, spec: ProviderSpec) -> Settings:
    """Return settings whose options are what the plugin's model makes of them.

    Raises ConfigError with every problem.
    """
    provider = settings.provider
    origins = {tuple(path.split(".")): origin for path, origin in settings.origins.items()}
    options, problems = checked(spec, provider.options, origins, provider.secrets)
    if problems:
        raise ConfigError(f'the settings of provider "{spec.name}" are refused', problems)
    return replace(settings, provider=replace(provider, options=options))


def checked(
    spec: ProviderSpec,
    options: Mapping[str, Any],
    origins: Mapping[tuple[str, ...], str],
    secrets: frozenset[str] = frozenset(),
) -> tuple[Mapping[str, Any], list[Problem]]:
    """Return the options as the model has them, and what it finds wrong with them.

    Fields that nobody set and whose default is None are left out.
    """
    if spec.settings is None:
        return options, []
    try:
        model: type[BaseModel] = load(spec.settings)
    except Exception as error:  # noqa: BLE001  (a third party's module; checking goes on)
        message = f"the settings model of provider {spec.name} cannot be imported: {why(error)}"
        return options, [Problem("provider", message, hint=spec.install_hint)]
    return _as_the_model_has_them(model, options, origins, ("provider",), secrets)


def with_checked_wrapper(settings: Settings, wrapper: KnownWrapper) -> Mapping[str, Any]:
    """Return a wrapper's table as its model has it. Raises ConfigError with every problem."""
    origins = {tuple(path.split(".")): origin for path, origin in settings.origins.items()}
    table = settings.provider.wrappers.get(wrapper.name, {})
    made, problems = checked_wrapper(wrapper, table, origins, settings.provider.secrets)
    if problems:
        raise ConfigError(f'the settings of wrapper "{wrapper.name}" are refused', problems)
    return made


def checked_wrapper(
    wrapper: KnownWrapper,
    table: Any,
    origins: Mapping[tuple[str, ...], str],
    secrets: frozenset[str] = frozenset(),
) -> tuple[Mapping[str, Any], list[Problem]]:
    """Return a wrapper's table as its model has it, and what that finds wrong with it."""
    path = ("provider", wrapper.name)
    if not isinstance(table, Mapping):
        where = origin_of(origins, path)
        return {}, [Problem(".".join(path), "must be a table", where)]
    return _as_the_model_has_them(load(wrapper.settings), table, origins, path, secrets)


def _as_the_model_has_them(
    model: type[BaseModel],
    options: Mapping[str, Any],
    origins: Mapping[tuple[str, ...], str],
    under: tuple[str, ...],
    secrets: frozenset[str],
) -> tuple[Mapping[str, Any], list[Problem]]:
    try:
        made = model.model_validate(revealed(options))
    except ValidationError as error:
        secrets |= secrets_in(options)
        found = problems_of(error, model, origins, under)
        return options, [replace(one, message=without(one.message, secrets)) for one in found]
    names = [*model.model_fields, *(made.model_extra or {})]
    values = {name: getattr(made, name) for name in names}
    given = made.model_fields_set
    return {name: one for name, one in values.items() if name in given or one is not None}, []
