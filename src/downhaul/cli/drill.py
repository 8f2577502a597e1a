"""``drill``: exercising the kill switch, on the fleet or on the evaluator alone."""

from __future__ import annotations

import click

from downhaul.cli.commands import command
from downhaul.cli.exits import CheckFailed
from downhaul.cli.inputs import YES, confirm, read_set, seconds_from
from downhaul.cli.session import Session
from downhaul.control import DrillResult
from downhaul.control.drills import DEFAULT
from downhaul.control.offline import Killed, rehearse_kills
from downhaul.flag import FlagSet
from downhaul.provider import Capability


@command("drill", example="downhaul drill --reason 'game day'")
@click.argument("name", required=False)
@click.option("--reason", default="", help="Why; kept in the history.")
@click.option(
    "--real",
    is_flag=True,
    help="Kill the flag NAME itself, and give it back as it was: its users lose it meanwhile.",
)
@click.option(
    "--wait",
    default="5s",
    show_default=True,
    metavar="TIME",
    help="How long processes have to obey, and to hear of the end.",
)
@click.option(
    "--offline", is_flag=True, help="Ask each flag (or NAME) in killed state, here; kill nothing."
)
@click.option("--file", metavar="FILE", help="With --offline: the flags of a document.")
@YES
def drill(
    session: Session,
    name: str | None,
    reason: str,
    real: bool,
    wait: str,
    offline: bool,
    file: str | None,
    yes: bool,
) -> None:
    """Exercise the kill switch before it is needed, and record how long it took.

    A real kill of a switch that guards nothing: each process hears of it, obeys and says so, and no
    feature goes down. Exit code 3 says that not everybody did. --offline is for CI: it asks every
    flag in killed state, and exits with 3 where a kill would leave something on, or break.
    """
    if offline or file is not None:
        if real or yes:
            message = f"{'--real' if real else '--yes'} says nothing beside --offline"
            raise click.UsageError(message)
        _rehearse(session, name, file)
        return
    if real and name is None:
        message = "--real kills one flag: name it"
        raise click.UsageError(message)
    if real:
        environment = session.settings().environment
        confirm(f"take {name} from its users in {environment} meanwhile?", yes=yes)
    with session.operator() as operator:
        result = operator.drill(
            name or DEFAULT, reason, real=real, wait=seconds_from(wait, "--wait")
        )
    _show(session, result)
    if not result.passed:
        message = "not every process obeyed, or heard that it was over"
        if not result.killed.known:
            message = "no process follows this store, so nothing but the store was exercised"
        raise CheckFailed(message)


def _show(session: Session, result: DrillResult) -> None:
    if session.as_json:
        session.out.json({"ok": result.passed, "drill": result.as_mapping(), "flags": None})
        return
    head = "DRILLED" if result.passed else "DRILL FAILED"
    session.out.line(f"{head}  {result.scope}  {result.environment}  by {result.actor}")
    session.out.line(f"  killed   {result.killed}")
    session.out.line(f"  lifted   {result.lifted or 'no: it stays killed'}")
    for warning in result.warnings:
        session.out.warning(warning)


def _rehearse(session: Session, name: str | None, file: str | None) -> None:
    flags = _flags(session) if file is None else read_set(file)
    only = () if name is None else (name,)
    if name is not None and name not in flags.flags:
        message = f'no flag "{name}" in {file or "the store"}'
        raise click.UsageError(message)
    found = rehearse_kills(flags, only)
    wrong = [one for one in found if one.problem]
    if session.as_json:
        rows = [one.as_mapping() for one in found]
        session.out.json({"ok": not wrong, "drill": None, "flags": rows})
    else:
        columns = ["flag", "kind", "serves when killed", "found"]
        session.out.table(columns, [_row(one) for one in found])
    if wrong:
        keys = ", ".join(one.key for one in wrong)
        message = f"a kill does not take these down safely: {keys}"
        raise CheckFailed(message)


def _flags(session: Session) -> FlagSet:
    """Return the flags of the store, as a client sees them: with what declarations say of them."""
    from downhaul.client.declared import known_flags  # noqa: PLC0415  (only here)

    declared = session.settings().flags
    with session.operator() as operator:
        can = operator.provider.capabilities
        found = operator.list() if Capability.READ in can or not declared else FlagSet()
    if Capability.RESOLVE not in can:
        return found
    return FlagSet(dict(known_flags(found.flags, declared)), found.segments, found.revision)


def _row(one: Killed) -> list[str]:
    serves = "each caller's default" if one.variant is None else one.variant
    return [one.key, one.kind, serves, one.problem or one.advice or "ok"]
