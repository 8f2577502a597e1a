"""``migrate status|cutover|back|forget|sync``: flags on their way between two backends."""

from __future__ import annotations

import click

from downhaul.cli import migrate_words as words
from downhaul.cli.commands import command, each
from downhaul.cli.exits import CheckFailed
from downhaul.cli.inputs import REASON, percentage_of
from downhaul.cli.session import Session
from downhaul.flag import weight_of
from downhaul.migrate.cutover import Step
from downhaul.migrate.moving import board, cut_over, forget_moves, move_back, sync
from downhaul.migrate.service import Accepted
from downhaul.staging import STAGES, Stage

_STAGE = click.Choice([one.value for one in STAGES])
_ALL = click.option("--all", "everything", is_flag=True, help="All flags that are on their way.")


@command("migrate status", example="downhaul migrate status")
def status(session: Session) -> None:
    """Show every flag that is on its way between two backends, and how far it has come."""
    found = board(session.settings())
    if session.as_json:
        session.out.json({"moves": [words.move_data(one) for one in found]})
        return
    session.out.table(
        ["flag", "stage", "for", "in step", "from", "to", "what differs"],
        [words.move_row(one) for one in found],
    )
    if not found:
        session.out.note("no flag is on its way: downhaul migrate plan")


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
    moved = cut_over(session.settings(), keys, step, actor=session.actor, reason=reason)
    _show(session, moved)


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
