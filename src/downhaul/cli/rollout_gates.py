"""``rollout approve|reject|check|uncheck|checklist``: what people do before a rollout goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from downhaul.cli.commands import command
from downhaul.cli.inputs import REASON
from downhaul.cli.rollout import chosen, rollouts_of
from downhaul.cli.session import Session

if TYPE_CHECKING:
    from downhaul.rollout.results import SignResult
    from downhaul.rollout.service import Rollouts

_WHICH: Final = click.argument("which", metavar="ID|FLAG")
_WHICH_OR_THE_ONE: Final = click.argument("which", metavar="[ID|FLAG]", required=False)
_ITEMS: Final = click.argument("items", metavar="ITEM...", nargs=-1, required=True)
_NEEDED: Final = click.option(
    "--reason", required=True, metavar="TEXT", help="Why. Everybody reads it who meets the rollout."
)


def _step(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option("--step", type=click.IntRange(1), metavar="NUMBER", help=text)


@command(
    "rollout approve",
    example='downhaul rollout approve new_agent_version --step 3 --reason "no complaints at 10 %"',
)
@_WHICH
@_step("The step that is to be entered; refused if another one is the next.")
@_NEEDED
def approve(session: Session, which: str, step: int | None, reason: str) -> None:
    """Approve the next step of a rollout. One that is not the next one can't be approved yet."""
    groups = session.settings().rollout.groups
    index = None if step is None else step - 1
    _sign(session, lambda one: [one.approve(which, reason, step=index, groups=groups)])


@command(
    "rollout reject",
    example='downhaul rollout reject new_agent_version --reason "the answers got longer"',
)
@_WHICH
@_step("The step that is not to be entered; refused if another one is the next.")
@_NEEDED
def reject(session: Session, which: str, step: int | None, reason: str) -> None:
    """Say that the next step must not be entered. Whoever said so can approve it later."""
    groups = session.settings().rollout.groups
    index = None if step is None else step - 1
    _sign(session, lambda one: [one.reject(which, reason, step=index, groups=groups)])


@command(
    "rollout check", example='downhaul rollout check new_agent_version on-call --reason "ben, 24/7"'
)
@_WHICH
@_ITEMS
@_step("The step that is served; refused at any other.")
@REASON
def check(
    session: Session, which: str, items: tuple[str, ...], step: int | None, reason: str
) -> None:
    """Tick items of a rollout's checklist: each is done, at this step."""
    index = None if step is None else step - 1
    _sign(session, lambda one: [one.check(which, item, reason, step=index) for item in items])


@command(
    "rollout uncheck",
    example='downhaul rollout uncheck new_agent_version on-call --reason "ben fell ill"',
)
@_WHICH
@_ITEMS
@_step("The step that is served; refused at any other.")
@REASON
def uncheck(
    session: Session, which: str, items: tuple[str, ...], step: int | None, reason: str
) -> None:
    """Take back that items of a rollout's checklist are done."""
    index = None if step is None else step - 1
    _sign(session, lambda one: [one.uncheck(which, item, reason, step=index) for item in items])


@command("rollout checklist", example="downhaul rollout checklist new_agent_version")
@_WHICH_OR_THE_ONE
def checklist(session: Session, which: str | None) -> None:
    """Show what is to be done before, during and after a rollout, and who did it.

    A flag's key means its live rollout, else its newest; nothing means the only live one.
    """
    from downhaul.cli import gate_words  # noqa: PLC0415  (the engine)

    with rollouts_of(session) as rollouts:
        found = chosen(rollouts, which)
    if session.as_json:
        items = gate_words.checklist_data(found.checklist)
        session.out.json({"rollout": found.id, "flag": found.flag, "items": items})
        return
    if not found.checklist:
        session.out.note(f"rollout {found.id} of {found.flag} has no checklist")
    for line in gate_words.checklist_lines(found.checklist):
        session.out.line(line)


def _sign(session: Session, verb: Callable[[Rollouts], list[SignResult]]) -> None:
    """Sign, and print what was signed and where the rollout stands."""
    from downhaul.cli.rollout_render import rollout_data  # noqa: PLC0415  (the engine)
    from downhaul.cli.rollout_watch import fitting, print_tree  # noqa: PLC0415
    from downhaul.cli.rollout_words import NOBODY  # noqa: PLC0415

    with rollouts_of(session) as rollouts:
        results = verb(rollouts)
    last = results[-1]
    if session.as_json:
        session.out.json(
            {
                "verb": last.verb,
                "written": any(one.written for one in results),
                "outcomes": [one.outcome for one in results],
                "rollout": rollout_data(last.rollout),
            }
        )
    else:
        for one in results:
            head = f"{one.verb.upper()}  {one.rollout.flag}  {one.rollout.id}"
            session.out.line(fitting(f"{head}: {one.outcome}"))
        print_tree(session.out, last.rollout)
    if last.rollout.state.live and not last.rollout.controllers:
        session.out.warning(NOBODY)
