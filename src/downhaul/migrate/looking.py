"""What the command line asks of flags and of the code around them: inventory, and retiring."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downhaul.control.stale import last_changes
from downhaul.errors import FlagNotFound, UnsupportedCapability
from downhaul.migrate.code import Reference, References, find_references
from downhaul.migrate.inventory import Inventory, inventory_of
from downhaul.migrate.retiring import Obstacle, Retired, obstacles, retire
from downhaul.migrate.sides import operating, reading, side_settings
from downhaul.migrate.stages import stages

if TYPE_CHECKING:
    from downhaul.config import Settings


def take_inventory(
    settings: Settings, source: str, roots: Sequence[Path] = (), aliases: Sequence[str] = ()
) -> Inventory:
    """Return the flags of one backend, and what the code in some folders says of them.

    Raises ConfigError for a folder or an alias that is none, and what reading raises.
    """
    code = scanned(roots, aliases) if roots else None
    with reading(side_settings(settings, source)) as provider:
        translation = provider.export()
        changed = {}
        with suppress(UnsupportedCapability):  # a backend that keeps no history
            changed = dict(last_changes(provider, translation.flag_set().flags))
    return inventory_of(translation, changed=changed, code=code)


def scanned(roots: Sequence[Path], aliases: Sequence[str] = ()) -> References:
    """Return the references in the code of some folders, as those of one. Raises ConfigError."""
    found = [(root, find_references(root, aliases=aliases)) for root in roots]
    if len(found) == 1:
        return found[0][1]
    return References(
        tuple(_under(root, one) for root, all_ in found for one in all_.references),
        tuple(one for _, all_ in found for one in all_.problems),
        sum(all_.files for _, all_ in found),
        sum(all_.lines for _, all_ in found),
    )


def retire_flag(
    settings: Settings,
    key: str,
    roots: Sequence[Path],
    *,
    aliases: Sequence[str] = (),
    by_hand: bool = False,
    actor: str | None = None,
    reason: str = "",
) -> Retired:
    """Archive a flag on the old side, if nothing stands in the way.

    Raises Refused with every obstacle, FlagNotFound for a flag that is on no way.
    """
    code = scanned(roots, aliases)
    with stages(settings) as register:
        move = register.get(key)
        if move is None:
            message = f'"{key}" is on no way from one backend to another'
            raise FlagNotFound(message, hint="see: migrate status", flag=key)
        with reading(side_settings(settings, move.new)) as new:
            served = new.export().flag_set().flags.get(key)
        found: tuple[Obstacle, ...] = obstacles(move, code, served)
        with operating(side_settings(settings, move.old), actor) as operator:
            change = operator.change(reason or f"moved to {move.new}")
            return retire(register, move, operator.desk, change, found, by_hand=by_hand)


def _under(root: Path, reference: Reference) -> Reference:
    return replace(reference, path=f"{root.as_posix()}/{reference.path}")
