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
from types import MappingProxyType
from typing import Any, Final

from downhaul.evaluator.outcome import CallersDefault, fresh
from downhaul.evaluator.view import View
from downhaul.flag import Flag, FlagKind
from downhaul.result import Reason, Result

_Mark = tuple[int, str]  # the view's id, the flag's key
_active: contextvars.ContextVar[Mapping[_Mark, Any]] = contextvars.ContextVar(
    "downhaul_overrides", default=MappingProxyType({})
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

    @contextmanager
    def __call__(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Answer ``values`` for their flags inside the ``with`` block."""
        marks = {(id(self._view), key): value for key, value in values.items()}
        token = _active.set(MappingProxyType({**_active.get(), **marks}))
        self._enter(values)
        with _inheritance:
            try:
                yield
            finally:
                self._leave(values)
                _active.reset(token)

    def _enter(self, keys: Mapping[str, Any]) -> None:
        with self._lock:
            for key in keys:
                self._count[key] += 1
                if self._count[key] == 1:
                    self._view.wrap(key, self._wrap)

    def _leave(self, keys: Mapping[str, Any]) -> None:
        with self._lock:
            for key in keys:
                self._count[key] -= 1
                if not self._count[key]:
                    del self._count[key]
                    self._view.wrap(key, None)

    def _wrap(self, decide: Any, key: str, for_enabled: bool) -> Any:
        mark = (id(self._view), key)
        view, provider = self._view, self._provider

        def overridden(context: Any) -> Any:
            value = _active.get().get(mark, _NOT_OVERRIDDEN)
            if value is _NOT_OVERRIDDEN:
                return decide(context)
            flag = view.world.flags.get(key)
            variant = _named(value) if flag is None else _variant(flag, value)
            if flag is not None and variant is not None:
                value = flag.variants[variant]
            if for_enabled:
                return _enabled(flag, variant, value)
            version = "" if flag is None else flag.version
            return fresh(
                Result(
                    value,
                    variant,
                    Reason.STATIC,
                    flag_version=version,
                    provider=provider,
                    metadata=_METADATA,
                )
            )

        return overridden


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

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._start = threading.Thread.start
                threading.Thread.start = _inheriting(self._start)  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
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
