"""While a rollout is live, nobody raises its flag by hand (rule R3). Lowering is always free."""

from __future__ import annotations

from downhaul.backends.edits import weight_of_variant
from downhaul.control.desk import Desk
from downhaul.errors import Refused
from downhaul.flag import Flag


def refuse_raising(desk: Desk, before: Flag | None, after: Flag) -> None:
    """Raise Refused where ``after`` serves more of what a live rollout lets out than ``before``.

    The rollouts are only asked for where something is raised at all.
    """
    rollouts = getattr(desk.control, "rollouts", None)
    if rollouts is None or before is None or not after.on:
        return
    risen = [one for one in after.variants if _part(after, one) > _part(before, one)]
    if before.on and not risen:
        return
    live = rollouts.live_of(after.key, desk.provider.name)
    if live is None or (before.on and live.variant not in risen):
        return
    raise Refused(
        f'"{after.key}" has a live rollout, {live.id} ({live.phase.replace("_", " ")}), and that '
        "alone raises it",
        hint=f"see `rollout status {live.id}`; cancel it to go on by hand",
        flag=after.key,
        provider=desk.provider.name,
    )


def raises(before: Flag, after: Flag) -> bool:
    """Return whether the default of ``after`` gives more to any variant but the off one."""
    others = [one for one in after.variants if one != after.off_variant]
    return any(_part(after, one) > _part(before, one) for one in others)


def _part(flag: Flag, variant: str) -> float:
    return weight_of_variant(flag, variant) if variant in flag.variants else 0.0
