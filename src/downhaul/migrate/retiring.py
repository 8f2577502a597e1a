"""Taking a flag off the old side, once nobody needs it there.

An old flag that is deleted while code still asks for it makes that code fall back on its default,
which may be what the flag had been turned on to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from downhaul.control.desk import Desk
from downhaul.control.policy import need_a_name
from downhaul.control.stale import serves_all
from downhaul.errors import FlagNotFound, Problem, Refused
from downhaul.flag import Flag
from downhaul.migrate.code import Reference, References, conflicts
from downhaul.migrate.stages import Stages
from downhaul.provider import Capability, Change
from downhaul.staging import Stage
from downhaul.wrappers.standings import Move

_OURS: Final = frozenset({"downhaul", "openfeature"})
"""SDKs whose calls reach whichever side answers; all others name one backend."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a flag can't be retired, and where in the code that is (None: not in the code)."""

    what: str
    reference: Reference | None = None

    def __str__(self) -> str:
        return self.what if self.reference is None else f"{self.reference.place}  {self.what}"


@dataclass(frozen=True, slots=True)
class Retired:
    """A flag that was retired. ``archived`` says that the old side keeps what can be brought back.

    Where it keeps no such thing, the flag is only switched off there.
    """

    key: str
    old: str
    archived: bool
    undo: str


def obstacles(
    move: Move, code: References, served: Flag | None, *, stage: Stage = Stage.COMPLETE
) -> tuple[Obstacle, ...]:
    """Return what stands in the way of retiring a flag; nothing where it can go.

    ``served`` is the flag as the new side has it now. A place whose key nobody can tell may ask for
    this flag, and so stands in the way; so does a file that could not be read.
    """
    found: list[Obstacle] = []
    if move.retired:
        found.append(Obstacle(f"it is retired at {move.old} already"))
    if move.standing.stage is not stage:
        found.append(Obstacle(f"it stands at {move.standing.stage}, and not at {stage}"))
    if served is None:
        found.append(Obstacle(f"{move.new} has no such flag"))
    found += [
        Obstacle(f"{one.sdk}'s {one.call} still asks for it on the old side", one)
        for one in code.of(move.key)
        if one.sdk not in _OURS
    ]
    # A call that may be that of several SDKs is one place all the same.
    possible = {one.place: one for one in code.possible if move.key in one.keys}
    found += [
        Obstacle(f"{one.call}, of whatever that is, names it: look there", one)
        for one in possible.values()
    ]
    if served is not None:
        found += _other_defaults(move.key, code, served)
    found += [
        Obstacle(f"{one.sdk}'s {one.call} asks for a key that can't be told: {one.dynamic}", one)
        for one in code.dynamic
        if one.sdk not in _OURS
    ]
    found += [Obstacle(f"{_place(one)} could not be read: {one.message}") for one in code.problems]
    return tuple(found)


def _other_defaults(key: str, code: References, served: Flag) -> list[Obstacle]:
    """Return the places whose own default is another value than what everybody is served."""
    constant, variant = serves_all(served)
    if not constant or variant is None:
        return []
    value = served.variants[variant]
    return [
        Obstacle(f"its default is {one.default.value!r}, and {value!r} is served", one)
        for one in conflicts(code, key, value, implicit=True)
    ]


def retire(
    register: Stages,
    move: Move,
    desk: Desk,
    change: Change,
    found: Sequence[Obstacle],
    *,
    by_hand: bool = False,
) -> Retired:
    """Archive a flag on the old side, whose is ``desk``, and write down that it was.

    Where it stands is not forgotten: applications may still follow it, and would ask the old side
    for a flag of which nobody says that it has moved. ``by_hand`` says that somebody sees to the
    old side, and nothing is written there. Raises Refused, with every obstacle, and whatever the
    old side raises.
    """
    need_a_name(desk, "retire a flag")
    if found:
        lines = "\n".join(f"  {one}" for one in found)
        message = f'"{move.key}" can\'t be retired:\n{lines}'
        raise Refused(message, hint="put these right first; nothing was done", flag=move.key)
    archived = not by_hand and _put_away(desk, move.key, change)
    register.put(replace(move, retired=True), change)
    return Retired(move.key, move.old, archived, f"downhaul migrate sync {move.key}")


def _put_away(desk: Desk, key: str, change: Change) -> bool:
    if not desk.has(Capability.WRITE):
        message = f"{desk.provider.name} takes no writes: archive the flag there by hand"
        raise Refused(message, hint="then say --by-hand", flag=key)
    now = desk.provider.get(key)
    if now is None:
        raise FlagNotFound(f'the old side has no "{key}" any more', flag=key)
    if desk.provider.archives:
        desk.provider.delete(key, change, expected=now.version or None)
        return True
    if now.on:
        desk.provider.switch_off(key, change)
    return False


def _place(problem: Problem) -> str:
    return problem.origin or problem.path
