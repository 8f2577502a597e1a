"""Killing and reviving (rules K1 to K6).

A kill commits the overlay first; all else (switching off at a vendor, finding out what is covered)
comes after it and can't fail it. A revive goes the other way round: a flag that stood at a
percentage is first set back to the first step, and only then is the overlay lifted.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from downhaul.control import blast, ends
from downhaul.control.alerts import AlertEvent
from downhaul.control.at_backend import covered, switch_off_at_backend
from downhaul.control.describe import exposed, has_percentages_in_rules, is_partial, rising_variant
from downhaul.control.desk import Desk, did_you_mean
from downhaul.control.policy import need_right_to_revive, need_second_person
from downhaul.control.results import KillResult
from downhaul.errors import DownhaulError, ReadOnly, Refused, Unreachable, UnsupportedCapability
from downhaul.flag import WHOLE, Flag, Split, weight_of
from downhaul.overlay import KillRecord, KillRegister, Scope, ScopeKind
from downhaul.provider import Capability, Change, ControlStore, FlagSet, utc_now

FIRST_STEP: Final = 1.0
"""The percentage at which a revived flag starts again."""

ALL_ENVIRONMENTS: Final = "*"


def kill(
    desk: Desk,
    scope: Scope,
    reason: str,
    *,
    everywhere: bool = False,
    vendor: bool = False,
    lasts: float | None = None,
    dry_run: bool = False,
) -> KillResult:
    """Put the overlay on ``scope``, in this environment or ``everywhere``.

    A single flag is then switched off where it is kept, too; with ``vendor``, so is each flag that
    a tag or everything covers.
    ``lasts`` gives the kill an end, in seconds from now; see :mod:`downhaul.control.ends`.
    Killing what is killed already writes nothing and says since when. A name that nothing knows is
    killed all the same, with a warning. Raises Refused without a reason or a control store,
    Unreachable where the store can't be reached: then nothing is killed.
    """
    need_reason(reason, "kill")
    store = desk.store("kill")
    environment = ALL_ENVIRONMENTS if everywhere else desk.environment
    before = _last_word(_words(store, required=dry_run), scope, environment)
    result = KillResult(
        scope, True, environment, reason, desk.actor, dry_run=dry_run, before=before
    )
    if dry_run:
        already = before is not None and before.killed
        result = _with_surroundings(desk, dataclasses.replace(result, already=already))
        return dataclasses.replace(result, blast=blast.radius(desk, result, lasts))
    change = desk.change(reason)
    started = time.perf_counter()
    try:
        record = store.record_kill(scope, change, killed=True, everywhere=everywhere)
    except Unreachable as error:
        local = "`kill --local` needs no store, and holds on this machine"
        error.hint = f"nothing is killed: {error.hint}; {local}" if error.hint else local
        raise
    took = time.perf_counter() - started
    already = _is_same(before, record)
    if not already:
        _announce(desk, "killed", record, before, change)
    result = dataclasses.replace(result, record=record, already=already, took=took)
    if lasts is not None:
        result = ends.begin(desk, result, lasts)  # before the backend is told: it looks at the flag
    return _with_surroundings(desk, switch_off_at_backend(desk, result, vendor=vendor))


def revive(
    desk: Desk,
    scope: Scope,
    reason: str,
    *,
    as_was: bool = False,
    everywhere: bool = False,
    dry_run: bool = False,
    asked_by: str | None = None,
) -> KillResult:
    """Lift the overlay from ``scope``.

    A flag that serves a part of its users is first set to the first step (1 %), unless ``as_was``;
    if that can't be written, nothing is lifted. Where the store holds no kill of the scope, the
    revive lifts the kills that other stores recorded until now: a lost one, or this one before it
    was restored from a backup. ``asked_by`` is who asked for it, where somebody else did. Raises
    Refused, where the policy stands in the way too; Unreachable.
    """
    need_reason(reason, "revive")
    need_right_to_revive(desk)
    store = desk.store("revive")
    environment = ALL_ENVIRONMENTS if everywhere else desk.environment
    words = _words(store, required=True)
    before = _last_word(words, scope, environment)
    held = before is not None and before.killed
    if not held and not everywhere:
        _need_everywhere(words, scope)
    need_second_person(desk, before, asked_by)
    flag_before, flag = _first_step(desk, scope, reason, as_was=as_was, dry_run=dry_run)
    result = KillResult(
        scope,
        False,
        environment,
        reason,
        desk.actor,
        already=not held,
        dry_run=dry_run,
        before=before,
        flag_before=flag_before,
        flag=flag,
    )
    # Who polls the backend may still have the percentage of before, and must not serve it.
    waits = scope.kind is ScopeKind.FLAG and not as_was
    return _with_surroundings(desk, result if dry_run else _lift(desk, store, result, waits=waits))


def _lift(desk: Desk, store: ControlStore, result: KillResult, *, waits: bool) -> KillResult:
    """Record the revive. Where the store held no kill, those that others recorded are lifted."""
    change = desk.change(result.reason)
    started = time.perf_counter()
    record = store.record_kill(
        result.scope,
        change,
        killed=False,
        lift_others=result.already,
        everywhere=result.environment == ALL_ENVIRONMENTS,
        waits=waits,
    )
    took = time.perf_counter() - started
    _announce(desk, "revived", record, result.before, change)
    return dataclasses.replace(result, record=record, took=took)


def standing(desk: Desk) -> list[KillRecord]:
    """Return the kills in force by the control store's words, the oldest first."""
    overlay = KillRegister().hear(desk.store("kill").kills()).overlay()
    kills = [*overlay.flags.values(), *overlay.tags.values(), *overlay.switches.values()]
    kills += [overlay.everything] if overlay.everything else []
    return sorted(kills, key=lambda one: one.sequence)


def need_reason(reason: str, verb: str) -> None:
    """Raise Refused where nobody says why."""
    if not reason.strip():
        message = f"a {verb} needs a reason, which everybody reads who meets it"
        raise Refused(message, hint='add --reason "what happened"')


def _need_everywhere(words: Iterable[KillRecord], scope: Scope) -> None:
    word = _last_word(words, scope, ALL_ENVIRONMENTS)
    if word is not None and word.killed:
        message = f'"{scope}" is killed in all environments since {word.at} by {word.actor}'
        raise Refused(message, hint="lift it with --all-environments")


def _words(store: ControlStore, *, required: bool) -> list[KillRecord]:
    try:
        return store.kills()
    except DownhaulError:
        if required:
            raise
        return []  # a kill only wants to know since when; the write decides


def _last_word(words: Iterable[KillRecord], scope: Scope, environment: str) -> KillRecord | None:
    mine = [one for one in words if one.scope == scope and one.environment == environment]
    return max(mine, key=lambda one: one.sequence, default=None)


def _is_same(before: KillRecord | None, now: KillRecord) -> bool:
    return before is not None and before.killed and before.at == now.at


def _announce(
    desk: Desk, what: str, record: KillRecord, before: KillRecord | None, change: Change
) -> None:
    """Tell people from here; an outbox holds the same event, committed with the word."""
    desk.alerts.send(
        AlertEvent(
            what=what,
            subject=str(record.scope),
            actor=desk.actor,
            reason=record.reason,
            environment=record.environment,
            at=record.at or utc_now(),
            before={} if before is None else before.as_mapping(),
            after=record.as_mapping(),
            id=change.id,
        )
    )


def _first_step(
    desk: Desk, scope: Scope, reason: str, *, as_was: bool, dry_run: bool
) -> tuple[Flag | None, Flag | None]:
    """Set a flag that stands between 0 and 100 % to the first step; return it before and after."""
    if scope.kind is not ScopeKind.FLAG or as_was:
        return None, None
    if not desk.has(Capability.READ):
        _cannot_lower(desk, scope.name, "the backend doesn't show its percentage")
    before = desk.provider.get(scope.name)
    if before is None or not is_partial(before) or dry_run:
        return before, before
    total = before.default.bucketing.total if isinstance(before.default, Split) else WHOLE
    if exposed(before) * WHOLE <= weight_of(FIRST_STEP) * total:
        return before, before  # at or below the first step already, and a revive never raises
    variant = rising_variant(before)
    if variant is None:
        _cannot_lower(desk, scope.name, "its split serves several variants")
        raise AssertionError  # pragma: no cover  (the line above raises)
    try:
        after = desk.provider.set_rollout(
            scope.name, variant, weight_of(FIRST_STEP), desk.change(f"first step: {reason}")
        )
    except (Refused, ReadOnly, UnsupportedCapability) as error:
        _cannot_lower(desk, scope.name, error.message)
        raise  # pragma: no cover  (the line above raises)
    return before, after


def _cannot_lower(desk: Desk, key: str, why: str) -> None:
    message = f'"{key}" can\'t be set to the first step ({FIRST_STEP:g} %): {why}'
    raise Refused(
        message,
        hint="lower it by hand and revive again, or revive with --as-was",
        flag=key,
        provider=desk.provider.name,
    )


def _with_surroundings(desk: Desk, result: KillResult) -> KillResult:
    """Add what is covered, and what a person should know; nothing here can fail the verb."""
    warnings = list(result.warnings)
    flags = FlagSet()
    if desk.has(Capability.READ):
        try:
            flags = desk.provider.list()
            warnings += _unknown(desk, result, flags)
        except DownhaulError as error:
            warnings.append(f"could not look up what it covers: {error}")
    covers = tuple(sorted(covered(result.scope, flags)))
    flag = result.flag
    if flag is None and result.scope.kind is ScopeKind.FLAG:
        flag = flags.flags.get(result.scope.name)
    if not result.killed:
        warnings += _still_down(desk, result, flag)
    return dataclasses.replace(
        result,
        covers=covers,
        flag=flag,
        flag_before=result.flag_before or flag,
        warnings=tuple(warnings),
    )


def _unknown(desk: Desk, result: KillResult, flags: FlagSet) -> list[str]:
    """Warn about a name that nothing knows: it may be a slip of the hand (rule K4)."""
    scope = result.scope
    if scope.kind is ScopeKind.FLAG:
        known = set(flags.flags)
    elif scope.kind is ScopeKind.TAG:
        known = {tag for one in flags.flags.values() for tag in one.tags}
    elif scope.kind is ScopeKind.SWITCH:
        # A switch is known by its use in code, which no store sees: what was set before is a hint.
        words = _words(desk.store("kill"), required=False)
        ours = result.record.sequence if result.record is not None and not result.before else -1
        known = {
            one.scope.name
            for one in words
            if one.scope.kind is ScopeKind.SWITCH and one.sequence != ours
        }
    else:
        return []
    if scope.name in known:
        return []
    hint = did_you_mean(scope.name, known) or "check the spelling"
    verb = "killed" if result.killed else "revived"
    where = "was never set before" if scope.kind is ScopeKind.SWITCH else f"is not in {desk.place}"
    done = f"would be {verb}" if result.dry_run else f"is {verb}"
    return [f'{scope.kind} "{scope.name}" {where}; it {done} all the same: {hint}']


def _still_down(desk: Desk, result: KillResult, flag: Flag | None) -> list[str]:
    """Say what keeps a revived flag from serving, and what comes back with it."""
    notes = []
    if result.already:
        notes.append(
            "this store held no kill of it; kills that other stores recorded until now are lifted"
        )
    register = KillRegister().hear(_words(desk.store("revive"), required=False))
    overlay = register.overlay()
    others = overlay.kill_of(result.scope.name, flag.tags if flag else ())
    if result.scope.kind is ScopeKind.FLAG and others is not None and not result.dry_run:
        notes.append(f'still killed by {others.scope} ({others.environment}): "{others.reason}"')
    if desk.kill_file is not None and result.scope in _named_in(desk.kill_file):
        notes.append(
            f"{desk.kill_file} still names it, and processes here kill it again: "
            "revive it with --local too"
        )
    waits = result.record is not None and result.record.waits
    if waits and not desk.shares_store():
        notes.append(
            f"each process lifts it when it has the flag as it is now from {desk.provider.name}"
        )
    if flag is not None and not flag.on:
        notes.append(f"the flag is off: flags on {flag.key} serves it again")
    if flag is not None and has_percentages_in_rules(flag):
        notes.append("its rules serve shares of their own, and those are back as they were")
    return notes


def _named_in(kill_file: Path) -> frozenset[Scope]:
    from downhaul.store.breakglass import KillFile  # noqa: PLC0415  (only here)

    return KillFile(kill_file).read().killed
