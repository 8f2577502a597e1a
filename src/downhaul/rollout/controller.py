"""What moves rollouts: claim, observe, decide, intend, act, read back, save (rule R2).

Any number of controllers may run on one store. Each claims due rollouts under a lease; what one
does after its lease ended meets no row. On a provider that shares the control store, the flag and
the rollout's state change in one transaction; elsewhere an intent is written first, so that whoever
comes next after a crash recognises what was done.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from downhaul._version import __version__
from downhaul.analysis.evidence import Evidence
from downhaul.control.alerts import Alert
from downhaul.control.audited import audited
from downhaul.control.courier import Courier
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.errors import DownhaulError
from downhaul.flag import Flag
from downhaul.overlay import KillRecord, Scope, ScopeKind
from downhaul.provider import Capability, Change, FlagProvider
from downhaul.rollout.acts import aim, perform, snapshot_from
from downhaul.rollout.backend import BackendFailed, Moved, at_the_backend, unmoved
from downhaul.rollout.decide import decide
from downhaul.rollout.deciding.case import Asked, Decision, Happening, Seen
from downhaul.rollout.ending import Endings
from downhaul.rollout.gates import observing
from downhaul.rollout.gates.facts import NOTHING, Facts
from downhaul.rollout.gates.hooks import Hooks
from downhaul.rollout.killed import covers, kill_since
from downhaul.rollout.late import LateWrites
from downhaul.rollout.leases import Held
from downhaul.rollout.measuring import Measuring, SourceFor
from downhaul.rollout.owed import SwitchOffs
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import RETURNING, Act, State, Verb
from downhaul.rollout.turn import Turn
from downhaul.store.control import SqlControl
from downhaul.store.provider import SqlProvider
from downhaul.store.rollouts import (
    ALIVE,
    MISSING,
    Claim,
    CommandRow,
    LeaseLost,
    RolloutRow,
    Save,
)
from downhaul.wrappers.wrapper import Shared, shared

_log: Final = logging.getLogger("downhaul.controller")

LEASE: Final = 15.0
TICK: Final = 5.0
BATCH: Final = 25
LANES: Final = 4
"""How many rollouts are looked at at once where each look asks a backend elsewhere."""

_MARGIN: Final = 0.4  # of the lease: with less of it left, nothing is written at a provider
_TURNS: Final = (
    6  # decisions about one rollout within a tick: two acts, their reading, and the rest
)
_BROKEN_RETRY: Final = 60.0  # seconds until a row that can't be read is looked at again
_SECOND: Final = 1_000_000
_ASTRAY: Final = 60 * _SECOND  # a cursor so far ahead was set by another clock
_AWAY: Final = 5.0  # seconds between two looks at a store that is away, at most
_GLANCE: Final = 0.2  # seconds until the next look at announcements, whatever a sink does
_LAST_WORDS: Final = 2.0  # seconds for announcements when a controller ends
_BEAT: Final = 5.0  # seconds between two heartbeats
_SWEEP: Final = 600.0  # seconds between two looks for requests that were kept long enough
_PIECE: Final = 5000  # requests that are deleted at once; while there are more, one each turn

Points = Callable[[str, str], None]
"""Called with a point's name and the rollout's id on the way through a tick, to inject faults."""


@dataclass(frozen=True, slots=True)
class TickReport:
    """What one tick did. ``errors`` are in words; ``lost`` claims were taken over by others."""

    claimed: int = 0
    acted: int = 0
    lost: int = 0
    errors: tuple[str, ...] = ()
    unreachable: bool = False


class Controller:
    """Moves the rollouts of one environment at one provider.

    ``source_for`` makes the metric source of a plan. ``lease`` and ``tick`` are seconds.
    ``batch`` is how many rollouts a tick claims at most; the rest is left to whoever looks next.
    ``points`` is called on the way through a tick, for tests that stop a controller there.
    """

    def __init__(
        self,
        provider: FlagProvider,
        control: SqlControl,
        source_for: SourceFor,
        *,
        owner: str | None = None,
        alerts: Sequence[Alert] = (),
        lease: float = LEASE,
        tick: float = TICK,
        batch: int = BATCH,
        points: Points | None = None,
    ) -> None:
        self._named = owner
        self._named_in, self._name = os.getpid(), owner or _a_name()
        self.environment = control.rollouts.environment
        self.lease = lease
        self.interval = tick
        self.batch = batch
        self._provider = provider = audited(provider, control)
        self._control = control
        self._store = control.rollouts
        self._measuring = Measuring(source_for)
        self._alerts = tuple(alerts)
        self._courier = Courier(self._store.outbox, alerts, self._count)
        self._points = points or (lambda _name, _rollout: None)
        own = getattr(provider, "control", None)
        self._shared = shared(provider) if own is control else None
        self._switch_offs = SwitchOffs(provider, control, self._count)
        self._endings = Endings(provider, control, self._count)
        self._late = None if self._shared else LateWrites(provider, control, self._count)
        self._hooks = Hooks(self._store, self._count, lease=lease)
        self._lanes = 1 if self._shared else LANES
        self._held: dict[tuple[str, int], Held] = {}
        self._counts: dict[str, float] = {}
        self._counting = threading.Lock()
        self._last_tick = 0.0
        self._beaten = -_BEAT
        self._sweep_at = 0.0
        self._errors: dict[str, str] = {}  # the last one of each lane

    # Running

    @property
    def owner(self) -> str:
        """What this controller is called in leases and heartbeats; a forked child is another."""
        if self._named_in != os.getpid():
            self._named_in = os.getpid()
            self._name = f"{self._named}:{self._named_in}" if self._named else _a_name()
        return self._name

    def run(self, stop: threading.Event) -> None:
        """Tick until ``stop`` is set. A store that is away is tried again, for ever."""
        # Each in a thread of its own, because a backend or a sink that hangs must delay nothing.
        aside = _begin("downhaul-announce", self._aside, stop)
        _begin("downhaul-switch-off", self._pay, stop)
        _begin("downhaul-late-writes", self._watch, stop)
        _begin("downhaul-hooks", self._confirm, stop)
        _begin("downhaul-heartbeat", self._live, stop)
        lanes = [
            _begin(f"downhaul-lane-{number}", self._look_on, stop, f"{self.owner}/{number}")
            for number in range(1, self._lanes)
        ]
        self._look_on(stop, self.owner)
        until = time.monotonic() + self.lease
        for lane in lanes:
            lane.join(max(0.0, until - time.monotonic()))
        aside.join(_LAST_WORDS)
        with suppress(DownhaulError):
            self._store.leave(self.owner)

    def _look_on(self, stop: threading.Event, owner: str) -> None:
        """Tick as one lane of several, or as the only one."""
        failures = 0
        limit = self.batch if self._lanes == 1 else 1
        while not stop.is_set():
            report = self._tick(owner, limit)
            failures = failures + 1 if report.unreachable else 0
            if report.claimed >= limit:
                continue
            # Due times decide what a tick claims, so a look in between costs one statement.
            wait = min(self.interval, 1.0) if not failures else min(_AWAY, 2.0 ** (failures - 1))
            stop.wait(wait * random.uniform(0.8, 1.2))  # noqa: S311  (jitter)

    def run_once(self) -> TickReport:
        """Look once at everything that is due, and announce what is to be announced."""
        whole = TickReport()
        asked = False
        while True:
            report = self.tick()
            whole = TickReport(
                whole.claimed + report.claimed,
                whole.acted + report.acted,
                whole.lost + report.lost,
                whole.errors + report.errors,
                whole.unreachable or report.unreachable,
            )
            if report.claimed < self.batch:
                if asked or not self.ask_hooks():
                    break
                asked = True  # what they confirmed is due now
        with suppress(DownhaulError):
            self.settle()
            self.deliver()
            self._store.leave(self.owner)
        self._sweep()
        return whole

    def settle(self) -> None:
        """Do once what :meth:`run` does beside its ticks at the backend: kills, and late writes.

        Raises Unreachable where the store is away.
        """
        self._switch_offs.look()
        self._endings.look()
        if self._late is not None:
            self._late.look(at_all=True)

    def look_after_kills(self) -> None:
        """Do once what kills left to be done at the backend, and what is due at their ends."""
        for look in (self._switch_offs.look, self._endings.look):
            with suppress(DownhaulError):  # the store is away, which the looks tell of
                look()

    def tick(self, *, only: str | None = None) -> TickReport:
        """Look once at every rollout that is due, or at ``only`` one, due or not."""
        if only is not None:
            return self._tick(self.owner, 1, only)
        try:
            self._beat()
        except DownhaulError as error:
            return self._unreachable(error, self.owner)
        return self._tick(self.owner, self.batch)

    def _tick(self, owner: str, limit: int, only: str | None = None) -> TickReport:
        started = time.monotonic()
        try:
            claims = self._store.claim(
                owner, lease=self.lease, limit=limit, provider=self._provider.name, only=only
            )
        except DownhaulError as error:
            return self._unreachable(error, owner)
        report = self._move(claims, started, owner)
        self._count("ticks")
        self._count("tick_seconds", time.monotonic() - started)
        self._last_tick = time.monotonic()
        return report

    def _beat(self) -> None:
        """Say that this controller is alive, if that is due. Raises Unreachable."""
        now = time.monotonic()
        if now - self._beaten >= _BEAT:
            self._store.beat(self.owner, socket.gethostname(), os.getpid(), __version__)
            self._beaten = now

    def _live(self, stop: threading.Event) -> None:
        """Go on saying so, however long a look at a backend takes."""
        while not stop.is_set():
            with suppress(DownhaulError):  # the store is away, which the looks tell of
                self._beat()
            stop.wait(1.0)

    def _move(self, claims: Sequence[Claim], started: float, owner: str) -> TickReport:
        if not claims:
            self._errors[owner] = ""
            return TickReport()
        try:
            around = self._surroundings(claims)
        except DownhaulError as error:
            with suppress(DownhaulError):
                self._store.release(claims)
            return self._unreachable(error, owner)
        found = [self._try(claim, around, started) for claim in claims]
        found += self._save(found)
        errors = tuple(one.error for one in found if one.error)
        report = TickReport(
            len(claims),
            sum(one.acts for one in found),
            sum(one.lost for one in found),
            errors,
        )
        self._count("claimed", report.claimed)
        self._count("acted", report.acted)
        self._count("lost", report.lost)
        self._count("errors", len(errors))
        self._errors[owner] = errors[-1] if errors else ""
        return report

    def _try(self, claim: Claim, around: _Around, started: float) -> _Outcome:
        """Move one rollout; what goes wrong with it stops no other."""
        if self._left(started) < self.lease * _MARGIN:
            # Others may have it: it would be ours no more when it is saved.
            return self._give_back(claim, "", None)
        try:
            self._points("claimed", claim.row.id)
            with self._holding(claim):
                case = self._one(claim, around, started)
            if self._late is not None and case is not None and not case.state.live:
                self._late.soon()
            if case is None or case.saved:
                self._points("saved", claim.row.id)
                return _Outcome(0 if case is None else case.acts)
            return _Outcome(case.acts, pending=(claim, case.save()))
        except LeaseLost as error:
            _log.warning("%s", error.message)
            self._look_back(claim.row.id)
            return _Outcome(lost=True)
        except DownhaulError as error:
            _log.error("rollout %s: %s", claim.row.id, error)
            return self._give_back(claim, f"{claim.row.id}: {error}", self.interval)
        except Exception as error:  # noqa: BLE001  (a defect in one must not stop the others)
            _log.exception("rollout %s failed", claim.row.id)
            words = f"{claim.row.id}: {type(error).__name__}: {error}"
            return self._give_back(claim, words, self.interval)

    @contextmanager
    def _holding(self, claim: Claim) -> Iterator[None]:
        """Hold on to a claim for as long as a backend elsewhere takes to answer."""
        if self._shared is not None:
            yield
            return
        with Held(self._store, claim, self.lease) as held:
            self._held[claim.row.id, claim.epoch] = held
            try:
                yield
            finally:
                del self._held[claim.row.id, claim.epoch]

    def _look_back(self, rollout: str) -> None:
        """See what became of a write that we made after our time, however long we were stopped."""
        if self._late is not None:
            with suppress(DownhaulError):
                self._late.look_at(rollout)

    def _save(self, found: Sequence[_Outcome]) -> list[_Outcome]:
        """Commit what is left to be saved, all at once; one by one where that does not work."""
        pending = [one.pending for one in found if one.pending is not None]
        if not pending:
            return []
        try:
            lost = self._store.save_all(pending)
        except Exception:  # noqa: BLE001  (one that can't be kept must not stop the others)
            if len(pending) > 1:
                return [more for one in pending for more in self._save([_Outcome(pending=one)])]
            claim = pending[0][0]
            _log.exception("rollout %s could not be saved", claim.row.id)
            words = f"{claim.row.id}: it could not be saved"
            return [self._give_back(claim, words, self.interval)]
        for claim, _ in pending:
            self._points("saved", claim.row.id)
        for rollout in lost:
            self._look_back(rollout)
        return [_Outcome(lost=True) for _ in lost]

    def _give_back(self, claim: Claim, error: str, due_in: float | None) -> _Outcome:
        with suppress(DownhaulError):
            self._store.release([claim], due_in=due_in)
        return _Outcome(error=error)

    def health(self) -> dict[str, Any]:
        """Return how this controller stands, for a probe. Does no I/O."""
        age = time.monotonic() - self._last_tick if self._last_tick else None
        ready = age is not None and age < max(ALIVE, 3 * self.interval)
        return {
            "owner": self.owner,
            "environment": self.environment,
            "provider": self._provider.name,
            "ready": ready,
            "last_tick_seconds_ago": None if age is None else round(age, 3),
            "last_error": next(filter(None, tuple(self._errors.values())), ""),
        }

    def counters(self) -> Mapping[str, float]:
        """Return what was counted since the start: ticks, claims, acts, losses, errors."""
        return dict(self._counts)

    def deliver(self) -> int:
        """Give announcements that are due to the alerts; return how many were delivered.

        At least once: one that was sent and not marked is sent again, with the same id. One that
        some sink does not take is given up after many tries, and the log says so.
        """
        return self._courier.deliver()

    def ask_hooks(self) -> int:
        """Ask the services that are to be asked, wait for them, and return how many there were."""
        try:
            return self._hooks.look(wait=True)
        except DownhaulError as error:
            _log.warning("no service was asked: %s", error.message)
            return 0

    # One rollout

    def _one(self, claim: Claim, around: _Around, started: float) -> Turn | None:
        """Decide and act until nothing is left to do now; what then is not saved yet is returned.

        None for a rollout that this code can't read, and leaves alone.
        """
        try:
            plan = Plan.from_mapping(claim.row.plan)
            state = State.from_mapping(claim.row.state)
            snapshot = snapshot_from(claim.row.snapshot)
            was = flag_from_data(snapshot.document)
        except (KeyError, TypeError, ValueError) as error:
            self._leave_alone(claim, error)
            return None
        kept = _evidence(claim.row)
        if kept is not None and kept.cursor > claim.now + _ASTRAY:
            _log.warning("rollout %s counts anew: the store's clock went back", claim.row.id)
            kept = None
        evidence = kept or Evidence(state.step, claim.now, begun=claim.now)
        case = Turn(claim, plan, state, snapshot, was, evidence)
        case.now = claim.now
        case.holds(kept)
        asked = case.asked(around.commands.get(claim.row.id, ()))
        for turn in range(_TURNS):
            seen = self._observe(case, around, asked if turn == 0 else (), first=turn == 0)
            self._points("observed", claim.row.id)
            decision = decide(plan, case.state, seen)
            self._points("decided", claim.row.id)
            case.take(decision)
            if seen.unreachable:
                self._hold_the_line(case, around, seen.unreachable)
            if decision.action is None or not self._act(case, around, decision, seen, started):
                break
            if case.saved:
                break
        else:
            case.due_in = 0.0
        return case

    def _observe(
        self, case: Turn, around: _Around, asked: tuple[Asked, ...], *, first: bool
    ) -> Seen:
        row = case.claim.row
        flag, unreachable = None, ""
        try:
            with at_the_backend():
                if first and around.flags is not None:
                    found = around.flags.get(row.flag)
                    if isinstance(found, DownhaulError):
                        raise found
                    flag = found
                else:
                    flag = self._provider.get(row.flag)
        except BackendFailed as error:
            unreachable = error.message
        if first:
            if not unreachable:
                self._recognise(case, flag)
            # Who takes it back or ends it does not wait for a metric source.
            if not any(one.verb in (Verb.ROLLBACK, Verb.CANCEL) for one in asked):
                self._measure(case, around)
        else:
            case.now = max(case.now, self._store.now())
        ours = Capability.FLAG_SET in self._provider.capabilities
        return Seen(
            now=case.now,
            flag=flag,
            snapshot=case.was,
            unreachable=unreachable,
            kill=kill_since(around.kills, flag or case.was, row.created_at),
            findings=case.findings,
            metrics_error=case.metrics_error,
            asked=asked,
            put_off=case.put_off,
            gates=self._gates(case, around, flag),
            missing=() if flag is None else case.yet_to_come(flag, ours=ours),
        )

    def _gates(self, case: Turn, around: _Around, flag: Flag | None) -> Facts:
        """Return what the gates are looked at with. No way back looks at any."""
        if not case.plan.gates or case.state.phase in RETURNING:
            return NOTHING
        known = observing.Around(
            around.kills,
            lambda: self._answers(case),
            observing.anybody_told(self._alerts),
        )
        row = case.claim.row
        return observing.facts_of(self._store, row, case.plan, flag, around.gates, known)

    def _answers(self, case: Turn) -> bool:
        """Return whether the metric source answers; before the start nobody measured yet."""
        if case.state.started_at:
            return case.findings is not None
        return self._measuring.answers(case.plan)

    def _recognise(self, case: Turn, flag: Flag | None) -> None:
        """Find what an earlier controller had sent when it ended, and whether it arrived."""
        if self._shared:
            return
        can = self._provider.capabilities
        whole, ours = Capability.COMPARE_AND_SET in can, Capability.FLAG_SET in can
        found: set[tuple[str, Any]] = set()
        for intent in self._store.intents(case.claim.row.id, missing=True):
            if intent.state != MISSING:
                arrived = flag is not None and case.recognises(intent, flag, whole=whole, ours=ours)
                what = (intent.operation, intent.detail.get("weight"))
                # Of two that meant the same one was seen, and the other may be on its way still.
                confirmed = arrived and what not in found
                case.settled[intent.id] = "confirmed" if confirmed else MISSING
                if confirmed:
                    found.add(what)
                    continue
            case.missing.append(intent)

    def _measure(self, case: Turn, around: _Around) -> None:
        """Take in what is new since the last look, and judge; no findings if the source is away."""
        plan, state = case.plan, case.state
        if not plan.checks or not state.started_at or state.phase in RETURNING:
            case.findings, case.metrics_error = (), ""
            return
        case.measured(self._measuring.look(plan, state.step, case.evidence, around.watermarks))

    def _act(
        self, case: Turn, around: _Around, decision: Decision, seen: Seen, started: float
    ) -> bool:
        """Write what was decided, and keep the state that follows; return whether it was done."""
        if self._left(started) < self.lease * _MARGIN:
            self._store.renew(case.claim, self.lease)
        try:
            if self._shared is not None:
                with at_the_backend():  # which is the store itself
                    self._act_in_one(self._shared, case, decision, seen)
            else:
                self._act_with_intent(case, decision, seen)
        except Moved:
            case.due_in = 0.0
            return False
        except BackendFailed as error:
            case.fail(error.message, seen.now)
            self._hold_the_line(case, around, error.message)
            return False
        case.acts += 1
        return True

    def _act_in_one(self, backend: Shared, case: Turn, decision: Decision, seen: Seen) -> None:
        """Change the flag and the rollout's state in one transaction: nothing is in between."""
        assert decision.action is not None  # noqa: S101  (the caller looked)
        claim, action = case.claim, decision.action
        change = self._change(case, action.operation, step=decision.step)
        self._points("before_write", claim.row.id)
        with self._store.holding(claim) as connection:
            provider = backend.within(connection)
            flag = unmoved(provider, action, seen, held=True)
            after = perform(provider, flag, case.plan.variant, action, case.snapshot, change)
            self._points("within_write", claim.row.id)
            self._store.note_intent(
                connection, claim, change.id, action.operation, {"version": after.version}
            )
            following = case.followed(decision, after)
            self._store.save_in(connection, claim, following.save())
        case.become(following)
        self._points("after_write", claim.row.id)

    def _act_with_intent(self, case: Turn, decision: Decision, seen: Seen) -> None:
        """Write down what is meant, do it at the provider, read back, and save."""
        assert decision.action is not None  # noqa: S101  (the caller looked)
        claim, action = case.claim, decision.action
        with at_the_backend():  # which may be unable to take it
            meant = None if seen.flag is None else aim(seen.flag, case.plan.variant, action)
        intent = self._store.intend(
            claim,
            action.operation,
            {
                "weight": action.weight,
                "step": decision.step,
                "aim": None if meant is None else flag_to_data(meant),
            },
        )
        self._points("intended", claim.row.id)
        change = replace(self._change(case, action.operation, step=decision.step), id=intent)
        self._store.renew(claim, self.lease)
        renewed = time.monotonic()
        self._points("before_write", claim.row.id)
        try:
            with at_the_backend():
                flag = unmoved(self._provider, action, seen, held=False)
                self._need_time(claim, renewed)
                after = perform(
                    self._provider,
                    flag,
                    case.plan.variant,
                    action,
                    case.snapshot,
                    change,
                    at_once=Capability.COMPARE_AND_SET in self._provider.capabilities,
                )
        except Moved:
            case.settled[intent] = "superseded"
            raise
        self._points("after_write", claim.row.id)
        case.settled[intent] = "confirmed"
        following = case.followed(decision, after)
        self._store.save(claim, following.save())
        case.become(following)

    def _hold_the_line(self, case: Turn, around: _Around, why: str) -> None:
        """Kill the flag where its backend can't be told to put it off (rules R4, K1).

        The overlay lives in the control store, which is another place than the backend that is
        away. A person lifts it: no rollout ever does, and none says it again after that.
        """
        state, row = case.state, case.claim.row
        if self._shared or state.phase not in RETURNING or state.act is Act.OFF:
            return
        words = [one for one in around.kills if covers(one, case.was)]
        said = state.failures > 1 and any(one.sequence > state.failed_at for one in words)
        if said or any(one.killed for one in words):
            return
        reason = f"rollout {row.id} is rolling back, and its backend is away: {why}"
        change = self._change(case, "kill", reason)
        try:
            self._control.record_kill(Scope(ScopeKind.FLAG, row.flag), change, killed=True)
        except DownhaulError as error:
            _log.error("%s is exposed, and could not be killed yet: %s", row.flag, error)
            return
        case.tell(Happening("killed", reason))  # the kill is announced with its own row

    def _leave_alone(self, claim: Claim, error: Exception) -> None:
        """Give back a rollout that this code can't read, without touching it."""
        _log.error("rollout %s can't be read here: %s", claim.row.id, error)
        self._count("unreadable")
        self._store.release([claim], due_in=_BROKEN_RETRY)

    # Small parts

    def _surroundings(self, claims: Sequence[Claim]) -> _Around:
        """Read what all claims of a tick share: commands, kills, and the flags of a database."""
        commands = self._store.commands(claim.row.id for claim in claims)
        kills = self._control.kills()
        flags: Mapping[str, Flag | DownhaulError] | None = None
        if isinstance(self._provider, SqlProvider):
            flags = self._provider.get_many(claim.row.flag for claim in claims)
        gates = observing.kept_of(self._store, (claim.row for claim in claims))
        return _Around(commands, kills, flags, gates)

    def _change(
        self, case: Turn, operation: str, reason: str = "", *, step: int | None = None
    ) -> Change:
        row = case.claim.row
        number = (case.state.step if step is None else step) + 1
        why = reason or f"rollout {row.id}: {operation}, step {number}"
        return Change(f"controller ({row.actor})", why)

    def _left(self, started: float) -> float:
        """Return how much of the leases is left, by a clock that goes on while we are stopped."""
        return self.lease - (time.monotonic() - started)

    def _need_time(self, claim: Claim, renewed: float) -> None:
        """Raise Moved where we were stopped for so long that another may have gone on."""
        held = self._held.get((claim.row.id, claim.epoch))
        if held is not None:
            renewed = max(renewed, held.renewed)
        if self._left(renewed) < self.lease * _MARGIN:
            message = f"the lease of rollout {claim.row.id} has nearly ended"
            raise Moved(message, flag=claim.row.flag)

    def _unreachable(self, error: DownhaulError, owner: str) -> TickReport:
        if error.message not in self._errors.values():
            _log.warning("the control store is away: %s", error.message)
        self._errors[owner] = error.message
        self._count("unreachable")
        return TickReport(errors=(str(error),), unreachable=True)

    def _aside(self, stop: threading.Event) -> None:
        """Announce from a thread of its own: a sink that hangs delays no rollout."""
        said = ""
        while not stop.wait(min(1.0, self.interval)):
            try:
                self._courier.deliver(_GLANCE)
                said = ""
            except DownhaulError as error:
                if error.message != said:
                    _log.warning("announcements wait: %s", error)
                said = error.message
            self._sweep()
        with suppress(DownhaulError):
            self._courier.deliver(_LAST_WORDS)

    def _pay(self, stop: threading.Event) -> None:
        """Do at the backend what kills left to be done there, and what is due at their ends."""
        self._repeat(stop, self.look_after_kills)

    def _watch(self, stop: threading.Event) -> None:
        """Look after ended rollouts of which a write may arrive yet."""
        if self._late is not None:
            self._repeat(stop, self._late.look)

    def _repeat(self, stop: threading.Event, look: Callable[[], object]) -> None:
        """Look again and again; a defect in one look must not be the end of them."""
        while not stop.wait(min(1.0, self.interval)):
            try:
                with suppress(DownhaulError):  # the store is away, which the ticks tell of
                    look()
            except Exception:  # noqa: BLE001  (a vendor's SDK may raise anything)
                _log.exception("a look beside the rollouts failed")

    def _confirm(self, stop: threading.Event) -> None:
        """Ask the services that rollouts wait for."""
        self._repeat(stop, self._hooks.look)

    def _sweep(self) -> None:
        """Delete one piece of what the request log has kept long enough, if it is time to look."""
        now = time.monotonic()
        if now < self._sweep_at:
            return
        self._sweep_at = now + _SWEEP
        try:
            gone = self._control.requests.sweep(limit=_PIECE)
            self._store.looks.sweep(limit=_PIECE)
        except DownhaulError as error:
            _log.warning("old requests could not be deleted: %s", error)
            self._count("sweeps_failed")
            return
        self._count("requests_deleted", gone)
        if gone >= _PIECE:
            self._sweep_at = now

    def _count(self, name: str, value: float = 1.0) -> None:
        with self._counting:
            self._counts[name] = self._counts.get(name, 0.0) + value


def _a_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"


def _begin(name: str, target: Callable[..., None], *words: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=words, name=name, daemon=True)
    thread.start()
    return thread


@dataclass(frozen=True, slots=True)
class _Around:
    """What all rollouts of a tick share."""

    commands: Mapping[str, list[CommandRow]]
    kills: Sequence[KillRecord]
    flags: Mapping[str, Flag | DownhaulError] | None
    gates: observing.Kept
    watermarks: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one claim within a tick."""

    acts: int = 0
    lost: bool = False
    error: str = ""
    pending: tuple[Claim, Save] | None = None


def _evidence(row: RolloutRow) -> Evidence | None:
    """Return the evidence as it is kept; None for a new rollout, or where it can't be read."""
    if not row.evidence:
        return None
    try:
        return Evidence.from_mapping(row.evidence)
    except (KeyError, TypeError, ValueError) as error:
        _log.error("the evidence of rollout %s can't be read: %s", row.id, error)
        return None
