"""Which OpenFeature providers go by a name, and how each is made from plain options.

Only those whose constructors were tried with these functions are here. All others are made by the
dotted path that the configuration gives, see :func:`called`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from openfeature.provider import FeatureProvider

from downhaul.errors import ConfigError, ProviderError

Make = Callable[[], FeatureProvider]
"""Makes the provider anew: at the start, and in each forked child."""


@dataclass(frozen=True, slots=True)
class Named:
    """A provider that goes by a name.

    ``prepare`` imports the package, does no I/O, and returns what makes the provider from the
    options. ``watches`` says that the provider tells of changes. ``paths`` are the options that
    name a file: a relative one starts at the folder of the configuration.
    """

    package: str
    prepare: Callable[[Mapping[str, Any]], Make]
    watches: bool
    paths: tuple[str, ...] = ()


def called(target: str, options: Mapping[str, Any]) -> Make:
    """Return what makes a provider by calling ``package.module:callable`` with the options.

    Raises ConfigError where there is no such thing, or it doesn't take these options.
    """
    module, _, name = target.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        message = f'"{target}" cannot be imported: {error}'
        raise ConfigError(message, hint="install its package, or correct the path") from error
    if not callable(found):
        hint = "name a class or a function that returns a provider"
        raise ConfigError(f'"{target}" cannot be called', hint=hint)
    _check_takes(found, target, options)
    return _making(found, options)


def named(name: str, options: Mapping[str, Any], directory: Path) -> tuple[Make, bool]:
    """Return what makes the provider of a known name, and whether it tells of changes.

    Raises ConfigError for a name that nobody knows, and for options that it doesn't take;
    ProviderError where its package is not installed.
    """
    known = NAMED.get(name)
    if known is None:
        raise ConfigError(
            f'no OpenFeature provider goes by the name "{name}"',
            hint=f"known: {', '.join(sorted(NAMED))}; for any other set "
            '`provider = "package.module:callable"` in [provider]',
        )
    files = {
        path: str(directory / Path(options[path]).expanduser())
        for path in known.paths
        if isinstance(options.get(path), str)
    }
    try:
        return known.prepare({**options, **files}), known.watches
    except ImportError as error:
        message = f'the OpenFeature provider "{name}" cannot be imported: {error}'
        raise ProviderError(message, hint=f"pip install {known.package}") from error


def _flagd(options: Mapping[str, Any]) -> Make:
    """In process unless said: its other way, ``rpc``, asks a server at each evaluation."""
    package = import_module("openfeature.contrib.provider.flagd")
    words = import_module("openfeature.contrib.provider.flagd.config")
    made: dict[str, Any] = {"resolver_type": "in-process", **options}
    for key, enumeration in (("resolver_type", words.ResolverType), ("cache", words.CacheType)):
        if key in made:
            made[key] = _member(enumeration, made[key], f"options.{key}")
    _check_takes(package.FlagdProvider, "flagd", made)
    return _making(package.FlagdProvider, made)


def _configcat(options: Mapping[str, Any]) -> Make:
    """``poll_interval_seconds``, and what ``ConfigCatOptions`` takes, beside ``sdk_key``."""
    package = import_module("configcat_openfeature_provider")
    client = import_module("configcatclient")
    made = dict(options)
    key = made.pop("sdk_key", None)
    if not isinstance(key, str):
        raise ConfigError("ConfigCat needs its key", hint='set sdk_key = { env = "…" } in options')
    if "poll_interval_seconds" in made:
        made["polling_mode"] = client.PollingMode.auto_poll(made.pop("poll_interval_seconds"))
    _check_takes(client.ConfigCatOptions, "configcat", made)
    first = os.getpid()

    def make() -> FeatureProvider:
        if os.getpid() != first:
            # ConfigCat keeps one client per key: a forked child would get the parent's back, whose
            # thread does not live here. Closing takes it out.
            client.ConfigCatClient.get(key).close()
        provider: FeatureProvider = package.ConfigCatProvider(key, client.ConfigCatOptions(**made))
        return provider

    return make


def _ofrep(options: Mapping[str, Any]) -> Make:
    provider = import_module("openfeature.contrib.provider.ofrep").OFREPProvider
    made = _over_http(options)
    _check_takes(provider, "ofrep", made)
    return _making(provider, made)


def _flipt(options: Mapping[str, Any]) -> Make:
    provider = import_module("openfeature.contrib.provider.flipt").FliptProvider
    made = {"namespace": "default", **_over_http(options)}
    _check_takes(provider, "flipt", made)
    return _making(provider, made)


def _over_http(options: Mapping[str, Any]) -> dict[str, Any]:
    """Half a second for a request, not the five of the package: an evaluation waits for it."""
    made: dict[str, Any] = {"timeout": 0.5, **options}
    headers = dict(made.pop("headers", {}))
    if headers:
        made["headers_factory"] = lambda: headers
    return made


def _making(found: Callable[..., Any], options: Mapping[str, Any]) -> Make:
    def make() -> FeatureProvider:
        provider: FeatureProvider = found(**options)
        return provider

    return make


def _member(enumeration: Any, value: Any, path: str) -> Any:
    try:
        return enumeration(value)
    except ValueError:
        names = ", ".join(str(one.value) for one in enumeration)
        raise ConfigError(f'{path} is "{value}"', hint=f"one of: {names}") from None


def _check_takes(found: Callable[..., Any], name: str, options: Mapping[str, Any]) -> None:
    try:
        inspect.signature(found).bind(**options)
    except ValueError:  # built in C, with no signature to look at
        return
    except TypeError as error:
        hint = "see what it takes; they stand in [provider.options]"
        raise ConfigError(f'"{name}" does not take these options: {error}', hint=hint) from None


NAMED: Final[Mapping[str, Named]] = MappingProxyType(
    {
        "configcat": Named("configcat-openfeature-provider", _configcat, watches=False),
        "flagd": Named(
            "openfeature-provider-flagd",
            _flagd,
            watches=True,
            paths=("offline_flag_source_path", "cert_path"),
        ),
        "flipt": Named("openfeature-provider-flipt", _flipt, watches=False),
        "ofrep": Named("openfeature-provider-ofrep", _ofrep, watches=False),
    }
)
