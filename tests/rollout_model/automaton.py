"""The real controller, stopped at each question that it asks its store or the vendor.

A tick of a controller is decided by what it is answered. So what it asks next is a function of the
answers before, and is found by running the tick anew with those, up to the first that is missing.
Whatever lies between two questions (the decision, the order of acts, what is recognised, what is
saved) is the product's own code, and runs as it is.

Names are local to a tick: the versions that it saw are 1, 2, 3 in their order, and so are intents.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from downhaul import Flag
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.errors import ProviderError, Unreachable, VersionConflict
from downhaul.overlay import KillRecord, Scope
from downhaul.provider import Capability, Change, FlagProvider, ProviderSnapshot
from downhaul.rollout.acts import snapshot_data
from downhaul.rollout.controller import Controller
from downhaul.rollout.plan import Plan, Step, Strategy
from downhaul.rollout.state import State
from downhaul.store.rollouts import (
    Claim,
    CommandRow,
    EventRow,
    IntentRow,
    LeaseLost,
    RolloutRow,
    Save,
)

NOW = 1_790_000_000_000_000
Request = tuple[Any, ...]
Answer = tuple[Any, ...]


class Asking(BaseException):
    """The tick wants to know something that nobody has answered yet."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.request = request


@dataclass(frozen=True)
class Kept:
    """What a rollout's row holds, as far as it matters: the state as JSON text without versions."""

    state: str
    phase: str
    live: bool


@cache
def flag_of(text: str) -> Flag:
    """Return the flag that a text stands for; see :func:`text_of`."""
    return flag_from_data(json.loads(text))


def text_of(flag: Flag) -> str:
    """Return all of a flag but its version as text, to compare and to count by."""
    return json.dumps(flag_to_data(replace(flag, version="")), sort_keys=True)


def kept(state: dict[str, Any]) -> Kept:
    wanted = state["desired"]
    if wanted is not None:  # which the decisions never compare
        state = {**state, "desired": {k: v for k, v in wanted.items() if k != "version"}}
    found = State.from_mapping(state)
    return Kept(json.dumps(state, sort_keys=True), found.phase.value, found.live)


@dataclass
class Node:
    """A tick that was answered so far: what it asks next is :attr:`request`."""

    answers: tuple[tuple[Request, Answer], ...]
    request: Request
    watch: bool  # it begins as a look at an ended rollout, and not as a tick
    versions: int  # how many it saw
    armed: bool  # whether the next write at the vendor comes before the next question to the store
    looks_back: bool  # whether it looks at an ended rollout by now
    after: dict[Answer, int] = field(default_factory=dict)


class Automaton:
    """All that a controller can come to ask. Nodes are numbers; the first is the begin of a tick.

    ``at_once`` says that the vendor compares and sets, ``shared`` that it is the store's database.
    """

    def __init__(
        self,
        before: Flag,
        percents: tuple[float, ...],
        *,
        at_once: bool,
        shared: bool,
        strategy: Strategy = Strategy.CANARY,
    ) -> None:
        self.before = before
        steps = tuple(Step(int(one * 1000), 0.0, 0.0) for one in percents)
        self.plan = Plan("agent", "on", steps, strategy, unguarded="a model")
        self.plan_data = self.plan.as_mapping()
        self.snapshot = ProviderSnapshot("agent", "vendor", "v0", flag_to_data(before), "then")
        self.at_once, self.shared = at_once, shared
        self.nodes: list[Node] = []
        self.ran = 0  # how often the product's code was run
        self.tick = self._found((), watch=False)
        self.watch = self._found((), watch=True)

    def begun(self) -> Kept:
        """Return the row of a rollout that was started."""
        return kept(State(desired=flag_to_data(self.before)).as_mapping())

    def answer(self, node: int, answer: Answer) -> int:
        """Return the node that this answer leads to."""
        there = self.nodes[node]
        if answer not in there.after:
            answers = (*there.answers, (there.request, answer))
            there.after[answer] = self._found(answers, watch=there.watch)
        return there.after[answer]

    def _found(self, answers: tuple[tuple[Request, Answer], ...], *, watch: bool) -> int:
        dialogue = Dialogue(self, answers)
        self.ran += 1
        try:
            controller = dialogue.controller()
            if not watch:
                controller.tick()
            elif controller.late is not None:
                controller.late.look_at("r")
            request: Request = ("done",)
        except Asking as asking:
            request = asking.request
        versions = max((one[1][2] for one in answers if one[1][0] == "flag"), default=0)
        asked = [one[0][0] for one in answers if one[0][0] not in ("get", "write")]
        armed = bool(asked) and asked[-1] == "renew"
        looks_back = watch or "row" in (*asked, request[0])
        self.nodes.append(Node(answers, request, watch, versions, armed, looks_back))
        return len(self.nodes) - 1


class Dialogue:
    """One run of a tick, with the answers that there are."""

    def __init__(self, automaton: Automaton, answers: tuple[tuple[Request, Answer], ...]) -> None:
        self.automaton = automaton
        self._answers: Iterator[tuple[Request, Answer]] = iter(answers)

    def controller(self) -> Controller:
        control = _Control(self)
        provider = (_Shared if self.automaton.shared else _Vendor)(self, control)
        return Timeless(provider, control, _no_metrics, owner="it")

    def ask(self, *request: Any) -> Answer:
        """Return the answer, or stop the tick here for want of one."""
        said, answer = next(self._answers, (None, None))
        if answer is None:
            raise Asking(request)
        assert said == request, f"the tick is not decided by its answers: {said} became {request}"
        if answer[0] == "lost":
            raise LeaseLost("another has it")
        if answer[0] == "unreachable":
            raise Unreachable("no answer in time", provider="vendor")
        if answer[0] == "conflict":
            raise VersionConflict("somebody else wrote it", provider="vendor")
        if answer[0] == "mismatch":
            raise ProviderError("it took the change, but it is not so", provider="vendor")
        return answer


class Timeless(Controller):
    """A controller that never sees how late it is: of its looks at the clock none ever helps.

    Nor is its lease renewed beside it: that it lapses in the middle of a look is what may happen.
    """

    @property
    def late(self) -> Any:
        return self._late

    def _left(self, started: float) -> float:
        return self.lease

    @contextmanager
    def _holding(self, claim: Claim) -> Iterator[None]:
        yield


class _Control:
    """The control store as a controller sees it."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self.rollouts = _Rollouts(dialogue)

    def debts(self, provider: str) -> None:
        """What kills owe is paid beside the ticks, and is no part of this."""

    def kills(self) -> list[KillRecord]:
        _, killed = self._dialogue.ask("kills")
        scope = Scope.parse("agent")
        return [KillRecord(scope, NOW + 1, killed=True, actor="c", reason="")] if killed else []

    def record_kill(self, scope: Scope, change: Change, *, killed: bool) -> None:
        assert killed
        self._dialogue.ask("record_kill")


class _Rollouts:
    """The rows of rollouts as a controller sees them: the interface of RolloutStore."""

    environment = "model"
    outbox = gates = None  # what is told decides nothing, and the plan has no gates

    def __init__(self, dialogue: Dialogue) -> None:
        self._ask = dialogue.ask
        self._automaton = dialogue.automaton

    def beat(self, *_words: Any) -> None:
        """Say that it is alive, which decides nothing."""

    def now(self) -> int:
        return NOW

    def claim(self, owner: str, **_options: Any) -> tuple[Claim, ...]:
        answer = self._ask("claim")
        if answer[0] == "none":
            return ()
        return (Claim(self._row(answer[1], owner), owner, 1, NOW),)

    def get(self, rollout: str) -> RolloutRow:
        return self._row(self._ask("row")[1])

    def latest_of(self, flag: str) -> None:
        """Say that no other rollout came later."""

    def _row(self, row: Kept, owner: str = "") -> RolloutRow:
        return RolloutRow(
            id="r",
            environment=self.environment,
            provider="vendor",
            flag="agent",
            variant="on",
            plan=self._automaton.plan_data,
            digest="",
            snapshot=snapshot_data(self._automaton.snapshot),
            state=json.loads(row.state),
            evidence={},
            phase=row.phase,
            live=row.live,
            revision=1,
            due_at=NOW,
            lease_owner=owner,
            lease_until=NOW,
            epoch=1,
            created_at=NOW,
            updated_at=NOW,
            actor="ana",
            marked=False,
            reason="",
        )

    def reopen(self, rollout: str, revision: int, state: Any, phase: str, event: EventRow) -> None:
        self._ask("reopen", kept(state))

    def settle_late(self, row: RolloutRow, found: Any, event: EventRow) -> bool:
        return bool(self._ask("settle", tuple(sorted(int(one[1:]) for one in found)))[1])

    def renew(self, claim: Claim, lease: float) -> None:
        self._ask("renew")

    def release(self, claims: Any, *, due_in: float | None = None) -> None:
        self._ask("release")

    def commands(self, ids: Any) -> dict[str, list[CommandRow]]:
        _, verbs = self._ask("commands")
        return {
            one: [CommandRow(n, one, verb, 0, {}, "ana", False, "", NOW) for n, verb in verbs]
            for one in ids
        }

    def intend(self, claim: Claim, operation: str, detail: dict[str, Any]) -> str:
        aim = detail["aim"]
        if aim is not None:
            aim = {name: value for name, value in aim.items() if name != "version"}
        text = json.dumps({**detail, "aim": aim}, sort_keys=True)
        return f"i{self._ask('intend', str(operation), text)[1]}"

    def intents(self, rollout: str, *, missing: bool) -> list[IntentRow]:
        return [
            IntentRow(f"i{name}", rollout, 1, operation, json.loads(detail), state, 1, NOW)
            for name, operation, detail, state in self._ask("intents")[1]
        ]

    def save(self, claim: Claim, save: Save) -> None:
        self._ask(*_saved(save))

    def save_all(self, saves: Any) -> frozenset[str]:
        try:
            for claim, save in saves:
                self.save(claim, save)
        except LeaseLost:
            return frozenset({"r"})
        return frozenset()

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[str]:
        self._ask("begin")
        yield "transaction"
        self._ask("commit")

    def note_intent(self, *_words: Any) -> None:
        """Write an intent that is settled by the transaction that it is part of."""

    def save_in(self, connection: str, claim: Claim, save: Save) -> None:
        self._ask(*_saved(save))


def _saved(save: Save) -> Request:
    settled = tuple(sorted((int(one[1:]), state) for one, state in save.settled.items()))
    return ("save", kept(dict(save.state)), settled, tuple(sorted(save.done)), save.keep)


class _Vendor(FlagProvider):
    """The vendor as a controller sees it: each verb is one question, and what it reads back."""

    name = "vendor"
    control: Any = None

    def __init__(self, dialogue: Dialogue, _control: _Control) -> None:
        self._ask = dialogue.ask
        more = {Capability.COMPARE_AND_SET} if dialogue.automaton.at_once else set()
        self.capabilities = frozenset(
            {Capability.FLAG_SET, Capability.READ, Capability.WRITE, Capability.SNAPSHOT, *more}
        )

    def get(self, key: str) -> Flag:
        return _flag(self._ask("get"))

    def switch_on(self, key: str, change: Change) -> Flag:
        return _flag(self._ask("write", "on", None, None))

    def switch_off(self, key: str, change: Change) -> Flag:
        return _flag(self._ask("write", "off", None, None))

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        return _flag(self._ask("write", "weight", weight, None))

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        return _flag(self._ask("write", "whole", text_of(flag), _name(expected)))

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        was = text_of(flag_from_data(snapshot.document))
        return _flag(self._ask("write", "back", was, _name(expected)))


class _Shared(_Vendor):
    """The same, where its writes join the transactions of the store."""

    def __init__(self, dialogue: Dialogue, control: _Control) -> None:
        super().__init__(dialogue, control)
        self.control = control

    def within(self, connection: Any) -> "_Shared":
        return self


def _flag(answer: Answer) -> Flag:
    return replace(flag_of(answer[1]), version=f"v{answer[2]}")


def _name(version: str | None) -> int | None:
    return None if version is None else int(version[1:])


def _no_metrics(_plan: Plan) -> Any:
    raise AssertionError("a plan without checks asks for none")
