"""Test overrides: a flag answers what a test says, for that test alone (rule E5).

An override belongs to the context that made it: other threads and tasks do not see it, except
those that were started inside (a thread inherits; Python before 3.14 doesn't do that by itself).
While nobody overrides, nothing is looked up: the view is wrapped only for the flags in question,
only for as long.
"""

from __future__ import annotations

import contextvars
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from downhaul.evaluator.outcome import (
    CallersDefault,
    enabled_leaf,
    fresh,
    kill_outcome,
    result_leaf,
)
from downhaul.evaluator.view import View, killed_unknown
from downhaul.flag import Flag, FlagKind
from downhaul.overlay import KillRecord, Scope
from downhaul.result import Reason, Result

_active: contextvars.ContextVar[tuple[Layer, ...]] = contextvars.ContextVar(
    "downhaul_overrides", default=()
)
_NOT_OVERRIDDEN: Final = object()
_METADATA: Final = MappingProxyType({"override": True})


class Overrides:
    """The overrides of one view."""

    def __init__(self, view: View, provider: str) -> None:
        self._view = view
        self._provider = provider
        self._lock = threading.Lock()
        self._count: Counter[str] = Counter()
        self._shared: tuple[Layer, ...] = ()
        self._switches = 0

    @contextmanager
    def __call__(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Answer ``values`` for their flags, and for switches, inside the ``with`` block."""
        layer = Layer(self)
        try:
            for name, value in values.items():
                scope = Scope.parse(name) if name.startswith("switch:") else None
                if scope is not None:
                    layer.switch(scope.name, up=bool(value))
                else:
                    layer.set(name, value)
            layer.enter()
            yield
        finally:
            layer.close()

    def layer(self) -> Layer:
        """Return overrides that may come from any context, until they are closed.

        They hold where they were entered, as those of a ``with`` block do; and everywhere else too,
        such as in a server's thread that was there before, while they are the only ones of their
        sort: two tests at once in two threads don't disturb each other.
        """
        layer = Layer(self, shared=True)
        with self._lock:
            self._shared = (*self._shared, layer)
        layer.enter()
        return layer

    def current(self) -> Layer | None:
        """Return the shared layer that holds here, or None."""
        return next((layer for layer in self._layers() if layer.shared), None)

    def switch_is_up(self, name: str) -> bool | None:
        """Return what a test says of a switch here; None where it says nothing."""
        if not self._switches:
            return None
        for layer in self._layers():
            for one in (name, "*"):
                if one in layer.switches:
                    return layer.switches[one]
        return None

    def count(self, key: str, by: int) -> None:
        """Note that one layer more, or less, overrides a flag."""
        with self._lock:
            self._count[key] += by
            if self._count[key] == by == 1:
                self._view.wrap(key, self._wrap)
            elif not self._count[key]:
                del self._count[key]
                self._view.wrap(key, None)

    def count_switches(self, by: int) -> None:
        """Note that layers say something of so many switches more, or less."""
        with self._lock:
            self._switches += by

    def closed(self, layer: Layer) -> None:
        """Forget a shared layer."""
        with self._lock:
            self._shared = tuple(one for one in self._shared if one is not layer)

    def _layers(self) -> list[Layer]:
        """Return the layers that hold here, innermost first."""
        mine = [one for one in reversed(_active.get()) if one.open and one.overrides is self]
        shared = self._shared
        if len(shared) == 1 and shared[0] not in mine:
            mine.append(shared[0])
        return mine

    def _wrap(self, decide: Any, key: str, for_enabled: bool) -> Any:
        view, provider = self._view, self._provider

        def overridden(context: Any) -> Any:
            for layer in self._layers():
                value = layer.values.get(key, _NOT_OVERRIDDEN)
                if value is not _NOT_OVERRIDDEN:
                    break
            else:
                return decide(context)
            flag = view.world.flags.get(key)
            if isinstance(value, KillRecord):
                return _killed(flag, key, value, provider, for_enabled)
            return _answer(flag, value, provider, for_enabled)

        return overridden


class Layer:
    """Some overrides that begin and end together. Use :class:`Overrides` to make one."""

    __slots__ = ("open", "overrides", "shared", "switches", "values")

    def __init__(self, overrides: Overrides, *, shared: bool = False) -> None:
        self.overrides = overrides
        self.shared = shared
        self.open = True
        self.values: dict[str, Any] = {}
        self.switches: dict[str, bool] = {}
        _inheritance.enter()

    def enter(self) -> None:
        """Hold in this context and in those that come out of it."""
        _active.set((*_open_layers(), self))

    def set(self, key: str, value: Any) -> None:
        """Answer ``value`` for a flag; a KillRecord answers as a flag that was killed so."""
        known = key in self.values
        self.values[key] = value
        if not known:
            self.overrides.count(key, 1)

    def switch(self, name: str, *, up: bool) -> None:
        """Answer for a switch; ``*`` is all that are not named."""
        known = name in self.switches
        self.switches[name] = up
        if not known:
            self.overrides.count_switches(1)

    def close(self) -> None:
        """End all of it, in every context."""
        if not self.open:
            return
        self.open = False
        self.overrides.closed(self)
        for key in self.values:
            self.overrides.count(key, -1)
        self.overrides.count_switches(-len(self.switches))
        # Not by a token: an asynchronous fixture may end in another context than it began in.
        _active.set(_open_layers())
        _inheritance.leave()


def _open_layers() -> tuple[Layer, ...]:
    return tuple(layer for layer in _active.get() if layer.open)


def _killed(
    flag: Flag | None, key: str, kill: KillRecord, provider: str, for_enabled: bool
) -> bool | Result:
    if flag is None:
        answer = killed_unknown(key, kill, provider, for_enabled=for_enabled)(None)
    elif for_enabled:
        answer = enabled_leaf(flag)(kill_outcome(flag, kill))
    else:
        answer = result_leaf(flag, provider)(kill_outcome(flag, kill))
    if answer is None:
        raise CallersDefault
    if isinstance(answer, Result):
        told = MappingProxyType({**answer.metadata, **_METADATA})
        return fresh(replace(answer, metadata=told))
    return bool(answer)


def _answer(flag: Flag | None, value: Any, provider: str, for_enabled: bool) -> bool | Result:
    variant = _named(value) if flag is None else _variant(flag, value)
    if flag is not None and variant is not None:
        value = flag.variants[variant]
    if for_enabled:
        return _enabled(flag, variant, value)
    return fresh(
        Result(
            value,
            variant,
            Reason.STATIC,
            flag_version="" if flag is None else flag.version,
            provider=provider,
            metadata=_METADATA,
        )
    )


def _variant(flag: Flag, value: Any) -> str | None:
    """Return the variant that an override names, by its value or else by its name."""
    for name, candidate in flag.variants.items():
        if type(candidate) is type(value) and candidate == value:
            return name
    return value if isinstance(value, str) and value in flag.variants else None


def _named(value: Any) -> str | None:
    """Return the variant of a flag that nobody knows: on or off, or what the override calls it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else None


def _enabled(flag: Flag | None, variant: str | None, value: Any) -> bool:
    if flag is not None and flag.kind is FlagKind.BOOLEAN and not isinstance(value, bool):
        raise CallersDefault  # as evaluate, which calls it a type mismatch
    if flag is None or flag.kind is FlagKind.BOOLEAN or variant is None:
        return value is not None and value is not False
    return variant != flag.off_variant


class _Inheritance:
    """While entered, threads start with the overrides of whoever starts them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._start: Any = None

    def enter(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._start = threading.Thread.start
                threading.Thread.start = _inheriting(self._start)  # type: ignore[method-assign]

    def leave(self) -> None:
        with self._lock:
            self._depth -= 1
            if not self._depth:
                threading.Thread.start = self._start  # type: ignore[method-assign]


def _inheriting(start: Any) -> Any:
    def start_with_overrides(thread: threading.Thread) -> None:
        carried = _active.get()
        if carried:
            run = thread.run

            def run_with_overrides() -> None:
                _active.set(carried)
                run()

            thread.run = run_with_overrides  # type: ignore[method-assign]
        start(thread)

    return start_with_overrides


_inheritance: Final = _Inheritance()
