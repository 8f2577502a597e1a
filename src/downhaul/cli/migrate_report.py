"""``migrate report``: how the two backends of a move agreed in production."""

from __future__ import annotations

import math

import click

from downhaul.cli import migrate_watch_words as words
from downhaul.cli.commands import command
from downhaul.cli.exits import CheckFailed
from downhaul.cli.inputs import seconds_from
from downhaul.cli.output import plain
from downhaul.cli.session import Session
from downhaul.migrate.watching import watch


@command("migrate report", example="downhaul migrate report checkout --since 24h")
@click.argument("keys", nargs=-1, metavar="[FLAG]...")
@click.option(
    "--since",
    default="24h",
    show_default=True,
    metavar="TIME",
    help="How far back, in whole hours: counts are kept for 30 days.",
)
@click.option(
    "--min-parity",
    type=click.FloatRange(0, 100),
    default=100.0,
    show_default=True,
    help="Percent of what both sides answered that must match, for each flag.",
)
def report(session: Session, keys: tuple[str, ...], since: str, min_parity: float) -> None:
    """Show how often both sides were compared in production, and where they differ."""
    if math.isnan(min_parity):
        message = "--min-parity is a percentage from 0 to 100"
        raise click.UsageError(message)
    found = watch(session.settings(), keys, seconds_from(since, "--since"))
    failures = found.failures(min_parity)
    if session.as_json:
        session.out.json(words.watch_data(found, min_parity, failures))
    else:
        session.out.table(*words.table(found))
        for line in words.example_lines(found):
            session.out.line(plain(line))
        for line in words.sentences(found):
            session.out.line(plain(line))
    if failures:
        message = plain(words.listed(failures))
        raise CheckFailed(message)
