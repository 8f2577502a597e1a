"""Which splits of ours are Split's own percentages: all others need a carrier.

Split hashes the users of a flag by seeds of its own, which the admin API doesn't tell. So a split
that was read from there names no seed, and one that names the flag's own is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from downhaul.flag import WHOLE, Bucketing, Flag, Rule, Scheme, Serve, Split, Weight

_PLAIN: Final = (Bucketing(), Bucketing(Scheme.SPLIT))
_MURMUR: Final = 2  # any other word is the first hash, that of older flags
PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Seeds:
    """By what Split hashes the users of one flag."""

    scheme: Scheme
    seed: int | None = None
    allocation: int | None = None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Return the seeds of a flag as SDKs are sent it."""
        return cls(scheme_of(raw), raw.get("seed"), raw.get("trafficAllocationSeed"))


def scheme_of(raw: Mapping[str, Any]) -> Scheme:
    """Return the hash of a flag as SDKs are sent it."""
    return Scheme.SPLIT if raw.get("algo") == _MURMUR else Scheme.SPLIT_LEGACY


def is_own(how: Bucketing) -> bool:
    """Return whether a split is by whatever Split hashes by: it names neither salt nor seed."""
    return replace(how, total=WHOLE) in _PLAIN


def unseeded(flag: Flag) -> Flag:
    """Return a flag whose splits name no seed."""
    rules = tuple(replace(one, serve=_without_seed(one.serve)) for one in flag.rules)
    return replace(flag, rules=rules, default=_without_seed(flag.default))


def at_home(flag: Flag, seeds: Seeds, *, first: bool = True) -> Flag:
    """Return a flag whose splits by its own seeds name none.

    A traffic allocation can be written as the first rule only; without ``first`` it is any.
    """
    rules = [replace(one, serve=_at_home(one.serve, seeds)) for one in flag.rules]
    for place, one in enumerate(rules[:1] if first else rules):
        if share_of(one, flag.off_variant, seeds) is not None:
            rules[place] = replace(one, serve=_without_seed(one.serve))
    return replace(flag, rules=tuple(rules), default=_at_home(flag.default, seeds))


def names_seeds(flag: Flag) -> bool:
    """Return whether a split of a flag names a seed of a hash of Split's."""
    serves = [*(one.serve for one in flag.rules), flag.default]
    return any(
        isinstance(one, Split)
        and one.bucketing.scheme in (Scheme.SPLIT, Scheme.SPLIT_LEGACY)
        and one.bucketing.seed is not None
        for one in serves
    )


def by_hash(flag: Flag, how: Bucketing) -> Flag:
    """Return a flag whose default is split by another hash, where its weights are no finer."""
    default = flag.default
    if not isinstance(default, Split):
        return flag
    total = default.bucketing.total
    if any(one.weight * how.total % total for one in default.weights):
        return flag
    weights = tuple(replace(one, weight=one.weight * how.total // total) for one in default.weights)
    return replace(flag, default=Split(weights, how))


def allocation_of(share: int, default_treatment: str, how: Bucketing) -> Rule:
    """Return the rule that serves the default treatment to whom a traffic allocation leaves out."""
    weights = (Weight(None, share), Weight(default_treatment, PERCENT - share))
    return Rule(Split(weights, how), id="traffic-allocation", description="traffic allocation")


def share_of(rule: Rule, off: str | None, seeds: Seeds | None = None) -> int | None:
    """Return the traffic allocation that a first rule is, in percent; None for another rule.

    Its hash is the flag's own, or names the seed that ``seeds`` has for it.
    """
    if rule.clauses or rule.gate is not None or not isinstance(rule.serve, Split):
        return None
    how, weights = rule.serve.bucketing, rule.serve.weights
    own = Bucketing(Scheme.SPLIT, total=PERCENT)
    if seeds is not None and seeds.allocation is not None:
        own = Bucketing(seeds.scheme, seed=seeds.allocation, total=PERCENT)
    if how != own or [one.variant for one in weights] != [None, off]:
        return None
    return weights[0].weight


def _at_home(serve: Serve, seeds: Seeds) -> Serve:
    if not isinstance(serve, Split) or seeds.seed is None:
        return serve
    own = serve.bucketing == Bucketing(seeds.scheme, seed=seeds.seed, total=PERCENT)
    whole = all(one.variant is not None for one in serve.weights)
    return _without_seed(serve) if own and whole else serve


def _without_seed(serve: Serve) -> Serve:
    if not isinstance(serve, Split):
        return serve
    return replace(serve, bucketing=Bucketing(Scheme.SPLIT, total=serve.bucketing.total))
