"""A whole flag of ours as strategies: what each serves, and to whom.

Unleash ORs strategies. A boolean has no other way to say no than in the constraints of whoever says
yes, so a rule that serves off stands, turned round, in every strategy after it. Where there are
variants, the first strategy that matches gives its own, and rules stand in their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from downhaul.evaluator.carriers import bucketing_of, carrier_of
from downhaul.evaluator.lowering import CantLower, lowered
from downhaul.flag import (
    WHOLE,
    Bucketing,
    Clause,
    Flag,
    FlagKind,
    NoKey,
    Operator,
    Rule,
    Split,
    Weight,
)
from downhaul_unleash.bands import is_empty, one_band_each, without_constants
from downhaul_unleash.hashes import DEFAULT, Hashed, gate_of, native_variants, own_hash
from downhaul_unleash.marks import BY, PARAMETER, Mark, Sort
from downhaul_unleash.saying import (
    EVERYBODY,
    MOST_CONSTRAINTS,
    NOBODY,
    Conjunction,
    Formula,
    both,
    is_carrier,
    opposite,
    said,
)
from downhaul_unleash.shape import (
    MOST_STRATEGIES,
    TARGETS,
    Constraint,
    Strategy,
    is_list,
    normal,
    sent_of,
)
from downhaul_unleash.targets import denies_of, lists_of
from downhaul_unleash.values import weighted
from downhaul_unleash.why import CantSay

MOST_BYTES: Final = 100 * 1024
"""The server's limit for the body of one request."""
_PERCENT: Final = 100


def composed(flag: Flag, before: Iterable[Strategy] = ()) -> list[Strategy]:
    """Return all strategies of a flag. ``before`` are those that it has: lists of users stay.

    Raises CantSay for what strategies can't say.
    """
    flag = _with_said_salts(flag)
    composer = _Boolean if flag.kind is FlagKind.BOOLEAN else _Valued
    strategies = composer(flag, tuple(before)).all()
    _check_limits(strategies)
    return [{**one, "sortOrder": place} for place, one in enumerate(strategies)]


def two_way(flag: Flag) -> tuple[str, int, Bucketing] | None:
    """Return variant, weight and hash of a default that gives the rest the off variant, or None."""
    split = flag.default
    if isinstance(split, str) or flag.off_variant is None:
        return None
    for weights in (split.weights, [one for one in split.weights if one.weight]):
        first, *rest = weights
        leads = first.variant != flag.off_variant
        if leads and all(one.variant == flag.off_variant for one in rest):
            return str(first.variant), first.weight, split.bucketing
    return None


def _with_said_salts(flag: Flag) -> Flag:
    """Return a flag whose default's split names its salt: the key of the flag where it had none."""
    split = flag.default
    if isinstance(split, str) or split.bucketing.salt is not None:
        return flag
    how = bucketing_of(carrier_of(split.bucketing, flag.key))
    return flag if how is None else replace(flag, default=replace(split, bucketing=how))


@dataclass(slots=True)
class _Part:
    """A rule, or what a default serves to some, on its way to strategies."""

    mark: Mark
    serve: str | Split
    formula: Formula
    description: str = ""
    hashed: Hashed | None = None
    share: int = _PERCENT
    extra: dict[str, str] = field(default_factory=dict)
    is_rest: bool = False

    def parameters(self, key: str) -> dict[str, str]:
        """Return the parameters of its strategies."""
        hashed = self.hashed or Hashed(key, DEFAULT)
        return {
            "rollout": str(self.share),
            "stickiness": hashed.stickiness,
            "groupId": hashed.group,
            **self.extra,
        }


class _Composer:
    """What booleans and flags with values have in common."""

    def __init__(self, flag: Flag, before: tuple[Strategy, ...]) -> None:
        self.flag = flag
        self._before = before
        self._titles = {one["title"] for one in before if one["title"].startswith(TARGETS)}

    def all(self) -> list[Strategy]:
        """Return all strategies, in their order."""
        raise NotImplementedError

    def rules(self) -> Iterator[_Part]:
        """Yield the rules."""
        rules = tuple(map(without_constants, self.flag.rules))
        bare = replace(self.flag, rules=rules, default=self._some_variant())
        for number, rule in enumerate(self._lowered(bare).rules, start=1):
            yield self.part(Sort.RULE, number, rule)

    def default(self) -> Iterator[_Part]:
        """Yield what the default serves, to whom it serves anything."""
        found = two_way(self.flag)
        if found is not None:
            yield self._percentage(*found)
            return
        plain = self._lowered(replace(self.flag, rules=()))
        rules = [*plain.rules, Rule(plain.default)]
        for number, rule in enumerate(rules, start=1):
            part = self.part(Sort.ROLLOUT, number, rule)
            part.is_rest = number == len(rules)
            yield part

    def part(self, sort: Sort, number: int, rule: Rule) -> _Part:
        """Return a rule as a part, whose own hash is its strategy's where that is Unleash's."""
        clauses = one_band_each(rule.clauses)
        hashed = self.hash_of(rule.serve)
        share = _PERCENT
        # Only the first bucket that is asked for: without a key, the order of asking matters.
        place = next((at for at, one in enumerate(clauses) if is_carrier(one)), None)
        found = None if place is None else gate_of(clauses[place])
        if place is not None and found is not None and hashed in (None, found[0]):
            hashed, share = found
            del clauses[place]
        formula = _all_of(clauses, rule)
        return _Part(Mark(sort, number), rule.serve, formula, rule.description, hashed, share)

    def hash_of(self, serve: str | Split) -> Hashed | None:
        """Return the hash by which a strategy's variants choose what is served."""
        return None if isinstance(serve, str) else native_variants(serve, self.flag.key)

    def strategy(
        self, part: _Part, constraints: Conjunction, mark: Mark, copy: int, share: int | None = None
    ) -> Strategy:
        """Return one strategy of a part."""
        parameters = part.parameters(self.flag.key)
        if share is not None:
            parameters["rollout"] = str(share)
        return normal(
            {
                "name": "flexibleRollout",
                "title": mark.title(copy, part.description),
                "parameters": {**parameters, PARAMETER: str(mark)},
                "constraints": constraints,
                "variants": self.variants(part.serve, part.hashed),
            }
        )

    def variants(self, serve: str | Split, hashed: Hashed | None) -> list[dict[str, Any]]:
        """Return the variants of a strategy that serves something."""
        return [] if self.flag.kind is FlagKind.BOOLEAN else weighted(self.flag, serve, hashed)

    def listed(self, variant: str) -> list[Strategy]:
        """Return the lists of the users who always get a variant."""
        users = [key for one in self.flag.targets if one.variant == variant for key in one.keys]
        wanted = self.variants(variant, None)
        mine = [one for one in self._before if is_list(one) and _serves_alike(one, wanted)]
        return lists_of(self.flag.key, users, mine, wanted, self._titles)

    def _percentage(self, variant: str, weight: int, how: Bucketing) -> _Part:
        carrier = carrier_of(how, self.flag.key)
        clause = Clause(carrier, Operator.LESS, (weight,), context_kind=how.context_kind)
        everybody = weight == how.total and how.no_key is not NoKey.MISS
        bare = gate_of(clause) is None and (not weight or everybody)
        part = self.part(Sort.ROLLOUT, 1, Rule(variant, () if bare else (clause,)))
        part.extra[BY] = carrier
        if not weight:
            part.share = 0
        return part

    def _lowered(self, flag: Flag) -> Flag:
        splits = [one.serve for one in flag.rules if isinstance(one.serve, Split)]
        splits += [flag.default] if isinstance(flag.default, Split) else []
        values = flag.kind is not FlagKind.BOOLEAN
        native = [one.bucketing for one in splits if values and native_variants(one, flag.key)]
        others = [one.bucketing for one in splits if not native_variants(one, flag.key)]
        try:
            return lowered(flag, lambda how: how in native and how not in others)
        except CantLower as refusal:
            raise CantSay(str(refusal)) from None

    def _some_variant(self) -> str:
        return self.flag.off_variant or min(self.flag.variants)


class _Boolean(_Composer):
    """Strategies that are for somebody, less those who were served off before."""

    def all(self) -> list[Strategy]:
        """Return the rules and the percentage, and the lists of users after them."""
        flag = self.flag
        denies = denies_of(key for one in flag.targets if one.variant == "off" for key in one.keys)
        left = EVERYBODY
        made: list[Strategy] = []
        for part in (*self.rules(), *self.default()):
            if left == NOBODY:
                break  # nobody gets as far as what comes now
            if part.serve == "on":
                made += self._served(part, left, denies)
            elif part.is_rest:
                continue  # who is left at the end is off without a word
            else:
                made += self._recorded(part)
                left = both(left, opposite(part.formula))
        if not any(one["title"] == "downhaul:rollout" for one in made):
            nobody = _Part(Mark(Sort.ROLLOUT, 1), "on", EVERYBODY, share=0)
            made += self._served(nobody, EVERYBODY, denies)
        return [*made, *self.listed("on")]

    def part(self, sort: Sort, number: int, rule: Rule) -> _Part:
        """Return a part; one that serves off must be all in constraints, to be turned round."""
        if rule.serve == "on":
            return super().part(sort, number, rule)
        no_sort = Sort.NO_RULE if sort is Sort.RULE else sort
        return _Part(
            Mark(no_sort, number),
            rule.serve,
            _all_of(one_band_each(rule.clauses), rule),
            rule.description,
        )

    def _served(self, part: _Part, left: Formula, denies: list[Constraint]) -> Iterator[Strategy]:
        copy = 0
        for own in part.formula:
            for constraints in both((own,), left):
                copy += 1
                mark = replace(part.mark, own=len(own), denies=len(denies))
                yield self.strategy(part, (*constraints, *denies), mark, copy)

    def _recorded(self, part: _Part) -> Iterator[Strategy]:
        sort = Sort.NO_ROLLOUT if part.mark.sort is Sort.ROLLOUT else part.mark.sort
        for copy, own in enumerate(part.formula, start=1):
            mark = Mark(sort, part.mark.number, len(own))
            yield self.strategy(part, own, mark, copy, share=0)


class _Valued(_Composer):
    """Strategies in their order, of which the first that matches gives its variants."""

    def all(self) -> list[Strategy]:
        """Return the record of all values, the lists of users, the rules and the default."""
        flag = self.flag
        made: list[Strategy] = []
        sort = Sort.VALUES if flag.off_variant is None else Sort.OFF
        record = _Part(Mark(sort, 1), self._some_variant(), EVERYBODY, share=0)
        values = weighted(flag, self._some_variant(), everything=True)
        made.append({**self.strategy(record, (), record.mark, 1), "variants": values})
        for variant in dict.fromkeys(one.variant for one in flag.targets):
            made += self.listed(variant)
        for part in (*self.rules(), *self.default()):
            if part.is_rest and part.serve == flag.off_variant:
                continue  # who is not enabled is served the off variant
            for copy, own in enumerate(part.formula, start=1):
                made.append(self.strategy(part, own, replace(part.mark, own=len(own)), copy))
        return made


def _all_of(clauses: Sequence[Clause], rule: Rule) -> Formula:
    if is_empty(clauses):
        return NOBODY
    made = EVERYBODY
    for clause in clauses:
        try:
            made = both(made, said(clause))
        except CantSay as refusal:
            name = f'rule "{rule.id}": ' if rule.id else ""
            message = f'{name}{clause.operator} on "{clause.attribute}": {refusal}'
            raise CantSay(message) from None
    return made


def _serves_alike(one: Strategy, variants: list[dict[str, Any]]) -> bool:
    served = [each["name"] for each in one["variants"] if each["weight"]]
    return served == [each["name"] for each in variants if each["weight"]]


def _check_limits(strategies: list[Strategy]) -> None:
    if len(strategies) > MOST_STRATEGIES:
        raise CantSay(
            f"it would take {len(strategies)} strategies, and Unleash takes {MOST_STRATEGIES}"
        )
    for one in strategies:
        if len(one["constraints"]) > MOST_CONSTRAINTS:
            raise CantSay(
                f'the strategy "{one["title"]}" would take {len(one["constraints"])} constraints, '
                f"and Unleash takes {MOST_CONSTRAINTS}"
            )
        size = len(json.dumps(sent_of(one)))
        if size > MOST_BYTES:
            raise CantSay(
                f'the strategy "{one["title"]}" would take {size // 1024} kB, and Unleash takes '
                f"{MOST_BYTES // 1024}"
            )


def plain_percentage(flag: Flag) -> Flag:
    """Return a flag whose plain split is Unleash's own percentage, in whole percents.

    Raises CantSay for one that is finer.
    """
    found = two_way(flag)
    if found is None or found[2] != Bucketing():
        return flag
    variant, weight, _how = found
    whole, rest = divmod(weight, WHOLE // _PERCENT)
    if rest:
        raise CantSay(
            f"Unleash splits by whole percents, so {weight * _PERCENT / WHOLE:g} % cannot be kept"
        )
    weights = (Weight(variant, whole), Weight(flag.off_variant, _PERCENT - whole))
    return replace(flag, default=Split(weights, own_hash(flag.key)))
