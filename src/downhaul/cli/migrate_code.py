"""``migrate inventory|retire``: flags, and the code that asks for them."""

from __future__ import annotations

from pathlib import Path

import click

from downhaul.cli import migrate_words as words
from downhaul.cli.commands import command
from downhaul.cli.inputs import REASON
from downhaul.cli.session import Session
from downhaul.migrate.looking import retire_flag, take_inventory

_CODE = click.option(
    "--code", multiple=True, metavar="DIR", help="Look for references in the code there."
)
_ALIAS = click.option(
    "--alias",
    "aliases",
    multiple=True,
    metavar="NAME:KEY:DEFAULT",
    help="A function of your own that asks for flags, such as myapp.flags.enabled:0:1.",
)


@command("migrate inventory", example="downhaul migrate inventory --from db --code src")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="BACKEND",
    help="Where the flags are: a name in [backends], `provider`, or a URL.",
)
@_CODE
@_ALIAS
def inventory(
    session: Session, source: str, code: tuple[str, ...], aliases: tuple[str, ...]
) -> None:
    """Show what flags there are, which have done their work, and where code asks for them."""
    found = take_inventory(session.settings(), source, [Path(one) for one in code], aliases)
    if session.as_json:
        session.out.json(words.inventory_data(found))
        return
    session.out.table(
        ["flag", "kind", "serves", "changed", "owner", "code", "worth"],
        [words.inventory_row(one) for one in found.rows],
    )
    for line in words.inventory_notes(found):
        session.out.note(line)


@command("migrate retire", example="downhaul migrate retire checkout --code src")
@click.argument("key", metavar="FLAG")
@click.option(
    "--code",
    multiple=True,
    required=True,
    metavar="DIR",
    help="Where the code is that must not ask the old side for it any more.",
)
@_ALIAS
@click.option("--by-hand", is_flag=True, help="Somebody sees to the old side: write nothing there.")
@REASON
def retire(
    session: Session,
    key: str,
    code: tuple[str, ...],
    aliases: tuple[str, ...],
    by_hand: bool,
    reason: str,
) -> None:
    """Archive a flag on the old side, unless code or what is served stands in the way."""
    done = retire_flag(
        session.settings(),
        key,
        [Path(one) for one in code],
        aliases=aliases,
        by_hand=by_hand,
        actor=session.actor,
        reason=reason,
    )
    if session.as_json:
        session.out.json(
            {"key": done.key, "old": done.old, "archived": done.archived, "undo": done.undo}
        )
        return
    what = "archived at" if done.archived else "forgotten; nothing was archived at"
    session.out.line(f"{done.key}  {what} {done.old}")
    session.out.note(f"to undo: {done.undo}")
