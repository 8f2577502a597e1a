"""One rollout within a tick: its state as it moves, and what is to be saved with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from downhaul.analysis.evidence import Evidence
from downhaul.analysis.model import Finding
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.flag import Flag
from downhaul.provider import ProviderSnapshot
from downhaul.rollout.acts import as_kept
from downhaul.rollout.deciding.case import Asked, Decision, Happening, Operation
from downhaul.rollout.deciding.moves import failed, retry_in
from downhaul.rollout.deciding.overdue import remind
from downhaul.rollout.deciding.wayback import exposure_off
from downhaul.rollout.drift import Drift, drift_of, exposure_of, lies_between
from downhaul.rollout.measuring import Measured, look_of
from downhaul.rollout.plan import Plan
from downhaul.rollout.state import RETURNING, Act, State, Verb
from downhaul.store.gates import NewCall
from downhaul.store.rollouts import (
    Claim,
    CommandRow,
    EventRow,
    IntentRow,
    Save,
)

_VERBS: Final = frozenset(one.value for one in Verb)
_STUCK: Final = 3  # failures in a row after which people hear of it


class Turn:
    """One rollout within a tick: its state as it moves, and what is to be saved with it."""

    def __init__(
        self,
        claim: Claim,
        plan: Plan,
        state: State,
        snapshot: ProviderSnapshot,
        was: Flag,
        evidence: Evidence,
    ) -> None:
        self.claim = claim
        self.plan = plan
        self.state = state
        self.snapshot = snapshot
        self.was = was
        self.evidence = evidence
        self._kept: Evidence | None = None  # what the row holds already
        self.put_off = False  # found to be, by a controller that ended before it could tell
        self.now = 0
        self.acts = 0
        self.due_in = 0.0
        self.saved = False
        self.findings: tuple[Finding, ...] | None = ()
        self.metrics_error = ""
        self.settled: dict[str, str] = {}
        self.missing: list[IntentRow] = []  # writes that were sent, and may arrive yet
        self._events: list[Happening] = []
        self._done: dict[int, str] = {}
        self._calls: tuple[NewCall, ...] = ()
        self.acts_left = False
        self._measured: Measured | None = None
        self._look: Mapping[str, Any] | None = None

    def measured(self, found: Measured) -> None:
        """Take in what the metric source brought."""
        self.evidence, self.findings, self.metrics_error = (
            found.evidence,
            found.findings,
            found.error,
        )
        self._measured = found

    def holds(self, evidence: Evidence | None) -> None:
        """Remember that the row holds this evidence, and need not be given it again."""
        self._kept = evidence

    def asked(self, rows: Sequence[CommandRow]) -> tuple[Asked, ...]:
        """Return what people ask. A verb that only another version knows is refused."""
        known = [one for one in rows if one.verb in _VERBS]
        for one in rows:
            if one not in known:
                self._done[one.id] = f"refused: this version knows no {one.verb}"
        return tuple(map(_asked, known))

    def recognises(self, intent: IntentRow, flag: Flag, *, whole: bool, ours: bool) -> bool:
        """Return whether what was intended arrived.

        What was cut off in the middle is ours too, unless the backend takes only ``whole`` writes:
        there, what lies between is somebody else's. A backend whose evaluator is not ``ours``
        shows a split by its own hash.
        """
        variant = self.plan.variant
        match intent.operation:
            case Operation.START | Operation.RAISE:
                if self.state.desired is None or intent.detail.get("aim") is None:
                    return False
                meant = flag_from_data(intent.detail["aim"])
                if not ours:
                    meant = as_kept(flag, meant)
                arrived = drift_of(meant, flag, variant) is Drift.NONE
                before = flag_from_data(self.state.desired)
                if arrived or (not whole and lies_between(before, meant, flag)):
                    self.state = replace(self.state, desired=flag_to_data(flag))
                return arrived
            case Operation.OFF | Operation.LOWER:
                self.put_off = exposure_of(flag, variant) <= float(intent.detail.get("weight", 0))
                return self.put_off
            case _:
                return drift_of(self.was, flag, variant) is Drift.NONE

    def yet_to_come(self, flag: Flag, *, ours: bool) -> tuple[Flag, ...]:
        """Return what the writes that are missing would make of the flag."""
        meant = [one.detail["aim"] for one in self.missing if one.detail.get("aim") is not None]
        flags = map(flag_from_data, meant)
        return tuple(one if ours else as_kept(flag, one) for one in flags)

    def take(self, decision: Decision) -> None:
        """Take in a decision; its action, if any, is still to be done."""
        if self._measured is not None:
            look = look_of(self.plan, self.state, self._measured, decision)
            if look is not None:
                self._look = look
                self.evidence = replace(self.evidence, told=self.evidence.cursor)
            self._measured = None
        self.state = decision.state
        self.due_in = decision.due_in
        self._events += decision.happened
        self._calls = tuple(
            NewCall(one.hook, one.door.step, one.door.since) for one in decision.calls
        )
        if self.put_off and self.state.act is Act.OFF:
            self.put_off = False
            self.tell(exposure_off(self.state))
            self.state = replace(self.state, failed_at=0, told_at=0)
        self._done |= {
            number: f"refused: {words}" if number in decision.refused else words
            for number, words in decision.done.items()
        }
        if decision.fresh:
            self.evidence = self.evidence.for_step(self.state.step, self.now)
            self.findings = () if not self.plan.checks else self.findings
        self.saved = False

    def followed(self, decision: Decision, after: Flag) -> Turn:
        """Return this turn as it is once the action was seen to be done."""
        assert decision.action is not None  # noqa: S101  (the caller looked)
        assert decision.then is not None  # noqa: S101  (an action has one)
        turn = Turn(self.claim, self.plan, decision.then, self.snapshot, self.was, self.evidence)
        turn.now, turn.acts, turn.due_in = self.now, self.acts, decision.due_in
        turn.settled = dict(self.settled)
        turn.missing = self.missing
        turn._events = [*self._events, *decision.afterwards]
        turn._done = dict(self._done)
        turn._kept = self._kept
        turn._look = self._look
        turn.acts_left = True
        if decision.action.operation in (Operation.START, Operation.RAISE):
            turn.state = replace(turn.state, desired=flag_to_data(after))
            turn.evidence = self.evidence.for_step(turn.state.step, self.now)
            if self.plan.steps[
                self.state.step
            ].preview:  # whom somebody chose proves nothing of all
                turn.evidence = replace(turn.evidence, progress={})
        return turn

    def become(self, other: Turn) -> None:
        """Be the turn that was saved; what it told is told."""
        self.state, self.evidence = other.state, other.evidence
        self.holds(other.evidence)
        self.due_in = other.due_in
        self.settled, self._events, self._done, self._look = {}, [], {}, None
        self.saved = self.state.phase not in RETURNING

    def fail(self, why: str, now: int) -> None:
        """Keep account of an action that was not done."""
        before = self.state.failures
        self.state = failed(self.state, why, now)
        self.due_in = retry_in(self.state)
        self.saved = False
        if before + 1 == _STUCK:
            self.tell(Happening("stuck", f"{_STUCK} tries failed: {why}", announce=True))
        self.state, told = remind(self.plan, self.state, why, now)
        self._events += told

    def tell(self, happening: Happening) -> None:
        """Add to the history."""
        self._events.append(happening)

    def save(self) -> Save:
        """Return all that is to be committed. Between the acts of the way back the lease stays."""
        return Save(
            self.state.as_mapping(),
            self.state.phase.value,
            live=self.state.live,
            due_in=self.due_in,
            evidence=None if self.evidence is self._kept else self.evidence.as_mapping(),
            events=[
                EventRow(
                    one.action,
                    one.actor or "controller",
                    one.reason,
                    {"variant": self.plan.variant, "phase": self.state.phase.value, **one.detail},
                    announce=one.announce,
                )
                for one in self._events
            ],
            done=self._done,
            settled=self.settled,
            look=self._look,
            keep=self.acts_left and self.state.phase in RETURNING,
            calls=self._calls,
        )


def _asked(row: CommandRow) -> Asked:
    return Asked(
        id=row.id,
        verb=Verb(row.verb),
        step=row.step,
        actor=row.actor,
        reason=row.reason,
        overwrite=bool(row.options.get("overwrite", False)),
        marked=row.marked,
    )
