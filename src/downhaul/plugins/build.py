"""From settings to a provider and its control store, through the factory that a spec names."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from downhaul.errors import ConfigError, DownhaulError, ProviderError
from downhaul.hookspecs import ProviderSpec
from downhaul.ledger import Exported
from downhaul.plugins.known import KNOWN, WRAPPERS
from downhaul.plugins.registry import spec_for, spec_named
from downhaul.plugins.specs import load, why
from downhaul.provider import ControlStore, FlagProvider, FlagSet

if TYPE_CHECKING:
    from downhaul.config import Settings  # the settings know of plugins: no circle at run time


def build_provider(settings: Settings) -> FlagProvider:
    """Make the provider that the settings name, within its wrappers. Starts nothing.

    Raises ProviderNotFound for an unknown scheme, ConfigError for options that the provider does
    not take, and ProviderError naming the provider where it cannot be made.
    """
    spec = spec_for(settings.provider.scheme)
    if spec.settings is not None:
        from downhaul.config.options import with_checked_options  # noqa: PLC0415  (pydantic)

        settings = with_checked_options(settings, spec)
    provider = _make(spec, settings)
    for name in reversed(settings.provider.wrap):
        provider = _wrapped(provider, name, spec, settings)
    return provider


def build_control(settings: Settings, provider: FlagProvider) -> ControlStore | None:
    """Return where kills are kept, or None where there is nowhere (``file:``, most vendors).

    A provider that keeps kills has them in its attribute ``control``. Where ``[control] url`` names
    another place, a provider is made from it for the sake of its control store, and never started.
    Raises as :func:`build_provider`, and ConfigError where that place keeps no kills.
    """
    url = settings.control.url
    if url is None or url == settings.provider.url:
        return _control_of(provider)
    aside = settings.for_control()
    control = _control_of(build_provider(aside))
    if control is None:
        raise ConfigError(
            f'"{aside.provider.safe_url}" keeps no kills',
            hint="name a database in [control] url, such as postgresql:// or sqlite:///",
            origin=settings.origins.get("control.url"),
        )
    return control


def load_translator(name: str) -> ModuleType:
    """Return a provider's translator: a module with ``flags_from`` and ``context_from``.

    Raises ProviderNotFound for an unknown name, ProviderError where it translates nothing.
    """
    spec = spec_named(name)
    if spec.translator is None:
        raise ProviderError(f'provider "{name}" translates no documents', provider=name)
    try:
        return import_module(spec.translator)
    except ImportError as error:
        raise _cannot_import(spec, error) from error


def load_writer(name: str) -> Callable[[FlagSet], Exported]:
    """Return what writes a flag set as a provider's document: ``document_of`` of its translator.

    Raises ProviderNotFound for an unknown name, ProviderError where it writes nothing.
    """
    write = getattr(load_translator(name), "document_of", None)
    if write is None:
        raise ProviderError(
            f'provider "{name}" reads documents, and writes none',
            hint="flagd's can be written: --to flagd",
            provider=name,
        )
    return cast("Callable[[FlagSet], Exported]", write)


def known_wrappers() -> str:
    """Return the sentence that says which wrappers there are."""
    return f"known: {', '.join(sorted(WRAPPERS))}"


def _wrapped(
    provider: FlagProvider, name: str, spec: ProviderSpec, settings: Settings
) -> FlagProvider:
    from downhaul.config.options import with_checked_wrapper  # noqa: PLC0415  (pydantic)

    if name not in WRAPPERS:
        raise ConfigError(f'no wrapper is called "{name}"', hint=known_wrappers())
    wrapper = WRAPPERS[name]
    made: FlagProvider = load(wrapper.factory)(
        provider, with_checked_wrapper(settings, wrapper, spec), settings
    )
    return made


def _control_of(provider: FlagProvider) -> ControlStore | None:
    return cast("ControlStore | None", getattr(provider, "control", None))


def _make(spec: ProviderSpec, settings: Settings) -> FlagProvider:
    if spec.factory is None:
        raise ProviderError(
            f'provider "{spec.name}" translates documents, and evaluates nothing',
            hint=f"downhaul flags import --from {spec.name} FILE",
            provider=spec.name,
        )
    made = _call(spec.factory, spec, settings)
    if isinstance(made, FlagProvider):
        return made
    raise ProviderError(
        f'the factory of provider "{spec.name}" returned {type(made).__name__}, not a FlagProvider',
        hint=f"see {spec.factory}",
        provider=spec.name,
    )


def _call(factory: str, spec: ProviderSpec, settings: Settings) -> Any:
    """Call a factory; what it raises comes out as ours, with its name and without our secrets."""
    cause: BaseException
    try:
        return load(factory)(settings)
    except DownhaulError as error:
        error.provider = error.provider or spec.name
        raise
    except ImportError as error:
        raise _cannot_import(spec, error) from error
    except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever an SDK does gets a name)
        cause = error
    text = settings.redact(why(cause))
    wrapped = ProviderError(f'provider "{spec.name}" cannot be made: {text}', provider=spec.name)
    # Raised outside the handler, because a driver's own error may quote the password, and a
    # traceback prints causes and contexts in full.
    raise wrapped from (cause if text == why(cause) else None)


def _cannot_import(spec: ProviderSpec, error: ImportError) -> ProviderError:
    known = KNOWN.get(spec.name)
    hint = spec.install_hint or (known.install if known else None)
    return ProviderError(
        f'provider "{spec.name}" cannot be imported: {why(error)}', hint=hint, provider=spec.name
    )
