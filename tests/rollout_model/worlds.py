"""What the store, the vendor, the network and people may do between two questions.

A world is a tuple of small things, so that two that are alike are one. Whatever rises without end
is left out or named anew: of epochs a controller only knows whether its own is still the row's, of
versions which of those that it saw is still the flag's.

One slot holds one controller. After a crash another begins there, which is nobody's heir: the lease
of the dead one stands until it ends. The clock stands still, and of a controller's looks at it none
ever helps: a lease lapses whenever it does the most harm.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from downhaul.backends.edits import with_on, with_rollout, with_targets

from .automaton import Answer, Automaton, Kept, Node, Request, flag_of, text_of

DEAD = -2
NOBODY = -1
ON_THE_WAY, ARRIVED, REFUSED = 1, 2, 3


class Controller(NamedTuple):
    """A controller in the middle of a tick.

    ``node`` is what it was answered so far, ``mine`` whether its epoch is the row's (where it looks
    at an ended rollout: whether the row is as it was read), ``current`` which of the versions that
    it saw is the flag's (0: none), ``intents`` their numbers in the store by its names, ``sent``
    what became of its write: 0 where there is none.
    """

    node: int
    mine: bool = False
    current: int = 0
    intents: tuple[int, ...] = ()
    sent: int = 0


class Write(NamedTuple):
    """A write on the way whose sender is dead or waits no more.

    ``stands`` says that the flag still has the version that it expects, where the vendor looks.
    """

    verb: str
    what: Any
    stands: bool


class Intent(NamedTuple):
    """What the store knows of a write: ``state`` is ``sent`` or ``missing``."""

    number: int
    operation: str
    detail: str
    state: str


class World(NamedTuple):
    """One moment. ``lease`` is who holds the rollout: a slot, NOBODY, or one who is DEAD.

    ``crashes``, ``faults`` and ``lapses`` are how many of them may still happen, ``hands`` what
    people may still do. ``lock`` is the slot of a transaction, ``draft`` what it found.
    """

    row: Kept
    flag: str
    lease: int = NOBODY
    commands: tuple[tuple[int, str], ...] = ()
    intents: tuple[Intent, ...] = ()
    killed: bool = False
    told: bool = False
    net: tuple[Write, ...] = ()
    controllers: tuple[Controller | None, ...] = (None, None)
    crashes: int = 0
    faults: int = 0
    lapses: int = 0
    hands: tuple[str, ...] = ()
    lock: int = NOBODY
    draft: tuple[Any, ...] | None = None


DRAFTED = ("row", "flag", "lease", "commands", "intents", "killed", "told")
"""What a transaction changes, and gives back where it is broken off."""


class Move(NamedTuple):
    """Something that happens: by the controller in a ``slot``, or to a write on the way."""

    what: str
    slot: int = NOBODY
    write: Write | None = None

    def by(self, names: list[str]) -> str:
        """Return it in words."""
        who = "" if self.slot == NOBODY else f"{names[self.slot]} "
        late = "" if self.write is None else f" {self.write.verb} {str(self.write.what)[:60]}"
        return f"{who}{self.what}{late}"


Step = tuple[Move, World]


class Rules:
    """What may happen. ``fenced`` False is a store that lets whoever comes save.

    ``watches`` False is a controller that looks at no ended rollout.
    """

    def __init__(self, automaton: Automaton, *, fenced: bool = True, watches: bool = True) -> None:
        self.automaton = automaton
        self.fenced = fenced
        self.watches = watches
        self._replies: dict[str, Callable[[World, int, Controller, Request], World]] = {
            "kills": self._kills,
            "record_kill": self._record_kill,
            "commands": self._commands,
            "intents": self._intents,
            "intend": self._intend,
            "renew": self._renew,
            "release": self._release,
            "save": self._save,
            "row": self._row,
            "reopen": self._reopen,
            "settle": self._settle,
            "begin": self._begin,
            "get": lambda world, slot, one, _: self._look(world, slot, one),
            "write": self._write_here,
            "commit": self._commit,
        }

    def first(self, **may: Any) -> World:
        """Return the world in which a rollout was just started. ``may``: what may happen then."""
        return World(self.automaton.begun(), text_of(self.automaton.before), **may)

    def following(self, world: World) -> Iterator[tuple[Move, World, bool]]:
        """Yield all that may happen next, the world after it, and whether the slots changed."""
        for move, after in self._following(world):
            yield move, *self._reduced(after)

    def _reduced(self, world: World) -> tuple[World, bool]:
        """Return the world without what can make no difference, and alike ones as one."""
        controllers = tuple(
            None if one is not None and self._is_over(one, world) else one
            for one in world.controllers
        )
        lease, lock = world.lease, world.lock
        if controllers == (None, None) and lease != NOBODY:
            lease = DEAD  # who ended without giving it back is as good as dead
        swapped = (controllers[0] or ()) > (controllers[1] or ())
        if swapped:
            controllers = controllers[::-1]
            lease = 1 - lease if lease >= 0 else lease
            lock = 1 - lock if lock >= 0 else lock
        return world._replace(controllers=controllers, lease=lease, lock=lock), swapped

    def _is_over(self, one: Controller, world: World) -> bool:
        """Return whether a controller can do nothing any more that anybody would see.

        One whose epoch is over may still write at the vendor, if nothing is in between. All else
        that it can do is to look around, and then be told that it is over. (Where an answer may
        get lost, it may also kill the flag.)
        """
        node = self.automaton.nodes[one.node]
        if node.request[0] == "done":
            return True
        harmless = not node.armed and not node.looks_back and not world.faults
        return self.fenced and not one.mine and harmless

    def _following(self, world: World) -> Iterator[Step]:
        for slot, one in enumerate(world.controllers):
            if one is None:
                yield from self._arises(world, slot)
                continue
            yield from self._step(world, slot, one)
            if world.crashes:
                yield Move("dies", slot), self._died(world, slot, one)
        for at, write in enumerate(world.net):
            rest = world._replace(net=world.net[:at] + world.net[at + 1 :])
            yield Move("late:", NOBODY, write), self._arrived(rest, write)[0]
        if world.lock == NOBODY:
            yield from self._lapse(world)
            for hand in dict.fromkeys(world.hands):
                yield from self._hand(world, hand)

    def _arises(self, world: World, slot: int) -> Iterator[Step]:
        if world.lock != NOBODY:
            return
        if world.row.live:
            if world.lease == NOBODY:
                yield Move("claims it", slot), self._claimed(world, slot)
        elif world.intents and self.watches:
            one = Controller(self.automaton.watch)
            request = self.automaton.nodes[one.node].request
            yield Move("watches", slot), self._row(world, slot, one, request)

    def _lapse(self, world: World) -> Iterator[Step]:
        if world.lease == DEAD:
            yield Move("its lease ends"), world._replace(lease=NOBODY)
        elif world.lease != NOBODY and world.lapses:
            gone = world._replace(lease=NOBODY, lapses=world.lapses - 1)
            yield Move("its lease lapses"), gone

    def _hand(self, world: World, hand: str) -> Iterator[Step]:
        left = list(world.hands)
        left.remove(hand)
        after = world._replace(hands=tuple(left))
        if hand == "kill":
            yield Move("ben kills it"), after._replace(killed=True)
        elif not world.row.live:
            return
        elif hand == "edit":
            write = Write("edit", None, stands=True)
            yield Move("ben:", NOBODY, write), self._arrived(after, write)[0]
        else:
            number = 1 + max((each for each, _ in world.commands), default=0)
            asked = (*world.commands, (number, hand))
            yield Move(f"ana asks: {hand}"), after._replace(commands=asked)

    # A controller

    def _step(self, world: World, slot: int, one: Controller) -> Iterator[Step]:
        request = self.automaton.nodes[one.node].request
        kind = request[0]
        if kind == "write" and not self.automaton.shared:
            yield from self._write(world, slot, one, request)
        elif kind == "get" and not self.automaton.shared:
            yield Move("looks at the flag", slot), self._look(world, slot, one)
            if world.faults:
                less = world._replace(faults=world.faults - 1)
                lost = self._told(less, slot, one, ("unreachable",))
                yield Move("gets no answer", slot), lost
        elif world.lock in (NOBODY, slot):
            yield Move(f"asks: {kind}", slot), self._asked(world, slot, one, request)

    def _write(self, world: World, slot: int, one: Controller, request: Request) -> Iterator[Step]:
        """Send a write, let it arrive, and be answered; each in its own time, or never."""
        _, verb, what, expected = request
        if one.sent == 0:
            # Without compare-and-set the vendor's plugin reads, compares, and writes all the same.
            compares = verb == "back" and not self.automaton.at_once
            if compares and expected is not None and expected != one.current:
                yield Move("finds it changed", slot), self._told(world, slot, one, ("conflict",))
                return
            yield Move("sends", slot), _with(world, slot, one._replace(sent=ON_THE_WAY))
            return
        write = self._on_the_way(one, request)
        done = one._replace(sent=0)
        less = world._replace(faults=world.faults - 1)
        if one.sent == ON_THE_WAY:
            after, taken = self._arrived(world, write)
            there = _there(after, slot)._replace(sent=ARRIVED if taken else REFUSED)
            yield Move("is heard by the vendor", slot), _with(after, slot, there)
            less = less._replace(net=_sorted((*world.net, write)))
        elif one.sent == REFUSED:
            yield Move("is refused", slot), self._told(world, slot, done, ("conflict",))
        elif changed(world.flag, verb, what) != world.flag:
            yield Move("reads another", slot), self._told(world, slot, done, ("mismatch",))
        else:
            yield Move("reads it back", slot), self._look(world, slot, done)
        if world.faults:
            yield Move("waits no longer", slot), self._told(less, slot, done, ("unreachable",))

    def _on_the_way(self, one: Controller, request: Request) -> Write:
        _, verb, what, expected = request
        looks = self.automaton.at_once and expected is not None
        return Write(verb, what, not looks or expected == one.current)

    def _arrived(self, world: World, write: Write) -> tuple[World, bool]:
        """Return the world after a write came to the vendor, and whether it was taken."""
        if not write.stands:
            return world, False
        flag = changed(world.flag, write.verb, write.what)
        if flag == world.flag:
            return world, True
        seen = tuple(
            None if each is None else each._replace(current=0) for each in world.controllers
        )
        # Another version: what compares comes to nothing from now on.
        compares = ("whole", "back") if self.automaton.at_once else ()
        late = (each._replace(stands=each.verb not in compares) for each in world.net)
        return world._replace(flag=flag, controllers=seen, net=_sorted(late)), True

    def _died(self, world: World, slot: int, one: Controller) -> World:
        if world.lock == slot:  # the transaction is rolled back
            found = world.draft or tuple(getattr(world, name) for name in DRAFTED)
            world = world._replace(**dict(zip(DRAFTED, found, strict=True)))
            world = world._replace(lock=NOBODY, draft=None)
        net = world.net
        if one.sent == ON_THE_WAY:
            request = self.automaton.nodes[one.node].request
            net = _sorted((*net, self._on_the_way(one, request)))
        lease = DEAD if world.lease == slot else world.lease
        dead = world._replace(net=net, lease=lease, crashes=world.crashes - 1)
        return _with(dead, slot, None)

    def _look(self, world: World, slot: int, one: Controller) -> World:
        version = one.current or self.automaton.nodes[one.node].versions + 1
        seen = one._replace(current=version)
        return self._told(world, slot, seen, ("flag", world.flag, version))

    def _told(self, world: World, slot: int, one: Controller, answer: Answer) -> World:
        return _with(world, slot, one._replace(node=self.automaton.answer(one.node, answer)))

    # The store

    def _claimed(self, world: World, slot: int) -> World:
        """Return the world after a claim, and the looks at commands and kills that come with it.

        Who writes a command or kills in between might as well have done so before.
        """
        others = tuple(
            None if each is None else each._replace(mine=False) for each in world.controllers
        )
        taken = world._replace(lease=slot, controllers=others)
        one = Controller(self.automaton.tick, mine=True)
        world = self._told(taken, slot, one, ("claimed", world.row))
        for kind in ("commands", "kills"):
            one = _there(world, slot)
            request = self.automaton.nodes[one.node].request
            assert request[0] == kind
            world = self._asked(world, slot, one, request)
        return world

    def _asked(self, world: World, slot: int, one: Controller, request: Request) -> World:
        fenced = request[0] in ("intend", "renew", "save", "begin")
        if fenced and self.fenced and not one.mine:
            return self._told(world, slot, one, ("lost",))
        return self._replies[request[0]](world, slot, one, request)

    def _kills(self, world: World, slot: int, one: Controller, _: Request) -> World:
        return self._told(world, slot, one, ("kills", world.killed))

    def _record_kill(self, world: World, slot: int, one: Controller, _: Request) -> World:
        return self._told(world._replace(killed=True), slot, one, ("ok",))

    def _commands(self, world: World, slot: int, one: Controller, _: Request) -> World:
        return self._told(world, slot, one, ("commands", world.commands))

    def _intents(self, world: World, slot: int, one: Controller, _: Request) -> World:
        start = len(one.intents) + 1
        found = tuple((start + at, *each[1:]) for at, each in enumerate(world.intents))
        numbers = tuple(each.number for each in world.intents)
        named = one._replace(intents=(*one.intents, *numbers))
        return self._told(world, slot, named, ("intents", found))

    def _intend(self, world: World, slot: int, one: Controller, request: Request) -> World:
        taken = {each.number for each in world.intents}
        taken |= {number for each in world.controllers if each for number in each.intents}
        number = next(each for each in range(1, 100) if each not in taken)
        intent = Intent(number, request[1], request[2], "sent")
        named = one._replace(intents=(*one.intents, number))
        written = world._replace(intents=(*world.intents, intent))
        return self._told(written, slot, named, ("intent", len(named.intents)))

    def _renew(self, world: World, slot: int, one: Controller, _: Request) -> World:
        return self._told(world._replace(lease=slot), slot, one, ("ok",))

    def _release(self, world: World, slot: int, one: Controller, _: Request) -> World:
        free = world._replace(lease=NOBODY) if one.mine else world
        return self._told(free, slot, one, ("ok",))

    def _save(self, world: World, slot: int, one: Controller, request: Request) -> World:
        _, row, settled, done, keep = request
        states = {one.intents[name - 1]: state for name, state in settled}
        kept = (
            each._replace(state=states.get(each.number, each.state))
            for each in world.intents
            if states.get(each.number) in (None, "missing")
        )
        saved = self._rewritten(world, row)._replace(
            lease=slot if keep else NOBODY,
            intents=tuple(kept),
            commands=tuple(each for each in world.commands if each[0] not in done),
        )
        return self._told(saved, slot, one, ("ok",))

    def _row(self, world: World, slot: int, one: Controller, _: Request) -> World:
        return self._told(world, slot, one._replace(mine=True), ("row", world.row))

    def _reopen(self, world: World, slot: int, one: Controller, request: Request) -> World:
        if not one.mine:
            return self._told(world, slot, one, ("conflict",))
        return self._told(self._rewritten(world, request[1]), slot, one, ("ok",))

    def _settle(self, world: World, slot: int, one: Controller, request: Request) -> World:
        found = {one.intents[name - 1] for name in request[1]}
        left = tuple(each for each in world.intents if each.number not in found)
        first = len(left) < len(world.intents)
        after = world._replace(intents=left, told=world.told or first)
        return self._told(after, slot, one, ("settled", first))

    def _rewritten(self, world: World, row: Kept) -> World:
        """Return the world with another row. Who read it to write it comes too late."""
        nodes = self.automaton.nodes
        others = tuple(
            each._replace(mine=False) if each is not None and nodes[each.node].looks_back else each
            for each in world.controllers
        )
        return world._replace(row=row, controllers=others)

    # A store that is the vendor: transactions

    def _begin(self, world: World, slot: int, one: Controller, _: Request) -> World:
        return self._told(world._replace(lock=slot), slot, one, ("ok",))

    def _write_here(self, world: World, slot: int, one: Controller, request: Request) -> World:
        """Write within a transaction: it is everybody's once it commits, and nobody's before."""
        found = world.draft or tuple(getattr(world, name) for name in DRAFTED)
        after = self._arrived(world, Write(request[1], request[2], stands=True))[0]
        return self._look(after._replace(draft=found), slot, _there(after, slot))

    def _commit(self, world: World, slot: int, one: Controller, _: Request) -> World:
        return self._told(world._replace(lock=NOBODY, draft=None), slot, one, ("ok",))


@cache
def changed(flag: str, verb: str, what: Any) -> str:
    """Return the flag after a write at the vendor."""
    match verb:
        case "on" | "off":
            return text_of(with_on(flag_of(flag), verb == "on"))
        case "weight":
            return text_of(with_rollout(flag_of(flag), "on", what))
        case "edit":
            return text_of(with_targets(flag_of(flag), "on", {"vip"}))
    return str(what)


def node_of(rules: Rules, one: Controller) -> Node:
    """Return the node at which a controller is."""
    return rules.automaton.nodes[one.node]


def _there(world: World, slot: int) -> Controller:
    one = world.controllers[slot]
    assert one is not None
    return one


def _with(world: World, slot: int, one: Controller | None) -> World:
    controllers = (*world.controllers[:slot], one, *world.controllers[slot + 1 :])
    return world._replace(controllers=controllers)


def _sorted(net: Any) -> tuple[Write, ...]:
    return tuple(sorted(net, key=repr))
