"""``demo``: the way into :mod:`downhaul.demo`."""

from __future__ import annotations

import importlib
from typing import Any

import click

from downhaul.cli.commands import command
from downhaul.cli.session import Session


@command("demo", example="downhaul demo --quick")
@click.option(
    "--import",
    "import_",
    metavar="SOURCE:FILE",
    help="Use somebody's flags: unleash:FILE, or a document of ours.",
)
@click.option("--users", type=click.IntRange(100), default=2000, show_default=True)
@click.option("--quick", is_flag=True, help="Fewer steps and less waiting.")
@click.option("--sqlite-only", is_flag=True, help="Leave PostgreSQL out.")
def demo(session: Session, import_: str | None, **options: Any) -> None:
    """Watch an application under live traffic follow a rollout and a kill.

    It runs in processes and stores of its own, and ends with 0 only if every claim held.
    """
    # By name, because it is a program of its own that this command line merely starts.
    run = importlib.import_module("downhaul.demo").run
    code = run(import_=import_, json=session.as_json, **options)
    raise click.exceptions.Exit(int(code))
