"""What runs behind a client: a provider and a keeper of kills, feeding one view.

The provider and the keeper call in from threads of their own; everything they say goes into the
view, and from there to whoever asked to be told.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from downhaul.client.declared import (
    Declarations,
    known_flag,
    known_flags,
    portable_flags,
)
from downhaul.client.observing import Journal, Logged, Sink
from downhaul.client.overrides import Overrides
from downhaul.client.receipts import Receipts
from downhaul.client.revives import Revives
from downhaul.evaluator.compile import World
from downhaul.evaluator.view import View
from downhaul.overlay import EVERYTHING, NO_KILLS, KillRecord, Overlay
from downhaul.provider import (
    Answering,
    Capability,
    ControlStore,
    FlagProvider,
    FlagSet,
    FlagSetDelta,
    ProviderStatus,
    State,
)

if TYPE_CHECKING:
    from downhaul.config import PolicySettings
    from downhaul.control.alerts import Alert

_log: Final = logging.getLogger("downhaul")

_GIVEN_UP: Final = 2.0  # seconds to close what was started before a start that failed

ChangeCallback = Callable[[frozenset[str]], None]
"""Gets the keys of the flags whose decisions may have changed, ``switch:NAME`` for switches, and
``*`` where everything was killed or revived, which covers flags and switches nobody can list."""


@dataclass(frozen=True, slots=True)
class FlagsStatus:
    """How a client stands: its provider, its control store, and what it serves.

    ``control`` is None where no control store is configured. ``kills`` are the scopes killed now.
    ``kills_unknown`` says that a control store is configured and neither it nor a copy of it could
    be read, so that there may be kills nobody here knows of. ``requests`` is what became of
    observed outcomes.
    """

    provider: ProviderStatus
    control: ProviderStatus | None
    name: str
    revision: str
    flags: int
    kills: tuple[str, ...]
    kills_unknown: bool = False
    requests: Logged = field(default_factory=Logged)

    @property
    def state(self) -> State:
        """The provider's state."""
        return self.provider.state

    @property
    def age(self) -> float | None:
        """Seconds since the backend last confirmed the data; None before the first payload."""
        return self.provider.age


class Keeper(Protocol):
    """Keeps the kills known to this machine: what the engine needs of store.keeper.KillKeeper.

    ``on_obeyed`` is called, once the control store's words up to a sequence are in force, with it.
    """

    on_obeyed: Callable[[int], None]

    def start(self) -> None:
        """Bring what is on this machine's disk into force, then begin to follow the store."""

    def wait_ready(self, timeout: float) -> bool:
        """Wait for the control store's first word, up to ``timeout`` seconds."""

    def status(self) -> ProviderStatus | None:
        """Return how the control store stands; None without one."""

    @property
    def unknown(self) -> bool:
        """Whether a store is configured and neither it nor a copy of it could be read."""

    def close(self, timeout: float = 2.0) -> None:
        """Stop within ``timeout`` seconds."""

    def after_fork(self) -> None:
        """Follow the store again in a forked child."""


class Engine:
    """Feeds a view from a provider and a keeper, and tells callbacks.

    ``control`` is where an operator of these flags writes kills; None where there is nowhere.
    ``make_alerts`` makes the sinks that are told of what that operator does. ``declarations`` say
    what a provider that resolves doesn't tell of its flags. ``application`` is what this process is
    called among those that obey kills, ``policy`` what an operator of these flags is held to.
    """

    def __init__(
        self,
        provider: FlagProvider,
        make_keeper: Callable[[Callable[[Overlay], None]], Keeper],
        *,
        off_on_unknown_kills: bool = False,
        make_sink: Callable[[], Sink | None] = lambda: None,
        make_alerts: Callable[[], Sequence[Alert]] = tuple,
        declarations: Declarations | None = None,
        control: ControlStore | None = None,
        application: str = "",
        policy: PolicySettings | None = None,
    ) -> None:
        self.provider = provider
        self.control = control
        self.policy = policy
        self.make_alerts = make_alerts
        self._declared: Declarations = {}
        self.view = View(self._world(declarations or {}))
        self._by: Answering | None = None  # who answers, of a provider that is made of several
        self.overrides = Overrides(self.view, provider.name)
        self.revision = ""
        self.loaded = False  # whether flags ever came, be it none
        self.off_on_unknown_kills = off_on_unknown_kills
        self._callbacks: list[ChangeCallback] = []
        self._closed = threading.Event()
        self.revives = Revives(
            provider,
            self._put,
            self._tell,
            ordered=_brings_both_in_order(provider, control),
        )
        self.keeper = make_keeper(self.killed)
        self.receipts = Receipts(getattr(control, "processes", None), application)
        self.keeper.on_obeyed = self.receipts.obeyed
        self.journal = Journal(make_sink)

    def start(self, ready_within: float) -> None:
        """Start everything and wait up to ``ready_within`` seconds for the first payload."""
        # The kills that this machine knows of are in force before the first flag is.
        self.keeper.start()
        if self.off_on_unknown_kills and self.keeper.unknown:
            self.killed(NO_KILLS)
        try:
            self.provider.start(self)
        except BaseException:
            self.close(_GIVEN_UP)  # the keeper follows the store already
            raise
        _living.add(self)
        if ready_within > 0:
            until = time.monotonic() + ready_within
            self.provider.wait_ready(ready_within)
            self.keeper.wait_ready(max(0.0, until - time.monotonic()))
        self.revives.look()

    def close(self, timeout: float) -> None:
        """Stop everything within ``timeout`` seconds; once."""
        if self._closed.is_set():
            return
        self._closed.set()
        _living.discard(self)
        until = time.monotonic() + timeout
        for part in (self.receipts, self.journal, self.keeper, self.revives, self.provider):
            part.close(max(0.1, until - time.monotonic()))

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Tell the callback of changes from now on; return what ends it."""
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unsubscribe

    def status(self) -> FlagsStatus:
        """Return how things stand, now. Does no I/O."""
        overlay = self.view.world.overlay
        kills = [*overlay.flags.values(), *overlay.tags.values(), *overlay.switches.values()]
        if overlay.everything is not None:
            kills.append(overlay.everything)
        return FlagsStatus(
            provider=self.provider.status(),
            control=self.keeper.status(),
            name=self.provider.name,
            revision=self.revision,
            flags=len(self.view.world.flags),
            kills=tuple(sorted(str(kill.scope) for kill in kills)),
            kills_unknown=self.keeper.unknown,
            requests=self.journal.logged(),
        )

    # What the provider says (Listener)

    def replaced(self, flag_set: FlagSet, by: Answering | None = None) -> None:
        """Serve this flag set from now on, and tell of the flags that it changes."""
        known = known_flags(flag_set.flags, self._declared)
        answering = None
        if by is not None and by is not self._by:
            self._by = by
            is_asked = self.view.world.ask is not None
            answering = by.name, by.asked(self.provider.resolve) if is_asked else None
        touched = self.view.replace(known, flag_set.segments, answering)
        self.loaded = True
        self.revision = flag_set.revision
        self._tell(touched)

    def changed(self, delta: FlagSetDelta) -> None:
        """Serve these changes from now on, and tell of the flags whose decisions depend on them."""
        flags = delta.flags
        if self._declared:
            flags = {
                key: known_flag(told, key, self._declared.get(key)) for key, told in flags.items()
            }
        touched = self.view.change(flags, delta.segments)
        self.revision = delta.revision
        self._tell(touched)

    def keys_changed(self, keys: Iterable[str]) -> None:
        """Tell of flags that the backend decides by itself."""
        self._tell(keys)

    def status_changed(self, status: ProviderStatus) -> None:
        """Note in the log how the provider stands."""
        _log.info("provider %s is %s %s", self.provider.name, status.state, status.message)
        self.revives.stands(status)

    # What the keeper says

    def killed(self, overlay: Overlay) -> None:
        """Put these kills in force; all flags are off while kills are unknown, if so configured.

        A kill that is lifted now may hold on until the provider has what its revive had set.
        """
        if self.off_on_unknown_kills and overlay.everything is None and self.keeper.unknown:
            overlay = replace(overlay, everything=_UNKNOWN_KILLS)
        self.revives.hear(overlay)

    def _put(self, overlay: Overlay) -> set[str]:
        """Let these kills hold, and return what to tell of."""
        before = self.view.world.overlay
        told = {*self.view.overlay(overlay)}
        told |= {f"switch:{name}" for name in before.switches.keys() ^ overlay.switches.keys()}
        if (before.everything is None) is not (overlay.everything is None):
            told.add(str(EVERYTHING))
        return told

    def supplies_rules(self) -> bool:
        """Return whether the provider publishes rules (or has to be asked each time)."""
        return Capability.FLAG_SET in self.provider.capabilities

    def switch_is_up(self, name: str) -> bool:
        """Return whether a named switch lets its code run; what a test says of it counts first."""
        said = self.overrides.switch_is_up(name)
        if said is not None:
            return said
        overlay = self.view.world.overlay
        return overlay.everything is None and name not in overlay.switches

    def _world(self, declarations: Declarations) -> World:
        """Return the world to begin with. Who publishes rules says all there is to know itself."""
        name = self.provider.name
        if Capability.RESOLVE not in self.provider.capabilities:
            return World(provider=name)
        self._declared = declarations
        return World(
            flags=known_flags({}, declarations),
            provider=name,
            ask=self.provider.resolve,
            portable=portable_flags(declarations),
        )

    def _tell(self, keys: Iterable[str]) -> None:
        told = frozenset(keys)
        if not told:
            return
        for callback in tuple(self._callbacks):
            try:
                callback(told)
            except Exception:  # noqa: BLE001  (a subscriber's fault is its own; others must be told)
                _log.exception("an on_change callback failed")

    def after_fork(self) -> None:
        """Take up the work in a forked child, where the parent's threads and locks don't live."""
        self.view.after_fork()
        self.journal.after_fork()
        self.revives.after_fork()
        self.keeper.after_fork()
        self.provider.after_fork()
        self.receipts.after_fork()  # last: it needs connections of the child's own


def _brings_both_in_order(provider: FlagProvider, control: ControlStore | None) -> bool:
    """Return whether a provider reads flags and kills from one store, and from nowhere else."""
    own = control is not None and control is getattr(provider, "control", None)
    return own and Capability.RESOLVE not in provider.capabilities


_UNKNOWN_KILLS: Final = KillRecord(
    EVERYTHING,
    0,
    killed=True,
    actor="on_unknown_kills",
    reason="neither the control store nor a copy of its kills could be read",
)

_living: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for engine in tuple(_living):
        try:
            engine.after_fork()
        except Exception:  # noqa: BLE001  (other clients of this process must follow theirs)
            _log.exception("%s does not follow changes in this forked child", engine.provider.name)


os.register_at_fork(after_in_child=_after_fork_in_child)
