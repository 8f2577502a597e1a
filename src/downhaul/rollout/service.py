"""The verbs of rollouts, for people and programs: start, pause, roll back, look."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from downhaul.analysis.model import Counts, MetricSource, Window
from downhaul.context import Context
from downhaul.control.alerts import Alert
from downhaul.control.describe import rising_variant
from downhaul.control.desk import did_you_mean
from downhaul.control.operator import Operator
from downhaul.control.policy import need_a_name, need_right_to_promote_in_full
from downhaul.encoding import flag_to_data
from downhaul.errors import (
    ConfigError,
    DocumentError,
    DownhaulError,
    FlagNotFound,
    Problem,
    Refused,
    VersionConflict,
)
from downhaul.flag import WHOLE, Flag
from downhaul.overlay import EVERYTHING, KillRecord, KillRegister
from downhaul.provider import Capability, Change
from downhaul.rollout.acts import snapshot_data
from downhaul.rollout.controller import Controller, Points
from downhaul.rollout.drift import foreign_changes
from downhaul.rollout.gates import looking, observing, signing
from downhaul.rollout.gates.signing import NO_GROUPS, Groups
from downhaul.rollout.gates.times import microseconds_of, moment_text
from downhaul.rollout.plan import Plan
from downhaul.rollout.results import (
    Advice,
    CommandResult,
    Rehearsal,
    Rollout,
    RolloutEvent,
    Severity,
    SignResult,
)
from downhaul.rollout.state import Act, Because, Phase, State, Verb
from downhaul.store.control import SqlControl
from downhaul.store.looks import LookRow
from downhaul.store.rollouts import ALIVE, EventRow, NewRollout, RolloutRow, RolloutStore

if TYPE_CHECKING:
    from downhaul.rollout.forecast import Forecast
    from downhaul.rollout.lint_named import Place

_log: Final = logging.getLogger("downhaul.rollout")
_SECOND: Final = 1_000_000
_LATELY: Final = 86_400.0  # seconds that a forecast looks back on
_WAIT: Final = 3.0  # seconds for a controller to take a command that we can't carry out ourselves
_LOOK: Final = 0.1
_TRIES: Final = 5  # of signing what a controller moves meanwhile
_FALLING: Final = frozenset({Verb.PAUSE, Verb.ROLLBACK, Verb.CANCEL})
"""Verbs that only freeze or lower: whoever asks may carry them out, controller or none."""


def controller_for(
    operator: Operator,
    *,
    owner: str | None = None,
    alerts: Sequence[Alert] | None = None,
    lease: float | None = None,
    tick: float | None = None,
    points: Points | None = None,
) -> Controller:
    """Return a controller of an operator's provider and environment.

    Raises Refused where there is no SQL control store to keep rollouts in.
    """
    control = _control(operator, "run a controller")
    options: dict[str, Any] = {}
    if lease is not None:
        options["lease"] = lease
    if tick is not None:
        options["tick"] = tick
    return Controller(
        operator.provider,
        control,
        lambda plan: metric_source(operator, plan),
        owner=owner,
        alerts=operator.alerts if alerts is None else alerts,
        points=points,
        **options,
    )


def metric_source(operator: Operator, plan: Plan) -> MetricSource:
    """Return where the plan's counts come from. Raises ConfigError, Refused."""
    from downhaul.analysis.sources import source_for  # noqa: PLC0415  (only with checks)

    control = _control(operator, "measure")
    return source_for(plan.metrics, control.rollouts.database, operator.environment)


class Rollouts:
    """Rollouts of one operator's environment."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    # Before

    def lint(self, plan: Plan, *, requests_per_hour: float | None = None) -> tuple[Advice, ...]:
        """Return what is wrong or unwise about a plan, for the flag as it is now.

        With ``requests_per_hour``, also which steps can't see their smallest sample in time.
        """
        from downhaul.rollout.lint import lint  # noqa: PLC0415  (only here and at the start)

        flag = self._operator.provider.get(plan.flag)
        advice = lint(
            plan,
            flag,
            killed=None if flag is None else self._kill_of(flag),
            requests_per_hour=requests_per_hour,
            place=self._place(plan, flag),
        )
        return (*self._metrics_advice(plan), *advice)

    def resolve(self, plan: Plan) -> Plan:
        """Return the plan with what only flag and traffic can say: its variant, what is slow today.

        Raises FlagNotFound; Refused for too little traffic, and what a metric source says that does
        not answer.
        """
        return self._with_latencies(self._resolved(plan, self._operator.get(plan.flag)))

    def forecast(self, plan: Plan, *, seconds: float = _LATELY) -> Forecast | None:
        """Return what the plan's sequential checks can see, at the traffic of the last ``seconds``.

        None without such checks, or where there was no traffic. Raises what the metric source says
        that does not answer.
        """
        from downhaul.rollout.forecast import Traffic, forecast  # noqa: PLC0415  (only here)

        if not any(one.sequential for one in plan.checks):
            return None
        source = metric_source(self._operator, plan)
        until = source.watermark()
        since = until - round(seconds * _SECOND)
        users: dict[str, Any] = {"users_since": since} if plan.counts_users else {}
        sample = source.sample(plan.flag, Window(since, until), plan.thresholds, **users)
        return forecast(plan, Traffic(sum(sample.arms.values(), Counts()), seconds))

    def start(self, plan: Plan, reason: str = "", *, at: datetime | None = None) -> Rollout:
        """Record a rollout, for a controller to begin. Nothing is served by this alone.

        ``at`` is when it begins, at the earliest, in the place of what the plan says. Raises
        FlagNotFound; DocumentError with everything that is wrong with the plan; Refused
        where the flag is killed, has a live rollout, or the backend can't be rolled out on, and for
        an ``at`` that lies behind; and what the metric source says that does not answer.
        """
        operator = self._operator
        need_a_name(operator.desk, "start a rollout")
        store = self._store("start a rollout")
        self._need_a_backend_to_write_to()
        flag = operator.get(plan.flag)
        plan = self._resolved(plan, flag)
        self._need_right(plan, 0)
        if at is not None:
            plan = _scheduled(plan, microseconds_of(at), store.now())
        self._need_no_kill(flag)
        self._need_a_sound_plan(plan, flag)
        plan = self._with_latencies(plan)
        odd = self._probed(plan)
        if plan.gates:  # raises SchemaMissing here, and not at the first signature
            observing.need_tables(store)
        snapshot = operator.provider.snapshot(flag.key)
        row = store.create(
            NewRollout(
                provider=operator.provider.name,
                flag=flag.key,
                variant=plan.variant,
                plan=plan.as_mapping(),
                digest=plan.digest,
                snapshot=snapshot_data(snapshot),
                state=State(desired=flag_to_data(flag)).as_mapping(),
                phase=Phase.STARTING.value,
            ),
            self._change(reason),
            EventRow(
                "planned",
                operator.actor,
                reason,
                {
                    "variant": plan.variant,
                    "strategy": plan.strategy.value,
                    "steps": [step.percent for step in plan.steps],
                    "digest": plan.digest,
                    "guarded": plan.guarded,
                    "unguarded": plan.unguarded,
                    "rehearsed": self.rehearsed(flag.key),
                    "odd_metrics": list(odd),
                    "starts_at": moment_text(plan.gates.starts_at) if plan.gates.starts_at else "",
                },
            ),
        )
        return self._shown(row)

    def _need_a_backend_to_write_to(self) -> None:
        provider = self._operator.provider
        for capability in (Capability.WRITE, Capability.SNAPSHOT):
            if capability not in provider.capabilities:
                raise Refused(
                    f'provider "{provider.name}" can\'t be rolled out on: it declares no '
                    f"{capability.value}",
                    provider=provider.name,
                )

    def _need_no_kill(self, flag: Flag) -> None:
        kill = self._kill_of(flag)
        if kill is not None:
            raise Refused(
                f'"{flag.key}" is killed by {kill.scope} ({kill.actor}: "{kill.reason}")',
                hint=f"a rollout lifts no kill: revive it first ({_revive(kill)})",
                flag=flag.key,
            )

    def _need_a_sound_plan(self, plan: Plan, flag: Flag) -> None:
        from downhaul.rollout.lint import lint  # noqa: PLC0415  (as above)

        advice = lint(plan, flag, place=self._place(plan, flag))
        wrong = [one for one in advice if one.severity is Severity.ERROR]
        if wrong:
            problems = [Problem(one.path, one.message, hint=one.hint or None) for one in wrong]
            raise DocumentError(f'the plan for "{flag.key}" is refused', problems)

    def _probed(self, plan: Plan) -> tuple[str, ...]:
        """Ask the metric source once, and return what is odd about it, which the log tells too."""
        if not plan.checks:
            return ()
        users: dict[str, Any] = {"users": True} if plan.counts_users else {}
        source = metric_source(self._operator, plan)
        odd = tuple(source.probe(plan.flag, plan.thresholds, **users) or ())
        for one in odd:
            _log.warning("the metrics of %s: %s", plan.flag, one)
        return odd

    def rehearse(self, plan: Plan, population: Iterable[Context] | None = None) -> Rehearsal:
        """Prove the way back on our own evaluator, and record that it was proved (rule R8)."""
        from downhaul.rollout.rehearsal import rehearse  # noqa: PLC0415  (the evaluator)

        store = self._store("record a rehearsal")
        flag = self._operator.get(plan.flag)
        plan = self._resolved(plan, flag)
        held = rehearse(plan, flag, self._operator.list(), population)
        detail = {
            "variant": plan.variant,
            "digest": plan.digest,
            "held": held.held,
            "population": held.population,
            "exposed": list(held.exposed),
            "more": len(held.more),
            "unlike": len(held.unlike),
            "lost": len(held.lost),
            "version": flag.version,
        }
        store.record_rehearsal(flag.key, detail, self._change("rehearsal of the way back"))
        return replace(held, at=self._last_rehearsal(flag.key))

    def rehearsed(self, flag: str) -> str:
        """Return when the way back of a flag was last proved (RFC 3339), or nothing."""
        return self._last_rehearsal(flag)

    # Looking

    def list(self, *, live: bool = False, limit: int = 50) -> list[Rollout]:
        """Return the newest rollouts first; those that can't be read here are only logged."""
        store = self._store("list rollouts")
        rows = store.newest(live=live, limit=limit)
        now, controllers = store.now(), store.controllers(ALIVE)
        pending = store.commands(row.id for row in rows)
        gates = looking.at_rows(self._operator, store, rows)
        found = []
        for row in rows:
            asked = tuple(one.verb for one in pending[row.id])
            try:
                found.append(gates.shown(_rollout(row, now, controllers, asked), row))
            except DownhaulError as error:
                _log.warning("%s", error)
        return found

    def get(self, id_or_flag: str) -> Rollout:
        """Return a rollout by its id; by a flag's key its live one, else its newest."""
        return self._shown(self._row(id_or_flag))

    def events(self, id_or_flag: str, *, limit: int = 200) -> Sequence[RolloutEvent]:
        """Return what happened to a rollout, the oldest of the newest ``limit`` events first."""
        row = self._row(id_or_flag)
        return [
            RolloutEvent(one.id, one.at, one.action, one.actor, one.reason, one.after or {})
            for one in self._store("look").events(row.id, limit=limit)
        ]

    def look(self, id_or_flag: str, *, at: int | None = None) -> LookRow | None:
        """Return what was seen of a rollout last, or last before a moment, in microseconds.

        None where nobody had looked by then, or looks so old are not kept any more.
        """
        row = self._row(id_or_flag)
        found = self._store("look").looks.of(row.id, until=at)
        return found[0] if found else None

    def foreign(self, id_or_flag: str) -> Sequence[str]:
        """Return, in words, what somebody else changed in the flag since the rollout wrote it."""
        row = self._row(id_or_flag)
        _, state = _read(row)
        flag = self._operator.provider.get(row.flag)
        if flag is None or state.desired is None:
            return list(state.accepted)
        from downhaul.encoding import flag_from_data  # noqa: PLC0415  (only here)

        found = foreign_changes(flag_from_data(state.desired), flag, row.variant)
        return [*state.accepted, *(one for one in found if one not in state.accepted)]

    # Moving

    def pause(self, id_or_flag: str, reason: str = "") -> CommandResult:
        """Hold the exposure where it is."""
        return self._ask(id_or_flag, Verb.PAUSE, reason)

    def resume(self, id_or_flag: str, reason: str = "") -> CommandResult:
        """End a pause; the step bakes anew."""
        need_a_name(self._operator.desk, "resume a rollout")
        return self._ask(id_or_flag, Verb.RESUME, reason)

    def promote(
        self, id_or_flag: str, reason: str = "", *, step: int | None = None
    ) -> CommandResult:
        """Skip the rest of this step's bake; ``step`` (an index) says which one was meant.

        Raises Refused where the next step serves everybody, and the policy lets only others.
        """
        need_a_name(self._operator.desk, "promote a rollout")
        plan, state = _read(self._row(id_or_flag))
        self._need_right(plan, (state.step if step is None else step) + 1)
        return self._ask(id_or_flag, Verb.PROMOTE, reason, step=step)

    def rollback(self, id_or_flag: str, reason: str, *, overwrite: bool = False) -> CommandResult:
        """Take a live rollout back: off first, then as it was before.

        ``overwrite`` restores even where that undoes what somebody else changed since. Raises
        Refused without a reason.
        """
        _need_reason(reason, "rollback")
        return self._ask(id_or_flag, Verb.ROLLBACK, reason, overwrite=overwrite)

    def cancel(self, id_or_flag: str, reason: str = "") -> CommandResult:
        """End a live rollout and leave the flag as it is."""
        return self._ask(id_or_flag, Verb.CANCEL, reason)

    def revert(self, id_or_flag: str, reason: str, *, overwrite: bool = False) -> CommandResult:
        """Take a completed rollout back, within its revert window (rule R8).

        Raises Refused without a reason, after the window, or where a later rollout of the flag
        stands on it.
        """
        _need_reason(reason, "revert")
        store = self._store("revert")
        row = self._row(id_or_flag)
        plan, state = _read(row)
        self._check_revertible(store, row, state, plan)
        following = replace(
            state,
            phase=Phase.REVERTING,
            because=Because.BY_HAND.value,
            message=reason,
            act=Act.EXPOSED,
            overwrite=overwrite,
            foreign=(),
            failures=0,
            failed_at=0,
            told_at=0,
            looked_at=store.now(),
        )
        event = EventRow(
            "reverting", self._operator.actor, reason, {"variant": row.variant}, announce=True
        )
        store.reopen(row.id, row.revision, following.as_mapping(), following.phase.value, event)
        self._tick(row.id)
        now = self.get(row.id)
        done = now.phase in (Phase.REVERTED, Phase.LATCHED)
        return CommandResult(Verb.REVERT.value, now, done, _outcome(now))

    # Gates

    def approve(
        self,
        id_or_flag: str,
        reason: str,
        *,
        step: int | None = None,
        groups: Groups = NO_GROUPS,
    ) -> SignResult:
        """Approve the next step; ``step`` (an index) says which one is meant.

        ``groups`` are who is in the groups that a plan may name. Raises Refused without a reason,
        for a step that is not the next one or needs no approval, and for who may not approve it.
        """
        return self._sign(
            id_or_flag,
            "approve",
            reason,
            lambda at: signing.approval(at, given=True, step=step, groups=groups),
        )

    def reject(
        self,
        id_or_flag: str,
        reason: str,
        *,
        step: int | None = None,
        groups: Groups = NO_GROUPS,
    ) -> SignResult:
        """Say that the next step must not be entered, until the same person approves it."""
        return self._sign(
            id_or_flag,
            "reject",
            reason,
            lambda at: signing.approval(at, given=False, step=step, groups=groups),
        )

    def check(
        self, id_or_flag: str, item: str, reason: str = "", *, step: int | None = None
    ) -> SignResult:
        """Tick an item of the checklist. Raises Refused where it isn't its time."""
        return self._sign(
            id_or_flag, "check", reason, lambda at: signing.tick(at, item, given=True, step=step)
        )

    def uncheck(
        self, id_or_flag: str, item: str, reason: str = "", *, step: int | None = None
    ) -> SignResult:
        """Take back that an item is done."""
        return self._sign(
            id_or_flag, "uncheck", reason, lambda at: signing.tick(at, item, given=False, step=step)
        )

    # Inside

    def _sign(
        self, id_or_flag: str, verb: str, reason: str, sign: Callable[[signing.At], signing.Signing]
    ) -> SignResult:
        """Keep what somebody signs, for the rollout as they see it."""
        store, change = self._store(verb), self._change(reason)
        for left in reversed(range(_TRIES)):
            row = self._row(id_or_flag)
            plan, state = _read(row)
            facts = looking.at_rows(self._operator, store, [row]).facts(row, plan, state)
            signed = sign(signing.At(row.id, row.digest, plan, state, facts, store.now(), change))
            try:
                if not signed.again:
                    store.gates.sign(row, signed.new(), signed.event(change), change)
            except VersionConflict:  # a controller looked meanwhile: see whether it still holds
                if not left:
                    raise
                continue
            return SignResult(verb, self.get(row.id), signed.outcome, written=not signed.again)
        raise AssertionError  # the last try returned or raised

    def _ask(
        self,
        id_or_flag: str,
        verb: Verb,
        reason: str,
        *,
        step: int | None = None,
        overwrite: bool = False,
    ) -> CommandResult:
        store = self._store(verb.value)
        row = self._row(id_or_flag)
        if not row.live:
            raise Refused(
                f"rollout {row.id} is {row.phase.replace('_', ' ')}, and there is nothing to "
                f"{verb.value}",
                hint=_after_the_end(row),
                flag=row.flag,
            )
        _, state = _read(row)
        number = store.command(
            row.id,
            verb.value,
            state.step if step is None else step,
            {"overwrite": True} if overwrite else {},
            self._change(reason),
        )
        if verb in _FALLING:
            self._tick(row.id)
        command = store.command_done(number)
        until = time.monotonic() + (_WAIT if store.controllers(ALIVE) else 0.0)
        while command is not None and command.done_at is None and time.monotonic() < until:
            time.sleep(_LOOK)
            command = store.command_done(number)
        now = self.get(row.id)
        if command is None or command.done_at is None:
            if not now.state.live:
                store.dismiss(number, "the rollout had ended")
                back = verb is Verb.ROLLBACK and now.phase in (Phase.ROLLED_BACK, Phase.REVERTED)
                outcome = f"it had ended already: {_outcome(now)}"
                return CommandResult(verb.value, now, back, outcome, refused=not back)
            return CommandResult(verb.value, now, applied=False, outcome=_not_yet(now))
        refused = command.outcome.startswith("refused: ")
        outcome = command.outcome.removeprefix("refused: ")
        if verb is Verb.ROLLBACK and not refused:
            outcome = _outcome(now)
        return CommandResult(verb.value, now, not refused, outcome, refused)

    def _need_right(self, plan: Plan, step: int) -> None:
        """Raise Refused where a person takes a rollout to everybody, and has no right to."""
        if step < len(plan.steps) and plan.steps[step].weight >= WHOLE:
            need_right_to_promote_in_full(self._operator.desk, plan.flag)

    def _tick(self, rollout: str) -> None:
        """Carry out what was asked ourselves, unless a controller holds the rollout right now."""
        controller_for(self._operator, alerts=()).tick(only=rollout)

    def _check_revertible(
        self, store: RolloutStore, row: RolloutRow, state: State, plan: Plan
    ) -> None:
        if state.phase is not Phase.COMPLETED:
            raise Refused(
                f"rollout {row.id} is {row.phase.replace('_', ' ')}; only a completed one is "
                "reverted",
                hint=f"`rollout rollback {row.id}`" if row.live else None,
                flag=row.flag,
            )
        over = (store.now() - state.ended_at) / _SECOND - plan.revert_window
        if over > 0:
            raise Refused(
                f"the window to revert rollout {row.id} closed {over / 3600:.1f} hours ago",
                hint=f"`flags history {row.flag}` and `flags restore` bring earlier versions back",
                flag=row.flag,
            )
        latest = store.latest_of(row.flag)
        if latest is not None and latest.id != row.id:
            raise Refused(
                f"rollout {latest.id} of the same flag came later ({latest.phase})",
                hint="take that one back first, or use `flags restore`",
                flag=row.flag,
            )

    def _metrics_advice(self, plan: Plan) -> tuple[Advice, ...]:
        """Return what a start would refuse about where counts come from. Contacts nothing."""
        control: object = self._operator.control
        if not plan.checks or not isinstance(control, SqlControl):
            return ()
        try:
            metric_source(self._operator, plan)
        except ConfigError as error:
            if error.problems:
                return tuple(
                    Advice(Severity.ERROR, one.path, one.message, one.hint or "")
                    for one in error.problems
                )
            path, colon, rest = error.message.partition(": ")
            if not colon or not path.startswith("metrics."):
                path, rest = "metrics", error.message
            return (Advice(Severity.ERROR, path, rest, error.hint or ""),)
        return ()

    def _resolved(self, plan: Plan, flag: Flag) -> Plan:
        from downhaul.rollout.planfile import resolved  # noqa: PLC0415  (pydantic)

        return resolved(plan, flag)

    def _with_latencies(self, plan: Plan) -> Plan:
        if all(one.quantile is None for one in plan.checks):
            return plan
        from downhaul.rollout.latencies import with_latencies  # noqa: PLC0415  (few plans)

        return with_latencies(plan, metric_source(self._operator, plan), _LATELY)

    def _place(self, plan: Plan, flag: Flag | None) -> Place:
        """Return where the flag lives; its segments are only asked for where some are named."""
        from downhaul.rollout.lint_named import Place  # noqa: PLC0415  (as the lint)

        provider = self._operator.provider
        known = bool(plan.segments) and Capability.SEGMENTS in provider.capabilities
        segments = provider.list().segments if known else {}
        return Place(provider.name, provider.capabilities, segments, self._refusal(plan, flag))

    def _refusal(self, plan: Plan, flag: Flag | None) -> tuple[str, str] | None:
        """Return what the provider would refuse of the plan, and what to do about it."""
        variant = plan.variant or (None if flag is None else rising_variant(flag))
        if flag is None or variant is None or variant not in flag.variants:
            return None  # which the lint tells
        weights = [one.weight for one in plan.steps if not one.preview]
        try:
            self._operator.provider.check_rollout(flag.key, variant, weights, plan.targets)
        except Refused as error:
            return error.message, error.hint or ""
        return None

    def _kill_of(self, flag: Flag) -> Any:
        control = self._operator.control
        if control is None:
            return None
        return KillRegister().hear(control.kills()).overlay().kill_of(flag.key, flag.tags)

    def _last_rehearsal(self, flag: str) -> str:
        for one in self._store("look").rehearsals(flag):
            if (one.after or {}).get("held"):
                return one.at
        return ""

    def _change(self, reason: str) -> Change:
        return self._operator.change(reason)

    def _store(self, verb: str) -> RolloutStore:
        return _control(self._operator, verb).rollouts

    def _row(self, id_or_flag: str) -> RolloutRow:
        store = self._store("look")
        row = store.get(id_or_flag) or store.live_of(id_or_flag) or store.latest_of(id_or_flag)
        if row is not None:
            return row
        known = {name for one in store.newest(limit=200) for name in (one.id, one.flag)}
        raise FlagNotFound(
            f'no rollout "{id_or_flag}", and no flag of that key was ever rolled out in '
            f"{self._operator.environment}",
            hint=did_you_mean(id_or_flag, known) or "`rollout list` shows what there is",
        )

    def _shown(self, row: RolloutRow) -> Rollout:
        store = self._store("look")
        pending = store.commands([row.id])[row.id]
        found = _rollout(
            row, store.now(), store.controllers(ALIVE), tuple(one.verb for one in pending)
        )
        return looking.at_rows(self._operator, store, [row]).shown(found, row)


def _control(operator: Operator, verb: str) -> SqlControl:
    control: object = operator.control
    if isinstance(control, SqlControl):
        return control
    raise Refused(
        f"there is no control store to {verb} with: rollouts live in a SQL database",
        hint="set [control] url or DOWNHAUL_CONTROL_URL to sqlite:/// or postgresql://",
        provider=operator.provider.name,
    )


def _read(row: RolloutRow) -> tuple[Plan, State]:
    try:
        return Plan.from_mapping(row.plan), State.from_mapping(row.state)
    except (KeyError, TypeError, ValueError) as error:
        raise DownhaulError(
            f"rollout {row.id} can't be read here: {error}",
            hint="was it written by a newer version? its flag is left as it is",
            flag=row.flag,
        ) from error


def _rollout(row: RolloutRow, now: int, controllers: int, pending: tuple[str, ...]) -> Rollout:
    plan, state = _read(row)
    return Rollout(
        id=row.id,
        environment=row.environment,
        provider=row.provider,
        plan=plan,
        state=state,
        created_at=row.created_at,
        updated_at=row.updated_at,
        due_at=row.due_at,
        now=now,
        actor=row.actor,
        reason=row.reason,
        controllers=controllers,
        pending=pending,
        epoch=row.epoch,
    )


def _scheduled(plan: Plan, at: int, now: int) -> Plan:
    """Return the plan that begins then. Raises Refused for a time that lies behind."""
    if at < now:
        message = f"{moment_text(at)} lies behind: by the control store it is {moment_text(now)}"
        raise Refused(message, hint="name a later time, or leave it out", flag=plan.flag)
    return replace(plan, gates=replace(plan.gates, starts_at=at))


def _need_reason(reason: str, verb: str) -> None:
    if not reason.strip():
        message = f"a {verb} needs a reason, which everybody reads who meets it"
        raise Refused(message, hint='add --reason "what happened"')


def _revive(kill: KillRecord) -> str:
    what = "--all" if kill.scope == EVERYTHING else str(kill.scope)
    everywhere = " --all-environments" if kill.environment == "*" else ""
    return f"downhaul revive {what}{everywhere}"


def _after_the_end(row: RolloutRow) -> str:
    if row.phase == Phase.COMPLETED.value:
        return f"`rollout revert {row.id}` undoes it within its window"
    return f"`rollout explain {row.id}` tells how it ended"


def _not_yet(rollout: Rollout) -> str:
    if rollout.controllers:
        return "recorded; a controller will take it"
    return "recorded, and no controller is alive to take it: downhaul controller run"


def _outcome(rollout: Rollout) -> str:
    state = rollout.state
    match state.phase:
        case Phase.ROLLED_BACK | Phase.REVERTED:
            return "off, and restored as it was before the rollout"
        case Phase.LATCHED:
            return state.hold_message
        case Phase.ROLLING_BACK | Phase.REVERTING:
            return f"on its way back: {state.hold_message or 'not yet seen to be done'}"
        case _:
            return f"{state.phase.value.replace('_', ' ')}: {state.message}"
