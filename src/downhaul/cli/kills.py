"""``kill``, ``revive``, ``kills``: taking a feature back, and giving it back."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from downhaul.cli import render
from downhaul.cli.commands import command
from downhaul.cli.exits import Exit
from downhaul.cli.session import Session
from downhaul.control import KillResult
from downhaul.control.results import AtProvider
from downhaul.overlay import EVERYTHING, Scope, ScopeKind

_TAG: Final = click.option("--tag", help="Every flag with this tag.")
_SWITCH: Final = click.option("--switch", help="The code that is guarded by this named switch.")
_ALL: Final = click.option("--all", "all_", is_flag=True, help="Everything, unknown flags too.")
_REASON: Final = click.option(
    "--reason", required=True, metavar="TEXT", help="Why. Everybody reads it who meets the kill."
)
_EVERYWHERE: Final = click.option(
    "--all-environments", "everywhere", is_flag=True, help="In all environments, not just this one."
)
_LOCAL: Final = click.option(
    "--local", is_flag=True, help="By this machine's kill file: no network, and no other machine."
)
_DRY: Final = click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")


@command("kill", example='downhaul kill new_agent_version --reason "refund loop, INC-4211"')
@click.argument("flag", required=False)
@_TAG
@_SWITCH
@_ALL
@_REASON
@_EVERYWHERE
@_LOCAL
@_DRY
@click.option(
    "--vendor", is_flag=True, help="With --tag or --all: switch the flags off at the vendor, too."
)
@click.option("--yes", is_flag=True, help="With --all: don't ask. Needed without a terminal.")
def kill(session: Session, flag: str | None, **given: Any) -> None:
    """Take a feature back at once: every process that reads flags serves the safe variant.

    Nothing is asked and nothing delays it; only --all asks, in a terminal. What it covers keeps
    all its fields, and `revive` lifts it.
    """
    scope = _scope(flag, given)
    if scope == EVERYTHING and not given["yes"] and not given["dry_run"]:
        _ask_for_all()
    if given["local"]:
        _not_with_local(given)
        with session.local_operator() as operator:
            result = operator.kill_local(scope, given["reason"])
            _show(session, result)
    else:
        with session.operator() as operator:
            result = operator.kill(
                scope,
                given["reason"],
                everywhere=given["everywhere"],
                vendor=given["vendor"],
                dry_run=given["dry_run"],
            )
            _show(session, result)  # before people are told, who may take their time to answer
    if result.at_provider is AtProvider.LEFT:
        # The kill holds; what the vendor was to do is undone, and nobody will do it (rule K1).
        raise click.exceptions.Exit(int(Exit.UNREACHABLE))


@command("revive", example='downhaul revive new_agent_version --reason "fixed in 4.2.1"')
@click.argument("flag", required=False)
@_TAG
@_SWITCH
@_ALL
@_REASON
@_EVERYWHERE
@_LOCAL
@_DRY
@click.option("--as-was", is_flag=True, help="At the percentage it had, not at the first step.")
def revive(session: Session, flag: str | None, **given: Any) -> None:
    """Lift a kill. A flag that stood at a percentage starts again at 1 %, unless --as-was.

    Where the store holds no kill of it, kills that another store recorded (a lost one, or this one
    before a backup was restored) are lifted.
    """
    scope = _scope(flag, given)
    if given["local"]:
        _not_with_local(given)
        with session.local_operator() as operator:
            result = operator.revive_local(scope, given["reason"])
            _show(session, result)
    else:
        with session.operator() as operator:
            result = operator.revive(
                scope,
                given["reason"],
                as_was=given["as_was"],
                everywhere=given["everywhere"],
                dry_run=given["dry_run"],
            )
            _show(session, result)


@command("kills", example="downhaul kills --json")
def kills(session: Session) -> None:
    """List what is killed in this environment, by whom, since when, and why."""
    with session.operator() as operator:
        found = operator.kills()
        environment = operator.environment
    if session.as_json:
        session.out.json({"environment": environment, "kills": [one.as_mapping() for one in found]})
        return
    if not found:
        session.out.note(f"nothing is killed in {environment}")
        return
    session.out.table(
        ["scope", "environment", "since", "by", "why"],
        [[str(one.scope), one.environment, one.at, one.actor, one.reason] for one in found],
    )


def _scope(flag: str | None, given: dict[str, Any]) -> Scope:
    """Return the one scope that the command line names; anything else is a usage error."""
    named = [name for name in ("tag", "switch") if given[name] is not None]
    if sum([flag is not None, len(named), given["all_"]]) != 1 or len(named) > 1:
        message = "name one flag, or one of --tag NAME, --switch NAME, --all"
        raise click.UsageError(message)
    if given["all_"]:
        return EVERYTHING
    if named:
        return Scope(ScopeKind(named[0]), str(given[named[0]]))
    try:
        return Scope.parse(str(flag))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _ask_for_all() -> None:
    if not sys.stdin.isatty():
        message = "--all takes every feature back, and there is no terminal to ask in: add --yes"
        raise click.UsageError(message)
    click.confirm(
        "take every feature back, everywhere this environment reaches?", abort=True, err=True
    )


def _not_with_local(given: dict[str, Any]) -> None:
    options = {
        "everywhere": "--all-environments",
        "dry_run": "--dry-run",
        "vendor": "--vendor",
    }
    for name, option in options.items():
        if given.get(name):
            message = f"{option} says nothing beside --local"
            raise click.UsageError(message)


def _show(session: Session, result: KillResult) -> None:
    if session.as_json:
        session.out.json(render.kill_data(result))
        return
    for line in render.kill_lines(result):
        session.out.line(line)
    for warning in result.warnings:
        session.out.warning(warning)
