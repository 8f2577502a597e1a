"""Writes of a rollout that arrive after its end, and what is done about them (rules R3, R7, R8).

A lease fences the control store, and not the backend: a request that was sent by a controller that
is dead, stopped or slow may wait in a network until another controller has brought the flag back.
A backend that compares and sets refuses it then, unless nothing was written since. So an ended
rollout is watched for a while where any write of it is missing: one that was intended, and never
seen to arrive.

What came after a way back is taken back once more. After any other end people are told, because the
flag is theirs by then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any, Final

from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.errors import Refused, VersionConflict
from downhaul.flag import Flag
from downhaul.overlay import KillRegister
from downhaul.provider import Capability, Change, FlagProvider
from downhaul.rollout.acts import in_buckets_of, snapshot_from
from downhaul.rollout.deciding.case import Operation
from downhaul.rollout.deciding.wayback import REASSERTIONS
from downhaul.rollout.drift import came_late, exposure_of
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import Act, Phase, State
from downhaul.store.control import SqlControl
from downhaul.store.rollouts import EventRow, IntentRow, RolloutRow

_log: Final = logging.getLogger("downhaul.controller")

WATCHED: Final = 3600.0
"""Seconds after its end for which a rollout is watched; networks and proxies give up before."""

LATE: Final = "late_write"
"""What an arrival is called in the history."""

_FRESH: Final = 120.0  # seconds for which it is looked at often ...
_OFTEN: Final = 2.0  # ... which is each so many seconds ...
_SELDOM: Final = 30.0  # ... and after that each so many
_REFRESH: Final = 10.0  # seconds between two looks for what others ended
_RISING: Final = frozenset({Operation.START, Operation.RAISE})
_BACK: Final = frozenset({Phase.ROLLED_BACK, Phase.REVERTED})


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came late: the intents that it may be, and the fields that it changed.

    ``rising`` says that it was on the way up, ``more`` that somebody is served who should not be.
    """

    intents: tuple[str, ...]
    fields: tuple[str, ...]
    rising: bool
    more: bool


def arrival_of(
    intents: Sequence[IntentRow], base: Flag, now: Flag, variant: str, *, whole: bool, ours: bool
) -> Arrival | None:
    """Return what came late to a flag that was to be as ``base``, or None. Pure.

    ``whole`` says that the backend takes only whole writes, ``on`` included; ``ours`` that it shows
    a split as we write it.
    """
    found: list[str] = []
    fields: set[str] = set()
    for one in intents:
        if one.operation not in _RISING or not one.detail.get("aim"):
            continue
        meant = flag_from_data(one.detail["aim"])
        if not ours:
            meant = in_buckets_of(now, meant)
        switched = whole or one.operation == Operation.START
        if changed := came_late(base, meant, now, switched=switched):
            found.append(one.id)
            fields.update(changed)
    if found:
        more = exposure_of(now, variant) > exposure_of(base, variant) or (
            now.on and (not base.on or "targets" in fields)
        )
        return Arrival(tuple(found), tuple(sorted(fields)), rising=True, more=more)
    put_off = tuple(one.id for one in intents if one.operation == Operation.OFF)
    if put_off and base.on and not now.on:
        return Arrival(put_off, ("on",), rising=False, more=False)
    return None


@dataclass(frozen=True, slots=True)
class _Ended:
    """A rollout after its end; ``base`` is the flag as it was left."""

    row: RolloutRow
    state: State
    plan: Plan
    base: Flag

    @property
    def back(self) -> bool:
        return self.state.phase in _BACK


class LateWrites:
    """Watches the ended rollouts of one provider. ``count`` counts by name, for metrics."""

    def __init__(
        self, provider: FlagProvider, control: SqlControl, count: Callable[[str, float], None]
    ) -> None:
        self._provider = provider
        self._control = control
        self._store = control.rollouts
        self._count = count
        self._watched: dict[str, tuple[float, float]] = {}  # since when, and when to look again
        self._refresh_at = 0.0

    def look(self, *, at_all: bool = False) -> int:
        """Look at what is due to be looked at; return how many late writes were found.

        ``at_all`` looks at everything, due or not. Raises Unreachable where the store is away; a
        backend that is away is asked again.
        """
        now = time.monotonic()
        if at_all or now >= self._refresh_at:
            unsure = self._store.unsure(self._provider.name, WATCHED)
            self._watched = {one: self._watched.get(one, (now, now)) for one in unsure}
            self._refresh_at = now + _REFRESH
        found = 0
        for rollout, (since, due) in tuple(self._watched.items()):
            if at_all or now >= due:
                pause = _OFTEN if now - since < _FRESH else _SELDOM
                self._watched[rollout] = (since, now + pause)
                found += self.look_at(rollout)
        return found

    def soon(self) -> None:
        """Look for what ended with the next look: something has, just now."""
        self._refresh_at = 0.0

    def look_at(self, rollout: str) -> bool:
        """Look whether a write of an ended rollout came late, and do what is to be done then.

        Raises Unreachable where the store is away.
        """
        row = self._store.get(rollout)
        ended = None if row is None or row.live else _ended(row)
        intents = [] if ended is None else self._store.intents(rollout, missing=True)
        if ended is None or not intents or self._is_past(ended.row):
            self._watched.pop(rollout, None)
            return False
        try:
            flag = self._provider.get(ended.row.flag)
        except Exception as error:  # noqa: BLE001  (a vendor's SDK may raise anything)
            _log.warning("rollout %s can't be watched: %s", rollout, error)
            return False
        came = None if flag is None else self._arrival(ended, flag, intents)
        if flag is None or came is None:
            return False
        _log.warning("a write of rollout %s came late: %s", rollout, ", ".join(came.fields))
        self._count("late_writes", 1)
        if ended.back and came.rising and ended.state.reasserted < REASSERTIONS:
            self._go_back(ended, flag, came)
        else:
            self._tell(ended, flag, came)
        return True

    def _arrival(self, ended: _Ended, flag: Flag, intents: Sequence[IntentRow]) -> Arrival | None:
        can = self._provider.capabilities
        return arrival_of(
            intents,
            ended.base,
            flag,
            ended.plan.variant,
            whole=Capability.COMPARE_AND_SET in can,
            ours=Capability.FLAG_SET in can,
        )

    def _is_past(self, row: RolloutRow) -> bool:
        """Return whether another rollout of the flag came later: its controller looks after it."""
        latest = self._store.latest_of(row.flag)
        return latest is not None and latest.id != row.id

    def _go_back(self, ended: _Ended, flag: Flag, came: Arrival) -> None:
        """Take the way back again, from what our own write left. All else is somebody else's."""
        row, state = ended.row, ended.state
        ours = replace(ended.base, **{name: getattr(flag, name) for name in came.fields})
        phase = Phase.REVERTING if state.phase is Phase.REVERTED else Phase.ROLLING_BACK
        following = replace(
            state,
            phase=phase,
            act=Act.EXPOSED,
            desired=flag_to_data(ours),
            accepted=(),
            foreign=(),
            overwrite=False,
            reasserted=state.reasserted + 1,
            failures=0,
            failed_at=0,
            told_at=0,
            ended_at=state.ended_at if phase is Phase.REVERTING else 0,
            looked_at=self._store.now(),
        )
        words = "a write of this rollout arrived after it was taken back: it goes back again"
        event = EventRow(LATE, "controller", words, _detail(ended, flag, came), announce=True)
        try:
            self._store.reopen(row.id, row.revision, following.as_mapping(), phase.value, event)
        except (Refused, VersionConflict) as error:
            _log.info("rollout %s is looked after by others: %s", row.id, error)

    def _tell(self, ended: _Ended, flag: Flag, came: Arrival) -> None:
        row = ended.row
        words = f"a write of this rollout arrived after its end ({row.phase.replace('_', ' ')})"
        if came.more and self._is_killed(flag):
            try:
                self._provider.switch_off(flag.key, Change("controller", f"{words}: it is killed"))
            except Exception as error:  # noqa: BLE001  (a vendor's SDK may raise anything)
                _log.warning("%s is killed, and not off again yet: %s", flag.key, error)
                return  # the kill holds meanwhile, and it is looked at again
            words += "; it is killed, and was put off again"
        event = EventRow(LATE, "controller", words, _detail(ended, flag, came), announce=True)
        self._store.settle_late(row, came.intents, event)

    def _is_killed(self, flag: Flag) -> bool:
        overlay = KillRegister().hear(self._control.kills()).overlay()
        return overlay.kill_of(flag.key, flag.tags) is not None


def _ended(row: RolloutRow) -> _Ended | None:
    """Return the rollout of a row; None where this code can't read it."""
    try:
        state, plan = State.from_mapping(row.state), Plan.from_mapping(row.plan)
        was = flag_from_data(snapshot_from(row.snapshot).document)
    except (KeyError, TypeError, ValueError) as error:
        _log.error("ended rollout %s can't be read here: %s", row.id, error)
        return None
    left = was if state.phase in _BACK or state.desired is None else flag_from_data(state.desired)
    return _Ended(row, state, plan, left)


def _detail(ended: _Ended, flag: Flag, came: Arrival) -> dict[str, Any]:
    key = quote(flag.key)
    type_this = f"downhaul flags {'off' if came.more else 'show'} {key}"
    return {
        "variant": ended.plan.variant,
        "phase": ended.row.phase,
        "changed": list(came.fields),
        "percent": exposure_of(flag, ended.plan.variant) / 1000,
        "type": type_this,
    }
