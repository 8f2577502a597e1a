"""How each part of a stack of wrappers stands, once the stack was started and given its time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from downhaul.flag import FlagSet, FlagSetDelta
from downhaul.provider import Answering, FlagProvider, ProviderStatus
from downhaul.wrappers.wrapper import Wrapper, stack_of

if TYPE_CHECKING:
    from downhaul.config import Settings


@dataclass(frozen=True, slots=True)
class Part:
    """A wrapper, by its part of the stack, or a backend, by its URL without secrets."""

    kind: str
    what: str
    status: ProviderStatus


def standings(settings: Settings, within: float) -> list[Part]:
    """Return how every wrapper and backend of a stack stands, the outermost first.

    The backends are given ``within`` seconds, all together, to be ready. What they say goes
    nowhere, and no copy of it is kept on disk: that belongs to the application, and to its user.
    Raises what :func:`downhaul.plugins.build_provider` raises.
    """
    from downhaul.plugins import build_provider  # noqa: PLC0415  (pluggy)

    provider = build_provider(replace(settings, cache_dir=None))
    parts = list(_parts(provider, settings.provider.safe_url, settings))
    until = time.monotonic() + within
    try:
        provider.start(_Deaf())
        for one, _ in parts:
            if not isinstance(one, Wrapper):
                one.wait_ready(max(0.0, until - time.monotonic()))
        return [
            Part("wrapper" if isinstance(one, Wrapper) else "backend", what, one.status())
            for one, what in parts
        ]
    finally:
        provider.close()


def _parts(
    provider: FlagProvider, url: str, settings: Settings
) -> Iterator[tuple[FlagProvider, str]]:
    """Yield every part with what it is called. ``url`` is that of the innermost provider."""
    if not isinstance(provider, Wrapper):
        yield provider, url
        return
    yield provider, stack_of(provider)
    yield from _parts(provider.inner, url, settings)
    from downhaul.config.beside import beside  # noqa: PLC0415  (pydantic)
    from downhaul.plugins.known import WRAPPERS  # noqa: PLC0415  (pluggy)

    keys = WRAPPERS[provider.label].backends
    for key, part in zip(keys, provider.parts[1:], strict=True):
        other = beside(settings, provider.label, key)
        yield from _parts(part, other.provider.safe_url, settings)


class _Deaf:
    """Listens to a provider, and makes nothing of it (Listener)."""

    def replaced(self, flag_set: FlagSet, by: Answering | None = None) -> None:
        pass

    def changed(self, delta: FlagSetDelta) -> None:
        pass

    def keys_changed(self, keys: Iterable[str]) -> None:
        pass

    def status_changed(self, status: ProviderStatus) -> None:
        pass
