"""What a test holds as ``flags``: a client whose answers the test decides, until it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from downhaul.client import Flags
from downhaul.client.overrides import Layer
from downhaul.control.desk import did_you_mean
from downhaul.errors import Refused
from downhaul.flag import Flag, FlagKind
from downhaul.overlay import KillRecord, Scope, ScopeKind
from downhaul.provider import utc_now
from downhaul.result import ErrorCode, Result

_UNKNOWN: Final = (ErrorCode.FLAG_NOT_FOUND, ErrorCode.PROVIDER_NOT_READY)
_TYPES: Final[dict[FlagKind, type | tuple[type, ...]]] = {
    FlagKind.BOOLEAN: bool,
    FlagKind.STRING: str,
    FlagKind.NUMBER: (int, float),
    FlagKind.OBJECT: (dict, list),
}

_living: Final[dict[Layer, FlagsFixture]] = {}


class FlagsFixture:
    """Sets and kills flags for one test. All else is the client's: ``flags.is_enabled(...)``.

    What is set holds for whatever asks the same client during the test, in any thread or task.
    Nothing is written anywhere. ``client`` is the client itself, to hand to the code under test.
    """

    def __init__(self, client: Flags, *, strict: bool = False) -> None:
        given: Any = client  # by a fixture that nobody checks
        if not isinstance(given, Flags):
            message = f"downhaul_flags returned {type(given).__name__}, not a downhaul.Flags"
            raise TypeError(message)
        self.client = client
        self.strict = strict
        self.reads: dict[str, set[str]] = {}
        self.unknown: dict[str, str] = {}
        self._lock = threading.Lock()
        self._engine = client._engine  # noqa: SLF001  (an override stands in the engine's view)
        self._layer = self._engine.overrides.layer()
        _living[self._layer] = self

    @staticmethod
    def of(client: Flags) -> FlagsFixture | None:
        """Return the fixture of the test that runs here, if it stands on this client."""
        layer = client._engine.overrides.current()  # noqa: SLF001  (as below)
        return None if layer is None else _living.get(layer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    @property
    def known(self) -> dict[str, Flag]:
        """The flags that the client knows, by key."""
        return dict(self._engine.view.world.flags)

    def set(self, flag: str, value: Any) -> None:
        """Let a flag answer a value, or a variant named, for everybody.

        Raises ValueError for a value that the flag can't serve.
        """
        found = self.known.get(flag)
        if found is None:
            self._must_know(flag, "flag", self.known)
        elif not _serves(found, value):
            hint = did_you_mean(str(value), found.variants)
            variants = ", ".join(found.variants)
            message = (
                f'{found.kind} flag "{flag}" can\'t answer {value!r}: '
                f"{hint or f'its variants are {variants}'}"
            )
            raise ValueError(message)
        self._layer.set(flag, value)

    def turn_on(self, flag: str) -> None:
        """Let a flag answer True, or its first variant that is not the off variant."""
        found = self.known.get(flag)
        on: Any = True
        if found is not None and found.kind is not FlagKind.BOOLEAN:
            on = next((name for name in found.variants if name != found.off_variant), True)
        self.set(flag, on)

    def kill(self, *names: str) -> None:
        """Let flags answer as if they were killed: a flag, ``tag:NAME``, ``switch:NAME`` or ``*``.

        A flag that requires a killed one is not touched: prerequisites are the backend's.
        """
        for name in names:
            scope = Scope.parse(name)
            record = KillRecord(
                scope, 0, killed=True, actor="pytest", reason="killed by a test", at=utc_now()
            )
            if scope.kind in (ScopeKind.SWITCH, ScopeKind.EVERYTHING):
                self._layer.switch(scope.name or "*", up=False)
            for key in self._covered(scope):
                self._layer.set(key, record)

    def read(self, flag: str, result: Result, where: Callable[[], str]) -> None:
        """Note that the code under test asked for a flag, and what it was told."""
        with self._lock:
            told = result.variant or (result.error_code or "no variant")
            self.reads.setdefault(flag, set()).add(str(told))
            if result.error_code in _UNKNOWN and flag not in self.unknown:
                self.unknown[flag] = where()

    def complaint(self) -> str:
        """Return what to say of the unknown flags that were read; empty if there were none."""
        return "\n".join(
            f"{where}: {self._not_known(flag, 'flag', self.known)}"
            for flag, where in self.unknown.items()
        )

    def close(self) -> None:
        """Give every flag its own answers back."""
        self._layer.close()
        _living.pop(self._layer, None)

    def _covered(self, scope: Scope) -> Iterable[str]:
        known = self.known
        if scope.kind is ScopeKind.EVERYTHING:
            return known
        if scope.kind is ScopeKind.TAG:
            tags = {tag for flag in known.values() for tag in flag.tags}
            self._must_know(scope.name, "tag", tags)
            return [key for key, flag in known.items() if scope.name in flag.tags]
        if scope.kind is ScopeKind.FLAG:
            self._must_know(scope.name, "flag", known)
            return [scope.name]
        return []

    def _must_know(self, name: str, what: str, known: Iterable[str]) -> None:
        if self.strict and name not in known:
            raise Refused(self._not_known(name, what, known))

    def _not_known(self, name: str, what: str, known: Iterable[str]) -> str:
        hint = did_you_mean(name, known)
        if not known:
            hint = "set downhaul_flags_file, or override the fixture downhaul_flags"
        return f'no {what} "{name}" is known{f" ({hint})" if hint else ""}'


def _serves(flag: Flag, value: Any) -> bool:
    if isinstance(value, str) and value in flag.variants:
        return True
    if isinstance(value, bool) and flag.kind is not FlagKind.BOOLEAN:
        return False
    return isinstance(value, _TYPES[flag.kind])
