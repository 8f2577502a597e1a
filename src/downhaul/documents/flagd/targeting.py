"""flagd's targeting as rules and a default of ours."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from downhaul.documents.faults import Fault, Place, did_you_mean, quoted
from downhaul.documents.flagd.alternatives import (
    All,
    Alternative,
    Condition,
    Share,
    alternatives,
)
from downhaul.documents.flagd.asking import Asking, operation
from downhaul.documents.flagd.logic import BESIDE, Inexpressible, Logic, attribute_of
from downhaul.documents.flagd.parts import Part, parts_of
from downhaul.documents.flagd.versions import any_version
from downhaul.flag import (
    TARGETING_KEY,
    Bucketing,
    Clause,
    Gate,
    NoKey,
    Operator,
    Rule,
    Serve,
    Split,
    Weight,
)

_TRUTHS: Final = frozenset(
    {"==", "!=", "===", "!==", "<", "<=", ">", ">=", "!", "!!", "in", "some", "all", "none"}
)
"""Operators that answer true or false, and never null."""

_NOBODYS: Final = (
    "flagd answers the code's default to some here, and our flags name a variant for everybody"
)
_GATES: Final = "a gate here lets the first buckets in"
_KEYLESS: Final = Clause(TARGETING_KEY, Operator.PRESENT, negate=True)


@dataclass(frozen=True, slots=True)
class Branch:
    """What is served where a condition holds: a variant, the parts of a split, or None.

    ``split`` is the split as it is written.
    """

    condition: Condition
    leaf: str | tuple[Part, ...] | None
    split: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a targeting amounts to."""

    rules: tuple[Rule, ...]
    default: Serve


class Targeting:
    """Reads the targeting of one flag. ``default`` is its default variant, None the code's."""

    def __init__(self, variants: Collection[str], default: str | None, place: Place) -> None:
        self.asking = Asking()
        self.faults: list[Fault] = self.asking.faults
        self._variants = variants
        self._default = default
        self._place = place
        self._pending: list[str] = []
        """Who was sent to the code's default for want of a key, and must be asked for one next."""

    def read(self, logic: Logic) -> Decided:
        """Return the rules and the default. Raises Inexpressible for what ours can't say.

        With faults, what is returned means nothing.
        """
        rules: list[Rule] = []
        branches = list(self._branches(logic, (), self._place))
        for branch in branches:
            many = alternatives(branch.condition)
            if self._everybody(many):
                if self._pending:
                    raise Inexpressible(_NOBODYS)
                return Decided(tuple(rules) + self._last_rules(branch), self._last(branch))
            if branch.leaf is None and self._default is None:
                self._put_off(many)
                continue
            rules += self._rules(branch, many)
        raise Inexpressible(_NOBODYS)  # not met: a chain ends with what everybody gets

    # Branches

    def _branches(
        self, logic: Logic, conditions: tuple[Condition, ...], place: Place
    ) -> Iterator[Branch]:
        if isinstance(logic, dict) and list(logic) in (["if"], ["?:"]):
            word, args = operation(logic)
            for index in range(0, len(args) - 1, 2):
                at: Place = (*place, word, index)
                asked = self.asking.condition(args[index], at)
                within = (*conditions, asked)
                yield from self._branches(args[index + 1], within, (*place, word, index + 1))
            last = len(args) - 1
            rest = args[last] if len(args) % 2 else None
            yield from self._branches(rest, conditions, (*place, word, last))
            return
        yield from self._leaves(logic, conditions, place)

    def _leaves(
        self, logic: Logic, conditions: tuple[Condition, ...], place: Place
    ) -> Iterator[Branch]:
        if logic is None or isinstance(logic, (str, bool)):
            yield Branch(All(conditions), self._variant(logic, place))
        elif isinstance(logic, dict) and list(logic) == ["fractional"]:
            parts = parts_of(logic["fractional"], place, self.faults)
            text = json.dumps(logic)
            if parts is None:
                yield Branch(All(conditions), None)
            else:
                yield Branch(All(conditions), parts, text)
        else:
            yield from self._shorthand(logic, conditions, place)

    def _shorthand(
        self, logic: Logic, conditions: tuple[Condition, ...], place: Place
    ) -> Iterator[Branch]:
        """Yield what a condition serves that stands in the place of a variant: true and false."""
        word, args = operation(logic)
        asked = self.asking.condition(logic, place)
        yield Branch(All((*conditions, asked)), self._variant(True, place))
        if word in _TRUTHS:
            yield Branch(All(conditions), self._variant(False, place))
            return
        name = attribute_of(args[0]) if args else None
        if word in ("starts_with", "ends_with") and asked is not False and name is not None:
            known = Clause(name, Operator.STARTS_WITH, ("",))
        elif word == "sem_ver" and asked is not False and name is not None:
            known = any_version(name)
        elif asked is False and word in ("starts_with", "ends_with", "sem_ver"):
            yield Branch(All(conditions), None)
            return
        else:
            raise Inexpressible(f"{quoted(word)} says no variant here", fragment=logic)
        yield Branch(All((*conditions, known)), self._variant(False, place))
        yield Branch(All(conditions), None)

    def _variant(self, name: Any, place: Place) -> str | None:
        if name is None:
            return None
        text = str(name).lower() if isinstance(name, bool) else name
        if text not in self._variants:
            hint = did_you_mean(text, self._variants, all_of="its variants are")
            self.faults.append(Fault(place, f"the flag has no variant {quoted(text)}", hint))
        return str(text)

    # Rules

    def _everybody(self, many: list[Alternative]) -> bool:
        return any(not one.clauses and one.plain for one in many)

    def _put_off(self, many: list[Alternative]) -> None:
        """Keep in mind whom flagd gives the code's default because there is no key."""
        for one in many:
            if not one.plain or _KEYLESS not in one.clauses or self._pending:
                raise Inexpressible(_NOBODYS)
        self._pending = [
            repr(tuple(clause for clause in one.clauses if clause != _KEYLESS)) for one in many
        ]

    def _rules(self, branch: Branch, many: list[Alternative]) -> Iterator[Rule]:
        pending, self._pending = self._pending, []
        if not set(pending) <= {repr(one.clauses) for one in many}:
            raise Inexpressible(_NOBODYS)
        for one in many:
            fails = repr(one.clauses) in pending
            if fails and one.plain and not isinstance(branch.leaf, tuple):
                raise Inexpressible(_NOBODYS)
            how = NoKey.ERROR if fails else NoKey.MISS
            if one.chosen is not None:
                yield self._chosen(branch, one, one.chosen, how)
            elif one.share is not None:
                yield from self._shared(branch, one, one.share, how)
            else:
                yield from self._plain(branch, one.clauses, fails=fails)

    def _plain(self, branch: Branch, clauses: tuple[Clause, ...], *, fails: bool) -> Iterator[Rule]:
        if not isinstance(branch.leaf, tuple):
            yield Rule(self._served(branch.leaf), clauses)
        elif fails or self._default is None:
            yield Rule(self._split(branch.leaf, NoKey.ERROR), clauses)
        else:
            yield Rule(self._split(branch.leaf, NoKey.MISS), clauses)
            if not any(_needs_key(one) for one in clauses):
                yield Rule(self._default, clauses)

    def _chosen(self, branch: Branch, one: Alternative, chosen: Share, how: NoKey) -> Rule:
        """Return the rule of a split that leaves some to what follows."""
        if chosen.split != branch.split or not isinstance(branch.leaf, tuple):
            raise Inexpressible("it asks for one split and serves another")
        if one.share is None:
            return Rule(self._split(branch.leaf, how, beside=True), one.clauses)
        gate = self._gate(one.share, how)
        if gate is None:
            raise Inexpressible(_GATES)
        return Rule(self._split(branch.leaf, NoKey.ERROR, beside=True), one.clauses, gate)

    def _shared(self, branch: Branch, one: Alternative, share: Share, how: NoKey) -> Iterator[Rule]:
        gate = self._gate(share, how)
        if isinstance(branch.leaf, tuple):
            if gate is None:
                raise Inexpressible(_GATES)
            yield Rule(self._split(branch.leaf, NoKey.ERROR), one.clauses, gate)
            return
        served = self._served(branch.leaf)
        if gate is not None:
            yield Rule(served, one.clauses, gate)
            return
        if share.keyless and how is NoKey.MISS:
            yield Rule(served, (*one.clauses, _KEYLESS))
        weights = tuple(Weight(served if hit else None, weight) for hit, weight in share.parts)
        yield Rule(Split(weights, _bucketing(share, how)), one.clauses)

    def _gate(self, share: Share, how: NoKey) -> Gate | None:
        """Return the gate that lets a share in, or None where it isn't the first buckets."""
        hits = [hit for hit, _ in share.parts]
        if share.keyless or hits != sorted(hits, reverse=True):
            return None
        return Gate(sum(weight for hit, weight in share.parts if hit), _bucketing(share, how))

    def _served(self, variant: str | None) -> str:
        served = self._default if variant is None else variant
        if served is None:
            raise Inexpressible(_NOBODYS)
        return served

    def _split(self, parts: tuple[Part, ...], no_key: NoKey, *, beside: bool = False) -> Split:
        weights: list[Weight] = []
        for part in parts:
            name: str | None
            if beside and part.label == BESIDE:
                name = None
            else:
                name = self._served(self._variant(part.label, self._place))
            if weights and weights[-1].variant == name:
                weights[-1] = replace(weights[-1], weight=weights[-1].weight + part.weight)
            else:
                weights.append(Weight(name, part.weight))
        if no_key is NoKey.ERROR and len(heavy := [one for one in weights if one.weight]) == 1:
            # A split that serves all the same asks for no key here, and flagd's does: cut in two.
            weights = [replace(heavy[0], weight=1)] * 2
        total = sum(one.weight for one in weights)
        return Split(tuple(weights), Bucketing(no_key=no_key, total=total))

    def _last_rules(self, branch: Branch) -> tuple[Rule, ...]:
        if isinstance(branch.leaf, tuple) and self._default is not None:
            return (Rule(self._split(branch.leaf, NoKey.MISS)),)
        return ()

    def _last(self, branch: Branch) -> Serve:
        if isinstance(branch.leaf, tuple):
            return self._default or self._split(branch.leaf, NoKey.ERROR)
        return self._served(branch.leaf)


def _bucketing(share: Share, how: NoKey) -> Bucketing:
    total = sum(weight for _, weight in share.parts)
    if how is NoKey.ERROR and any(weight == total for _, weight in share.parts):
        raise Inexpressible(_NOBODYS)  # what is the same for every bucket asks for no key here
    return Bucketing(no_key=how, total=total)


def _needs_key(clause: Clause) -> bool:
    return clause.attribute == TARGETING_KEY and not clause.negate
