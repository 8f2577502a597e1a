"""The values that matter to a flag and to all that it names, by the slot that they go into."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from downhaul.flag import (
    CONTEXT_KIND,
    USER,
    Bucketing,
    Clause,
    Flag,
    Gate,
    Operator,
    Segment,
    Split,
)
from downhaul.migrate.verify.buckets import candidate, edge_keys
from downhaul.migrate.verify.drafts import Slot, key_of, whole
from downhaul.migrate.verify.values import MISSING, values_of
from downhaul.references import Node, clauses_of, named_by

_STRANGERS: Final = 8
_NAMED: Final = 3  # targeting keys of one list that are tried


class Pools:
    """The values that matter to a flag or a segment and all that it names, by slot."""

    def __init__(
        self, flags: Mapping[str, Flag], segments: Mapping[str, Segment], owner: Flag | Segment
    ) -> None:
        self._flags = flags
        self._segments = segments
        self.values: dict[Slot, list[Any]] = {}
        kinds = {USER: None}
        for one in self._needed(owner):
            for clause in clauses_of(one):
                self._clause(clause, kinds)
            self._keys(one, kinds)
            for bucketing, weights in choices_of(one):
                kinds[bucketing.context_kind] = None
                self._buckets(bucketing, one.key, weights)
        for kind in kinds:
            self._add(whole(kind), [MISSING, None])
            strangers = [candidate(number) for number in range(_STRANGERS)]
            self._add(key_of(kind), [*strangers, MISSING, ""])
        self.kinds = tuple(kinds)
        self.slots = tuple(self.values)

    def slots_of(self, clause: Clause) -> tuple[Slot, ...]:
        """Return the slots that decide a clause."""
        if clause.operator in (Operator.IN_SEGMENT, Operator.SERVES):
            return self.slots
        if clause.attribute == CONTEXT_KIND:
            return tuple(map(whole, clause.values))
        return (Slot(clause.context_kind, clause.attribute), whole(clause.context_kind))

    def _needed(self, owner: Flag | Segment) -> Iterator[Flag | Segment]:
        yield owner
        seen: set[Node] = set()
        pending: list[Any] = [owner]
        while pending:
            for node in named_by(pending.pop()):
                if node in seen or not isinstance(node.key, str):
                    continue
                seen.add(node)
                many: Mapping[str, Any] = self._flags if node.sort == "flag" else self._segments
                found = many.get(node.key)
                if found is not None and found is not owner:
                    pending.append(found)
                    yield found

    def _clause(self, clause: Clause, kinds: dict[str, None]) -> None:
        if clause.operator in (Operator.IN_SEGMENT, Operator.SERVES):
            return
        kinds[clause.context_kind] = None
        if clause.attribute == CONTEXT_KIND:
            kinds.update(
                dict.fromkeys(one for one in clause.values if isinstance(one, str) and one)
            )
            return
        slot = Slot(clause.context_kind, clause.attribute)
        self._add(slot, [one.value for one in values_of(clause).tried])

    def _keys(self, one: Flag | Segment, kinds: dict[str, None]) -> None:
        lists: tuple[Any, ...] = one.targets if isinstance(one, Flag) else one.included
        if isinstance(one, Segment):
            lists = (*lists, *one.excluded)
        for listed in lists:
            kinds[listed.context_kind] = None
            some = heapq.nsmallest(_NAMED, filter(None, listed.keys))
            self._add(key_of(listed.context_kind), some)

    def _buckets(self, bucketing: Bucketing, key: str, weights: tuple[int, ...]) -> None:
        found = [one.key for one in edge_keys(bucketing, key, weights)]
        for slot in hashed_slots(bucketing):
            self._add(slot, [*found, MISSING])

    def _add(self, slot: Slot, values: Iterable[Any]) -> None:
        pool = self.values.setdefault(slot, [])
        known = {(type(one).__name__, repr(one)) for one in pool}
        for value in values:
            name = (type(value).__name__, repr(value))
            if name not in known:
                known.add(name)
                pool.append(value)


def choices_of(one: Flag | Segment) -> Iterator[tuple[Bucketing, tuple[int, ...]]]:
    """Yield the bucketing and the weights of each split and gate."""
    parts: list[Any] = [rule.gate for rule in one.rules]
    if isinstance(one, Flag):
        parts += [*(rule.serve for rule in one.rules), one.default]
    for part in parts:
        if isinstance(part, Gate):
            yield part.bucketing, (part.share,)
        elif isinstance(part, Split):
            yield part.bucketing, tuple(weight.weight for weight in part.weights)


def ends_of(keys: Iterable[str]) -> list[str]:
    """Return the first and the last of some targeting keys, in order; the empty one is none."""
    known = [key for key in keys if key]
    return list(dict.fromkeys([min(known), max(known)])) if known else []


def hashed_slots(bucketing: Bucketing) -> tuple[Slot, ...]:
    """Return the slots that a split hashes."""
    return tuple(Slot(bucketing.context_kind, name) for name in bucketing.by)
