"""``migrate status|cutover|back|forget|sync``: flags on their way between two backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from downhaul.cli import migrate_watch_words as watch_words
from downhaul.cli import migrate_words as words
from downhaul.cli.commands import command, each
from downhaul.cli.exits import CheckFailed
from downhaul.cli.inputs import REASON, percentage_of
from downhaul.cli.session import Session
from downhaul.errors import DownhaulError
from downhaul.flag import weight_of
from downhaul.migrate.cutover import Step
from downhaul.migrate.moving import board, cut_over, forget_moves, move_back, sync
from downhaul.migrate.service import Accepted
from downhaul.migrate.watching import Watched, doubts, watch
from downhaul.staging import STAGES, Stage
from downhaul.wrappers.standings import Move

if TYPE_CHECKING:
    from downhaul.config import Settings

_STAGE = click.Choice([one.value for one in STAGES])
_ALL = click.option("--all", "everything", is_flag=True, help="All flags that are on their way.")


@command("migrate status", example="downhaul migrate status")
def status(session: Session) -> None:
    """Show every flag that is on its way between two backends, and how far it has come."""
    settings = session.settings()
    found = board(settings)
    compared = _compared(session, settings) if any(map(_compares, found)) else {}
    if session.as_json:
        session.out.json(
            {"moves": [{**words.move_data(one), **_compared_data(one, compared)} for one in found]}
        )
        return
    session.out.table(
        ["flag", "stage", "for", "in step", "from", "to", "compared", "what differs"],
        [words.move_row(one, _compared_words(one, compared)) for one in found],
    )
    if not found:
        session.out.note("no flag is on its way: downhaul migrate plan")


def _compares(move: Move) -> bool:
    return move.standing.stage.compares


def _compared(session: Session, settings: Settings) -> Mapping[str, Sequence[Watched]]:
    """Return what was compared in the last day by flag; nothing where a store can't tell."""
    try:
        flags = watch(settings).flags
    except DownhaulError as error:
        session.out.warning(f"what was compared in production can't be told: {error}")
        return {}
    by_flag: dict[str, list[Watched]] = {}
    for one in flags:
        by_flag.setdefault(one.flag, []).append(one)
    return by_flag


def _compared_words(move: Move, compared: Mapping[str, Sequence[Watched]]) -> str:
    watched = compared.get(move.key) if _compares(move) else None
    return "-" if watched is None else watch_words.short(watched)


def _compared_data(
    move: Move, compared: Mapping[str, Sequence[Watched]]
) -> Mapping[str, int | None]:
    names = ("compared", "differed", "failed")
    watched = compared.get(move.key) if _compares(move) else None
    if watched is None:
        return dict.fromkeys(names)
    return dict(zip(names, watch_words.totals(watched), strict=True))


@command("migrate cutover", example="downhaul migrate cutover checkout --percent 10")
@click.argument("keys", nargs=-1, metavar="[FLAG]...")
@_ALL
@click.option("--stage", type=_STAGE, help="The stage to move to; the next one unless said.")
@click.option("--percent", metavar="P", help="Let the new side's answer count for so many users.")
@click.option(
    "--unverified", is_flag=True, help="Let a flag go live that `migrate verify` did not prove."
)
@REASON
def cutover(
    session: Session,
    keys: tuple[str, ...],
    everything: bool,
    stage: str | None,
    percent: str | None,
    unverified: bool,
    reason: str,
) -> None:
    """Move flags one stage on, or to more users. Applications follow within a second or so."""
    _chosen(keys, everything=everything)
    share = None if percent is None else weight_of(percentage_of(percent))
    step = Step(None if stage is None else Stage(stage), share, unverified)
    settings = session.settings()
    moved = cut_over(settings, keys, step, actor=session.actor, reason=reason)
    against, untold = _doubts(settings, moved)
    if session.as_json:
        warnings = [f"{key}: {why} in the last day" for key, why in against.items()]
        warnings += [untold] if untold else []
        session.out.json({"moves": [words.moved_data(one) for one in moved], "warnings": warnings})
    else:
        _show(session, moved)
    if against:
        said = watch_words.listed([f"{key} ({why})" for key, why in against.items()])
        session.out.warning(
            f"moved on over what was compared in the last day: {said} "
            "(see: downhaul migrate report; to take one back: downhaul migrate back FLAG)"
        )
    if untold:
        session.out.warning(untold)


def _doubts(
    settings: Settings, moved: tuple[words.Moved, ...]
) -> tuple[Mapping[str, str], str | None]:
    """Return what comparisons in production say against moves that were made, and what hides it.

    They stop nothing: `migrate verify` is the proof that is asked for.
    """
    keys = [one.after.key for one in moved if one.changed and _compares(one.before)]
    try:
        return doubts(settings, keys), None
    except DownhaulError as error:
        return {}, f"what was compared in production can't be told: {error}"


@command("migrate back", example='downhaul migrate back checkout --reason "errors at the new side"')
@click.argument("keys", nargs=-1, metavar="[FLAG]...")
@_ALL
@click.option("--to", "stage", type=_STAGE, help="An earlier stage; the one before unless said.")
@REASON
def back(
    session: Session, keys: tuple[str, ...], everything: bool, stage: str | None, reason: str
) -> None:
    """Take flags one stage back, for everybody at once. Nothing stands in the way of it."""
    _chosen(keys, everything=everything)
    to = None if stage is None else Stage(stage)
    moved = move_back(session.settings(), keys, to, actor=session.actor, reason=reason)
    _show(session, moved)
    for one in moved:
        if one.after.unsynced and not session.as_json:
            session.out.warning(
                f'"{one.after.key}" differs between the sides: {one.after.unsynced} '
                f"(repair it with: downhaul migrate sync {one.after.key})"
            )


@command("migrate forget", example="downhaul migrate forget checkout")
@click.argument("keys", nargs=-1, required=True, metavar="FLAG...")
@REASON
def forget(session: Session, keys: tuple[str, ...], reason: str) -> None:
    """Forget that flags were on their way. Applications must not follow it any more."""
    gone = forget_moves(session.settings(), keys, actor=session.actor, reason=reason)
    if session.as_json:
        session.out.json({"moves": [words.move_data(one) for one in gone]})
        return
    for one in gone:
        session.out.line(f"{one.key}  forgotten")


@command("migrate sync", example="downhaul migrate sync checkout")
@click.argument("key", metavar="FLAG")
@click.option("--accept-loss", multiple=True, metavar="CLASS", help="As in `migrate apply`.")
@REASON
def sync_flag(session: Session, key: str, accept_loss: tuple[str, ...], reason: str) -> None:
    """Write a flag to the side whose answer doesn't count, as the other side has it."""
    accepted = Accepted(tuple(each(accept_loss)))
    applied = sync(session.settings(), key, actor=session.actor, accepted=accepted, reason=reason)
    if session.as_json:
        session.out.json(words.applied_data(applied))
    else:
        session.out.table(["what", "key", "outcome", "why"], words.applied_rows(applied))
        session.out.note(words.applied_summary(applied))
    if not applied.whole:
        message = f'"{key}" is not in step'
        raise CheckFailed(message)


def _chosen(keys: tuple[str, ...], *, everything: bool) -> None:
    if bool(keys) is everything:
        message = "name flags, or say --all"
        raise click.UsageError(message)


def _show(session: Session, moved: tuple[words.Moved, ...]) -> None:
    if session.as_json:
        session.out.json({"moves": [words.moved_data(one) for one in moved]})
        return
    session.out.table(["flag", "was", "is"], [words.moved_row(one) for one in moved])
