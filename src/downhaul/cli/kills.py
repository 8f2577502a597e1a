"""``kill``, ``revive``, ``kills``: taking a feature back, and giving it back."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from downhaul.cli import kills_render, render
from downhaul.cli.commands import command
from downhaul.cli.exits import Exit
from downhaul.cli.inputs import seconds_from
from downhaul.cli.session import Session
from downhaul.control import KillResult, Operator, Receipts, StandingKill
from downhaul.control.results import AtProvider
from downhaul.errors import DownhaulError
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
@click.option(
    "--for",
    "lasts",
    metavar="TIME",
    help="Give it an end: 2h, 1d. Then it is lifted where little returns, else people are asked.",
)
@click.option(
    "--wait",
    default="2s",
    show_default=True,
    metavar="TIME",
    help="How long to wait for receipts, once it is in force.",
)
@click.option("--no-wait", is_flag=True, help="Don't look for receipts.")
def kill(session: Session, flag: str | None, **given: Any) -> None:
    """Take a feature back at once: every process that reads flags serves the safe variant.

    Nothing is asked and nothing delays it; only --all asks, in a terminal. What it covers keeps
    all its fields, and `revive` lifts it. In the end it says how many processes obey.
    """
    scope = _scope(flag, given)
    lasts = None if given["lasts"] is None else seconds_from(given["lasts"], "--for")
    wait = 0.0 if given["no_wait"] else seconds_from(given["wait"], "--wait")
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
                lasts=lasts,
                dry_run=given["dry_run"],
            )
            if not session.as_json:
                _show(session, result)
            receipts = None
            if result.record is not None and not given["no_wait"]:
                receipts = _receipts(session, operator, result, wait)
            if session.as_json:
                _show(session, result, receipts)
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
@click.option("--request", is_flag=True, help="Only ask for it, for somebody else to approve.")
@click.option("--approve", is_flag=True, help="Do what somebody else asked for with --request.")
def revive(session: Session, flag: str | None, **given: Any) -> None:
    """Lift a kill. A flag that stood at a percentage starts again at 1 %, unless --as-was.

    Where the store holds no kill of it, kills that another store recorded (a lost one, or this one
    before a backup was restored) are lifted. Where the configuration's [policy] wants two people,
    one asks with --request and another one lifts with --approve.
    """
    scope = _scope(flag, given)
    _one_way(given)
    if given["request"]:
        _ask(session, scope, given)
        return
    reason, everywhere = given["reason"], given["everywhere"]
    if given["local"]:
        _not_with_local(given)
        with session.local_operator() as operator:
            result = operator.revive_local(scope, reason)
            _show(session, result)
    elif given["approve"]:
        with session.operator() as operator:
            result = operator.approve_revive(scope, reason, everywhere=everywhere)
            _show(session, result)
    else:
        with session.operator() as operator:
            result = operator.revive(
                scope,
                reason,
                as_was=given["as_was"],
                everywhere=everywhere,
                dry_run=given["dry_run"],
            )
            _show(session, result)


@command("kills", example="downhaul kills --json")
def kills(session: Session) -> None:
    """List what is killed in this environment, by whom, since when, why, and who obeys.

    And when the kill switch was last exercised.
    """
    from downhaul.control import drills  # noqa: PLC0415  (only here)

    with session.operator() as operator:
        found: list[StandingKill] = list(operator.standing())
        environment = operator.environment
        last = drills.last(operator.desk)
    if session.as_json:
        session.out.json(
            {
                "environment": environment,
                "kills": [kills_render.standing_data(one) for one in found],
                "drill": drills.data(last),
            }
        )
        return
    if found:
        session.out.table(kills_render.COLUMNS, [kills_render.standing_row(one) for one in found])
        for one in found:
            for line in kills_render.standing_notes(one):
                session.out.line(line)
    else:
        session.out.note(f"nothing is killed in {environment}")
    session.out.note(f"the kill switch was {drills.words(last)}")


def _receipts(
    session: Session, operator: Operator, result: KillResult, wait: float
) -> Receipts | None:
    """Wait for receipts, and show them. The kill is in force whatever comes of it."""
    assert result.record is not None  # noqa: S101  (the caller looked)
    try:
        found = operator.receipts(result.record, wait)
    except DownhaulError as error:
        session.out.warning(f"how many obey can't be read: {error}")
        return None
    if found is not None and not session.as_json:
        session.out.line(f"  obeyed   {found}")
    return found


def _ask(session: Session, scope: Scope, given: dict[str, Any]) -> None:
    """Ask somebody else to revive; the kill stands."""
    with session.operator() as operator:
        asked = operator.request_revive(
            scope, given["reason"], as_was=given["as_was"], everywhere=given["everywhere"]
        )
        environment, actor = operator.environment, operator.actor
    stands = KillResult(scope, True, environment, given["reason"], actor, already=True)
    if session.as_json:
        session.out.json(kills_render.kill_data(stands, request=asked))
        return
    for line in kills_render.request_lines(scope, asked):
        session.out.line(line)


def _one_way(given: dict[str, Any]) -> None:
    """Refuse options that say nothing beside each other."""
    asked = [name for name in ("request", "approve") if given[name]]
    if len(asked) > 1:
        message = "--request and --approve are for two people"
        raise click.UsageError(message)
    others = {"local": "--local", "dry_run": "--dry-run"}
    if given["approve"]:
        others["as_was"] = "--as-was"  # which was asked for, or not
    for name, option in others.items():
        if asked and given[name]:
            message = f"{option} says nothing beside --{asked[0]}"
            raise click.UsageError(message)


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
        "lasts": "--for",
    }
    for name, option in options.items():
        if given.get(name):
            message = f"{option} says nothing beside --local"
            raise click.UsageError(message)


def _show(session: Session, result: KillResult, receipts: Receipts | None = None) -> None:
    if session.as_json:
        session.out.json(kills_render.kill_data(result, receipts))
        return
    for line in (*render.kill_lines(result), *kills_render.more_lines(result)):
        session.out.line(line)
    for warning in result.warnings:
        session.out.warning(warning)
