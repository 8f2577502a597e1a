"""Moving a flag from one stage to the next, and back: who is asked, for how many, proven how.

Forward is one stage at a time, and each has its condition. Back is always possible and at once, for
no deploy stands in between: applications follow the register.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from downhaul.errors import FlagNotFound, Refused
from downhaul.flag import WHOLE
from downhaul.migrate.stages import Stages
from downhaul.provider import Change
from downhaul.staging import STAGES, Side, Stage, Standing
from downhaul.wrappers.standings import Move


@dataclass(frozen=True, slots=True)
class Step:
    """What is asked for: a stage (None: the next), and for how many (None: for all).

    ``share`` is in thousandths of a percent, and means something where authority changes only: at
    ``live``. ``unverified`` lets a flag go live that nobody proved to be in step.
    """

    stage: Stage | None = None
    share: int | None = None
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """A flag that was moved: where it stood, and where it stands."""

    before: Move
    after: Move

    @property
    def changed(self) -> bool:
        """Whether it stands elsewhere now."""
        return self.before.standing != self.after.standing


BusyWith = Callable[[str], str | None]
"""Returns what a flag is busy with, such as a live rollout; None where it is free to move."""


def advance(
    register: Stages, keys: Iterable[str], step: Step, change: Change, busy: BusyWith
) -> tuple[Moved, ...]:
    """Move flags on. All are looked at before the first is moved.

    Raises FlagNotFound for a flag that is on no way, Refused for one whose next stage has a
    condition that does not hold; VersionConflict where somebody moved it meanwhile.
    """
    known = register.all()
    wanted = []
    for key in keys:
        move = _known(known, key)
        after = _after(move, step)
        if after.stage.reads is not move.standing.stage.reads:
            _refuse_busy(key, busy)
        wanted.append((move, replace(move, standing=after)))
    return tuple(_written(register, before, after, change) for before, after in wanted)


def go_back(
    register: Stages, keys: Iterable[str], stage: Stage | None, change: Change
) -> tuple[Moved, ...]:
    """Take flags one stage back, or to an earlier one by name, for everybody at once.

    Nothing stands in the way: what the side that is asked again may lack is for the caller to tell.
    But one that has the flag no more can't be asked again. Raises FlagNotFound, and Refused for
    that and for a stage that is not an earlier one.
    """
    known = register.all()
    wanted = []
    for key in keys:
        move = _known(known, key)
        here = move.standing.stage
        there = stage or here.before
        if STAGES.index(there) > STAGES.index(here):
            message = f'"{key}" stands at {here}, and {there} is not behind it'
            raise Refused(message, flag=key, hint="move it on with: migrate cutover")
        if move.retired:
            message = f'"{key}" is retired at {move.old}, which has it no more'
            raise Refused(message, flag=key, hint=f"bring it back there: migrate sync {key}")
        wanted.append(
            (move, replace(move, standing=replace(move.standing, stage=there, share=WHOLE)))
        )
    return tuple(_written(register, before, after, change) for before, after in wanted)


def forget(register: Stages, keys: Iterable[str], change: Change) -> tuple[Move, ...]:
    """Forget that flags were on their way, once no application follows it any more.

    Applications that do would ask the old side from then on. So that is refused for a flag that the
    new side answers for, unless it is retired. Raises FlagNotFound, Refused.
    """
    known = register.all()
    gone = [_known(known, key) for key in keys]
    for move in gone:
        if move.standing.stage.reads is Side.NEW and not move.retired:
            message = f'"{move.key}" stands at {move.standing.stage}: {move.new} answers for it'
            hint = "take it back (migrate back), or to its end (migrate retire), first"
            raise Refused(message, hint=hint, flag=move.key)
    for move in gone:
        register.remove(move, change)
    return tuple(gone)


def _known(known: dict[str, Move], key: str) -> Move:
    if key not in known:
        message = f'"{key}" is on no way from one backend to another'
        raise FlagNotFound(
            message, hint="plan and apply a move first; see: migrate status", flag=key
        )
    return known[key]


def _after(move: Move, step: Step) -> Standing:
    """Return where a flag is to stand. Raises Refused."""
    standing, key = move.standing, move.key
    here = standing.stage
    stage = step.stage
    if stage is None:
        # Whoever is live for some becomes live for all, or for more, before anything else.
        more = here is Stage.LIVE and (standing.share < WHOLE or step.share is not None)
        stage = here if more else here.after
    ahead = STAGES.index(stage) - STAGES.index(here)
    if ahead < 0:
        message = f'"{key}" stands at {here}, which is beyond {stage}'
        raise Refused(message, flag=key, hint="take it back with: migrate back")
    if ahead > 1:
        message = f'"{key}" stands at {here}, and {here.after} comes before {stage}'
        raise Refused(message, flag=key, hint="move it one stage at a time")
    if ahead and standing.share < WHOLE:
        message = f'"{key}" is {here} for {standing.share / 1000:g} % only'
        raise Refused(message, flag=key, hint="let it be so for all first, with --percent 100")
    share = WHOLE if step.share is None else step.share
    if share < WHOLE and stage is not Stage.LIVE:
        message = f"{stage} is for all: only {Stage.LIVE} can be for some"
        raise Refused(message, flag=key, hint="leave --percent out")
    if ahead:
        _refuse_unproven(move, stage, unverified=step.unverified)
    return replace(standing, stage=stage, share=share)


def _refuse_unproven(move: Move, stage: Stage, *, unverified: bool) -> None:
    key = move.key
    if move.unsynced and stage is not Stage.DUAL_WRITE:
        message = f'"{key}" differs between {move.old} and {move.new}: {move.unsynced}'
        raise Refused(message, flag=key, hint=f"repair it with: migrate sync {key}")
    if stage.reads is Side.NEW and not move.standing.in_step and not unverified:
        message = f'nobody has proved that "{key}" serves the same on both sides'
        hint = f"run: migrate verify --from {move.old} --to {move.new} {key}; or say --unverified"
        raise Refused(message, flag=key, hint=hint)


def _refuse_busy(key: str, busy: BusyWith) -> None:
    what = busy(key)
    if what is not None:
        message = f'"{key}" can\'t change sides now: it has {what}'
        raise Refused(message, flag=key, hint="let it end, or cancel it, first")


def _written(register: Stages, before: Move, after: Move, change: Change) -> Moved:
    if before == after:
        return Moved(before, before)
    return Moved(before, register.put(after, change))
