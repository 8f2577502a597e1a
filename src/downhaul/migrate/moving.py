"""What the command line does with flags that are on their way: on, back, in step again, and where.

Beside :mod:`downhaul.migrate.service`, which plans and applies.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from downhaul.control.desk import Desk
from downhaul.control.policy import need_a_name
from downhaul.errors import ConfigError, FlagNotFound
from downhaul.migrate.applying import Applied, apply_plan, check_accepted
from downhaul.migrate.cutover import BusyWith, Moved, Step, advance, forget, go_back
from downhaul.migrate.journal import Journal
from downhaul.migrate.plan import Plan
from downhaul.migrate.planning import Choice, plan_items
from downhaul.migrate.sides import operating, reading, ref_of, side_settings
from downhaul.migrate.stages import Stages, stages
from downhaul.provider import Change, utc_now, whole
from downhaul.staging import Side, Stage
from downhaul.wrappers.standings import Move, has_register

if TYPE_CHECKING:
    from downhaul.config import Settings
    from downhaul.control.operator import Operator
    from downhaul.migrate.service import Accepted


def cut_over(
    settings: Settings,
    keys: Iterable[str],
    step: Step,
    *,
    actor: str | None = None,
    reason: str = "",
) -> tuple[Moved, ...]:
    """Move flags one stage on, or to more users; no keys are all flags that are on their way.

    Raises as :func:`downhaul.migrate.cutover.advance`, and ConfigError without a control store.
    """
    with _register(settings, actor, reason, "move a flag on") as (register, operator, change):
        chosen = tuple(keys) or tuple(register.all())
        return advance(register, chosen, step, change, _busy(operator.desk))


def move_back(
    settings: Settings,
    keys: Iterable[str],
    stage: Stage | None = None,
    *,
    actor: str | None = None,
    reason: str = "",
) -> tuple[Moved, ...]:
    """Take flags one stage back, or to an earlier one, at once and for everybody."""
    with _register(settings, actor, reason, "take a flag back") as (register, _operator, change):
        chosen = tuple(keys) or tuple(
            key for key, one in register.all().items() if one.standing.stage is not Stage.OFF
        )
        return go_back(register, chosen, stage, change)


def board(settings: Settings) -> tuple[Move, ...]:
    """Return every flag that is on its way, those that are furthest first."""
    with stages(settings) as register:
        found = register.all().values()
    order = list(Stage)
    return tuple(
        sorted(
            found, key=lambda one: (-order.index(one.standing.stage), -one.standing.share, one.key)
        )
    )


def forget_moves(
    settings: Settings, keys: Iterable[str], *, actor: str | None = None, reason: str = ""
) -> tuple[Move, ...]:
    """Forget that flags were on their way. Raises as :func:`downhaul.migrate.cutover.forget`."""
    with _register(settings, actor, reason, "forget a move") as (register, _operator, change):
        return forget(register, keys, change)


def note_verified(
    settings: Settings,
    sides: tuple[str, str],
    proved: Iterable[str],
    differing: Mapping[str, str],
    *,
    actor: str | None = None,
    reason: str = "",
) -> tuple[str, ...]:
    """Note which flags both sides serve the same, and of which they differ, in what.

    ``sides`` are the names of the two backends: what they prove says nothing of a flag that is on
    its way between others. Returns those of ``proved`` that are on theirs. A flag that was in step
    once goes on counting as that, because an off on either side must hold (rule M4); it is held
    where it is all the same.
    """
    with _register(settings, actor, reason, "note that a flag is in step") as (
        register,
        _operator,
        change,
    ):
        known = {
            key: one for key, one in register.all().items() if {one.old, one.new} == set(sides)
        }
        noted = [key for key in proved if key in known]
        for key in noted:
            before = known[key]
            standing = replace(before.standing, in_step=True)
            _put(register, before, replace(before, standing=standing, unsynced=""), change)
        for key, what in differing.items():
            if key in known:
                _put(register, known[key], replace(known[key], unsynced=what), change)
        return tuple(noted)


def _put(register: Stages, before: Move, after: Move, change: Change) -> None:
    if after != before:
        register.put(after, change)


def sync(
    settings: Settings,
    key: str,
    *,
    actor: str | None = None,
    accepted: Accepted,
    reason: str = "",
) -> Applied:
    """Write a flag to the side whose answer does not count, as the other side has it.

    Raises FlagNotFound for a flag that is on no way or not there, Refused for losses that nobody
    accepted, and whatever writing raises.
    """
    with stages(settings) as register:
        move = register.get(key)
    if move is None:
        message = f'"{key}" is on no way from one backend to another'
        raise FlagNotFound(message, hint="see: migrate status", flag=key)
    from_old = move.standing.stage.reads is Side.OLD
    names = (move.old, move.new) if from_old else (move.new, move.old)
    here, there = (side_settings(settings, name) for name in names)
    with reading(here) as source, operating(there, actor) as operator:
        exported = source.export()
        if key not in exported.flag_set().flags:
            message = f'"{key}" is not at {names[0]}, whose answer counts'
            raise FlagNotFound(message, flag=key, provider=source.name)
        items = plan_items(
            exported,
            whole(operator.provider.list()),
            operator.provider.fit,
            choice=Choice(only=(_literal(key),)),
        )
        plan = Plan(
            ref_of(names[0], here),
            ref_of(names[1], there),
            settings.environment,
            utc_now(),
            items=tuple(one for one in items if one.entity == "segment" or one.kind),
        )
        check_accepted(plan, accepted.classes, accepted.flags)
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(Path(folder) / "journal", "sync")
            applied = apply_plan(
                plan, source, operator.desk, journal, reason=reason or "in step again"
            )
        change = operator.change(reason or "in step again")
    if applied.whole:
        with stages(settings) as register:
            now = register.get(key)
            if now is not None and (now.unsynced or now.retired):
                register.put(replace(now, unsynced="", retired=False), change)
    return applied


def _literal(key: str) -> str:
    """Return a pattern that matches one key, whatever is in it."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in key)


@contextmanager
def _register(
    settings: Settings, actor: str | None, reason: str, what: str
) -> Iterator[tuple[Stages, Operator, Change]]:
    with reading(side_settings(settings, "provider")) as provider:
        there_is_one = has_register(settings, provider)
    if not there_is_one:
        message = (
            "where flags stand between two backends is kept in a control store, and none is named"
        )
        raise ConfigError(message, hint="name a database in [control] url")
    with operating(settings, actor) as operator, stages(settings) as register:
        need_a_name(operator.desk, what)
        yield register, operator, operator.change(reason)


def _busy(desk: Desk) -> BusyWith:
    """Return what says which live rollout a flag has."""
    rollouts = getattr(desk.control, "rollouts", None)

    def busy(key: str) -> str | None:
        live = None if rollouts is None else rollouts.live_of(key, desk.provider.name)
        return None if live is None else f"a live rollout, {live.id}"

    return busy
