"""From settings to a running engine: which provider, which control store, which copy on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from downhaul.client.declared import Declarations
from downhaul.client.engine import Engine, Keeper
from downhaul.client.observing import Sink
from downhaul.overlay import KillRecord, KillRegister, Overlay
from downhaul.provider import ControlStore, FlagProvider, FlagSet, ProviderStatus

if TYPE_CHECKING:
    from downhaul.control.alerts import Alert


def connected(url_or_settings: Any, keywords: Mapping[str, Any]) -> Engine:
    """Return an engine, not yet started, on what the configuration names.

    Raises ConfigError and ProviderNotFound.
    """
    from downhaul.config import resolve  # noqa: PLC0415  (pydantic: only who connects pays for it)
    from downhaul.plugins import build_control, build_provider  # noqa: PLC0415  (as above)

    settings = resolve(url_or_settings, **keywords)
    provider = build_provider(settings)
    control = build_control(settings, provider)

    def make_keeper(on_overlay: Callable[[Overlay], None]) -> Keeper:
        from downhaul.store.keeper import keeper_for  # noqa: PLC0415  (as above)

        keeper: Keeper = keeper_for(settings, control, on_overlay)
        return keeper

    def make_sink() -> Sink | None:
        log: Sink | None = getattr(control, "requests", None)
        return log

    def make_alerts() -> Sequence[Alert]:
        from downhaul.control.sinks import alerts_for  # noqa: PLC0415  (for who operates)

        return alerts_for(settings)

    return Engine(
        provider,
        make_keeper,
        off_on_unknown_kills=settings.control.on_unknown_kills == "off",
        make_sink=make_sink,
        make_alerts=make_alerts,
        declarations=settings.flags,
        control=control,
        application=settings.application,
        policy=settings.policy,
    )


def over_provider(
    provider: FlagProvider, control: ControlStore | None, declarations: Declarations | None
) -> Engine:
    """Return an engine, not yet started, over a provider that somebody made.

    Kills are ``control``'s, or those of the provider's own store, or else of this process alone.
    """
    if control is None:
        control = getattr(provider, "control", None)
    if control is None:
        from downhaul.backends.memory_control import MemoryControl  # noqa: PLC0415  (as in_memory)

        control = MemoryControl()
    return Engine(
        provider,
        lambda on_overlay: MemoryKeeper(control, on_overlay),
        make_sink=lambda: getattr(control, "requests", None),
        declarations=declarations,
        control=control,
    )


def in_memory(flag_set: FlagSet) -> Engine:
    """Return an engine, not yet started, over flags of this process alone."""
    from downhaul.backends.memory import MemoryProvider  # noqa: PLC0415  (tests pay for it)

    provider = MemoryProvider(flag_set)
    control = provider.control
    return Engine(provider, lambda on_overlay: MemoryKeeper(control, on_overlay), control=control)


class MemoryKeeper:
    """Keeps the kills of a control store that lives in this process and dies with it."""

    unknown = False

    def __init__(self, control: ControlStore, on_overlay: Callable[[Overlay], None]) -> None:
        self.on_obeyed: Callable[[int], None] = lambda _sequence: None
        self._control = control
        self._on_overlay = on_overlay
        self._register = KillRegister()

    def start(self) -> None:
        """Begin to follow the store."""
        self._control.start(self)

    def kills(self, records: Iterable[KillRecord]) -> None:
        """Take in the store's words (KillListener)."""
        said = tuple(records)
        self._register = self._register.hear(said)
        self._on_overlay(self._register.overlay())
        self.on_obeyed(max((one.sequence for one in said), default=0))

    def wait_ready(self, timeout: float) -> bool:
        """Wait for the store's first word, up to ``timeout`` seconds."""
        return self._control.wait_ready(timeout)

    def status(self) -> ProviderStatus:
        """Return how the store stands."""
        return self._control.status()

    def close(self, timeout: float = 2.0) -> None:
        """Stop within ``timeout`` seconds."""
        self._control.close(timeout)

    def after_fork(self) -> None:
        """Follow the store again in a forked child."""
        self._control.after_fork()
