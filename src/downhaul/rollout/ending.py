"""What becomes of kills that were given an end, when it comes (``kill --for``).

People hear of the end before it. At it the kill is lifted where little comes back and nobody has
touched the flag; else it stays, and people are asked. Lifting is one transaction that names the
very kill: one that was said again is not lifted. What the kill itself had switched off at a backend
is switched on after that, so that nothing is served on the way that isn't to be served after it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from downhaul.control.ends import flag_of, lead_of, why_changed, why_not_lifted
from downhaul.provider import Capability, Change, FlagProvider
from downhaul.spans import span_text
from downhaul.store.control import SqlControl
from downhaul.store.terms import Term

_log: Final = logging.getLogger("downhaul.controller")

NEAR: Final = "kill_ends_soon"
ASKED: Final = "kill_ended"

_AHEAD: Final = 3600.0  # seconds: longer than anybody hears of an end before it
_AWAY: Final = 30.0  # seconds until a backend that did not answer is asked again
_SECOND: Final = 1_000_000


class Endings:
    """Deals with the ends of kills at one provider. ``count`` counts by name, for metrics."""

    def __init__(
        self, provider: FlagProvider, control: SqlControl, count: Callable[[str, float], None]
    ) -> None:
        self._provider = provider
        self._control = control
        self._count = count
        self._shared = getattr(provider, "control", None) is control
        self._not_before = 0.0  # monotonic: when a backend that was away is asked again

    def look(self) -> int:
        """Deal with every end that is near or there; return how many were. Raises Unreachable.

        A kill of a flag that another provider keeps is left to that one's controller.
        """
        due = [one for one in self._control.terms.due(_AHEAD) if self._is_ours(one)]
        return sum(self._try(one) for one in due)

    def _is_ours(self, term: Term) -> bool:
        return term.flag is None or term.provider == self._provider.name

    def _try(self, term: Term) -> bool:
        lead = lead_of(term.lasts)
        if not term.told_at:
            if term.seconds_left > lead:
                return False
            return self._control.terms.tell(term, self._event(term, NEAR, self._foreseen(term)))
        # Who was told late, because no controller was there, has half of that time all the same.
        if term.now < max(term.ends_at, term.told_at + round(lead / 2 * _SECOND)):
            return False
        if time.monotonic() < self._not_before:
            return False
        try:
            why = self._why_not(term)
        except Exception as error:  # noqa: BLE001  (a vendor's SDK may raise anything)
            self._not_before = time.monotonic() + _AWAY
            _log.warning("the end of %s waits for %s: %s", term.scope, self._provider.name, error)
            return False
        return self._ask(term, why) if why else self._lift(term)

    def _why_not(self, term: Term) -> str:
        """Return why the kill stays, or nothing. A backend that is away is asked again later."""
        before = flag_of(term)
        why = why_not_lifted(term.scope, term.environment, before, term.at_most)
        if why or before is None:
            return why
        off_by_kill = not self._shared and Capability.WRITE in self._provider.capabilities
        return why_changed(before, self._provider.get(term.scope.name), off_by_kill=off_by_kill)

    def _foreseen(self, term: Term) -> str:
        try:
            why = self._why_not(term)
        except Exception as error:  # noqa: BLE001  (as above)
            why = f"its backend does not answer ({error})"
        if why:
            return f"it stays killed at its end, until somebody revives it: {why}"
        return "it is lifted at its end, unless somebody kills it again"

    def _ask(self, term: Term, why: str) -> bool:
        said = f"its end has come, and it stays killed until somebody revives it: {why}"
        asked = self._control.terms.ask(term, self._event(term, ASKED, said))
        self._count("kills_ended", asked)
        return asked

    def _lift(self, term: Term) -> bool:
        reason = f'{span_text(term.lasts)} are over since {term.actor} killed it: "{term.reason}"'
        change = Change(f"controller ({term.actor})", reason)
        lifted = self._control.terms.lift(term, change)
        if lifted is None:
            return False
        self._count("kills_ended", 1)
        _log.info("%s is lifted: %s", term.scope, reason)
        self._switch_on(term, change)
        return True

    def _switch_on(self, term: Term, change: Change) -> None:
        """Switch on what the kill had switched off where the flag is kept."""
        if self._shared or Capability.WRITE not in self._provider.capabilities:
            return
        try:
            flag = self._provider.get(term.scope.name)
            if flag is not None and not flag.on:
                self._provider.switch_on(flag.key, change)
        except Exception as error:  # noqa: BLE001  (it stays off there, which is the safe side)
            _log.error(
                "%s is lifted, and stays off at %s: %s", term.scope, self._provider.name, error
            )

    def _event(self, term: Term, what: str, reason: str) -> Mapping[str, Any]:
        return {
            "what": what,
            "subject": str(term.scope),
            "actor": f"controller ({term.actor})",
            "reason": reason,
            "environment": term.environment,
            "detail": {
                "killed_by": term.actor,
                "why": term.reason,
                "type": f"downhaul revive {term.scope}",
            },
        }
