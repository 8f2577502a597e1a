"""Going on to switch off, where they are kept, flags that a kill could not (rule K1).

The overlay of the kill holds meanwhile for every process that reads it. This is for whoever
doesn't: clients of the backend in other languages, and its own console.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from downhaul.errors import FlagNotFound, ReadOnly, UnsupportedCapability
from downhaul.overlay import KillRegister, Overlay, Scope, ScopeKind
from downhaul.provider import Capability, Change, FlagProvider
from downhaul.store.control import SqlControl
from downhaul.store.owed import Debt, Debts

_log: Final = logging.getLogger("downhaul.controller")

_LONGEST: Final = 30.0  # seconds between two tries
_FIRST_WORD: Final = 30.0  # seconds after the kill until people hear that it is not off yet ...
_NEXT_WORD: Final = 300.0  # ... and between that and the next time

NOT_YET: Final = "not_switched_off"
DONE: Final = "switched_off"


class SwitchOffs:
    """Pays the debts of kills at one provider. ``count`` counts by name, for metrics."""

    def __init__(
        self,
        provider: FlagProvider,
        control: SqlControl,
        count: Callable[[str, float], None],
    ) -> None:
        self._provider = provider
        self._control = control
        self._count = count
        self._debts: Debts | None = None
        if getattr(provider, "control", None) is not control:
            self._debts = control.debts(provider.name)

    def look(self) -> int:
        """Try every debt that is due, and return how many were paid. Raises Unreachable.

        With flags and kills in one store there are none: the kill itself is whole there.
        """
        if self._debts is None or Capability.WRITE not in self._provider.capabilities:
            return 0
        due = self._debts.due()
        if not due:
            return 0
        overlay = KillRegister().hear(self._control.kills()).overlay()
        return sum(self._try(self._debts, one, stands=_stands(overlay, one.scope)) for one in due)

    def _try(self, debts: Debts, debt: Debt, *, stands: bool) -> bool:
        if not stands:
            debts.settle(debt.id, "superseded")  # a person revived it: nobody wants it off now
            return False
        silent = (debt.now - debt.told) / 1e6 if debt.told else debt.age - _FIRST_WORD + _NEXT_WORD
        tell = silent >= _NEXT_WORD
        if not debts.take(debt, min(_LONGEST, 2.0**debt.attempts), told=tell):
            return False
        change = Change(debt.actor, f"killed: {debt.reason}", marked=debt.marked)
        self._count("switch_offs_tried", 1)
        try:
            self._provider.switch_off(debt.flag, change)
        except FlagNotFound:
            debts.settle(debt.id, "superseded")
            return False
        except (UnsupportedCapability, ReadOnly) as error:
            _log.error("%s stays on at %s: %s", debt.flag, self._provider.name, error)
            debts.settle(debt.id, "failed")
            return False
        except Exception as error:  # noqa: BLE001  (a vendor's SDK may raise anything)
            self._not_yet(debts, debt, error, tell=tell)
            return False
        debts.settle(debt.id, "confirmed")
        if debt.told or tell:
            debts.announce(debt, DONE, {"provider": self._provider.name, "after": debt.age})
        _log.info("%s is off at %s", debt.flag, self._provider.name)
        return True

    def _not_yet(self, debts: Debts, debt: Debt, error: Exception, *, tell: bool) -> None:
        _log.warning(
            "%s is killed, and not off at %s yet: %s", debt.flag, self._provider.name, error
        )
        if tell:
            detail = {
                "provider": self._provider.name,
                "since": debt.age,
                "error": str(error),
                "type": f"downhaul flags off {debt.flag}",
            }
            debts.announce(debt, NOT_YET, detail)


def _stands(overlay: Overlay, text: str) -> bool:
    scope = Scope.parse(text)
    match scope.kind:
        case ScopeKind.FLAG:
            return scope.name in overlay.flags
        case ScopeKind.TAG:
            return scope.name in overlay.tags
        case ScopeKind.EVERYTHING:
            return overlay.everything is not None
        case ScopeKind.SWITCH:
            return False
