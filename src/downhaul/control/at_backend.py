"""What a kill does where the flags are kept, if that is elsewhere (rule K1): it switches them off.

The overlay is in force by then, and nothing here can fail the kill. Each flag is first written down
as owed, then switched off; whoever dies in between leaves a controller something to do.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from downhaul.control.desk import Desk
from downhaul.control.results import AtProvider, KillResult
from downhaul.errors import DownhaulError
from downhaul.flag import Flag, FlagSet
from downhaul.overlay import Scope, ScopeKind
from downhaul.provider import Capability

if TYPE_CHECKING:
    from downhaul.store.owed import Debts  # SQLAlchemy stands behind it

_log: Final = logging.getLogger("downhaul.control")

_DEADLINE: Final = 5.0  # seconds for all of it, after the overlay is in force
_SHOWN: Final = 5  # flags by name in a warning


def switch_off_at_backend(desk: Desk, result: KillResult, *, vendor: bool) -> KillResult:
    """Switch off what was killed where it is kept. Once, within a deadline.

    A single flag always; what a tag or everything covers only with ``vendor``. A switch guards code
    and is no flag.
    """
    single = result.scope.kind is ScopeKind.FLAG
    many = vendor and result.scope.kind in (ScopeKind.TAG, ScopeKind.EVERYTHING)
    if desk.shares_store() or not (single or many):
        return result
    if Capability.WRITE not in desk.provider.capabilities:
        return dataclasses.replace(result, at_provider=AtProvider.NOT_OFFERED)
    work = _Work(desk, result)
    worker = threading.Thread(target=work.run, name="downhaul-switch-off", daemon=True)
    worker.start()
    worker.join(_DEADLINE)
    return work.told()


def covered(scope: Scope, flags: FlagSet) -> list[str]:
    """Return the keys of the flags that a scope covers."""
    match scope.kind:
        case ScopeKind.FLAG:
            return [scope.name] if scope.name in flags.flags else []
        case ScopeKind.TAG:
            return [one.key for one in flags.flags.values() if scope.name in one.tags]
        case ScopeKind.EVERYTHING:
            return list(flags.flags)
        case ScopeKind.SWITCH:
            return []


@dataclass
class _Work:
    """The flags of one kill, what became of each, and what stood in the way."""

    desk: Desk
    result: KillResult
    left: list[str] = field(default_factory=list)
    off: list[Flag] = field(default_factory=list)
    why: str = ""
    listed: bool = False
    debts: Debts | None = None

    def run(self) -> None:
        """Do it. Raises nothing: the kill stands whatever a vendor's SDK does."""
        made = getattr(self.desk.control, "debts", None)
        self.debts = None if made is None else made(self.desk.provider.name)
        try:
            keys = self._keys()
        except Exception as error:  # noqa: BLE001  (as said above)
            self.why = f"its flags could not be listed: {error}"
            return
        self.left = [*keys]
        owed = self._owe(keys)
        self.listed = True
        for key in keys:
            self._switch_off(key, owed.get(key))

    def _keys(self) -> list[str]:
        scope = self.result.scope
        if scope.kind is ScopeKind.FLAG:
            return [scope.name]
        return sorted(covered(scope, self.desk.provider.list()))

    def _owe(self, keys: list[str]) -> dict[str, str]:
        """Write down what the backend is to do, and return the debts' ids by flag.

        A store that can't, or not now, must not hold up the attempt itself.
        """
        if self.debts is None or self.result.record is None:
            return {}
        try:
            change = self.desk.change(self.result.reason)
            return self.debts.owe(self.result.record, change, keys)
        except DownhaulError as error:
            _log.warning("what the backend is to do could not be written down: %s", error)
            self.debts = None
            return {}

    def _switch_off(self, key: str, debt: str | None) -> None:
        try:
            change = self.desk.change(f"killed: {self.result.reason}")
            flag = self.desk.provider.switch_off(key, change)
        except Exception as error:  # noqa: BLE001  (a vendor's SDK may raise anything)
            self.why = self.why or str(error)
            return
        if debt is not None and self.debts is not None:
            with suppress(DownhaulError):  # a controller will find it off, and settle it
                self.debts.settle(debt, "confirmed")
        self.off.append(flag)
        self.left.remove(key)

    def told(self) -> KillResult:
        """Return the kill's result with what is known now of the backend."""
        left, off = [*self.left], [*self.off]
        if self.listed and not left:
            flag = off[0] if self.result.scope.kind is ScopeKind.FLAG else None
            return dataclasses.replace(self.result, at_provider=AtProvider.SWITCHED_OFF, flag=flag)
        why = self.why or f"no answer within {_DEADLINE:g} s"
        at_provider, next_ = self._who_retries()
        warning = (
            f"{self.desk.provider.name} did not switch {_them(self.result.scope, left)} off "
            f"({why}); {next_}. The kill holds all the same for every process that reads it"
        )
        return dataclasses.replace(
            self.result, at_provider=at_provider, warnings=(*self.result.warnings, warning)
        )

    def _who_retries(self) -> tuple[AtProvider, str]:
        debts = self.debts
        if debts is None or not self.listed:
            return AtProvider.LEFT, "nobody will retry"
        try:
            alive = debts.controllers()
        except DownhaulError:  # whether one is alive can't be seen, so nothing is promised
            alive = 0
        if alive:
            return AtProvider.OWED, "a controller goes on trying"
        return AtProvider.LEFT, (
            "no controller is alive, so nobody will retry until one is: downhaul controller run"
        )


def _them(scope: Scope, left: list[str]) -> str:
    if scope.kind is ScopeKind.FLAG:
        return "it"
    if not left:
        return "them"
    return ", ".join(left[:_SHOWN]) + (f" and {len(left) - _SHOWN} more" if left[_SHOWN:] else "")
