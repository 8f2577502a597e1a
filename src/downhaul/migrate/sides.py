"""The two backends of a migration, as the configuration or a URL names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from downhaul.config.urls import scheme_of
from downhaul.control.operator import Operator
from downhaul.control.service import connect_operator
from downhaul.migrate.plan import SideRef
from downhaul.provider import FlagProvider

if TYPE_CHECKING:
    from downhaul.config import Settings

PROVIDER: Final = "provider"
"""The name of the backend that ``[provider]`` configures."""


def side_settings(settings: Settings, name: str) -> Settings:
    """Return settings with one side in the provider's place, without any wrapper.

    ``name`` is ``provider``, the name of a table in ``[backends]``, or a URL. Raises ConfigError.
    """
    if name == PROVIDER:
        bare = replace(settings.provider, wrap=(), wrappers={})
        return replace(settings, provider=bare)
    if not scheme_of(name):
        return settings.for_backend(name)
    from downhaul.config import resolve  # noqa: PLC0415  (pydantic)

    aside = resolve({"provider": {"url": name}}, environ={}, environment=settings.environment)
    origins = {
        path: at for path, at in settings.origins.items() if not path.startswith("provider.")
    }
    return replace(settings, provider=aside.provider, origins=origins | {"provider.url": name})


def ref_of(name: str, settings: Settings) -> SideRef:
    """Return what a plan says of a side. ``settings`` are those of :func:`side_settings`."""
    safe = settings.provider.safe_url
    return SideRef(safe if scheme_of(name) else name, settings.provider.name, safe)


@contextmanager
def reading(settings: Settings) -> Iterator[FlagProvider]:
    """Give the provider of a side, for reading. Raises as :func:`build_provider`."""
    from downhaul.plugins import build_provider  # noqa: PLC0415  (pluggy, pydantic)

    provider = build_provider(settings)
    try:
        yield provider
    finally:
        provider.close()


@contextmanager
def operating(settings: Settings, actor: str | None, *, create: bool = False) -> Iterator[Operator]:
    """Give an operator of a side. Kills and the history are the control store's, as everywhere.

    A side that has a database of its own keeps its history there, unless ``[control]`` names one.
    """
    with connect_operator(settings, actor=actor, create=create) as operator:
        yield operator
