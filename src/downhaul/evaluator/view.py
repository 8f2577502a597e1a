"""The published view: two tables of compiled decisions that every evaluation reads, and nobody locks.

The tables are changed in place by single dictionary operations, which the interpreter makes
atomic; the objects never change, so a reader holds them for good. An entry is compiled at its first
use: ten thousand flags are ready as soon as they are decoded, and a changed flag costs its own work
and that of the flags that depend on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from downhaul.evaluator.compile import Compiler, Decide, World, requires
from downhaul.evaluator.outcome import (
    NO_KEY,
    CallersDefault,
    Outcome,
    enabled_leaf,
    fresh,
    kill_outcome,
    result_leaf,
)
from downhaul.flag import Flag, FlagKind, Segment
from downhaul.overlay import KillRecord, Overlay
from downhaul.result import Result

Wrap = Callable[[Any, str, bool], Any]
"""Wraps a decision of a flag while a test overrides it; gets (decision, key, for ``is_enabled``)."""


class _Pending:
    """Stands in a table until the flag is first asked for; then compiles it and takes its place."""

    __slots__ = ("key", "table", "view", "world")

    def __init__(self, view: View, world: World, key: str, table: dict[str, Any]) -> None:
        self.view = view
        self.world = world
        self.key = key
        self.table = table

    def __call__(self, context: Any) -> Any:
        return self.view.compiled(self)(context)


class View:
    """Flags, segments, kills and overrides as decisions.

    ``enabled[key](context)`` answers True or False, or raises CallersDefault;
    ``results[key](context)`` a Result. A key that is in neither is a flag that nobody knows.
    Writers may be any thread; they take turns.
    """

    def __init__(self, world: World | None = None) -> None:
        self.enabled: dict[str, Decide[bool]] = {}
        self.results: dict[str, Decide[Result]] = {}
        self._lock = threading.RLock()  # for writers and first uses; no evaluation after that
        self._world = world or World()
        self._compiler = Compiler(self._world)
        self._dependents: dict[str, set[str]] = {}
        self._needs: dict[str, frozenset[str]] = {}
        self._wrapped: dict[str, Wrap] = {}
        self.replace(self._world.flags, self._world.segments)

    @property
    def world(self) -> World:
        """What the view is made of now; frozen."""
        return self._world

    def snapshot(self) -> dict[str, Decide[Result]]:
        """Return the decisions of all known flags at one moment (test overrides included)."""
        with self._lock:
            # Pending entries belong to the present world; compile them before it moves on.
            for key in [key for key, one in self.results.items() if type(one) is _Pending]:
                self.compiled(self.results[key])
            return {key: self.results[key] for key in self._world.flags}

    def replace(self, flags: Mapping[str, Flag], segments: Mapping[str, Segment]) -> None:
        """Publish a whole new flag set."""
        with self._lock:
            gone = self._keys()
            self._settle(replace(self._world, flags=flags, segments=segments))
            self._needs = {}
            self._dependents = {}
            for flag in flags.values():
                self._learn(flag)
            self._publish(self._keys(), gone)

    def change(
        self, flags: Mapping[str, Flag | None], segments: Mapping[str, Segment | None]
    ) -> None:
        """Publish changed flags and segments (None: removed), all at once."""
        with self._lock:
            before = self._keys()
            touched = {*flags, *self._depending(flags, segments)}
            world = self._world
            self._settle(
                replace(
                    world,
                    flags=_merged(world.flags, flags),
                    segments=_merged(world.segments, segments),
                )
            )
            for key in touched if segments else flags:
                self._forget(key)
                if key in self._world.flags:
                    self._learn(self._world.flags[key])
            # Whoever requires a flag that only now appeared was not among the dependents before.
            touched |= self._depending(flags, segments)
            self._publish(touched & self._keys(), {key for key in touched if key in before})

    def overlay(self, overlay: Overlay) -> None:
        """Publish the kills in force."""
        with self._lock:
            before, keys = self._world.overlay, self._keys()
            if overlay == before:
                return
            self._settle(replace(self._world, overlay=overlay))
            moved = {
                key
                for key, flag in self._world.flags.items()
                if before.kill_of(key, flag.tags) != overlay.kill_of(key, flag.tags)
            }
            moved |= {
                key
                for key in {*before.flags, *overlay.flags}
                if before.flags.get(key) != overlay.flags.get(key)
            }
            touched = moved | self._depending(dict.fromkeys(moved), {})
            self._publish(touched & self._keys(), touched & keys)

    def wrap(self, key: str, wrap: Wrap | None) -> None:
        """Put a wrapper around one flag's decisions, known or not; None takes it off."""
        with self._lock:
            if wrap is None:
                self._wrapped.pop(key, None)
            else:
                self._wrapped[key] = wrap
            self._publish({key} & self._keys(), {key})

    def is_special(self, key: str) -> bool:
        """Return whether a flag's decision is not its own: killed, overridden, or unknown."""
        flag = self._world.flags.get(key)
        return (
            flag is None
            or key in self._wrapped
            or self._world.overlay.kill_of(key, flag.tags) is not None
        )

    def killed(self, key: str, kill: KillRecord) -> Result:
        """Return what a killed flag answers of which nothing is known (rule K2)."""
        decide = killed_unknown(key, kill, self._world.provider, for_enabled=False)
        result: Result = decide(None)
        return result

    def after_fork(self) -> None:
        """Make a forked child's view whole: a thread of the parent may have held the lock."""
        self._lock = threading.RLock()
        self.replace(self._world.flags, self._world.segments)

    def compiled(self, pending: _Pending | Decide[Any]) -> Decide[Any]:
        """Return the decision that a pending entry stands for, and put it in the entry's place."""
        if not isinstance(pending, _Pending):
            return pending
        with self._lock:
            # An entry of a world that has moved on belongs to nobody: it still answers its caller.
            current = pending.world is self._world
            compiler = self._compiler if current else Compiler(pending.world)
            for_enabled = pending.table is self.enabled
            decide = self._decision(pending.key, compiler, for_enabled=for_enabled)
            if pending.table.get(pending.key) is pending:
                pending.table[pending.key] = decide
            return decide

    def _decision(self, key: str, compiler: Compiler, *, for_enabled: bool) -> Decide[Any]:
        world = compiler.world
        flag = world.flags.get(key)
        decide: Decide[Any]
        if flag is None:
            decide = _without_flag(key, world, for_enabled=for_enabled)
        elif for_enabled:
            decide = _enabled(flag, compiler)
        else:
            decide = compiler.flag(flag, result_leaf(flag, world.provider))
            if flag.kind is FlagKind.OBJECT:
                decide = _copying(decide)
        wrap = self._wrapped.get(key)
        return decide if wrap is None else wrap(decide, key, for_enabled)

    def _settle(self, world: World) -> None:
        self._world = world
        self._compiler = Compiler(world)

    def _keys(self) -> set[str]:
        return {*self._world.flags, *self._world.overlay.flags, *self._wrapped}

    def _publish(self, keys: Iterable[str], gone: Iterable[str]) -> None:
        keys = set(keys)
        for table in (self.enabled, self.results):
            # First what is there, in one step; then what is not.
            table.update({key: _Pending(self, self._world, key, table) for key in keys})
            for key in set(gone) - keys - self._keys():
                table.pop(key, None)

    # Who depends on whom, so that a change of one flag recompiles what requires it

    def _learn(self, flag: Flag) -> None:
        if not flag.prerequisites and not flag.rules:
            return
        needs = requires(flag, self._world.segments)
        if needs:
            self._needs[flag.key] = needs
            for name in needs:
                self._dependents.setdefault(name, set()).add(flag.key)

    def _forget(self, key: str) -> None:
        for name in self._needs.pop(key, ()):
            self._dependents[name].discard(key)

    def _depending(self, flags: Iterable[str], segments: Iterable[str]) -> set[str]:
        found: set[str] = set()
        pending = [*(f"flag {key}" for key in flags), *(f"segment {key}" for key in segments)]
        while pending:
            for key in self._dependents.get(pending.pop(), ()):
                if key not in found:
                    found.add(key)
                    pending.append(f"flag {key}")
        return found


def _merged(known: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    if not changes:
        return known
    merged = {**known, **changes}
    for key, value in changes.items():
        if value is None:
            del merged[key]
    return merged


def _enabled(flag: Flag, compiler: Compiler) -> Decide[bool]:
    """Compile a flag for ``is_enabled``: True, False, or CallersDefault raised."""
    undecided = False
    dress = enabled_leaf(flag)

    def leaf(outcome: Outcome) -> bool | None:
        nonlocal undecided
        answer = dress(outcome)
        undecided = undecided or (answer is None and outcome is not NO_KEY)
        return answer

    decide = compiler.flag(flag, leaf)
    return _raising(decide) if undecided else decide  # type: ignore[return-value]


def _raising(decide: Decide[bool | None]) -> Decide[bool]:
    def checked(context: Any) -> bool:
        answer = decide(context)
        if answer is None:
            raise CallersDefault
        return answer

    return checked


def _nobody_knows(_context: Any) -> bool:
    raise CallersDefault


def _copying(decide: Decide[Result]) -> Decide[Result]:
    return lambda context: fresh(decide(context))


def _without_flag(key: str, world: World, *, for_enabled: bool) -> Decide[Any]:
    """Decide a flag that the provider does not have: killed by name, or overridden, or unknown."""
    kill = world.overlay.kill_of(key)
    if kill is None:
        return _nobody_knows if for_enabled else lambda _context: None
    return killed_unknown(key, kill, world.provider, for_enabled=for_enabled)


def killed_unknown(key: str, kill: KillRecord, provider: str, *, for_enabled: bool) -> Decide[Any]:
    """Decide a killed flag of which nothing is known: not enabled; the caller's default otherwise.

    Rule K2: a killed boolean is False, other kinds are the caller's default. ``is_enabled`` asks
    for a boolean; ``evaluate`` learns it from the caller's default.
    """
    flag = Flag(key=key, kind=FlagKind.STRING, default="off", off_variant=None, variants={})
    outcome: Outcome = kill_outcome(flag, kill)
    answer: Any = False if for_enabled else result_leaf(flag, provider)(outcome)
    return lambda _context: answer
