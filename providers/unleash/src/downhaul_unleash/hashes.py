"""Which of our bucketings are Unleash's own hash, so that its strategies can split by them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from downhaul.evaluator.carriers import bucketing_of
from downhaul.flag import TARGETING_KEY, USER, Bucketing, Clause, NoKey, Operator, Scheme, Split
from downhaul_unleash.attributes import attribute_of
from downhaul_unleash.engine import DoesNotCompile, quoted
from downhaul_unleash.variants import SEED

_HUNDRED: Final = 100
_THOUSAND: Final = 1_000
DEFAULT: Final = "default"
_DEFAULT_BY: Final = (TARGETING_KEY, "sessionId")
_NEVER_A_NAME: Final = frozenset({"random", DEFAULT, "currentTime"})


@dataclass(frozen=True, slots=True)
class Hashed:
    """A hash of Unleash: the group and the stickiness of a strategy."""

    group: str
    stickiness: str


def own_hash(group: str) -> Bucketing:
    """Return how Unleash's own percentage of a flag buckets."""
    how = Bucketing(Scheme.UNLEASH, group, by=_DEFAULT_BY, no_key=NoKey.RANDOM)
    return replace(how, total=_HUNDRED)


def rollout_hash(how: Bucketing) -> Hashed | None:
    """Return the hash of a flexibleRollout that buckets so, or None."""
    plain = not how.seed and how.total == _HUNDRED
    return _hashed(how, NoKey.MISS) if plain else None


def variant_hash(how: Bucketing) -> Hashed | None:
    """Return the hash of a strategy's variants that bucket so, or None."""
    plain = how.seed == SEED and how.total == _THOUSAND
    return _hashed(how, NoKey.RANDOM) if plain else None


def _hashed(how: Bucketing, no_key: NoKey) -> Hashed | None:
    if how.scheme is not Scheme.UNLEASH or how.context_kind != USER or how.salt is None:
        return None
    try:
        if quoted(how.salt, "") != how.salt:
            return None
    except DoesNotCompile:
        return None
    if how.by == _DEFAULT_BY:
        return Hashed(how.salt, DEFAULT) if how.no_key is NoKey.RANDOM else None
    if len(how.by) != 1 or how.no_key is not no_key:
        return None
    name = _name(how.by[0])
    return None if name is None else Hashed(how.salt, name)


def _name(attribute: str) -> str | None:
    """Return the stickiness that reads an attribute, or None where none does."""
    name = "userId" if attribute == TARGETING_KEY else attribute
    if name in _NEVER_A_NAME or attribute_of(name) != attribute:
        return None
    try:
        return name if quoted(name, "") == name else None
    except DoesNotCompile:
        return None


def gate_of(clause: Clause) -> tuple[Hashed, int] | None:
    """Return the hash and the percentage of a clause that a flexibleRollout says by itself."""
    if clause.operator is not Operator.LESS or clause.negate or len(clause.values) != 1:
        return None
    how = bucketing_of(clause.attribute)
    hashed = None if how is None else rollout_hash(how)
    share = clause.values[0]
    if hashed is None or not 0 <= share <= _HUNDRED:
        return None
    return hashed, int(share)


def native_variants(split: Split, key: str) -> Hashed | None:
    """Return the hash by which a strategy's variants choose as a split does, or None."""
    salt = key if split.bucketing.salt is None else split.bucketing.salt
    if any(one.variant is None for one in split.weights):
        return None
    names = [one.variant for one in split.weights]
    if len(set(names)) != len(names) or not _in_order(list(map(str, names))):
        return None
    return variant_hash(replace(split.bucketing, salt=salt))


def _in_order(names: list[str]) -> bool:
    """Return whether the server, which sorts variants by a locale's order, keeps this one."""
    return names == sorted(names) and names == sorted(names, key=str.casefold)
