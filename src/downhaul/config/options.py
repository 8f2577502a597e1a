"""What stands in ``[provider]`` for the provider alone, checked by the plugin's own model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from downhaul.config.beside import parts_of
from downhaul.config.schema import dotted, origin_of, problems_of
from downhaul.config.secret import revealed, without
from downhaul.config.settings import Settings, secrets_in
from downhaul.config.urls import scheme_of
from downhaul.errors import ConfigError, Problem, ProviderNotFound
from downhaul.hookspecs import ProviderSpec
from downhaul.plugins.known import KnownWrapper
from downhaul.plugins.registry import registry
from downhaul.plugins.specs import load, why
from downhaul.provider import of_one_sort


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
    under: tuple[str, ...] = ("provider",),
) -> tuple[Mapping[str, Any], list[Problem]]:
    """Return the options as the model has them, and what it finds wrong with them.

    Fields that nobody set and whose default is None are left out. ``under`` is the table that the
    options stand in.
    """
    if spec.settings is None:
        return options, []
    try:
        model: type[BaseModel] = load(spec.settings)
    except Exception as error:  # noqa: BLE001  (a third party's module; checking goes on)
        message = f"the settings model of provider {spec.name} cannot be imported: {why(error)}"
        where = origin_of(origins, under)
        return options, [Problem(dotted(under), message, where, hint=spec.install_hint)]
    return _as_the_model_has_them(model, options, origins, under, secrets)


def with_checked_wrapper(
    settings: Settings, wrapper: KnownWrapper, around: ProviderSpec
) -> Mapping[str, Any]:
    """Return a wrapper's table as its model has it. Raises ConfigError with every problem."""
    origins = {tuple(path.split(".")): origin for path, origin in settings.origins.items()}
    table = settings.provider.wrappers.get(wrapper.name, {})
    made, problems = checked_wrapper(wrapper, around, table, origins, settings.provider.secrets)
    if problems:
        raise ConfigError(f'the settings of wrapper "{wrapper.name}" are refused', problems)
    return made


def checked_wrapper(
    wrapper: KnownWrapper,
    around: ProviderSpec | None,
    table: Any,
    origins: Mapping[tuple[str, ...], str],
    secrets: frozenset[str] = frozenset(),
) -> tuple[Mapping[str, Any], list[Problem]]:
    """Return a wrapper's table as its model has it, and what is wrong with it.

    Backends that it names are looked at as the provider is, by the models of their plugins, and
    have to be of the sort of the one that it is ``around``, unless the wrapper mixes sorts.
    """
    path = ("provider", wrapper.name)
    if not isinstance(table, Mapping):
        where = origin_of(origins, path)
        return {}, [Problem(dotted(path), "must be a table", where)]
    made, problems = _as_the_model_has_them(load(wrapper.settings), table, origins, path, secrets)
    alike = None if wrapper.mixes else around
    for key in wrapper.backends:
        problems += _wrong_with_backend(alike, table.get(key), origins, (*path, key), secrets)
    return made, problems


def _wrong_with_backend(
    around: ProviderSpec | None,
    given: Any,
    origins: Mapping[tuple[str, ...], str],
    path: tuple[str, ...],
    secrets: frozenset[str],
) -> list[Problem]:
    url, options = parts_of(given)
    scheme = scheme_of(url or "")
    if not scheme:
        return []  # told by the wrapper's own model, or of the URL itself
    if "wrap" in options:
        at = (*path, "wrap")
        hint = "name wrappers in [provider] wrap: they stand around both"
        return [Problem(dotted(at), "takes no wrappers", origin_of(origins, at), hint)]
    try:
        spec = registry().spec_for(scheme)
    except ProviderNotFound as error:
        at = (*path, "url") if isinstance(given, Mapping) else path
        return [Problem(dotted(at), error.message, origin_of(origins, at), error.hint)]
    if around is not None and not _can_pair(around, spec):
        message = f'a backend of "{spec.name}" can\'t answer for one of "{around.name}"'
        hint = "name two that publish their rules, or two that decide by themselves"
        return [Problem(dotted(path), message, origin_of(origins, path), hint)]
    # A path below a URL that stands alone is written nowhere, and has to be shown whole.
    inside = {at: where for at, where in origins.items() if at != path}
    problems = checked(spec, options, inside, secrets, path)[1]
    if isinstance(given, Mapping):
        return problems
    hint = f"write `{path[-1]}` as a table, with `url` and what else {spec.name} needs"
    where = origin_of(origins, path)
    return [replace(one, origin=where, hint=one.hint or hint) for one in problems]


def _can_pair(one: ProviderSpec, other: ProviderSpec) -> bool:
    """Return whether two backends may answer for each other; where a spec doesn't tell, too."""
    if not one.capabilities or not other.capabilities:
        return True
    return of_one_sort(one.capabilities, other.capabilities)


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
