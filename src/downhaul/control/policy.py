"""What a team has agreed on beyond what its backend enforces: ``[policy]`` (rules K5, X4).

Who may raise, who may revive, and whether two people have to. All of it is about giving exposure;
nothing here is asked before a kill, a rollback, a pause or an off. It is advice to whoever holds
the database's password, and a rule for everybody who comes through an operator.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from downhaul.control.describe import exposed
from downhaul.control.desk import Desk
from downhaul.errors import Refused
from downhaul.flag import Bucketing, Flag, Split
from downhaul.overlay import KillRecord
from downhaul.spans import span_text

_SECOND: Final = 1_000_000


def need_a_name(desk: Desk, verb: str) -> None:
    """Raise Refused where only a login name acts, and names have to be given."""
    if desk.policy.refuse_login_names and desk.marked:
        raise Refused(
            f'"{desk.actor}" is only the login name, and to {verb} takes a name that was given',
            hint="--actor NAME or DOWNHAUL_ACTOR ([policy] refuse_login_names)",
        )


def need_right_to_revive(desk: Desk) -> None:
    """Raise Refused where not everybody may revive, and this actor may not."""
    need_a_name(desk, "revive")
    if not _is_among(desk.actor, desk.policy.may_revive):
        raise Refused(
            f"{desk.actor} may not revive",
            hint=f"{_listed(desk.policy.may_revive)} may ([policy] may_revive); ask one of them "
            "with: downhaul revive --request",
        )


def need_second_person(desk: Desk, kill: KillRecord | None, asked_by: str | None = None) -> None:
    """Raise Refused where who killed would revive alone, sooner than the policy lets them.

    ``asked_by`` is who asked for the revive, where somebody did: then they are two.
    """
    policy = desk.policy
    if kill is None or not kill.killed or not policy.revive_needs_second_person:
        return
    if asked_by is not None or not is_same_person(kill.actor, desk.actor):
        return
    age = max(0.0, (now_of(desk) - kill.sequence) / _SECOND)
    if policy.alone_after is not None and age >= policy.alone_after:
        return
    wait = (
        "nobody revives alone what they killed"
        if policy.alone_after is None
        else f"alone in {span_text(max(1.0, policy.alone_after - age))}"
    )
    raise Refused(
        f'"{kill.scope}" was killed by {kill.actor}, and takes somebody else to revive '
        f"({wait}: [policy] revive_needs_second_person)",
        hint="ask with: downhaul revive --request; somebody else answers with --approve",
    )


def need_right_in_full(desk: Desk, before: Flag | None, after: Flag) -> None:
    """Raise Refused where a write gives everybody a variant, and this actor may not.

    In full is: on, and the whole default on other variants than the off variant, where it was not
    so before.
    """
    if is_full(after) and not (before is not None and is_full(before)):
        need_right_to_promote_in_full(desk, after.key)


def need_right_to_promote_in_full(desk: Desk, key: str) -> None:
    """Raise Refused where not everybody may give a flag to everybody, and this actor may not."""
    if not _is_among(desk.actor, desk.policy.may_promote_full):
        raise Refused(
            f'{desk.actor} may not give "{key}" to everybody',
            hint=f"{_listed(desk.policy.may_promote_full)} may ([policy] may_promote_full); below "
            "100 % anybody may",
            flag=key,
        )


def is_full(flag: Flag) -> bool:
    """Return whether the default of a flag gives everybody another variant than the off one."""
    total = flag.default.bucketing.total if isinstance(flag.default, Split) else Bucketing().total
    return flag.on and exposed(flag) >= total


def is_same_person(one: str, other: str) -> bool:
    """Return whether two actors are one person, as far as names tell."""
    return one.strip().casefold() == other.strip().casefold()


def now_of(desk: Desk) -> int:
    """Return the control store's time in microseconds; of one that has no clock, this machine's."""
    clock = getattr(desk.control, "now", None)
    return int(time.time() * _SECOND) if clock is None else int(clock())


def _is_among(actor: str, names: Sequence[str] | None) -> bool:
    return names is None or any(is_same_person(actor, one) for one in names)


def _listed(names: Sequence[str] | None) -> str:
    return ", ".join(names or ())
