"""Two people for a revive: one asks, another one lifts. Both are rows of the history (rule X4).

What is asked is about one kill. When that is said again, or lifted, the request means nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from downhaul.control import kills
from downhaul.control.desk import Desk
from downhaul.control.policy import (
    is_same_person,
    need_a_name,
    need_right_to_revive,
)
from downhaul.control.results import KillResult, ReviveRequest
from downhaul.errors import Refused
from downhaul.overlay import KillRecord, Scope
from downhaul.provider import ChangeRecord, ControlStore

ASKED: Final = "request_revive"
APPROVED: Final = "approve_revive"
_PAGE: Final = 50  # records of the history at a time
_WORDS: Final = ("kill", "revive")


def request(
    desk: Desk, scope: Scope, reason: str, *, as_was: bool = False, everywhere: bool = False
) -> ReviveRequest:
    """Ask for the kill of a scope to be lifted. Anybody may; nothing is lifted by it.

    Raises Refused where nothing is killed, or without a reason; Unreachable.
    """
    kills.need_reason(reason, "request")
    need_a_name(desk, "ask for a revive")
    store = _store(desk)
    kill = _kill(desk, store, scope, everywhere=everywhere)
    change = desk.change(reason)
    store.record_change(
        "kill",
        str(scope),
        ASKED,
        change,
        before=None,
        after={"sequence": kill.sequence, "as_was": as_was},
        version=str(kill.sequence),
        everywhere=everywhere,
    )
    found = pending(store, kill)
    return found or ReviveRequest(desk.actor, reason, "", as_was)


def approve(desk: Desk, scope: Scope, reason: str, *, everywhere: bool = False) -> KillResult:
    """Lift a kill that somebody else asked to lift, as they asked.

    Raises Refused where nobody asked, or only this actor did, or who may not revive; and what a
    revive raises.
    """
    kills.need_reason(reason, "revive")
    need_right_to_revive(desk)
    store = _store(desk)
    kill = _kill(desk, store, scope, everywhere=everywhere)
    asked = pending(store, kill)
    if asked is None:
        raise Refused(
            f'nobody has asked to revive "{scope}"',
            hint="revive it plainly, or ask another one with --request",
        )
    if is_same_person(asked.actor, desk.actor):
        raise Refused(
            f'{desk.actor} asked to revive "{scope}", and takes somebody else to approve it',
            hint="let another one run: downhaul revive --approve",
        )
    store.record_change(
        "kill",
        str(scope),
        APPROVED,
        desk.change(reason),
        before=asked.as_mapping(),
        after={"sequence": kill.sequence},
        version=str(kill.sequence),
        everywhere=everywhere,
    )
    return kills.revive(
        desk,
        scope,
        f"{asked.reason} (asked by {asked.actor}; approved: {reason})",
        as_was=asked.as_was,
        everywhere=everywhere,
        asked_by=asked.actor,
    )


def pending(store: ControlStore, kill: KillRecord) -> ReviveRequest | None:
    """Return who asks for this very kill to be lifted: the latest, or None. Raises Unreachable."""
    for record in _since(store, kill):
        if record.action == ASKED and record.version == str(kill.sequence):
            as_was = bool((record.after or {}).get("as_was", False))
            return ReviveRequest(record.actor, record.reason, record.at, as_was)
    return None


def _since(store: ControlStore, kill: KillRecord) -> Iterator[ChangeRecord]:
    """Yield what the history holds of the scope since it was killed, newest first."""
    before: int | None = None
    while True:
        page = store.changes(str(kill.scope), limit=_PAGE, before=before)
        for record in page:
            if record.entity != "kill" or record.environment != kill.environment:
                continue
            if record.action in _WORDS:
                return
            yield record
        if len(page) < _PAGE:
            return
        before = page[-1].id


def _kill(desk: Desk, store: ControlStore, scope: Scope, *, everywhere: bool) -> KillRecord:
    environment = kills.ALL_ENVIRONMENTS if everywhere else desk.environment
    words = [one for one in store.kills() if one.scope == scope and one.environment == environment]
    last = max(words, key=lambda one: one.sequence, default=None)
    if last is None or not last.killed:
        where = "all environments" if everywhere else desk.environment
        raise Refused(f'"{scope}" is not killed in {where}', hint="downhaul kills shows what is")
    return last


def _store(desk: Desk) -> Any:
    store = desk.store("revive")
    if not hasattr(store, "record_change"):
        raise Refused(
            "this control store keeps no requests", hint="let somebody else revive it plainly"
        )
    return store
