"""The published view: two tables of compiled decisions that evaluations read without a lock.

The tables are changed in place by single dictionary operations, which the interpreter makes
atomic; the objects never change, so a reader holds them for good. An entry is compiled at its first
use: ten thousand flags are ready as soon as they are decoded, and a changed flag costs its own work
and that of the flags that depend on it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from downhaul.evaluator.asking import Ask, asking, asking_enabled, killed_requirement
from downhaul.evaluator.compile import Compiler, World
from downhaul.evaluator.needs import requires
from downhaul.evaluator.outcome import (
    NO_KEY,
    CallersDefault,
    Decide,
    Outcome,
    broken,
    enabled_leaf,
    fresh,
    kill_outcome,
    result_leaf,
)
from downhaul.evaluator.shapes import always
from downhaul.flag import Flag, FlagKind, Segment
from downhaul.overlay import KillRecord, Overlay
from downhaul.references import Node
from downhaul.result import Reason, Result

Wrap = Callable[[Any, str, bool], Any]
"""Wraps a flag's decision while a test overrides it; gets (decision, key, for ``is_enabled``)."""

_log: Final = logging.getLogger("downhaul.evaluator")


class _Pending:
    """Stands in a table until the flag is first asked for; then compiles it and takes its place."""

    __slots__ = ("key", "table", "view")

    def __init__(self, view: View, key: str, table: dict[str, Any]) -> None:
        self.view = view
        self.key = key
        self.table = table

    def __call__(self, context: Any) -> Any:
        return self.view.first_use(self)(context)


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
        self._dependents: dict[Node, set[str]] = {}
        self._needs: dict[str, frozenset[Node]] = {}
        self._wrapped: dict[str, Wrap] = {}
        self.replace(self._world.flags, self._world.segments)

    @property
    def world(self) -> World:
        """What the view is made of now; frozen."""
        return self._world

    def snapshot(self, *, unknown: bool = False) -> dict[str, Decide[Result]]:
        """Return the decisions of all known flags at one moment (test overrides included).

        ``unknown`` adds those killed or overridden by a name that the provider doesn't have.
        """
        with self._lock:
            keys = self._keys() if unknown else self._world.flags
            decisions = {key: self._compiled(self.results[key]) for key in keys}
            complaints = self._complaints()
        _tell(complaints)
        return decisions

    def decision(self, key: str) -> tuple[Flag | None, Decide[Result]]:
        """Return a flag and its decision, of one moment; no flag where another's word stands above.

        That is a kill, an override, or a backend that is asked. Raises KeyError for a flag that
        nobody knows.
        """
        with self._lock:
            decide = self._compiled(self.results[key])
            flag = self._world.flags.get(key)
            killed = flag is not None and self._world.overlay.kill_of(key, flag.tags) is not None
            own = None if killed or key in self._wrapped or self._world.ask else flag
            complaints = self._complaints()
        _tell(complaints)
        return own, decide

    def replace(
        self,
        flags: Mapping[str, Flag],
        segments: Mapping[str, Segment],
        answering: tuple[str, Ask | None] | None = None,
    ) -> frozenset[str]:
        """Publish a whole new flag set; return the keys whose decisions may be others now.

        ``answering`` is the provider that results name and who is asked, where these change.
        """
        with self._lock:
            # Whatever the tables hold, which after a fork may be a change half done.
            before, gone = self._world, {*self.enabled, *self.results}
            changed = _changed(before.flags, flags), _changed(before.segments, segments)
            touched = changed[0] | self._depending(*changed)
            provider, ask = answering or (before.provider, before.ask)
            self._settle(
                replace(before, flags=flags, segments=segments, provider=provider, ask=ask)
            )
            self._needs = {}
            self._dependents = {}
            for flag in flags.values():
                self._learn(flag)
            self._publish(self._keys(), gone)
            if ask is not before.ask:  # nothing is known of how another one decides
                return frozenset({*before.flags, *flags})
            return frozenset(touched | self._depending(*changed))

    def change(
        self, flags: Mapping[str, Flag | None], segments: Mapping[str, Segment | None]
    ) -> frozenset[str]:
        """Publish changed flags and segments (None: removed), all at once; return as above."""
        with self._lock:
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
            self._publish(filter(self._is_known, touched), touched)
            return frozenset(touched)

    def overlay(self, overlay: Overlay) -> frozenset[str]:
        """Publish the kills in force; return as above."""
        with self._lock:
            before = self._world.overlay
            if overlay == before:
                return frozenset()
            self._settle(replace(self._world, overlay=overlay))
            moved = _moved(before, overlay, self._world.flags)
            touched = moved | self._depending(moved, ())
            self._publish(filter(self._is_known, touched), touched)
            return frozenset(touched)

    def wrap(self, key: str, wrap: Wrap | None) -> None:
        """Put a wrapper around one flag's decisions, known or not; None takes it off."""
        with self._lock:
            if wrap is None:
                self._wrapped.pop(key, None)
            else:
                self._wrapped[key] = wrap
            self._publish(filter(self._is_known, [key]), [key])

    def killed(self, key: str, kill: KillRecord) -> Result:
        """Return what a killed flag answers of which nothing is known (rule K2)."""
        decide = killed_unknown(key, kill, self._world.provider, for_enabled=False)
        result: Result = decide(None)
        return result

    def after_fork(self) -> None:
        """Make a forked child's view whole: a thread of the parent may have held the lock."""
        self._lock = threading.RLock()
        self.replace(self._world.flags, self._world.segments)

    def first_use(self, pending: _Pending) -> Decide[Any]:
        """Return the decision that a pending entry stands for, and put it in the entry's place."""
        with self._lock:
            decide = self._compiled(pending)
            complaints = self._complaints()
        _tell(complaints)
        return decide

    def _compiled(self, entry: _Pending | Decide[Any]) -> Decide[Any]:
        if not isinstance(entry, _Pending):
            return entry
        # Of the world as it is now, even if the entry is one that a change has just replaced.
        key, for_enabled = entry.key, entry.table is self.enabled
        try:
            decide = self._decision(key, for_enabled=for_enabled)
        except Exception as error:  # noqa: BLE001  (a row edited by hand: E1 holds for it too)
            decide = self._broken(key, error, for_enabled=for_enabled)
        wrap = self._wrapped.get(key)
        if wrap is not None:
            decide = wrap(decide, key, for_enabled)
        if entry.table.get(key) is entry:
            entry.table[key] = decide
        return decide

    def _decision(self, key: str, *, for_enabled: bool) -> Decide[Any]:
        world = self._world
        flag = world.flags.get(key)
        if flag is None:
            return _without_flag(key, world, for_enabled=for_enabled)
        if world.ask is not None and world.overlay.kill_of(key, flag.tags) is None:
            return self._asked(flag, world.ask, for_enabled=for_enabled)
        if for_enabled:
            return _enabled(flag, self._compiler)
        decide: Decide[Any] = self._compiler.flag(flag, result_leaf(flag, world.provider))
        return _copying(decide) if flag.kind is FlagKind.OBJECT else decide

    def _asked(self, flag: Flag, ask: Ask, *, for_enabled: bool) -> Decide[Any]:
        """Ask the backend, unless something that the flag requires is killed: it can't know."""
        world = self._world
        held = killed_requirement(flag, world.flags, world.overlay)
        if held:
            outcome = Outcome(flag.off_variant, Reason.DISABLED, off=True, prerequisite=held)
            if not for_enabled:
                return always(result_leaf(flag, world.provider)(outcome))
            answer = enabled_leaf(flag)(outcome)
            return _callers_default if answer is None else always(answer)
        asked = asking(flag, ask, world.portable.get(flag.key))
        return asking_enabled(flag, asked) if for_enabled else asked

    def _broken(self, key: str, error: Exception, *, for_enabled: bool) -> Decide[Any]:
        told = f"{type(error).__name__}: {error}"
        self._compiler.complaints.append(f'flag "{key}" can\'t be understood: {told}')
        if for_enabled:
            return _callers_default
        answer = broken(self._world.flags[key].version, self._world.provider, told)
        return always(answer)

    def _complaints(self) -> list[str]:
        told, self._compiler.complaints = self._compiler.complaints, []
        return told

    def _settle(self, world: World) -> None:
        self._world = world
        self._compiler = Compiler(world)

    def _keys(self) -> set[str]:
        return {*self._world.flags, *self._world.overlay.flags, *self._wrapped}

    def _is_known(self, key: str) -> bool:
        world = self._world
        return key in world.flags or key in world.overlay.flags or key in self._wrapped

    def _publish(self, keys: Iterable[str], gone: Iterable[str]) -> None:
        present = set(keys)
        absent = [key for key in gone if key not in present and not self._is_known(key)]
        for table in (self.enabled, self.results):
            # First what is there, in one step; then what is not.
            table.update({key: _Pending(self, key, table) for key in present})
            for key in absent:
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
        pending = [
            *(Node("flag", key) for key in flags),
            *(Node("segment", key) for key in segments),
        ]
        while pending:
            for key in self._dependents.get(pending.pop(), ()):
                if key not in found:
                    found.add(key)
                    pending.append(Node("flag", key))
        return found


def _moved(before: Overlay, after: Overlay, flags: Mapping[str, Flag]) -> set[str]:
    """Return the keys whose kill is another one, or none any more."""
    named = before.flags.keys() | after.flags.keys()
    moved = {key for key in named if before.flags.get(key) != after.flags.get(key)}
    if before.everything == after.everything and before.tags == after.tags:
        return moved  # one flag's kill is one flag's work
    for key in {*flags, *named}:
        tags = flags[key].tags if key in flags else ()
        if before.kill_of(key, tags) != after.kill_of(key, tags):
            moved.add(key)
    return moved


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {
        key
        for key in before.keys() | after.keys()
        if (old := before.get(key)) is not (new := after.get(key)) and old != new
    }


def _tell(complaints: Iterable[str]) -> None:
    """Log what compiling found wrong: not under the lock, which a slow log would hold."""
    for complaint in complaints:
        # A lone surrogate in a key is text that no log file can hold.
        _log.warning("%s", complaint.encode(errors="backslashreplace").decode())


def _merged(known: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    if not changes:
        return known
    merged = {**known, **changes}
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
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


def _callers_default(_context: Any) -> bool:
    raise CallersDefault


def _nobody_knows(_context: Any) -> bool:
    raise KeyError  # as the table would: the client then asks the provider, or says what is wrong


def _copying(decide: Decide[Result]) -> Decide[Result]:
    return lambda context: fresh(decide(context))


def _without_flag(key: str, world: World, *, for_enabled: bool) -> Decide[Any]:
    """Decide a flag that the provider does not have: killed by name, or overridden, or unknown."""
    kill = world.overlay.kill_of(key)
    if kill is None:
        return _nobody_knows if for_enabled else always(None)
    return killed_unknown(key, kill, world.provider, for_enabled=for_enabled)


def killed_unknown(key: str, kill: KillRecord, provider: str, *, for_enabled: bool) -> Decide[Any]:
    """Decide a killed flag of which nothing is known: not enabled, or the caller's default.

    Rule K2: a killed boolean is False, other kinds are the caller's default. ``is_enabled`` asks
    for a boolean; ``evaluate`` learns it from the caller's default.
    """
    flag = Flag(key=key, kind=FlagKind.STRING, default="off", off_variant=None, variants={})
    outcome: Outcome = kill_outcome(flag, kill)
    answer: Any = False if for_enabled else result_leaf(flag, provider)(outcome)
    return always(answer)
