"""A search for a context that meets conditions: it changes a little, and keeps what is no worse."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from downhaul.context import Context
from downhaul.migrate.verify.drafts import Draft, Slot, context_of
from downhaul.migrate.verify.pools import Pools

_STARTS: Final = 4

Holds = Callable[[Context], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to hold, and the slots that it looks at."""

    holds: Holds
    slots: tuple[Slot, ...]


Progress = Callable[[Context], tuple[float, tuple[Slot, ...]]]
"""Says how far a context comes, 1 for all the way, and the slots that hold it up."""


class Climb:
    """A search that changes a few slots at a time, and keeps what is no worse."""

    def __init__(self, pools: Pools, patches: Sequence[Draft], dice: random.Random) -> None:
        self._pools = pools
        self._patches = patches
        self._dice = dice

    def to(
        self, conditions: Sequence[Condition], tries: int, progress: Progress | None = None
    ) -> tuple[dict[Slot, Any], bool]:
        """Return the best draft, and whether all conditions hold for it and ``progress`` is 1."""
        goal = len(conditions) + 1.0
        now: dict[Slot, Any] = {}
        score, wanted = self._score(now, conditions, progress)
        best, best_score = now, score
        for number in range(tries):
            if best_score >= goal:
                break
            if number and number % max(tries // _STARTS, 1) == 0:  # this way led nowhere
                now = {}
                score, wanted = self._score(now, conditions, progress)
            moved = dict(now)
            self._move(moved, wanted)
            found, slots = self._score(moved, conditions, progress)
            if found >= score:
                now, score, wanted = moved, found, slots
            if found > best_score:
                best, best_score = moved, found
        if best_score < goal:
            return best, False
        return self._plainer(best, lambda one: self._score(one, conditions, progress)[0]), True

    def _plainer(self, draft: dict[Slot, Any], score: Callable[[Draft], float]) -> dict[Slot, Any]:
        """Return the draft without what nobody needs, with the first values where they will do."""
        goal = score(draft)
        for slot in tuple(draft):
            without = {name: value for name, value in draft.items() if name != slot}
            if score(without) >= goal:
                draft = without
                continue
            plain = (
                {**draft, slot: self._pools.values[slot][0]} if slot in self._pools.values else {}
            )
            if plain and score(plain) >= goal:
                draft = plain
        return draft

    def _score(
        self, draft: Draft, conditions: Sequence[Condition], progress: Progress | None
    ) -> tuple[float, tuple[Slot, ...]]:
        context = context_of(draft)
        unmet = [one for one in conditions if not one.holds(context)]
        wanted = tuple(slot for one in unmet for slot in one.slots)
        held = float(len(conditions) - len(unmet))
        if progress is None:
            return held + 1.0, wanted
        far, slots = progress(context)
        return held + far, (*wanted, *slots)

    def _move(self, draft: dict[Slot, Any], wanted: tuple[Slot, ...]) -> None:
        dice = self._dice
        if self._patches and dice.random() < 0.2:  # noqa: PLR2004
            draft.update(dice.choice(self._patches))
            return
        known = [slot for slot in wanted if slot in self._pools.values]
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            slots = known if known and dice.random() < 0.75 else self._pools.slots  # noqa: PLR2004
            slot = dice.choice(slots)
            if dice.random() < 0.1:  # noqa: PLR2004
                draft.pop(slot, None)
            else:
                draft[slot] = dice.choice(self._pools.values[slot])
