"""Two backends behind one provider that is asked: one life, and one word on each flag.

Both publish their rules, or both decide, or one does and the other does the other: to the core the
pair decides by itself. Which side a flag is on is a subclass's to say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from downhaul.backends.delivery import Delivery
from downhaul.flag import Flag, FlagSet, FlagSetDelta
from downhaul.provider import Answering, Capability, FlagProvider, Listener, ProviderStatus, State
from downhaul.staging import Side
from downhaul.wrappers.asked import Asked, merged
from downhaul.wrappers.beside import Closing, close_together
from downhaul.wrappers.wrapper import Wrapper, stack_of

_NAP: Final = 0.1  # seconds between two questions of whether a backend that is asked is ready
_DECIDING: Final = frozenset({Capability.FLAG_SET, Capability.RESOLVE})
_STARTING: Final = ProviderStatus(State.NOT_READY, "starting")
_WORST: Final = (State.READY, State.STALE, State.ERROR, State.NOT_READY, State.FATAL)


class Pair(Wrapper):
    """Asks ``inner``, the old side, and ``second``, the new one. Listeners are called in order.

    Subclasses override what the hooks at the end say of each flag, and ``resolve``.
    """

    def __init__(self, inner: FlagProvider, second: FlagProvider) -> None:
        super().__init__(inner)
        self.second = second
        self.capabilities = deciding(inner)
        self.publishes_within = max(inner.publishes_within, second.publishes_within)
        self._sides = {Side.OLD: Asked(Side.OLD, inner), Side.NEW: Asked(Side.NEW, second)}
        self._listener: Listener | None = None
        self._delivery = Delivery()
        self._moved = threading.Condition(threading.Lock())
        self._told: frozenset[str] = frozenset()  # the sides whose flags the listener has
        self._said: Mapping[str, Flag] = {}  # as the listener will have them
        self._stood = dict.fromkeys(Side, _STARTING)  # as the sides last said

    @property
    def parts(self) -> tuple[FlagProvider, ...]:
        """The old backend and the new one."""
        return self.inner, self.second

    # Life

    def start(self, listener: Listener) -> None:
        """Start both. Doesn't block. Raises what one of them raises, and leaves nothing running."""
        with self._moved:
            self._listener, self._told, self._said = listener, frozenset(), {}
            self._stood = dict.fromkeys(Side, _STARTING)
            for side in self._sides.values():
                side.begin()
        try:
            for side in self._sides.values():
                side.provider.start(_Ear(self, side))
        except BaseException:
            self.close()
            raise

    def wait_ready(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the first payload of each side that is needed."""
        until = time.monotonic() + timeout
        # Without the lock: a provider may hold one of its own while it talks to us.
        while not all(map(self._is_there, self._needed())):
            left = until - time.monotonic()
            if left <= 0 or self._listener is None:
                return False
            with self._moved:
                self._moved.wait(min(left, _NAP))
        return True

    def _is_there(self, one: Side) -> bool:
        side = self._sides[one]
        return side.has_flags() and (one in self._told or not side.publishes)

    def close(self, timeout: float = 2.0) -> None:
        """Stop both within ``timeout`` seconds."""
        with self._moved:
            self._listener = None
            self._moved.notify_all()
        close_together(self._closing(), timeout)

    def _closing(self) -> list[Closing]:
        return [(stack_of(one), one.close) for one in self.parts]

    def after_fork(self) -> None:
        """Follow both again in a forked child, and say again what was known."""
        self._moved = threading.Condition(threading.Lock())
        self._delivery.after_fork()
        for side in self._sides.values():
            side.after_fork()
        if self._told:
            self._say_all(self._told)
            self._delivery.run()
        for one in self.parts:
            one.after_fork()

    # What both say, as one

    def hear_all(self, side: Asked, flag_set: FlagSet, by: Answering | None) -> None:
        """Take in all flags of one side, and hand on what is known of all by now."""
        with self._moved:
            touched = side.replaced(flag_set, by)
            self._say_all(self._told | {side.side}, touched)
        self._delivery.run()

    def hear(self, side: Asked, delta: FlagSetDelta) -> None:
        """Take in what changed on one side, and hand it on."""
        with self._moved:
            self._say(side.changed(delta))
        self._delivery.run()

    def hear_keys(self, keys: Iterable[str]) -> None:
        """Hand on which flags one side decides otherwise now."""
        told = tuple(keys)
        self._tell(lambda listener: listener.keys_changed(told))
        self._delivery.run()

    def hear_status(self, side: Asked, status: ProviderStatus) -> None:
        """Hand on how the pair stands now that one side stands otherwise.

        The sides are asked nothing, for whoever speaks may hold a lock.
        """
        with self._moved:
            self._stood = {**self._stood, side.side: status}
            stands = self._stands(self._stood)
            self._tell(lambda listener: listener.status_changed(stands))
        self._delivery.run()

    def _say_all(self, told: frozenset[str], touched: Collection[str] = ()) -> None:
        """Put all that is known in the queue to the listener. With the lock held."""
        flags = {key: flag for key in self._keys() if (flag := self._known(key)) is not None}
        flag_set, before = FlagSet(flags, {}, self._revision()), self._said
        self._said = flags
        # Of which the same is known as before, and which are decided otherwise all the same.
        decided = tuple(key for key in touched if before.get(key) == flags.get(key))

        def call(listener: Listener) -> None:
            listener.replaced(flag_set)
            if decided:
                listener.keys_changed(decided)
            with self._moved:
                self._told = told
                self._moved.notify_all()

        self._tell(call)

    def _say(self, keys: Collection[str]) -> None:
        """Put what is known of some flags in the queue to the listener. With the lock held."""
        flags = {key: self._known(key) for key in keys}
        delta = FlagSetDelta(flags, {}, self._revision())
        self._said = merged(self._said, flags)
        self._tell(lambda listener: listener.changed(delta))

    def _tell(self, tell: Callable[[Listener], None]) -> None:
        def call() -> None:
            if (listener := self._listener) is not None:
                tell(listener)

        self._delivery.add(call)

    def _keys(self) -> set[str]:
        return {key for side in self._sides.values() for key in side.flags}

    def _revision(self) -> str:
        return "+".join(side.revision for side in self._sides.values())

    def _known(self, key: str) -> Flag | None:
        """Return what the core is to know of a flag: no rules, which are decided here.

        It is the word of the side that is read, with the other one's tags, so that a kill by tag
        covers what either side has under it.
        """
        reads = self._reads(key)
        mine, other = self._sides[reads].flags.get(key), self._sides[reads.other].flags.get(key)
        counts = self._counts(key)
        told = mine or (other if counts else None)
        if told is None:
            return None
        tags = told.tags if other is None else tuple(dict.fromkeys((*told.tags, *other.tags)))
        known = replace(told, default="", targets=(), rules=(), tags=tags)
        if not counts or other is None:
            return known
        off, variants = told.off_variant, told.variants
        if off is None and other.off_variant is not None:  # a backend may have no such thing
            off = other.off_variant
            variants = {**variants, off: other.variants.get(off)}
        return replace(known, on=told.on and other.on, off_variant=off, variants=variants)

    def status(self) -> ProviderStatus:
        """Return how the pair stands, and each of its sides."""
        return self._stands({one: side.provider.status() for one, side in self._sides.items()})

    # What a subclass says

    def _stands(self, stands: Mapping[Side, ProviderStatus]) -> ProviderStatus:
        """Return how the pair stands where its sides stand like this."""
        raise NotImplementedError

    def _reads(self, key: str) -> Side:
        """Return the side whose answer counts."""
        return Side.OLD

    def _counts(self, key: str) -> bool:
        """Return whether the other side's word counts too: its off, and that there is the flag."""
        return False

    def _needed(self) -> Iterable[Side]:
        """Return the sides without which somebody would not be served."""
        return (Side.OLD,)

    def __str__(self) -> str:
        return f"{self.label}({stack_of(self.inner)}, {stack_of(self.second)})"


class _Ear:
    """Listens to one side (Listener)."""

    def __init__(self, pair: Pair, side: Asked) -> None:
        self._pair = pair
        self._side = side
        self.keys_changed = pair.hear_keys

    def replaced(self, flag_set: FlagSet, by: Answering | None = None) -> None:
        self._pair.hear_all(self._side, flag_set, by)

    def changed(self, delta: FlagSetDelta) -> None:
        self._pair.hear(self._side, delta)

    def status_changed(self, status: ProviderStatus) -> None:
        self._pair.hear_status(self._side, status)


def deciding(managed: FlagProvider) -> frozenset[Capability]:
    """Return the capabilities of what decides by itself, and is managed as another provider."""
    return (managed.capabilities - _DECIDING) | {Capability.RESOLVE}


def worst(states: Iterable[State]) -> State:
    """Return the state that is furthest from serving."""
    return max(states, key=_WORST.index)
