"""Which kills cover a flag, and which of them end a rollout of it (rule K5)."""

from __future__ import annotations

from collections.abc import Sequence

from downhaul.flag import Flag
from downhaul.overlay import KillRecord, ScopeKind


def kill_since(kills: Sequence[KillRecord], flag: Flag, since: int) -> str:
    """Return the kill of the flag that stands, or that was recorded since the rollout began.

    A kill that was lifted before anybody looked ended the rollout all the same (rule K5).
    """
    covering = [one for one in kills if covers(one, flag)]
    standing = [one for one in covering if one.killed]
    # A revive that found no kill here says that it lifts those of other stores; it ended nothing.
    lifted = [
        one
        for one in covering
        if not one.killed and one.sequence > since and one.lifts != one.sequence
    ]
    for one in (*standing, *lifted):
        return f"{one.scope} by {one.actor}: {one.reason}"
    return ""


def covers(record: KillRecord, flag: Flag) -> bool:
    """Return whether a word of the register is about a flag."""
    match record.scope.kind:
        case ScopeKind.FLAG:
            return record.scope.name == flag.key
        case ScopeKind.TAG:
            return record.scope.name in flag.tags
        case ScopeKind.EVERYTHING:
            return True
        case ScopeKind.SWITCH:
            return False
