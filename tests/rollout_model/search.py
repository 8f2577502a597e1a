"""Through all worlds there are, and what must be true of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from downhaul.encoding import flag_from_data
from downhaul.rollout.plan import Strategy

from .automaton import Kept, flag_of, text_of
from .worlds import Move, Rules, World, changed

MOST = 5_000_000
BACK = frozenset({"rolling_back", "latched", "rolled_back"})
FORTH = frozenset({"starting", "progressing", "paused", "completed"})


@dataclass
class Found:
    """All worlds in the order in which they were found, and how each was come to first."""

    rules: Rules
    worlds: list[World]
    came: list[tuple[int, Move | None, bool]]
    after: list[list[int]]

    def way_to(self, at: int) -> list[tuple[Move, str]]:
        """Return what happened until a world, and who did it: ``c0`` or ``c1``."""
        steps = []
        while at:
            at, move, swapped = self.came[at]
            assert move is not None
            steps.append((move, swapped))
        names, way = ["c0", "c1"], []
        for move, swapped in reversed(steps):
            way.append((move, names[move.slot] if move.slot >= 0 else ""))
            names = names[::-1] if swapped else names
        return way

    def told(self, at: int) -> str:
        """Return the way to a world in words, for whoever must understand it."""
        words = [f"  {who or '--'} {move.by(['', ''])}" for move, who in self.way_to(at)]
        world = self.worlds[at]
        return "\n".join([*words, f"  then: {world.row.phase}, and the flag is {world.flag}"])

    def steps(self) -> Iterator[tuple[World, int]]:
        """Yield each world with the number of one that may follow it."""
        for at, then in enumerate(self.after):
            for one in then:
                yield self.worlds[at], one

    def without(self, good: Callable[[World], bool]) -> list[int]:
        """Return the worlds from which none that is good can be reached any more."""
        before: list[list[int]] = [[] for _ in self.worlds]
        for at, then in enumerate(self.after):
            for one in then:
                before[one].append(at)
        todo = [at for at, world in enumerate(self.worlds) if good(world)]
        fine = set(todo)
        while todo:
            for one in before[todo.pop()]:
                if one not in fine:
                    fine.add(one)
                    todo.append(one)
        return [at for at in range(len(self.worlds)) if at not in fine]


def search(
    rules: Rules, first: World, *, until: Callable[[World, World], bool] | None = None
) -> Found:
    """Return all worlds that may come of the first one; or those ``until`` a step is the one."""
    found = Found(rules, [first], [(0, None, False)], [])
    number = {first: 0}
    for at, world in enumerate(found.worlds):  # which grows meanwhile
        then: list[int] = []
        found.after.append(then)
        for move, after, swapped in rules.following(world):
            known = number.get(after)
            if known is None:
                known = number[after] = len(found.worlds)
                assert known < MOST, "there are more worlds than expected"
                found.worlds.append(after)
                found.came.append((at, move, swapped))
            then.append(known)
            if until is not None and until(world, after):
                return found
    return found


class Promises:
    """What must hold of a rollout that began in the world ``first``."""

    def __init__(self, rules: Rules, first: World) -> None:
        self._rules = rules
        self._first = first
        self._before = first.flag
        # Blue-green goes back by a weight, which is no latch: a late one is seen and taken back.
        self._armed = rules.automaton.plan.strategy is Strategy.BLUE_GREEN

    def is_at_rest(self, world: World) -> bool:
        """Whether it has ended, nothing is on the way, and the flag is as the end says.

        What was only taken away is left to people, who were told; what somebody else changed too is
        off, and waits for them. A vendor that compares lets nobody's work be written over.
        """
        if world.net or any(world.controllers):
            return False
        if world.row.phase == "latched":
            return self._armed or not flag_of(world.flag).on
        if world.row.live:
            return False
        if world.row.phase in ("rolled_back", "reverted"):
            fine = self._fine(world, self._before)
            return world.flag in (*fine, *(changed(one, "off", None) for one in fine if world.told))
        if world.killed:
            return True  # the overlay is over it, whatever the vendor says
        desired = text_of(flag_from_data(json.loads(world.row.state)["desired"]))
        return world.told or world.flag in self._fine(world, desired)

    def _fine(self, world: World, flag: str) -> tuple[str, ...]:
        """Return how a flag may be that is to be like this, with what people did to it."""
        if self._first.hands.count("edit") == world.hands.count("edit"):
            return (flag,)
        edited = changed(flag, "edit", None)
        return (edited,) if self._rules.automaton.at_once else (flag, edited)

    def is_lost(self, world: World) -> bool:
        """Whether nobody looks any more at a flag that is not as its rollout's end says."""
        idle = not world.row.live and not world.net and not any(world.controllers)
        watched = bool(world.intents) and self._rules.watches
        return idle and not watched and not self.is_at_rest(world)

    def is_latched(self, world: World) -> bool:
        """Whether what was seen to be off on a way back is off, until it is restored."""
        state = json.loads(world.row.state)
        off = world.row.phase == "latched" or (
            world.row.phase == "rolling_back" and state["act"] == "off"
        )
        if not off or world.draft is not None or self._armed:
            return True
        back = any(one.operation == "restore" for one in world.intents)
        starts = any(one.operation == "start" for one in world.intents)
        return back or starts or not flag_of(world.flag).on

    def is_forgotten(self, world: World, after: World) -> bool:
        """Whether a step makes a rollout go on that was on its way back, or is back."""
        return _committed(world).phase in BACK and _committed(after).phase in FORTH

    def breaks(self, world: World, after: World) -> bool:
        """Whether a step breaks what a look at it alone can tell."""
        forgotten = self.is_forgotten(world, after)
        return forgotten or self.is_lost(after) or not self.is_latched(after)


def _committed(world: World) -> Kept:
    """Return the row as others see it while a transaction is open."""
    row: Kept = world.row if world.draft is None else world.draft[0]
    return row
