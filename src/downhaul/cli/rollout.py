"""``rollout list|status|explain`` and the verbs that move a rollout which there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import click

from downhaul.cli.commands import command
from downhaul.cli.exits import Exit
from downhaul.cli.inputs import REASON
from downhaul.cli.session import Session
from downhaul.errors import FlagNotFound

if TYPE_CHECKING:
    from downhaul.rollout.results import CommandResult, Rollout
    from downhaul.rollout.service import Rollouts

_WHICH: Final = click.argument("which", metavar="ID|FLAG")
_WHICH_OR_THE_ONE: Final = click.argument("which", metavar="[ID|FLAG]", required=False)
_NEEDED: Final = click.option(
    "--reason", required=True, metavar="TEXT", help="Why. Everybody reads it who meets the rollout."
)
_OVERWRITE: Final = click.option(
    "--overwrite", is_flag=True, help="Restore even over what somebody else changed since."
)


@command("rollout list", example="downhaul rollout list --live")
@click.option("--live", is_flag=True, help="Only those that a controller still looks after.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
def list_rollouts(session: Session, live: bool, limit: int) -> None:
    """List rollouts, the newest first: where each stands, and why."""
    from downhaul.cli.rollout_render import list_rows, summary_data  # noqa: PLC0415

    with rollouts_of(session) as rollouts:
        found = rollouts.list(live=live, limit=limit)
    if session.as_json:
        session.out.json({"rollouts": [summary_data(one) for one in found]})
        return
    if not found:
        session.out.note("no rollouts; see what one would do with: downhaul rollout plan")
        return
    session.out.table(
        ["id", "flag", "variant", "phase", "step", "exposure", "since", "by", "why"],
        list_rows(found),
    )


@command("rollout status", example="downhaul rollout status new_agent_version -w")
@_WHICH_OR_THE_ONE
@click.option("-w", "--watch", is_flag=True, help="Go on showing it until it has ended.")
@click.option(
    "--wait", is_flag=True, help="Wait until it has ended or needs a person; the exit code tells."
)
@click.option(
    "--timeout", metavar="TIME", help="With --wait: give up after this long (30m unless said)."
)
def status(
    session: Session, which: str | None, watch: bool, wait: bool, timeout: str | None
) -> None:
    """Show where a rollout stands: its steps, what was seen at each, and what it waits for.

    A flag's key means its live rollout, else its newest; nothing means the only live one.

    With --wait, exit code 0 means completed, 3 taken back or ended early, 4 paused for a person, 5
    out of time or out of reach.
    """
    from downhaul.cli import rollout_watch  # noqa: PLC0415
    from downhaul.cli.rollout_render import rollout_data  # noqa: PLC0415

    seconds = _timeout(timeout, wait=wait)
    with rollouts_of(session) as rollouts:
        first = chosen(rollouts, which)
        if not watch and not wait:
            if session.as_json:
                session.out.json(rollout_data(first))
            else:
                rollout_watch.print_tree(session.out, first)
            return
        code = _followed(session, rollouts, first.id, watch=watch, wait=wait, seconds=seconds)
    raise click.exceptions.Exit(code)


@command("rollout explain", example="downhaul rollout explain new_agent_version")
@_WHICH_OR_THE_ONE
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option(
    "--at", metavar="TIME", help="As it was then: 2026-03-02T09:30:00Z, or how long ago: 10m."
)
def explain(session: Session, which: str | None, limit: int, at: str | None) -> None:
    """Tell in words where a rollout stands and why, what it waits for, and what happened.

    With --at, how it stood at a moment: the query and the counts that were looked at, what each
    check said, and what was made of it.
    """
    from downhaul.cli import rollout_words as words  # noqa: PLC0415
    from downhaul.cli.rollout_moment import (  # noqa: PLC0415
        counted_lines,
        look_data,
        moment_lines,
        moment_of,
        parted,
    )
    from downhaul.cli.rollout_render import explain_data, explain_lines  # noqa: PLC0415

    with rollouts_of(session) as rollouts:
        found = chosen(rollouts, which)
        try:
            moment = found.now if at is None else moment_of(at, found.now)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--at") from None
        events = rollouts.events(found.id, limit=limit if at is None else 10_000)
        look = rollouts.look(found.id, at=moment)
    before, after = parted(events, moment)
    if session.as_json:
        shown = events if at is None else before[-limit:]
        data = explain_data(found, shown)
        then = None if at is None else words.moment(moment)
        session.out.json({**data, "at": then, "look": look_data(look)})
    elif at is None:
        for line in explain_lines(found, events, [] if look is None else counted_lines(look)):
            session.out.line(line)
    else:
        for line in moment_lines(found, moment, look, before[-limit:], after):
            session.out.line(line)


@command(
    "rollout pause", example='downhaul rollout pause new_agent_version --reason "on-call asks"'
)
@_WHICH
@REASON
def pause(session: Session, which: str, reason: str) -> None:
    """Hold a rollout where it is. Guardrails go on watching, and still take it back."""
    _carry_out(session, lambda rollouts: rollouts.pause(which, reason))


@command("rollout resume", example="downhaul rollout resume new_agent_version")
@_WHICH
@REASON
def resume(session: Session, which: str, reason: str) -> None:
    """End a pause. The step bakes anew, and none is skipped."""
    _carry_out(session, lambda rollouts: rollouts.resume(which, reason))


@command(
    "rollout promote", example='downhaul rollout promote new_agent_version --reason "seen enough"'
)
@_WHICH
@REASON
@click.option(
    "--step",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="The step that is meant; refused at any other.",
)
def promote(session: Session, which: str, reason: str, step: int | None) -> None:
    """Skip the rest of this step's bake. Guardrails still count, and so does having no data."""
    index = None if step is None else step - 1
    _carry_out(session, lambda rollouts: rollouts.promote(which, reason, step=index))


@command(
    "rollout rollback",
    example='downhaul rollout rollback new_agent_version --reason "refund loop, INC-4211"',
)
@_WHICH
@_NEEDED
@_OVERWRITE
def rollback(session: Session, which: str, reason: str, overwrite: bool) -> None:
    """Take a live rollout back: off at once, then the flag as it was before.

    Nothing is asked and nothing delays it. Where somebody else changed the flag since, it stays off
    and says what differs; --overwrite restores all the same.
    """
    _carry_out(session, lambda rollouts: rollouts.rollback(which, reason, overwrite=overwrite))


@command(
    "rollout revert",
    example='downhaul rollout revert new_agent_version --reason "numbers fell overnight"',
)
@_WHICH
@_NEEDED
@_OVERWRITE
def revert(session: Session, which: str, reason: str, overwrite: bool) -> None:
    """Take a completed rollout back, within the time that its plan allows for that."""
    _carry_out(session, lambda rollouts: rollouts.revert(which, reason, overwrite=overwrite))


@command(
    "rollout cancel", example='downhaul rollout cancel new_agent_version --reason "by hand now"'
)
@_WHICH
@_NEEDED
def cancel(session: Session, which: str, reason: str) -> None:
    """End a live rollout and leave the flag as it is."""
    _carry_out(session, lambda rollouts: rollouts.cancel(which, reason))


def chosen(rollouts: Rollouts, which: str | None) -> Rollout:
    """Return the rollout that is named; without a name the only live one, or the newest."""
    if which is not None:
        return rollouts.get(which)
    found = rollouts.list(live=True, limit=10) or rollouts.list(limit=1)
    if not found:
        message = "there are no rollouts"
        raise FlagNotFound(message, hint="see what one would do with: downhaul rollout plan")
    if len(found) > 1:
        message = f"several are live, name one: {', '.join(one.flag for one in found)}"
        raise click.UsageError(message)
    return found[0]


@contextmanager
def rollouts_of(session: Session) -> Iterator[Rollouts]:
    """Give the rollouts of what is configured."""
    from downhaul.rollout.service import Rollouts  # noqa: PLC0415  (SQLAlchemy, the engine)

    with session.operator() as operator:
        yield Rollouts(operator)


def _carry_out(session: Session, verb: Callable[[Rollouts], CommandResult]) -> None:
    """Do what a verb asks; print what became of it, and where the rollout stands now."""
    from downhaul.cli.rollout_render import command_data  # noqa: PLC0415
    from downhaul.cli.rollout_watch import fitting, print_tree  # noqa: PLC0415

    with rollouts_of(session) as rollouts:
        result = verb(rollouts)
    if session.as_json:
        session.out.json(command_data(result))
    else:
        style = "red" if result.refused else None
        session.out.line(fitting(f"{_head(result)}: {result.outcome}"), style=style)
        print_tree(session.out, result.rollout)
    if result.refused:
        raise click.exceptions.Exit(int(Exit.REFUSED))
    if not result.applied and not result.rollout.controllers:
        # It is recorded, and there is nobody to take it.
        raise click.exceptions.Exit(int(Exit.UNREACHABLE))


def _head(result: CommandResult) -> str:
    said = "REFUSED" if result.refused else result.verb.upper()
    return f"{said}  {result.rollout.flag}  {result.rollout.id}"


def _followed(
    session: Session,
    rollouts: Rollouts,
    rollout: str,
    *,
    watch: bool,
    wait: bool,
    seconds: float | None,
) -> int:
    """Follow a rollout; print what it came to, unless that was drawn. Return the exit code."""
    from downhaul.cli import rollout_watch  # noqa: PLC0415
    from downhaul.cli.rollout_render import rollout_data  # noqa: PLC0415

    out = session.out
    last: list[Rollout] = []

    def fetch() -> Rollout:
        last[:] = [rollouts.get(rollout)]
        return last[0]

    shown = rollout_watch.shown(out) if watch else nullcontext(_unseen)
    with shown as show:
        code = rollout_watch.follow(fetch, show, out, wait=wait, timeout=seconds)
    for found in last:
        if out.as_json and not watch:
            out.json(rollout_data(found))
        elif not out.as_json and not (watch and out.terminal):
            rollout_watch.print_tree(out, found)
    return code


def _unseen(_: Rollout) -> None:
    """Show nothing: whoever waits wants the end."""


def _timeout(text: str | None, *, wait: bool) -> float | None:
    from downhaul.rollout.units import seconds_of  # noqa: PLC0415

    if text is not None and not wait:
        message = "--timeout says nothing without --wait"
        raise click.UsageError(message)
    if not wait:
        return None
    try:
        return seconds_of(text or "30m")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from None
