"""A way through the worlds, gone again with real controllers on a real store.

It shows that the store of the model is the store of the product: at the end of the way the row, the
intents that are open and the flag are those of the model's world.

Each controller runs in a thread of its own, and stops before each thing that it asks for.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from downhaul import Flag
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.errors import ProviderError, Unreachable, VersionConflict
from downhaul.overlay import Scope
from downhaul.provider import Capability, Change, FlagProvider, ProviderSnapshot
from downhaul.rollout.acts import snapshot_data
from downhaul.rollout.state import State
from downhaul.store.control import SqlControl
from downhaul.store.rollouts import EventRow, NewRollout

from .automaton import Automaton, Timeless, flag_of, kept, text_of
from .worlds import Move, Write, changed

WHO = Change("ana")
_PATIENCE = 30.0


class Died(BaseException):
    """The controller is no more. Nothing catches this."""


class Actor:
    """A controller in a thread, which goes from one thing that it asks for to the next.

    ``write`` is the one that it waits for, with the version that it expects, and ``heard`` what the
    vendor made of it.
    """

    def __init__(self) -> None:
        self._turn = threading.Semaphore(0)
        self._stands = threading.Semaphore(0)
        self._dead = False
        self.asks = ""
        self.loses_answer = False
        self.write: tuple[Write, int | None] | None = None
        self.heard: bool | None = None

    def begin(self, work: Callable[[], Any]) -> None:
        threading.Thread(target=self._run, args=(work,), daemon=True).start()
        self._arrive()

    def _run(self, work: Callable[[], Any]) -> None:
        with suppress(Died):
            work()
        self.asks = "done"
        self._stands.release()

    def gate(self, asks: str) -> None:
        """Stop here until it is this one's turn. Called by the controller's thread."""
        self.asks = asks
        self._stands.release()
        self._turn.acquire()
        if self._dead:
            raise Died
        if self.loses_answer:
            self.loses_answer = False
            raise Unreachable("no answer in time", provider="vendor")

    def go(self, *asks: str) -> None:
        """Let it do what it stopped at, which is one of these, up to the next."""
        assert self.asks in asks, f"it asks {self.asks}, and not {asks}"
        self._turn.release()
        self._arrive()

    def die(self) -> None:
        self._dead = True
        if self.asks != "done":
            self._turn.release()
            self._arrive()

    def _arrive(self) -> None:
        assert self._stands.acquire(timeout=_PATIENCE), f"it hangs after {self.asks}"


class Gated:
    """The real rows of rollouts, with a gate before each question."""

    def __init__(self, rollouts: Any, actor: Actor) -> None:
        self._rollouts, self._actor = rollouts, actor
        self.environment = rollouts.environment

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._rollouts, name)
        if name in ("now", "beat", "latest_of"):
            return verb
        asks = {"get": "row", "settle_late": "settle", "save_all": "save"}.get(name, name)

        def asked(*words: Any, **options: Any) -> Any:
            self._actor.gate(asks)
            return verb(*words, **options)

        return asked


class Control:
    """The real control store, with gates."""

    def __init__(self, control: SqlControl, actor: Actor) -> None:
        self._control, self._actor = control, actor
        self.rollouts = Gated(control.rollouts, actor)

    def debts(self, provider: str) -> None:
        """What kills owe is no part of this."""

    def kills(self) -> Any:
        self._actor.gate("kills")
        return self._control.kills()

    def record_kill(self, scope: Scope, change: Change, *, killed: bool) -> Any:
        self._actor.gate("record_kill")
        return self._control.record_kill(scope, change, killed=killed)


class Vendor:
    """The flag, and what is on the way to it."""

    def __init__(self, automaton: Automaton) -> None:
        self.at_once = automaton.at_once
        self.flag = text_of(automaton.before)
        self.version = 0

    def takes(self, expected: int | None) -> bool:
        return not self.at_once or expected in (None, self.version)

    def hear(self, write: Write, expected: int | None) -> bool:
        if not self.takes(expected):
            return False
        flag = changed(self.flag, write.verb, write.what)
        if flag != self.flag:
            self.flag, self.version = flag, self.version + 1
        return True


class Side(FlagProvider):
    """The vendor as one controller sees it."""

    name = "vendor"
    control: Any = None

    def __init__(self, vendor: Vendor, actor: Actor) -> None:
        self._vendor, self._actor = vendor, actor
        more = {Capability.COMPARE_AND_SET} if vendor.at_once else set()
        self.capabilities = frozenset(
            {Capability.FLAG_SET, Capability.READ, Capability.WRITE, Capability.SNAPSHOT, *more}
        )

    def get(self, key: str) -> Flag:
        self._actor.gate("get")
        return self._shown()

    def switch_on(self, key: str, change: Change) -> Flag:
        return self._write("on", None, None)

    def switch_off(self, key: str, change: Change) -> Flag:
        return self._write("off", None, None)

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        return self._write("weight", weight, None)

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        return self._write("whole", text_of(flag), expected)

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        return self._write("back", text_of(flag_from_data(snapshot.document)), expected)

    def _shown(self) -> Flag:
        return replace(flag_of(self._vendor.flag), version=f"v{self._vendor.version}")

    def _write(self, verb: str, what: Any, expected: str | None) -> Flag:
        actor, vendor = self._actor, self._vendor
        version = None if expected is None else int(expected[1:])
        actor.gate("send")
        if verb == "back" and not vendor.at_once and version not in (None, vendor.version):
            raise VersionConflict("somebody else wrote it", provider="vendor")
        actor.write, actor.heard = (Write(verb, what, stands=True), version), None
        actor.gate("answer")
        actor.write = None
        if not actor.heard:
            raise VersionConflict("somebody else wrote it", provider="vendor")
        if changed(vendor.flag, verb, what) != vendor.flag:
            raise ProviderError("it took the change, but it is not so", provider="vendor")
        return self._shown()


class Again:
    """Goes a way again. ``control`` is of a store whose clock stands at NOW, with no rollout."""

    def __init__(self, automaton: Automaton, control: SqlControl) -> None:
        self._control = control
        self._vendor = Vendor(automaton)
        self._actors: dict[str, Actor] = {}
        self._late: list[tuple[Write, int | None]] = []
        self._begun = 0
        state = State(desired=flag_to_data(automaton.before)).as_mapping()
        self.rollout = control.rollouts.create(
            NewRollout(
                provider="vendor",
                flag="agent",
                variant="on",
                plan=automaton.plan_data,
                digest="",
                snapshot=snapshot_data(automaton.snapshot),
                state=state,
                phase="starting",
            ),
            WHO,
            EventRow("planned", "ana", ""),
        ).id

    def go(self, way: list[tuple[Move, str]]) -> None:
        for move, who in way:
            self._go(move, who)

    def close(self) -> None:
        for actor in self._actors.values():
            actor.die()

    def row(self) -> Any:
        return kept(dict(self._control.rollouts.existing(self.rollout).state))

    def flag(self) -> str:
        return self._vendor.flag

    def intents(self) -> list[tuple[str, str]]:
        found = self._control.rollouts.intents(self.rollout, missing=True)
        return sorted((one.operation, one.state) for one in found)

    def _go(self, move: Move, who: str) -> None:
        doing = {
            "claims it": self._claim,
            "watches": self._watch,
            "dies": self._die,
            "its lease ends": lambda _: self._end_lease(),
            "its lease lapses": lambda _: self._end_lease(),
            "is heard by the vendor": self._hear,
            "waits no longer": self._lose_the_answer,
            "gets no answer": self._lose_the_answer,
            "sends": lambda who: self._actors[who].go("send"),
            "finds it changed": lambda who: self._actors[who].go("send"),
            "looks at the flag": lambda who: self._actors[who].go("get"),
            "is refused": lambda who: self._actors[who].go("answer"),
            "reads another": lambda who: self._actors[who].go("answer"),
            "reads it back": lambda who: self._actors[who].go("answer"),
            "ben kills it": lambda _: self._kill(),
        }
        if move.write is not None and move.what == "late:":
            self._arrive_late(move.write)
        elif move.write is not None:
            self._vendor.hear(move.write, None)
        elif move.what in doing:
            doing[move.what](who)
        elif move.what.startswith("ana asks: "):
            verb = move.what.removeprefix("ana asks: ")
            self._control.rollouts.command(self.rollout, verb, 0, {}, WHO)
        else:
            self._actors[who].go(move.what.removeprefix("asks: "))

    def _claim(self, who: str) -> None:
        self._begin(who, lambda made: made.tick(only=self.rollout))
        for asks in ("claim", "commands", "kills"):
            self._actors[who].go(asks)

    def _watch(self, who: str) -> None:
        self._begin(who, lambda made: made.late.look_at(self.rollout))
        self._actors[who].go("row")

    def _die(self, who: str) -> None:
        self._keep_what_is_on_the_way(who)
        self._actors.pop(who).die()

    def _hear(self, who: str) -> None:
        actor = self._actors[who]
        assert actor.write is not None
        actor.heard = self._vendor.hear(*actor.write)

    def _lose_the_answer(self, who: str) -> None:
        self._keep_what_is_on_the_way(who)
        self._actors[who].loses_answer = True
        self._actors[who].go("answer", "get")

    def _kill(self) -> None:
        self._control.record_kill(Scope.parse("agent"), WHO, killed=True)

    def _begin(self, who: str, work: Callable[[Any], Any]) -> None:
        if who in self._actors:
            self._actors.pop(who).die()  # what is left of it makes no difference
        actor = self._actors[who] = Actor()
        self._begun += 1
        control: Any = Control(self._control, actor)
        side = Side(self._vendor, actor)
        made = Timeless(side, control, _no_metrics, owner=f"{who}-{self._begun}")
        actor.begin(lambda: work(made))

    def _keep_what_is_on_the_way(self, who: str) -> None:
        actor = self._actors[who]
        if actor.write is not None and actor.heard is None:
            self._late.append(actor.write)
        actor.write = None

    def _arrive_late(self, write: Write) -> None:
        """Let one arrive that is as this one, and that is taken where this one is."""
        chosen = next(
            one
            for one in self._late
            if one[0][:2] == write[:2] and self._vendor.takes(one[1]) is write.stands
        )
        self._late.remove(chosen)
        self._vendor.hear(*chosen)

    def _end_lease(self) -> None:
        rollouts = self._control.rollouts.database.tables.rollouts
        with self._control.rollouts.database.writing() as connection:
            connection.execute(
                rollouts.update().where(rollouts.c.id == self.rollout).values(lease_until=0)
            )


def _no_metrics(_plan: Any) -> Any:
    raise AssertionError("a plan without checks asks for none")
