"""Unleash's segments as ours, which the clauses of strategies name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from downhaul.flag import Clause, Operator, Segment, SegmentRule
from downhaul_unleash.constraints import clause_of
from downhaul_unleash.engine import DoesNotCompile
from downhaul_unleash.entries import Entries
from downhaul_unleash.source import Constraint, SegmentSource, Strategy

_CARRIED: Final = frozenset({"id", "name", "constraints"})
_CONSTRAINT: Final = frozenset(
    {"contextName", "operator", "values", "value", "inverted", "caseInsensitive"}
)
_KNOWN: Final = {
    "createdAt": "when it was made",
    "createdBy": "who made it",
    "description": "a note of people's",
    "project": "whose it is",
}


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments of a document, and those among them that the engine can't compile."""

    made: tuple[Segment, ...]
    broken: Mapping[int, str]
    known: frozenset[int]

    def clauses(self, strategy: Strategy) -> tuple[Clause, ...]:
        """Return a strategy's segments as clauses.

        Raises DoesNotCompile where one is missing or broken: then the feature is off.
        """
        for one in strategy.segments:
            if one not in self.known:
                raise DoesNotCompile(strategy.path, f"there is no segment {one}")
            if one in self.broken:
                raise DoesNotCompile(strategy.path, f"segment {one}: {self.broken[one]}")
        return tuple(
            Clause("", Operator.IN_SEGMENT, (segment_key(one),)) for one in strategy.segments
        )


def segment_key(number: int) -> str:
    """Return our key of a segment."""
    return f"unleash-{number}"


def segments_of(sources: Mapping[int, SegmentSource], entries: Entries) -> Segments:
    """Return all segments of a document as ours."""
    made: list[Segment] = []
    broken: dict[int, str] = {}
    for number, source in sources.items():
        rules: tuple[SegmentRule, ...] = ()
        try:
            rules = (SegmentRule(constraint_clauses(source.constraints, entries)),)
            entries.full(source.path)
        except DoesNotCompile as refusal:
            broken[number] = refusal.reason
            reason = f"{refusal.reason}: Unleash keeps every feature with this segment off"
            entries.partial(source.path, f"{reason}; here it has nobody", source.raw)
        entries.rest(source, _CARRIED, _KNOWN)
        made.append(Segment(segment_key(number), rules=rules, description=source.name))
    return Segments(tuple(made), broken, frozenset(sources))


def constraint_clauses(constraints: tuple[Constraint, ...], entries: Entries) -> tuple[Clause, ...]:
    """Return constraints as clauses, and note each. Raises DoesNotCompile."""
    carried = [(one, clause_of(one)) for one in constraints]
    for one, found in carried:
        entries.part(one, found.reasons)
        entries.rest(one, _CONSTRAINT, {})
    return tuple(found.clause for _, found in carried)
