"""What a kill would do, before it is done: flags, users, rollouts, processes (``--dry-run``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downhaul.control import drills, ends, receipts
from downhaul.control.describe import exposure
from downhaul.control.desk import Desk
from downhaul.control.results import Affected, Blast, KillResult
from downhaul.errors import DownhaulError
from downhaul.flag import Flag, FlagSet
from downhaul.overlay import ScopeKind
from downhaul.provider import Capability

if TYPE_CHECKING:
    from collections.abc import Collection


def radius(desk: Desk, result: KillResult, lasts: float | None = None) -> Blast:
    """Return what a kill of the result's scope would take away. Looks only, and raises nothing."""
    flags = _flags(desk)
    covered = [flags.flags[key] for key in result.covers if key in flags.flags]
    flag = flags.flags.get(result.scope.name) if result.scope.kind is ScopeKind.FLAG else None
    foreseen = None
    if lasts is not None:
        foreseen = ends.foreseen(desk, result.scope, result.environment, flag, lasts)
    return Blast(
        flags=tuple(affected(one) for one in covered),
        rollouts=_rollouts(desk, result.covers),
        followers=receipts.followers(desk, result.environment),
        drill=drills.last(desk),
        ends=foreseen,
    )


def affected(flag: Flag) -> Affected:
    """Return whom a flag serves what now, and what it would serve if it were killed."""
    percent = round(ends.share(flag), 4) if flag.on else 0.0
    return Affected(flag.key, exposure(flag), percent, flag.off_variant, flag.owner)


def _flags(desk: Desk) -> FlagSet:
    if not desk.has(Capability.READ):
        return FlagSet()
    try:
        return desk.provider.list()
    except DownhaulError:  # which the surroundings of the kill tell of
        return FlagSet()


def _rollouts(desk: Desk, keys: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Return the live rollouts that the kill would end, by flag and id."""
    rollouts = getattr(desk.control, "rollouts", None)
    if rollouts is None:
        return ()
    try:
        live = rollouts.newest(live=True, limit=1000)
    except DownhaulError:
        return ()
    return tuple(sorted((one.flag, one.id) for one in live if one.flag in keys))
