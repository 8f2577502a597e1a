"""Conditions as alternatives of clauses: a rule of ours has clauses that must all match, no more.

A flagd condition is any tree of and, or and not. Here it becomes a list of alternatives, each of
which can stand in a rule of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from downhaul.documents.flagd.logic import Inexpressible
from downhaul.flag import Clause, Missing, Operator

_MOST: Final = 64
"""Rules that one condition may become."""

_ALTERNATIVE: Final = frozenset(Operator) - {
    Operator.PRESENT,
    Operator.HAS_ALL,
    Operator.SET_EQUALS,
    Operator.SUBSET_OF,
}
"""Operators whose values are alternatives."""


@dataclass(frozen=True, slots=True)
class Share:
    """A condition by bucket: true for whom falls to a part that says so.

    ``parts`` are (true or false, weight). Whom has no key gets ``keyless``. ``split`` is the
    ``fractional`` itself, where it is asked only for whether it serves somebody.
    """

    parts: tuple[tuple[bool, int], ...]
    keyless: bool = False
    split: str = ""

    def negated(self) -> Share:
        """Return what is true where this is not."""
        if self.split:
            raise Inexpressible("it asks whether a split leaves somebody out")
        return Share(tuple((not part, weight) for part, weight in self.parts), not self.keyless)


@dataclass(frozen=True, slots=True)
class All:
    """True where every part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """True where one part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True where the part is not."""

    part: Condition


Condition = All | Some | Not | Clause | Share | bool
"""A clause is false where its attribute is missing, unless it asks for just that."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Clauses that must all match, and what must be met by bucket.

    ``share`` is a condition, ``chosen`` one that asks whether a split serves somebody.
    """

    clauses: tuple[Clause, ...] = ()
    share: Share | None = None
    chosen: Share | None = None

    @property
    def plain(self) -> bool:
        """Whether no bucket is asked for."""
        return self.share is None and self.chosen is None


def alternatives(condition: Condition) -> list[Alternative]:
    """Return what a condition amounts to: true where one of these is.

    Raises Inexpressible where it would be too many, or where two shares must be met at once.
    """
    found = filter(None, map(_simple, _spread(condition, wanted=True)))
    return list({repr(one): one for one in found}.values())


def _spread(condition: Condition, *, wanted: bool) -> list[Alternative]:
    if isinstance(condition, bool):
        return [Alternative()] if condition is wanted else []
    if isinstance(condition, Clause):
        return [Alternative((condition if wanted else negated(condition),))]
    if isinstance(condition, Share):
        met = condition if wanted else condition.negated()
        return [Alternative(chosen=met) if met.split else Alternative(share=met)]
    if isinstance(condition, Not):
        return _spread(condition.part, wanted=not wanted)
    parts = [_spread(part, wanted=wanted) for part in condition.parts]
    if isinstance(condition, Some) is wanted:
        return _merged([one for part in parts for one in part])
    made = [Alternative()]
    for part in parts:
        made = [_both(one, other) for one in made for other in part]
        if len(made) > _MOST:
            raise Inexpressible(f"it would take more than {_MOST} rules")
    return made


def negated(clause: Clause) -> Clause:
    """Return what matches where the clause does not."""
    if clause.negate:
        return replace(clause, negate=False, missing=Missing.NO_MATCH)
    if clause.missing is Missing.NOW or clause.operator is Operator.PRESENT:
        return replace(clause, negate=True)
    return replace(clause, negate=True, missing=Missing.FALSE)


def _both(one: Alternative, other: Alternative) -> Alternative:
    share, chosen = one.share or other.share, one.chosen or other.chosen
    if {one.share, other.share} - {share, None} or {one.chosen, other.chosen} - {chosen, None}:
        raise Inexpressible("a rule here asks one bucket for its condition, and this asks two")
    return Alternative((*one.clauses, *other.clauses), share, chosen)


def _merged(many: Sequence[Alternative]) -> list[Alternative]:
    """Join alternatives that ask one attribute for one value each: clauses take several values."""
    made: list[Alternative] = []
    places: dict[Clause, int] = {}
    for one in many:
        head = one.clauses[0] if len(one.clauses) == 1 and one.plain else None
        if head is None or head.negate or head.operator not in _ALTERNATIVE:
            made.append(one)
            continue
        place = places.setdefault(replace(head, values=()), len(made))
        if place == len(made):
            made.append(one)
            continue
        values = _once((*made[place].clauses[0].values, *head.values))
        made[place] = Alternative((replace(head, values=values),))
    return made


def _once(values: Sequence[object]) -> tuple[object, ...]:
    """Return the values without repetition; ``True`` is not ``1``."""
    return tuple({(type(one) is bool, one): one for one in values}.values())


def _simple(one: Alternative) -> Alternative | None:
    """Return the same without what says nothing; None where it contradicts itself."""
    asked = [clause for clause in one.clauses if clause.operator is Operator.PRESENT]
    there = {clause.attribute for clause in asked if not clause.negate}
    gone = {clause.attribute for clause in asked if clause.negate}
    kept: dict[str, Clause] = {}
    for clause in one.clauses:
        if clause.negate and clause.missing is Missing.FALSE and clause.attribute in there:
            clause = replace(clause, missing=Missing.NO_MATCH)  # noqa: PLW2901  (the same, shorter)
        kept[repr(clause)] = clause  # not by equality, to which True is 1
    needing = {clause.attribute for clause in kept.values() if _needs_attribute(clause)}
    if gone & (there | needing):
        return None
    clauses = [
        clause
        for clause in kept.values()
        if clause.negate
        or clause.operator is not Operator.PRESENT
        or clause.attribute not in needing
    ]
    return replace(one, clauses=tuple(clauses))


def _needs_attribute(clause: Clause) -> bool:
    if clause.operator is Operator.PRESENT:
        return False
    return clause.missing is not Missing.NOW and not (
        clause.negate and clause.missing is Missing.FALSE
    )
