"""Killing on this machine alone: a line in the break-glass file, with no network and no store."""

from __future__ import annotations

import socket
import time
import uuid
from pathlib import Path

from downhaul.control.alerts import AlertEvent
from downhaul.control.desk import Desk
from downhaul.control.policy import need_right_to_revive
from downhaul.control.results import KillResult
from downhaul.errors import Refused
from downhaul.overlay import Scope
from downhaul.provider import utc_now

_EVERYWHERE = "*"


def kill(desk: Desk, scope: Scope, reason: str) -> KillResult:
    """Name the scope in the kill file, so that every process here that watches it obeys at once.

    Raises Refused without a reason or a kill file, OSError where the file can't be written.
    """
    return _write(desk, scope, reason, killed=True)


def revive(desk: Desk, scope: Scope, reason: str) -> KillResult:
    """Write that the scope is revived: taking its line out would lift nothing (rule K3).

    Raises Refused where the policy, as far as it could be read, doesn't let this actor revive.
    """
    need_right_to_revive(desk)
    return _write(desk, scope, reason, killed=False)


def _write(desk: Desk, scope: Scope, reason: str, *, killed: bool) -> KillResult:
    verb = "kill" if killed else "revive"
    if not reason.strip():
        message = f"a {verb} needs a reason, which everybody reads who meets it"
        raise Refused(message, hint='add --reason "what happened"')
    path = _kill_file(desk)
    from downhaul.store.breakglass import add_kill, add_revive  # noqa: PLC0415  (only here)

    started = time.perf_counter()
    (add_kill if killed else add_revive)(path, scope, actor=desk.actor, reason=reason.strip())
    took = time.perf_counter() - started
    desk.alerts.send(
        AlertEvent(
            what="killed" if killed else "revived",
            subject=str(scope),
            actor=desk.actor,
            reason=reason,
            environment=_EVERYWHERE,
            at=utc_now(),
            after={
                "scope": str(scope),
                "killed": killed,
                "kill_file": str(path),
                "host": socket.gethostname(),
            },
            id=uuid.uuid4().hex,
        )
    )
    note = (
        f"this holds for processes on this machine that watch {path}, and for no other: "
        "without --local it holds everywhere"
    )
    return KillResult(
        scope,
        killed,
        _EVERYWHERE,
        reason,
        desk.actor,
        kill_file=path,
        took=took,
        warnings=(note,),
    )


def _kill_file(desk: Desk) -> Path:
    if desk.kill_file is None:
        message = "no kill file is configured, so no process on this machine would see it"
        raise Refused(message, hint="set [control] kill_file or DOWNHAUL_KILL_FILE for all of them")
    return desk.kill_file
