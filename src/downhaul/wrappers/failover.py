"""Two backends, of which the second answers while the first is away.

Reading only: writes go to the primary or fail. Kills are the control store's, whoever answers. Who
is in charge changes after a while of silence, and back after a while of health, so that a backend
that comes and goes does not take the application with it. What the one in charge has is served
whole: at a change all flags are replaced in one step, and what the other one says meanwhile reaches
nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, PositiveFloat

from downhaul.config import ProviderSettings, Settings
from downhaul.context import Context
from downhaul.errors import ConfigError
from downhaul.flag import Flag, FlagKind, FlagSet, FlagSetDelta, Segment
from downhaul.provider import Capability, FlagProvider, Listener, ProviderStatus, State
from downhaul.result import Result
from downhaul.wrappers.wrapper import Wrapper, stack_of

_log: Final = logging.getLogger("downhaul.failover")
_SOURCE: Final = frozenset({Capability.FLAG_SET, Capability.RESOLVE})


class FailoverSettings(BaseModel):
    """``[provider.failover]``: the URL of the second backend, and how patient to be, in seconds.

    After ``after`` seconds in which the primary is not ready, the second one takes over; after
    ``back`` seconds in which it was ready all the time, the primary is in charge again.
    """

    model_config = ConfigDict(extra="forbid")

    to: str
    after: PositiveFloat = 5.0
    back: PositiveFloat = 10.0


class Failover(Wrapper):
    """Serves from ``inner``, the primary, or from ``secondary`` while the primary is away.

    ``clock`` gives seconds that only go forward; :meth:`look` is what the thread does each
    ``interval`` seconds (None: there is no thread, and a test looks).
    """

    label = "failover"

    def __init__(
        self,
        inner: FlagProvider,
        secondary: FlagProvider,
        *,
        after: float = 5.0,
        back: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        interval: float | None = 0.1,
    ) -> None:
        super().__init__(inner)
        ours, theirs = (_SOURCE & one.capabilities for one in (inner, secondary))
        if ours != theirs:
            message = f"{inner.name} can't fail over to {secondary.name}"
            raise ConfigError(
                message,
                hint="one publishes its rules and the other decides by itself, so that the same "
                "flags would be asked in two ways: name two backends of one sort",
            )
        self.secondary = secondary
        self.after, self.back = after, back
        self._clock = clock
        self._interval = interval
        self._listener: Listener | None = None
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._heard = {one: _Heard() for one in (inner, secondary)}
        self._charge = inner
        self._since = clock()  # when the primary was last seen as the one in charge would like it
        self._stop = threading.Event()
        self._closed = False

    @property
    def in_charge(self) -> FlagProvider:
        """The backend that answers now."""
        return self._charge

    # Evaluating

    def start(self, listener: Listener) -> None:
        """Start both. Doesn't block."""
        self._listener = listener
        self._since = self._clock()
        self._watch()
        self.inner.start(_Ear(self, self.inner))
        self.secondary.start(_Ear(self, self.secondary))

    def wait_ready(self, timeout: float) -> bool:
        """Wait for whoever is in charge to have flags; the second one takes its turn meanwhile."""
        until = time.monotonic() + timeout
        with self._changed:
            while not self._heard[self._charge].loaded:
                left = until - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                self._changed.wait(min(left, 0.1))
        return True

    def status(self) -> ProviderStatus:
        """Return how the one in charge stands; STALE, with both names, while it is the second."""
        charge = self._charge
        status = charge.status()
        if charge is self.inner:
            return status
        away = self.inner.status()
        why = f": {away.message}" if away.message else ""
        state = State.STALE if status.state is State.READY else status.state
        message = f"{self.inner.name} is {away.state}{why}; {self.secondary.name} answers"
        return ProviderStatus(state, message, status.age)

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask whoever is in charge."""
        return self._charge.resolve(key, context, kind)

    def close(self, timeout: float = 2.0) -> None:
        """Stop both within ``timeout`` seconds."""
        self._closed = True
        self._stop.set()
        until = time.monotonic() + timeout
        # Side by side, because one that hangs must not take the other one's time.
        closing = [
            threading.Thread(target=one.close, args=(timeout,), name="downhaul-close", daemon=True)
            for one in (self.inner, self.secondary)
        ]
        for one in closing:
            one.start()
        for one in closing:
            one.join(max(0.0, until - time.monotonic()))

    def after_fork(self) -> None:
        """Follow both again in a forked child."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        stopped, self._stop = self._stop.is_set(), threading.Event()
        self._since = self._clock()
        self.inner.after_fork()
        self.secondary.after_fork()
        if self._listener is not None and not stopped:
            self._watch()

    # Who is in charge

    def look(self) -> None:
        """Change who is in charge, if it is time to."""
        # Asked for outside the lock: a provider may hold one of its own while it talks to us.
        well = self.inner.status().state is State.READY
        if self._settle_charge(well=well) and self._listener is not None:
            self._listener.status_changed(self.status())

    def _settle_charge(self, *, well: bool) -> bool:
        """Return whether another one is in charge from now on."""
        with self._lock:
            now = self._clock()
            on_primary = self._charge is self.inner
            if well is on_primary:
                self._since = now  # as it should be: nothing has begun that could last
                return False
            lasted = now - self._since
            if on_primary and lasted >= self.after and self._heard[self.secondary].loaded:
                self._hand_to(self.secondary, now)
            elif not on_primary and lasted >= self.back and self._heard[self.inner].loaded:
                self._hand_to(self.inner, now)
            else:
                return False
            return True

    def _hand_to(self, provider: FlagProvider, now: float) -> None:
        self._charge, self._since = provider, now
        _log.warning("%s answers now", stack_of(provider))
        if self._listener is not None:
            self._listener.replaced(self._heard[provider].whole())
        self._changed.notify_all()

    def hear(self, provider: FlagProvider, tell: Callable[[Listener], None]) -> None:
        """Take note of what one of them says, and pass it on if that one is in charge."""
        with self._lock:
            tell(self._heard[provider])
            if provider is self._charge and self._listener is not None:
                tell(self._listener)
            self._changed.notify_all()

    def _watch(self) -> None:
        if self._interval is None:
            return
        threading.Thread(
            target=self._looks,
            args=(self._stop, self._interval),
            name="downhaul-failover",
            daemon=True,
        ).start()

    def _looks(self, stop: threading.Event, interval: float) -> None:
        while not stop.wait(interval):
            try:
                self.look()
            except Exception:  # noqa: BLE001  (a provider's defect must not end the looking)
                _log.exception("could not look how %s stands", self.inner.name)

    def __str__(self) -> str:
        return f"{self.label}({stack_of(self.inner)}, {stack_of(self.secondary)})"


class _Heard:
    """What one backend has said until now (Listener)."""

    def __init__(self) -> None:
        self.loaded = False
        self._flags: dict[str, Flag] = {}
        self._segments: dict[str, Segment] = {}
        self._revision = ""

    def whole(self) -> FlagSet:
        """Return the flags as they are now."""
        return FlagSet({**self._flags}, {**self._segments}, self._revision)

    def replaced(self, flag_set: FlagSet) -> None:
        self._flags, self._segments = {**flag_set.flags}, {**flag_set.segments}
        self._revision = flag_set.revision
        self.loaded = True

    def changed(self, delta: FlagSetDelta) -> None:
        _merge(self._flags, delta.flags)
        _merge(self._segments, delta.segments)
        self._revision = delta.revision

    def keys_changed(self, keys: Iterable[str]) -> None:
        """Nothing to keep: what is known of the flags is as it was."""

    def status_changed(self, status: ProviderStatus) -> None:
        """Nothing to keep: a status is asked for."""


class _Ear:
    """Listens to one backend."""

    def __init__(self, failover: Failover, provider: FlagProvider) -> None:
        self._failover = failover
        self._provider = provider

    def replaced(self, flag_set: FlagSet) -> None:
        self._failover.hear(self._provider, lambda one: one.replaced(flag_set))

    def changed(self, delta: FlagSetDelta) -> None:
        self._failover.hear(self._provider, lambda one: one.changed(delta))

    def keys_changed(self, keys: Iterable[str]) -> None:
        keys = tuple(keys)
        self._failover.hear(self._provider, lambda one: one.keys_changed(keys))

    def status_changed(self, status: ProviderStatus) -> None:
        self._failover.hear(self._provider, lambda one: one.status_changed(status))


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            into.pop(key, None)
        else:
            into[key] = value


def create(inner: FlagProvider, table: Mapping[str, Any], settings: Settings) -> FlagProvider:
    """Make the wrapper that ``wrap = ["failover"]`` asks for. Raises ConfigError."""
    from downhaul.config.urls import absolute, encoded  # noqa: PLC0415  (no part of the config's face)
    from downhaul.plugins import build_provider  # noqa: PLC0415  (the plugins know of wrappers)

    options = {name: value for name, value in table.items() if name != "to"}
    directory = settings.provider.directory
    url = absolute(encoded(str(table["to"])), directory)
    aside = replace(settings, provider=ProviderSettings(url, directory=directory))
    return Failover(inner, build_provider(aside), **options)
