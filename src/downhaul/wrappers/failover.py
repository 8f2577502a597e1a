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
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, PositiveFloat

from downhaul.backends.delivery import Delivery
from downhaul.config import Settings
from downhaul.config.beside import BackendTable
from downhaul.context import Context
from downhaul.errors import ConfigError
from downhaul.flag import FlagKind
from downhaul.provider import (
    Answering,
    Capability,
    FlagProvider,
    Listener,
    ProviderStatus,
    State,
    of_one_sort,
)
from downhaul.result import Result
from downhaul.wrappers.beside import around_both, close_together, told
from downhaul.wrappers.hearing import Ear, Heard, Tell
from downhaul.wrappers.holding import Held
from downhaul.wrappers.turns import Seen, Turns, clock, takes_over
from downhaul.wrappers.wrapper import Shared, Wrapper, stack_of

_log: Final = logging.getLogger("downhaul.failover")
_NAP: Final = 0.1  # seconds between two questions of whether a backend that is asked is ready


class FailoverSettings(BaseModel):
    """``[provider.failover]``: the second backend, and how patient to be, in seconds.

    ``to`` is a URL, or a table with ``url`` and whatever else that provider takes.

    After ``after`` seconds in which the primary is not ready, the second one takes over; after
    ``back`` seconds in which it was ready all the time, the primary is in charge again.
    """

    model_config = ConfigDict(extra="forbid")

    to: BackendTable
    after: PositiveFloat = 5.0
    back: PositiveFloat = 10.0


class Failover(Wrapper):
    """Serves from ``inner``, the primary, or from ``secondary`` while the primary is away.

    ``clock`` gives seconds that only go forward; :meth:`look` is what the thread does each
    ``interval`` seconds (None: there is no thread, and a test looks). Listeners are called with no
    lock held, and in order.
    """

    label = "failover"

    def __init__(
        self,
        inner: FlagProvider,
        secondary: FlagProvider,
        *,
        after: float = 5.0,
        back: float = 10.0,
        clock: Callable[[], float] = clock,
        interval: float | None = 0.1,
    ) -> None:
        super().__init__(inner)
        if not of_one_sort(inner.capabilities, secondary.capabilities):
            message = f"{inner.name} can't fail over to {secondary.name}"
            raise ConfigError(
                message,
                hint="one publishes its rules and the other decides by itself, so that the same "
                "flags would be asked in two ways: name two backends of one sort",
            )
        self.secondary = secondary
        self.publishes_within = max(inner.publishes_within, secondary.publishes_within)
        self.after, self.back = after, back
        self._clock = clock
        self._interval = interval
        self._turns = Turns(after, back)
        self._held = Held()
        self._heard = self._nothing_heard()
        self._charge = inner
        self._listener: Listener | None = None
        self._told: FlagProvider | None = None  # whose flags the listener has
        self._delivery = Delivery()
        self._stop = threading.Event()
        self._moved = threading.Condition(threading.Lock())

    @property
    def in_charge(self) -> FlagProvider:
        """The backend that answers now."""
        return self._charge

    @property
    def parts(self) -> tuple[FlagProvider, ...]:
        """The primary and the second one."""
        return self.inner, self.secondary

    # Evaluating

    def start(self, listener: Listener) -> None:
        """Start both. Doesn't block. Raises what one of them raises, and leaves nothing running."""
        with self._moved:
            self._listener, self._told = listener, None
            self._heard = self._nothing_heard()
            self._turns.wait_anew()
        try:
            for one in self.parts:
                one.start(Ear(partial(self._hear, one)))
        except BaseException:
            self.close()
            raise
        self._watch()

    def wait_ready(self, timeout: float) -> bool:
        """Wait for whoever is in charge to have flags; the second one takes its turn meanwhile."""
        until = time.monotonic() + timeout
        is_asked = Capability.FLAG_SET not in self.capabilities
        # Without the lock, as in look(). Who is only asked may have nothing to tell of its flags.
        while not (is_asked and self._charge.wait_ready(0)):
            with self._moved:
                if self._told is self._charge:
                    break
                left = until - time.monotonic()
                if left <= 0 or self._listener is None:
                    return False
                self._moved.wait(min(left, _NAP))
        return True

    def status(self) -> ProviderStatus:
        """Return how the one in charge stands; STALE, with both names, while it is the second.

        Where the primary is away and the second one can't take over, the message says why.
        """
        first, second = (one.status() for one in self.parts)
        if self._charge is self.secondary:
            state = State.STALE if second.state is State.READY else second.state
            message = f"{self.inner.name} is {told(first)}; {self.secondary.name} answers"
            return ProviderStatus(state, message, second.age)
        if first.state is State.READY or takes_over(*self._seen(first, second)):
            return first
        message = f"{self.secondary.name} can't take over, it is {told(second)}"
        return replace(first, message="; ".join(filter(None, (first.message, message))))

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask whoever is in charge."""
        return (self._held.here() or self._charge).resolve(key, context, kind)

    def close(self, timeout: float = 2.0) -> None:
        """Stop both within ``timeout`` seconds."""
        with self._moved:
            self._listener = None
            self._moved.notify_all()
        self._stop.set()
        close_together(((stack_of(one), one.close) for one in self.parts), timeout)

    def after_fork(self) -> None:
        """Follow both again in a forked child, and say again what was known."""
        self._moved = threading.Condition(threading.Lock())
        self._delivery.after_fork()
        self._turns.wait_anew()
        self._charge = self.parts[0 if self._turns.primary else 1]  # which a look may have left
        charge = self._heard[self._charge]
        if charge.loaded:
            self._tell(charge.whole(), whose=self._charge)
        self._delivery.run()
        for one in self.parts:
            one.after_fork()
        if self._listener is not None:
            self._watch()

    def within(self, connection: Any) -> FlagProvider:
        """Return the primary, where all that is managed is, as one transaction sees it."""
        return cast("Shared", self.inner).within(connection)

    # Who is in charge

    def look(self) -> None:
        """Change who is in charge, if it is time to."""
        # Asked for outside the lock: a provider may hold one of its own while it talks to us.
        seen = self._seen(*(one.status() for one in self.parts))
        with self._moved:
            if not self._turns.look(self._clock(), *seen):
                return
            self._charge = charge = self.parts[0 if self._turns.primary else 1]
            self._tell(self._heard[charge].whole(), whose=charge)
            self._tell(lambda listener: listener.status_changed(self.status()))
        _log.warning("%s answers now", stack_of(charge))
        self._delivery.run()

    def _seen(self, *statuses: ProviderStatus) -> list[Seen]:
        is_asked = Capability.FLAG_SET not in self.capabilities
        return [
            Seen(
                status.state,
                self._heard[one].loaded or (is_asked and status.state is State.READY),
            )
            for one, status in zip(self.parts, statuses, strict=True)
        ]

    def _nothing_heard(self) -> dict[FlagProvider, Heard]:
        return {one: Heard(Answering(one.name, self._held.to(one))) for one in self.parts}

    def _hear(self, provider: FlagProvider, word: Callable[[Heard], Tell]) -> None:
        """Take in what one of them says, and pass it on if that one is in charge."""
        with self._moved:
            heard = self._heard[provider]
            tell = word(heard)
            if provider is not self._charge:
                return
            self._tell(tell, whose=provider if heard.loaded else None)
        self._delivery.run()

    def _tell(self, tell: Tell, whose: FlagProvider | None = None) -> None:
        """Put a word in the queue to the listener, who has the flags of ``whose`` after it."""

        def call() -> None:
            if (listener := self._listener) is None:
                return
            tell(listener)
            if whose is not None:
                with self._moved:
                    self._told = whose
                    self._moved.notify_all()

        self._delivery.add(call)

    def _watch(self) -> None:
        self._stop.set()  # whoever watched until now, of an earlier life
        self._stop = threading.Event()
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


def create(inner: FlagProvider, table: Mapping[str, Any], settings: Settings) -> FlagProvider:
    """Make the wrapper that ``wrap = ["failover"]`` asks for. Raises ConfigError."""
    after, back = table["after"], table["back"]
    make = partial(Failover, inner, after=after, back=back)
    return around_both(settings, Failover.label, make)
