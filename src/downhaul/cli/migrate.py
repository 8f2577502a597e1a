"""``migrate plan|show|apply|revert``: from one backend to another, by a plan that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from downhaul.cli import migrate_words as words
from downhaul.cli.commands import command, each
from downhaul.cli.exits import CheckFailed, Exit
from downhaul.cli.inputs import REASON
from downhaul.cli.session import Session
from downhaul.errors import DownhaulError, FlagNotFound
from downhaul.migrate.applying import Outcome
from downhaul.migrate.plan import plan_to_data, read_plan, write_plan
from downhaul.migrate.planning import Choice
from downhaul.migrate.service import Accepted, apply, make_plan, take_back

_CHANGES: Final = 2  # as `terraform plan -detailed-exitcode` ends where something is to be done
SIDES: Final = (
    click.option(
        "--from",
        "source",
        required=True,
        metavar="BACKEND",
        help="Where the flags are: a name in [backends], `provider`, or a URL.",
    ),
    click.option("--to", "target", required=True, metavar="BACKEND", help="Where they are to be."),
)


@command(
    "migrate plan",
    example="downhaul migrate plan --from db --to launchdarkly -o plan.json",
)
@SIDES[0]
@SIDES[1]
@click.option("-o", "--out", metavar="FILE", help="Write the plan there, for `migrate apply`.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Only these flags, as `agent-*`.")
@click.option("--without", multiple=True, metavar="PATTERN", help="All but these flags.")
@click.option(
    "--bucketing",
    type=click.Choice(["keep", "native"]),
    default="keep",
    show_default=True,
    help="Keep the users whom the source's hash chose, or let the target's own choose anew.",
)
@click.option(
    "--detailed-exitcode", is_flag=True, help=f"End with {_CHANGES} where there is something to do."
)
def plan(
    session: Session,
    source: str,
    target: str,
    out: str | None,
    only: tuple[str, ...],
    without: tuple[str, ...],
    bucketing: str,
    detailed_exitcode: bool,
) -> None:
    """Show what moving flags would write, and what would be lost. Nothing is written there."""
    choice = Choice(tuple(each(only)), tuple(each(without)), bucketing == "keep")
    made = make_plan(session.settings(), source, target, choice=choice)
    if out is not None:
        write_plan(made, Path(out))
    if session.as_json:
        session.out.json(
            {"plan": plan_to_data(made), "blocking": [one.key for one in made.blocking()]}
        )
    else:
        session.out.table(["", "flag", "kind", "carried", "what"], words.plan_rows(made))
        session.out.note(f"{words.plan_summary(made)} {words.blocking_summary(made)}".strip())
        if out is not None:
            session.out.note(f"written to {out}: downhaul migrate apply {out}")
    if detailed_exitcode and made.changes:
        raise click.exceptions.Exit(_CHANGES)


@command("migrate show", example="downhaul migrate show plan.json checkout")
@click.argument("file")
@click.argument("key", required=False)
def show(session: Session, file: str, key: str | None) -> None:
    """Show a plan, or one flag of it on both sides, with what is lost."""
    made = read_plan(Path(file))
    if session.as_json:
        session.out.json({"plan": plan_to_data(made)})
        return
    if key is None:
        session.out.table(["", "flag", "kind", "carried", "what"], words.plan_rows(made))
        session.out.note(f"{words.plan_summary(made)} {words.blocking_summary(made)}".strip())
        return
    item = made.item(key) or made.item(key, "segment")
    if item is None:
        message = f'the plan has no "{key}"'
        raise FlagNotFound(message, hint=f"see: downhaul migrate show {file}", flag=key)
    for line in words.item_lines(made, item):
        session.out.line(line)


@command("migrate apply", example="downhaul migrate apply plan.json --accept-loss tags,rules")
@click.argument("file")
@click.option(
    "--accept-loss", multiple=True, metavar="CLASS", help="Move what loses this, such as rebucket."
)
@click.option(
    "--accept-loss-for", multiple=True, metavar="FLAG", help="Move this flag, whatever it loses."
)
@click.option("--resume", is_flag=True, help="Go on where an earlier run of this plan ended.")
@REASON
def apply_file(
    session: Session,
    file: str,
    accept_loss: tuple[str, ...],
    accept_loss_for: tuple[str, ...],
    resume: bool,
    reason: str,
) -> None:
    """Write what a plan says: off first, then on. A second run writes nothing."""
    accepted = Accepted(tuple(each(accept_loss)), tuple(each(accept_loss_for)))
    with session.out.progress("moving") as progress:
        applied = apply(
            session.settings(),
            Path(file),
            actor=session.actor,
            accepted=accepted,
            resume=resume,
            reason=reason,
            progress=progress,
        )
    if session.as_json:
        session.out.json(words.applied_data(applied))
    else:
        session.out.table(["what", "key", "outcome", "why"], words.applied_rows(applied))
        session.out.note(words.applied_summary(applied))
    if applied.whole:
        return
    if applied.stopped:
        session.fail(
            DownhaulError(
                applied.stopped, hint=f"go on with: downhaul migrate apply {file} --resume"
            )
        )
        raise click.exceptions.Exit(int(Exit.UNREACHABLE))
    named = [
        one.item.key for one in applied.rows if one.outcome in (Outcome.FAILED, Outcome.MISSING)
    ]
    message = f"{len(named)} did not arrive: {', '.join(named[:10])}"
    raise CheckFailed(message, hint=f"go on with: downhaul migrate apply {file} --resume")


@command("migrate revert", example="downhaul migrate revert plan.json --dry-run")
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Say what would be taken back, and do nothing.")
@REASON
def revert_file(session: Session, file: str, dry_run: bool, reason: str) -> None:
    """Take back what applying a plan wrote. What somebody changed since is left as it is."""
    rows = take_back(
        session.settings(), Path(file), actor=session.actor, reason=reason, dry_run=dry_run
    )
    if session.as_json:
        session.out.json({**words.reverted_data(rows), "dry_run": dry_run})
    else:
        session.out.table(["what", "key", "outcome", "why"], words.reverted_rows(rows))
        if dry_run:
            session.out.note("nothing was done")
    if not words.reverted_data(rows)["whole"]:
        kept = [one.key for one in rows if one.reason]
        message = f"{len(kept)} are left as they are: {', '.join(kept[:10])}"
        raise CheckFailed(message)
