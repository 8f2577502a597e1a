"""Kills that are given an end (``kill --for 2h``), and what becomes of them when it comes.

At its end a kill is lifted only where little comes back: the flag stood at a small percentage
before, nobody has touched it since, and the kill is still the one that was given the end. In every
other case it stays, and people are asked. A controller does that, and people hear of it before.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from typing import TYPE_CHECKING, Final

from downhaul.control.describe import exposed, exposure
from downhaul.control.desk import Desk
from downhaul.control.results import Ending, KillResult
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.errors import DownhaulError
from downhaul.flag import Bucketing, Flag, Split
from downhaul.overlay import Scope, ScopeKind
from downhaul.provider import Capability
from downhaul.spans import span_text

if TYPE_CHECKING:
    from downhaul.store.terms import Term  # SQLAlchemy stands behind it

_log: Final = logging.getLogger("downhaul.control")
_BROKEN: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_ALL: Final = "*"

LEAD: Final = 600.0
"""Seconds before the end at which people hear that it is near: of a short one, half its time."""


def lead_of(seconds: float) -> float:
    """Return how long before its end people hear of that of a kill which lasts so many seconds."""
    return min(LEAD, seconds / 2)


def share(flag: Flag) -> float:
    """Return the percentage of the default that gets another variant than the off one."""
    total = flag.default.bucketing.total if isinstance(flag.default, Split) else Bucketing().total
    return exposed(flag) * 100 / total


def why_not_lifted(scope: Scope, environment: str, before: Flag | None, at_most: float) -> str:
    """Return why a kill would stay at its end, as far as the flag from before it says; or nothing.

    Pure. ``before`` is the flag as it was before the kill.
    """
    if scope.kind is not ScopeKind.FLAG:
        return "it is no kill of a single flag"
    if environment == _ALL:
        return "it holds in all environments"
    if before is None:
        return "what the flag served before isn't known"
    if not before.on:
        return "the flag was off before"
    why = ""
    if share(before) > at_most:
        why = f"the flag was {exposure(before)} before, and {at_most:g} % is the most that returns"
    elif any(one.gate or one.serve != before.off_variant for one in before.rules):
        why = "its rules serve shares of their own, which would return whole"
    return why


def why_changed(before: Flag, now: Flag | None, *, off_by_kill: bool) -> str:
    """Return what became of a flag since its kill that keeps it killed at the end; or nothing.

    ``off_by_kill`` says that the kill itself had it switched off where it is kept.
    """
    if now is None:
        return "the flag is gone"
    if not now.on and not off_by_kill:
        return "somebody turned it off meanwhile"
    if dataclasses.replace(now, on=True, version="") != dataclasses.replace(before, version=""):
        return "somebody changed it meanwhile"
    return ""


def begin(desk: Desk, result: KillResult, seconds: float) -> KillResult:
    """Give a kill that is in force its end. Nothing here can fail the kill."""
    terms = getattr(desk.control, "terms", None)
    if terms is None or result.record is None:
        return _without(result, "this control store keeps no ends")
    flag = _flag_of(desk, result.scope)
    try:
        term = terms.begin(
            result.record,
            desk.change(result.reason),
            seconds,
            at_most=desk.policy.ttl_at_most,
            provider=desk.provider.name,
            flag=None if flag is None else flag_to_data(flag),
        )
    except DownhaulError as error:
        return _without(result, f"its end could not be written ({error})")
    warnings = result.warnings
    if not _controllers(desk):
        alone = "no controller is alive: at its end nothing is lifted, and nobody is asked"
        warnings += (f"{alone}, until one runs (downhaul controller run)",)
    return dataclasses.replace(result, ends=ending(term), warnings=warnings)


def foreseen(
    desk: Desk, scope: Scope, environment: str, flag: Flag | None, seconds: float
) -> Ending:
    """Return what would become of a kill that is given an end now. Writes nothing."""
    at_most = desk.policy.ttl_at_most
    why = why_not_lifted(scope, environment, flag, at_most)
    return Ending("", seconds, not why, _said(why, flag))


def ending(term: Term) -> Ending:
    """Return what is to become of a kill at its end."""
    before = flag_of(term)
    why = why_not_lifted(term.scope, term.environment, before, term.at_most)
    return Ending(stamp(term.ends_at), term.seconds_left, not why, _said(why, before), term.outcome)


def flag_of(term: Term) -> Flag | None:
    """Return the flag as it was before the kill; None where that isn't known."""
    if term.flag is None:
        return None
    try:
        return flag_from_data(term.flag)
    except _BROKEN:
        return None


def stamp(microseconds: int) -> str:
    """Return a moment of the store's clock as RFC 3339 in UTC."""
    at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def words(ends: Ending) -> str:
    """Return an end in words, for one line."""
    when = f"in {span_text(ends.seconds)}"
    if ends.seconds <= 0:
        when = f"ended {span_text(-ends.seconds)} ago"
    at = f"{ends.at} ({when})" if ends.at else when
    if ends.outcome == "asked" or (ends.seconds <= 0 and not ends.lifts):
        return f"{at}; it stays until somebody revives it: {ends.why}"
    then = "it is lifted" if ends.lifts else "it stays, and people are asked"
    return f"{at}; then {then}: {ends.why}"


def _said(why: str, before: Flag | None) -> str:
    return why or ("" if before is None else f"the flag was {exposure(before)} before")


def _without(result: KillResult, why: str) -> KillResult:
    warning = f"{why}: the kill stands until somebody revives it"
    return dataclasses.replace(result, warnings=(*result.warnings, warning))


def _flag_of(desk: Desk, scope: Scope) -> Flag | None:
    if scope.kind is not ScopeKind.FLAG or not desk.has(Capability.READ):
        return None
    try:
        return desk.provider.get(scope.name)
    except Exception as error:  # noqa: BLE001  (a vendor's SDK may raise anything)
        _log.warning('"%s" could not be read, so its kill will not end by itself: %s', scope, error)
        return None


def _controllers(desk: Desk) -> int:
    count = getattr(desk.control, "controllers", None)
    try:
        return 0 if count is None else int(count())
    except DownhaulError:  # whether one is alive can't be seen, so nothing is promised
        return 0
