"""What the command line does with migrations, for whoever does it from Python."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from downhaul.encoding import flag_from_data
from downhaul.errors import ConfigError, ReadOnly, Refused, SchemaMissing, Unreachable
from downhaul.ledger import Translation
from downhaul.migrate.applying import (
    Applied,
    Outcome,
    Progress,
    apply_plan,
    check_accepted,
)
from downhaul.migrate.journal import Journal
from downhaul.migrate.likeness import digest
from downhaul.migrate.plan import Action, Item, Plan, plan_to_data, read_plan
from downhaul.migrate.planning import Choice, plan_items
from downhaul.migrate.reverting import Reverted, revert
from downhaul.migrate.sides import operating, reading, ref_of, side_settings
from downhaul.migrate.stages import stages
from downhaul.provider import Capability, Change, FlagProvider, utc_now, whole
from downhaul.staging import Side
from downhaul.wrappers.standings import Move

if TYPE_CHECKING:
    from downhaul.config import Settings

_log: Final = logging.getLogger("downhaul.migrate")
_EVERYTHING: Final = Choice()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The losses that somebody takes upon them: classes of loss, and flags."""

    classes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def make_plan(
    settings: Settings, source: str, target: str, *, choice: Choice = _EVERYTHING
) -> Plan:
    """Return what moving flags from one side to the other would write. Writes nothing.

    Raises ConfigError, and what reading a side raises, before anything else happens.
    """
    here, there = side_settings(settings, source), side_settings(settings, target)
    if here.provider.url == there.provider.url and here.provider.options == there.provider.options:
        message = f'"{source}" and "{target}" are one backend'
        raise ConfigError(message, hint="name two with --from and --to")
    with reading(here) as old, reading(there) as new:
        sides = ref_of(source, here), ref_of(target, there)
        moves = _moves(settings)
        items = plan_items(
            old.export(),
            _known(new),
            new.fit,
            choice=choice,
            applied=_applied_before(moves, sides[1].name),
        )
    return Plan(
        *sides,
        settings.environment,
        utc_now(),
        "keep" if choice.keep else "native",
        tuple(_answered_for(one, moves, sides[1].name) for one in items),
    )


def apply(
    settings: Settings,
    path: Path,
    *,
    actor: str | None = None,
    accepted: Accepted | None = None,
    resume: bool = False,
    reason: str = "",
    progress: Progress | None = None,
) -> Applied:
    """Do what the plan in a file says; ``resume`` goes on where an earlier run ended.

    Raises Refused for losses that nobody accepted, for a run that ended badly and is not resumed,
    for another environment, and for flags that the target answers for already or that are on their
    way elsewhere; VersionConflict for a stale plan. Nothing was written then.
    """
    plan = read_plan(path)
    accepted = accepted or Accepted()
    check_accepted(plan, accepted.classes, accepted.flags)
    journal = Journal.beside(path, identity_of(plan))
    if journal.is_open() and not resume:
        message = f"an earlier run of this plan did not end well, as {journal.path.name} tells"
        raise Refused(message, hint="--resume goes on from there; what is done stays as it is")
    here, there = _sides(settings, plan)
    with reading(here) as old, operating(there, actor, create=True) as operator:
        _refuse_read_only(operator.provider, plan)
        _refuse_on_the_way(plan, _moves(settings))
        applied = apply_plan(plan, old, operator.desk, journal, reason=reason, progress=progress)
        change = operator.change(reason or f"moved from {plan.source.name}")
    _remember(settings, plan, applied, change)
    return applied


def take_back(
    settings: Settings,
    path: Path,
    *,
    actor: str | None = None,
    reason: str = "",
    dry_run: bool = False,
) -> tuple[Reverted, ...]:
    """Take back what applying the plan in a file wrote, and nothing else.

    Raises Refused where nothing of it was applied.
    """
    plan = read_plan(path)
    journal = Journal.beside(path, identity_of(plan))
    if not journal.exists():
        message = f"nothing says that this plan was applied: there is no {journal.path.name}"
        raise Refused(message, hint="it stands beside the plan that was applied")
    _, there = _sides(settings, plan)
    with operating(there, actor) as operator:
        rows = revert(
            plan,
            operator.desk,
            journal,
            serving=_serving(settings),
            reason=reason,
            dry_run=dry_run,
        )
        change = operator.change(reason or "the move taken back")
    if not dry_run:
        _forget(
            settings, [one.key for one in rows if one.entity == "flag" and not one.reason], change
        )
    return rows


def identity_of(plan: Plan) -> str:
    """Return the hash by which a journal knows its plan."""
    text = json.dumps(plan_to_data(plan), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _known(provider: FlagProvider) -> Translation:
    """Return what the target has: as its own verbs show it, where it can be written at all."""
    if Capability.READ not in provider.capabilities:
        return provider.export()
    try:
        return whole(provider.list())
    except SchemaMissing:  # a store that nobody made yet has nothing
        return Translation()


def _sides(settings: Settings, plan: Plan) -> tuple[Settings, Settings]:
    if settings.environment != plan.environment:
        message = f'the plan is for environment "{plan.environment}", not "{settings.environment}"'
        raise Refused(message, hint=f"say --environment {plan.environment}")
    found = []
    for side in (plan.source, plan.target):
        made = side_settings(settings, side.name)
        if made.provider.safe_url != side.url:
            message = f'"{side.name}" was {side.url} when the plan was made, and is another now'
            raise Refused(message, hint="make the plan anew", origin=made.provider.safe_url)
        found.append(made)
    return found[0], found[1]


def _refuse_read_only(provider: FlagProvider, plan: Plan) -> None:
    if Capability.WRITE in provider.capabilities:
        return
    message = f'"{plan.target.name}" ({plan.target.provider}) takes no writes'
    hint = "give it what it manages flags with, such as `admin_token`, in its table"
    raise ReadOnly(message, provider=plan.target.provider, hint=hint)


# --- what the register of stages remembers


def _applied_before(
    moves: Mapping[str, Move], target: str
) -> Mapping[tuple[str, str], tuple[str, str]]:
    """Return what was wanted, and what the target had then, of each flag that was moved before."""
    return {
        ("flag", one.key): (one.wanted, one.after)
        for one in moves.values()
        if one.new == target and one.wanted
    }


def _answered_for(item: Item, moves: Mapping[str, Move], target: str) -> Item:
    """Return an item that writes nothing where the target's own word counts already."""
    move = moves.get(item.key) if item.entity == "flag" and item.writes else None
    if move is None or move.new != target or move.standing.stage.reads is not Side.NEW:
        return item
    reason = f"{target} answers for it already ({move.standing.stage}): see migrate sync"
    return replace(item, action=Action.SKIP, reason=reason, losses=())


def _refuse_on_the_way(plan: Plan, moves: Mapping[str, Move]) -> None:
    """Raise Refused where a flag would be written that something else governs by now."""
    pair = (plan.source.name, plan.target.name)
    for item in plan.items:
        move = moves.get(item.key) if item.entity == "flag" else None
        if move is None or item.wanted is None or item.action is Action.SKIP:
            continue
        way = f'"{item.key}" is on its way from {move.old} to {move.new} ({move.standing.stage})'
        if (move.old, move.new) != pair:
            hint = (
                "applications may follow that still: when none does any more, say "
                f"migrate forget {item.key}"
            )
            raise Refused(way, hint=hint, flag=item.key)
        if item.writes and move.standing.stage.reads is Side.NEW:
            message = f"{way}, and {move.new} answers for it: nothing is to be written over that"
            raise Refused(message, hint=f"migrate sync {item.key}", flag=item.key)


def _moves(settings: Settings) -> dict[str, Move]:
    """Return the register, empty where there is none. Raises Unreachable where it can't be read.

    For who serves by which side must be known before anything is written or taken away.
    """
    try:
        with stages(settings) as register:
            return register.all()
    except (ConfigError, SchemaMissing) as error:
        _log.debug("no register of stages: %s", error)
        return {}


def _serving(settings: Settings) -> list[str]:
    return [key for key, one in _moves(settings).items() if one.standing.stage.reads is Side.NEW]


def _remember(settings: Settings, plan: Plan, applied: Applied, change: Change) -> None:
    moved = [
        row
        for row in applied.rows
        if row.item.entity == "flag"
        and row.item.wanted is not None
        and row.outcome in (Outcome.WRITTEN, Outcome.UNCHANGED)
        and row.after
    ]
    try:
        with stages(settings) as register:
            known = register.all()
            for row in moved:
                before = known.get(row.item.key) or Move(row.item.key)
                wanted = flag_from_data(row.item.wanted or {})
                made = replace(
                    before,
                    old=plan.source.name,
                    new=plan.target.name,
                    wanted=digest(wanted),
                    after=row.after,
                    created=before.created or row.created,
                )
                if made != before:
                    register.put(made, change)
    except (ConfigError, Unreachable) as error:
        _log.warning("where flags stand is written down nowhere: %s", error)


def _forget(settings: Settings, keys: Iterable[str], change: Change) -> None:
    try:
        with stages(settings) as register:
            known = register.all()
            for key in keys:
                if key in known:
                    register.remove(known[key], change)
    except (ConfigError, Unreachable) as error:
        _log.warning("where flags stood is still written down: %s", error)
