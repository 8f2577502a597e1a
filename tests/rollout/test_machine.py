"""Rollouts under anything that may happen: commands, hands, kills, outages, crashes, and time.

A machine drives the real decisions and the real acts on a real provider; what a controller keeps in
rows is kept in fields here. After each of its moves it is asked who is served.
"""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rollout_cases import (
    BAKE,
    CLEAN,
    DRY_RUN,
    NO_DATA,
    NOW,
    REGRESSED,
    RELEASE,
    RINGS,
    RISES,
    SIGNAL,
    TICK,
    UNDECIDED,
    WHO,
    held_back,
)
from rollout_cases import plan_of as made_plan

from downhaul.backends.edits import (
    names_segment,
    targeted,
    with_on,
    with_rollout,
    with_segments,
    with_targets,
)
from downhaul.backends.memory import MemoryProvider
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.errors import DownhaulError, Unreachable
from downhaul.evaluator.compile import World
from downhaul.evaluator.view import View
from downhaul.flag import Flag, Keys, Segment
from downhaul.overlay import KillRecord, Overlay, Scope
from downhaul.provider import FlagSet
from downhaul.rollout.acts import aim, perform
from downhaul.rollout.decide import decide
from downhaul.rollout.deciding.case import SECOND, Asked, Operation, Seen
from downhaul.rollout.deciding.moves import failed
from downhaul.rollout.deciding.wayback import REASSERTIONS
from downhaul.rollout.drift import Drift, drift_of, exposure_of, lies_between
from downhaul.rollout.gates.facts import Answer, Door, Facts, SignKind, Signoff, door_of
from downhaul.rollout.gates.model import Approval, Gates, Hook, HookWhen, Item, TextAt, When
from downhaul.rollout.gates.times import Window
from downhaul.rollout.plan import OnMetricsLost, OnUndecided, Step, Strategy
from downhaul.rollout.state import RETURNING, Act, Because, Phase, State, Verb

USERS = ("ben", "eve", "qa", *(f"user-{number}" for number in range(40)))
SEGMENTS = (
    Segment("staff", (Keys(frozenset({"ben", "user-1", "user-2"})),)),
    Segment("beta", (Keys(frozenset({"user-2", "user-3"})),)),
)
NAMING = {"release": RELEASE, "rings": RINGS, "rings held back": RINGS}
KILL = KillRecord(Scope.parse("agent"), 1, killed=True, actor="ben", reason="no")
FAULTS = ("", "refuses", "answer is lost", "second write fails", "dies before", "dies after")
GOOD = (CLEAN, DRY_RUN)
FINDINGS = {
    "clean": CLEAN,
    "dry run": DRY_RUN,
    "undecided": UNDECIDED,
    "no data": NO_DATA,
    "not made": (),
    "bad": REGRESSED,
    "signal": SIGNAL,
    "lost": None,
}
BACK = RETURNING | {Phase.LATCHED}
FROZEN = (NOW + 100 * SECOND, NOW + 400 * SECOND)
EVERY_GATE = Gates(
    checklist=(Item("on-call", "who"), Item("feedback", "what they say", When.DURING)),
    approvals=(Approval(("ben", "eve"), at_least=40_000),),
    freezes=(Window(*FROZEN),),
    hooks=tuple(Hook(one.value, TextAt("text", "https://x"), one) for one in HookWhen),
    starts_at=NOW + 20 * SECOND,
)
GATES = (
    Gates(),
    Gates(),
    Gates(approvals=EVERY_GATE.approvals),
    Gates(freezes=EVERY_GATE.freezes, starts_at=EVERY_GATE.starts_at),
    EVERY_GATE,
)


class Crash(Exception):
    """The controller is no more; what it had not saved is gone."""


class Backend(MemoryProvider):
    """A provider that fails as it is told to: before a write, after it, or after its first part."""

    down = False
    fault = ""

    def get(self, key):
        if self.down:
            raise Unreachable("it timed out")
        return super().get(key)

    def _put_flag(self, flag, before, action, change):
        if self.down or self.fault == "refuses":
            raise Unreachable("it timed out")
        if self.fault == "dies before":
            raise Crash
        if self.fault == "second write fails":
            self.fault = "refuses"
        after = super()._put_flag(flag, before, action, change)
        if self.fault == "answer is lost":
            raise Unreachable("it timed out")
        if self.fault == "dies after":
            raise Crash
        return after

    def by_hand(self, flag):
        """Write as somebody at the vendor's console does."""
        fault, self.fault, self.down, down = self.fault, "", False, self.down
        self.put(flag, WHO)
        self.fault, self.down = fault, down


class Rollout(RuleBasedStateMachine):
    """One rollout of one flag, from before its start to after its end."""

    @initialize(
        percents=st.sampled_from([(10, 50, 100), (20, 40), (100,)]),
        shape=st.sampled_from(
            [
                "canary",
                "held back",
                "blue-green",
                "blue-green held back",
                "blue-green to a segment",
                "release",
                "rings",
                "rings held back",
            ]
        ),
        on=st.booleans(),
        before=st.sampled_from([0, 5]),
        undecided=st.sampled_from(OnUndecided),
        lost=st.sampled_from(OnMetricsLost),
        limit=st.sampled_from([None, 600.0]),
        at_once=st.booleans(),
        bakes=st.sampled_from([0, 1, 1, 2, 4]),
        gates=st.sampled_from(GATES),
    )
    def plan_it(
        self, *, percents, shape, on, before, undecided, lost, limit, at_once, bakes, gates
    ):
        fields = {"on_undecided": undecided, "on_metrics_lost": lost, "max_duration": limit}
        self.plan = made_plan(*percents, metrics_lost_after=30.0, **fields)
        if shape.startswith("blue-green"):
            segments = ("staff",) if shape.endswith("segment") else ()
            preview = Step(before * 1000, BAKE, 3 * BAKE, preview=True, segments=segments)
            steps = (preview, Step(100_000, BAKE, 3 * BAKE))
            self.plan = replace(
                self.plan, strategy=Strategy.BLUE_GREEN, steps=steps, audience=("qa",)
            )
        if shape in NAMING:
            named = tuple(replace(one, weight=before * 1000) for one in NAMING[shape].steps[:-2])
            self.plan = replace(
                self.plan,
                strategy=NAMING[shape].strategy,
                steps=(*named, *self.plan.steps),
            )
        if shape.endswith("held back"):
            self.plan = held_back(self.plan)
        self.plan = replace(self.plan, gates=gates)
        self.signed = []
        self.answers_given = {}
        self.flag = Flag.boolean("agent", on=on, percent=before, deny=["ben"])
        self.backend = Backend(FlagSet.of([self.flag], SEGMENTS))
        self.snapshot = self.backend.snapshot("agent")
        self.before = flag_from_data(self.snapshot.document)
        self.at_once = at_once
        self.now = NOW
        self.state = State(desired=flag_to_data(self.before))
        self.intents = []
        self.asked = []
        self.killed = False
        self.kill_word = ""
        self.findings = "clean"
        self.entered = []  # the steps that were seen at the backend, in order
        self.highest = before * 1000  # what anybody let out so far
        self.taken_off = False  # a person put it off, and the rollout knows
        self.view = View(World({}, {one.key: one for one in SEGMENTS}))
        self.answered = {}
        for _ in range(bakes):
            self.bake()

    # Who is served

    def answers(self, flag, *, killed=False):
        """Return each user's variant."""
        key = (json.dumps(flag_to_data(replace(flag, version="", description=""))), killed)
        if key not in self.answered:
            self.view.change({"agent": flag}, {})
            self.view.overlay(Overlay(flags={"agent": KILL}) if killed else Overlay())
            answer = self.view.results["agent"]
            self.answered[key] = {user: answer(user).variant for user in USERS}
        return self.answered[key]

    def served(self, flag):
        if flag is None:
            return set()
        return {user for user, variant in self.answers(flag).items() if variant == "on"}

    @property
    def kept(self):
        """The flag, whether or not the backend answers."""
        return self.backend.list().flags.get("agent")

    # What happens to it

    @rule(verb=st.sampled_from([Verb.RESUME, Verb.PROMOTE, Verb.PAUSE]), late=st.booleans())
    def steer(self, verb, late):
        self.ask(verb, step=self.state.step - late)

    @precondition(lambda self: self.plan.gates.approvals)
    @rule(who=st.sampled_from(["ben", "ben", "eve", "dan"]), given=st.sampled_from([True, True, 0]))
    def sign(self, who, given):
        door = door_of(self.state)
        if door is not None:
            sign = Signoff(SignKind.APPROVAL, "", door, bool(given), who, (who,))
            self.signed.append(sign)

    @precondition(lambda self: self.plan.gates.checklist)
    @rule(item=st.sampled_from(["on-call", "feedback"]), given=st.sampled_from([True, True, False]))
    def mark(self, item, given):
        door = Door(0, 0) if item == "on-call" else door_of(self.state)
        if door is not None:
            self.signed.append(Signoff(SignKind.ITEM, item, door, given, "dan"))

    @precondition(lambda self: self.answers_given)
    @rule(confirmed=st.sampled_from([True, True, False]))
    def answer(self, confirmed):
        for call, was in self.answers_given.items():
            self.answers_given[call] = was or confirmed

    @property
    def facts(self):
        answers = tuple(Answer(*call, one, 1) for call, one in self.answers_given.items())
        return Facts("ana", tuple(self.signed), answers)

    @rule(verb=st.sampled_from([Verb.ROLLBACK, Verb.ROLLBACK, Verb.CANCEL]), over=st.booleans())
    def end(self, verb, over):
        self.ask(verb, overwrite=over)

    def ask(self, verb, step=0, *, overwrite=False):
        self.asked.append(Asked(len(self.asked) + 1, verb, step, "ana", "", overwrite))

    @rule(part=st.sampled_from([0, 1, 3, 30, 80, 100]))
    def move_by_hand(self, part):
        if self.kept is not None:
            flag = with_rollout(self.kept, "on", part * 1000)
            self.backend.by_hand(flag)
            self.highest = max(self.highest, part * 1000)

    @rule(on=st.booleans())
    def switch_by_hand(self, on):
        if self.kept is not None:
            self.backend.by_hand(with_on(self.kept, on))
            self.taken_off = False

    @rule(keys=st.sampled_from([(), ("eve",)]))
    def target_by_hand(self, keys):
        if self.kept is not None:
            self.backend.by_hand(with_targets(self.kept, "on", keys))

    @rule(names=st.sampled_from([(), ("staff",)]))
    def name_by_hand(self, names):
        """Name a segment, or take every rule out."""
        if self.kept is not None:
            bare = replace(self.kept, rules=())
            self.backend.by_hand(with_segments(bare, "on", names))

    @rule()
    def describe_by_hand(self):
        if self.kept is not None:
            self.backend.by_hand(replace(self.kept, description=f"at {self.now}"))

    @rule(what=st.sampled_from(["kill", "revive", "delete", "make again", "outage", "all well"]))
    def disaster(self, what):
        match what:
            case "kill" | "revive":
                self.killed = what == "kill"
                if self.killed:
                    self.kill_word = "agent by ben: no"  # one that was lifted since counts too
            case "delete" if self.kept is not None:
                self.backend.delete("agent", WHO)
            case "make again" if self.kept is None:
                wanted = flag_from_data(self.state.desired)
                self.backend.by_hand(replace(wanted, version=""))
                self.taken_off = False
            case "outage" | "all well":
                self.backend.down = what == "outage"

    @precondition(lambda self: self.state.phase is Phase.COMPLETED)
    @rule()
    def revert(self):
        state = replace(self.state, phase=Phase.REVERTING, act=Act.EXPOSED, looked_at=self.now)
        self.save(replace(state, because=Because.BY_HAND.value, message="to see it", foreign=()))

    @rule(
        seconds=st.sampled_from([1.0, TICK, TICK, 2 * TICK, 100.0]),
        fault=st.sampled_from(FAULTS),
    )
    def tick(self, seconds, fault):
        """Look once, as a controller does."""
        self.now += int(seconds * SECOND)
        self.look(fault)

    @rule(findings=st.sampled_from(sorted(FINDINGS)), bakes=st.sampled_from([0.1, 1, 1, 3.2]))
    def bake(self, findings="clean", bakes=1):
        """Let time pass, under the eyes of a controller."""
        self.findings = findings
        for _ in range(int(bakes * BAKE / TICK)):
            self.now += int(TICK * SECOND)
            self.look("")

    # The controller, without its rows

    def look(self, fault):
        self.backend.fault = fault
        state = self.state
        if not state.live:
            self.asked.clear()
        else:
            try:
                self.move(state)
            except Crash:
                pass
            else:
                self.asked.clear()
        self.backend.fault = ""

    def move(self, state):
        asked = tuple(self.asked)
        for _ in range(6):
            flag, unreachable = None, ""
            try:
                flag = self.backend.get("agent")
            except Unreachable as error:
                unreachable = error.message
            state = self.recognised(state, flag)
            measured = state.started_at and state.phase not in RETURNING
            seen = Seen(
                self.now,
                flag,
                self.before,
                unreachable=unreachable,
                kill=self.kill_word,
                findings=FINDINGS[self.findings] if measured else (),
                metrics_error="no answer",
                asked=asked,
                gates=self.facts,
            )
            decision = decide(self.plan, state, seen)
            for call in decision.calls:
                self.answers_given.setdefault((call.hook, call.door), False)
            self.check(state, seen, decision)
            state, asked = decision.state, ()
            if decision.action is None:
                break
            meant = aim(flag, "on", decision.action)
            if meant is not None:
                self.intents.append(meant)
                self.highest = max(self.highest, decision.action.weight)
            try:
                was = self.kept
                after = perform(
                    self.backend, flag, "on", decision.action, self.snapshot, WHO,
                    at_once=self.at_once,
                )  # fmt: skip
            except DownhaulError as error:
                state = failed(state, error.message, self.now)
                break
            finally:
                self.check_write(decision, was, self.kept)
            state = decision.then
            if meant is not None:
                state = replace(state, desired=flag_to_data(after))
                self.entered.append(state.step)
            self.save(state)
            if state.phase not in RETURNING:
                break
        self.save(state)

    def recognised(self, state, flag):
        if flag is not None:
            for meant in self.intents:
                if lies_between(flag_from_data(state.desired), meant, flag):
                    state = replace(state, desired=flag_to_data(flag))
            self.intents.clear()
        return state

    def save(self, state):
        before = self.state
        row = json.dumps(state.as_mapping())
        self.state = State.from_mapping(json.loads(row))
        assert self.state == state
        if before.live and state.phase in (Phase.ROLLED_BACK, Phase.REVERTED):
            self.check_way_back()
        off = self.kept is not None and not self.kept.on
        if state.because == Because.DRIFT_LOWERED and state.phase is Phase.PAUSED and off:
            self.taken_off = True

    # What must hold

    def check(self, state, seen, decision):
        """See that a decision keeps the rules that no flag shows."""
        for asked in seen.asked:
            if asked.overwrite and asked.id not in decision.refused:
                self.taken_off = False
            if asked.verb is Verb.RESUME and asked.id not in decision.refused:
                self.taken_off = False
        self.check_gates(state, seen, decision)
        action = decision.action
        if action is None and decision.state.phase is Phase.LATCHED:
            self.check_latch(seen, decision.state)
        if action is None or action.operation not in RISES:
            return
        assert not self.killed
        assert not self.kill_word
        assert not seen.unreachable
        assert action.weight == self.plan.steps[decision.then.step].weight
        if state.started_at and state.entered and decision.then.step > state.step:
            assert seen.findings in (*GOOD, UNDECIDED)
            assert exposure_of(seen.flag, "on") >= self.plan.steps[state.step].weight
            promoted = any(one.verb is Verb.PROMOTE for one in seen.asked)
            if seen.findings is UNDECIDED and not promoted:
                assert self.plan.on_undecided is OnUndecided.PROMOTE
            assert promoted or decision.state.baked >= BAKE
            assert not self.plan.ends_holdback(state.step)
        if state.started_at:
            assert seen.findings is not None
            assert seen.findings is not REGRESSED

    def check_latch(self, seen, state):
        """See that what a latch lets be serves nobody whom the rollout named."""
        flag = seen.flag
        if flag is None or seen.unreachable or not flag.on or state.reasserted >= REASSERTIONS:
            return
        assert not (targeted(flag, "on") - targeted(self.before, "on")) & {*self.plan.targets}
        assert not any(names_segment(flag, "on", one) for one in self.plan.segments)

    def check_gates(self, state, seen, decision):
        """See that gates hold what rises or completes, and that nothing else knows of them."""
        without = decide(replace(self.plan, gates=Gates()), state, seen)
        rises = without.action is not None and without.action.operation in RISES
        completes = state.live and (without.then or without.state).phase is Phase.COMPLETED
        if not (rises or completes):
            assert decision == without
            return
        gates, now = self.plan.gates, seen.now
        went = decision.action is not None or decision.state.phase is Phase.COMPLETED
        step = (without.then or without.state).step if rises else len(self.plan.steps)
        # A command may have resumed it first; that moves no door.
        door = Door(step, state.entered_at)
        assert went == self.is_open(gates, door, now, started=bool(state.started_at))

    def is_open(self, gates, door, now, *, started):
        """Whether a person who reads the plan would let it through. Written anew, for a check."""
        last = {}
        for one in self.signed:
            if one.door == door or one.name == "on-call":
                last.pop((one.name, one.actor), None)
                last[one.name, one.actor] = one.given
        ends = door.step == len(self.plan.steps)
        wanted = []
        if gates.checklist and not started:
            wanted.append(last.get(("on-call", "dan"), False))
        if gates.checklist and started and not ends and door.step > 0:
            wanted.append(last.get(("feedback", "dan"), False))
        if gates.approvals and not ends:
            step = self.plan.steps[door.step]
            if step.weight >= 40_000 and not step.preview:
                words = {who: given for (name, who), given in last.items() if name == ""}
                some = words.get("ben") or words.get("eve")
                wanted.append(bool(some) and all(words.values()))
        if gates.freezes and not ends:
            wanted.append(not FROZEN[0] <= now < FROZEN[1])
        if gates.starts_at and not started:
            wanted.append(now >= gates.starts_at)
        if gates.hooks:
            name = "complete" if ends else "step" if started else "start"
            wanted.append(self.answers_given.get((name, door), False))
        return all(wanted)

    def check_write(self, decision, was, now):
        """See what a write did to the users, whether or not it was seen to arrive."""
        had, have = self.served(was), self.served(now)
        operation = decision.action.operation
        if operation in RISES:
            assert had <= have
        elif operation is Operation.RESTORE:
            assert have == self.served(self.before) or have == had
            assert exposure_of(was, "on") <= exposure_of(self.before, "on")  # it was taken off
            assert decision.then.overwrite or not (self.taken_off and now.on)
            assert decision.then.overwrite or "eve" not in str(was.targets)
            assert decision.then.overwrite or self.plan.segments or not was.rules
        else:
            assert have <= had

    def check_way_back(self):
        """See that a finished way back gives everybody the former answer."""
        if self.kept is not None and not self.backend.down:
            assert self.answers(self.kept) == self.answers(self.before)
            assert drift_of(self.before, self.kept, "on") is Drift.NONE

    @invariant()
    def a_kill_means_nobody(self):
        if self.killed and self.kept is not None:
            assert set(self.answers(self.kept, killed=True).values()) == {"off"}

    @invariant()
    def each_step_is_entered_once_and_in_order(self):
        for one, following in zip(self.entered, self.entered[1:], strict=False):
            # A step that a person lowered and then resumed is entered anew.
            assert following in (one, one + 1)
        left = [one.step for one in self.state.history]
        assert left == list(range(len(left)))
        assert len(left) <= len(self.plan.steps)

    @invariant()
    def nobody_gets_more_than_somebody_let_out(self):
        if self.kept is not None:
            assert exposure_of(self.kept, "on") <= self.highest

    @invariant()
    def its_state_makes_sense(self):
        state = self.state
        assert 0 <= state.step < len(self.plan.steps)
        assert min(state.baked, state.waited) >= 0
        assert bool(state.because) or state.phase in (
            Phase.STARTING, Phase.PROGRESSING, Phase.COMPLETED,
        )  # fmt: skip
        assert state.live or state.ended_at


anything = pytest.mark.rule("K5", "R2", "R3", "R4", "R5", "R7", "R8", "R9")

TestRollout = anything(Rollout.TestCase)
TestRollout.settings = settings(
    max_examples=2 * settings().max_examples,
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
)
