"""What a backend has said until now, for whoever begins to listen later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from downhaul.flag import FlagSet, FlagSetDelta
from downhaul.provider import Answering, Listener, ProviderStatus

T = TypeVar("T")
Tell = Callable[[Listener], None]
"""Says one word to a listener."""


class Heard:
    """The flags of one backend, as it last told them.

    ``answering`` is who answers with them: the backend itself, or the one that it named. Each word
    is taken in with single assignments, so that a fork finds no half of a flag set; what comes
    back is how to say it to somebody else.
    """

    def __init__(self, own: Answering) -> None:
        self.flag_set = FlagSet()
        self.loaded = False
        self.answering = own
        self._own = own
        self._named: Answering | None = None

    def whole(self) -> Tell:
        """Return how to say all that is known, and who answers."""
        flag_set, answering = self.flag_set, self.answering
        return lambda listener: listener.replaced(flag_set, answering)

    def replaced(self, flag_set: FlagSet, by: Answering | None) -> Tell:
        """Keep a whole flag set."""
        if by is not None and by is not self._named:
            self._named, self.answering = by, _through(self._own, by)
        self.flag_set, self.loaded = flag_set, True
        return self.whole()

    def changed(self, delta: FlagSetDelta) -> Tell:
        """Keep what changed."""
        kept = self.flag_set
        self.flag_set = FlagSet(
            _merged(kept.flags, delta.flags),
            _merged(kept.segments, delta.segments),
            delta.revision,
        )
        return lambda listener: listener.changed(delta)


class Ear:
    """Listens to one backend (Listener); ``hear`` takes in each word as it comes."""

    def __init__(self, hear: Callable[[Callable[[Heard], Tell]], None]) -> None:
        self._hear = hear

    def replaced(self, flag_set: FlagSet, by: Answering | None = None) -> None:
        """Hear a whole flag set."""
        self._hear(lambda heard: heard.replaced(flag_set, by))

    def changed(self, delta: FlagSetDelta) -> None:
        """Hear what changed."""
        self._hear(lambda heard: heard.changed(delta))

    def keys_changed(self, keys: Iterable[str]) -> None:
        """Hear which flags decide otherwise now; what is known of them is as it was."""
        told = tuple(keys)
        self._hear(lambda _heard: lambda listener: listener.keys_changed(told))

    def status_changed(self, status: ProviderStatus) -> None:
        """Hear how the backend stands; whoever wants to know later asks it."""
        self._hear(lambda _heard: lambda listener: listener.status_changed(status))


def _through(own: Answering, inner: Answering) -> Answering:
    """Return who answers where the backend is made of several itself, such as another failover."""
    return Answering(inner.name, lambda resolve: inner.asked(own.asked(resolve)))


def _merged(known: Mapping[str, T], changes: Mapping[str, T | None]) -> Mapping[str, T]:
    merged = {**known, **changes}
    return {key: value for key, value in merged.items() if value is not None}
