"""One backend of two, which can be asked for a decision whether it publishes rules or decides.

A backend that publishes rules is compiled here, as the core compiles it where it stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from downhaul.context import Context
from downhaul.errors import InvalidContext
from downhaul.evaluator.asking import Ask
from downhaul.evaluator.compile import World
from downhaul.evaluator.view import View
from downhaul.flag import Flag, FlagKind, FlagSet, FlagSetDelta
from downhaul.provider import Answering, Capability, FlagProvider, State
from downhaul.result import ErrorCode, Result
from downhaul.staging import Side
from downhaul.vendors.life import error_of

_CODES: Final[Mapping[State, ErrorCode]] = {
    State.NOT_READY: ErrorCode.PROVIDER_NOT_READY,
    State.ERROR: ErrorCode.PROVIDER_NOT_READY,
    State.FATAL: ErrorCode.PROVIDER_FATAL,
}


class Asked:
    """A backend, what it last told of its flags, and how it is asked: ``ask`` raises nothing.

    ``off`` are the keys of the flags that it has off. Whoever hands on what the backend tells does
    so one word at a time.
    """

    def __init__(self, side: Side, provider: FlagProvider) -> None:
        self.side = side
        self.provider = provider
        # Who decides by itself is asked, as the core does.
        self.publishes = Capability.RESOLVE not in provider.capabilities
        self._view = View(World(provider=provider.name))
        self._results = self._view.results
        self.ask: Ask = self._decided if self.publishes else provider.resolve
        self.begin()

    def begin(self) -> None:
        """Forget what was told in an earlier life."""
        self.flags: Mapping[str, Flag] = {}
        self.off: set[str] = set()
        self.revision = ""
        self.loaded = False
        self._view.replace({}, {})

    def after_fork(self) -> None:
        """Make the rules whole again in a forked child."""
        self._view.after_fork()

    def has_flags(self) -> bool:
        """Return whether its first payload came, and can be asked about. Does no I/O."""
        return (self.loaded or not self.publishes) and self.provider.wait_ready(0)

    def is_fresh(self) -> bool:
        """Return whether it answers with what the backend has now. Does no I/O."""
        return (self.loaded or not self.publishes) and (self.provider.status().state is State.READY)

    def replaced(self, flag_set: FlagSet, by: Answering | None) -> frozenset[str]:
        """Take in all flags; return the keys of those that may decide otherwise now."""
        before, after = self.flags, flag_set.flags
        touched = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        if self.publishes:
            answering = None if by is None else (by.name, None)
            touched |= self._view.replace(after, flag_set.segments, answering)
        self.flags, self.revision = after, flag_set.revision
        self.off = {key for key, flag in flag_set.flags.items() if not flag.on}
        self.loaded = True
        return frozenset(touched)

    def changed(self, delta: FlagSetDelta) -> frozenset[str]:
        """Take in what changed; return as above."""
        touched = {*delta.flags}
        if self.publishes:
            touched |= self._view.change(delta.flags, delta.segments)
        self.flags = merged(self.flags, delta.flags)
        for key, flag in delta.flags.items():
            if flag is None or flag.on:
                self.off.discard(key)
            else:
                self.off.add(key)
        self.revision = delta.revision
        return frozenset(touched)

    def _decided(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        decide = self._results.get(key)
        if decide is None:
            return self._unknown(key)
        try:
            return decide(context)
        except (InvalidContext, UnicodeEncodeError) as error:
            return error_of(self.provider.name, key, ErrorCode.INVALID_CONTEXT, str(error))
        except Exception as error:  # noqa: BLE001  (a hostile context: rule E1)
            return error_of(self.provider.name, key, ErrorCode.GENERAL, type(error).__name__)

    def _unknown(self, key: str) -> Result:
        name = self.provider.name
        if not self.loaded:
            status = self.provider.status()
            code = _CODES.get(status.state, ErrorCode.PROVIDER_NOT_READY)
            return error_of(name, key, code, status.message or "no flags have come yet")
        return error_of(name, key, ErrorCode.FLAG_NOT_FOUND, f'{name} has no flag "{key}"')


def merged(known: Mapping[str, Flag], changes: Mapping[str, Flag | None]) -> Mapping[str, Flag]:
    """Return what is known after some changes; None is removed."""
    made = dict(known)
    for key, flag in changes.items():
        if flag is None:
            made.pop(key, None)
        else:
            made[key] = flag
    return made
