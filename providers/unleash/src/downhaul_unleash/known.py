"""What a payload tells of its features: kinds and values, and why a decision was what it was.

Unleash's engine answers with a decision and no reason. The strategies that it decided by are in the
payload, and from them follows what can be said.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from downhaul.flag import Flag, FlagKind, Prerequisite
from downhaul.provider import portable_attribute
from downhaul.result import Reason, Result
from downhaul_unleash.carried import Carried, Reference, carried_by, carrier_in
from downhaul_unleash.engine import percentage
from downhaul_unleash.marks import Sort, mark_of
from downhaul_unleash.reading import read
from downhaul_unleash.source import Constraint, Feature, Strategy, Variant
from downhaul_unleash.variants import Table, table_of

_ALL: Final = 100
_STICKY_BY_KEY: Final = frozenset({"default", "userId"})
_SHARES: Final = {
    "flexibleRollout": "rollout",
    "gradualRolloutUserId": "percentage",
    "gradualRolloutSessionId": "percentage",
    "gradualRolloutRandom": "percentage",
}


@dataclass(frozen=True, slots=True)
class Known:
    """One feature of a payload. ``flag`` is what Downhaul is told of it, without rules.

    Its prerequisites have Unleash's names of variants, as its engine compares them.

    ``plain`` is the name of what is served to who is enabled and gets none of the variants; None
    where nothing is. ``allowed`` and ``denied`` are users who are listed. ``splits`` says that a
    hash decides, ``draws`` that it is by user or session, and lots are drawn for who has neither.
    ``targeted`` says that a strategy has conditions, ``everybody`` that one has none. ``carried``
    is what its constraints need of a context, where they compare buckets of other hashes.
    """

    flag: Flag
    table: Table
    plain: str | None
    allowed: frozenset[str]
    denied: frozenset[str]
    splits: bool
    draws: bool
    targeted: bool
    everybody: bool
    carried: Carried | None = None
    results: dict[Any, Result] = field(default_factory=dict, compare=False)
    """What was answered before, by outcome: made once for each."""

    @property
    def off(self) -> str:
        """Return our name of what somebody gets who is not enabled."""
        return self.flag.off_variant or self.table.off

    def reason(self, user: str | None, *, enabled: bool) -> Reason:
        """Return why a user was answered so."""
        if not self.flag.on:
            return Reason.DISABLED
        if user is not None and user in (self.allowed if enabled else self.denied):
            return Reason.TARGETING_MATCH
        if self.targeted and not self.everybody:
            return Reason.TARGETING_MATCH if enabled else Reason.DEFAULT
        if self.splits:
            return Reason.SPLIT
        return Reason.STATIC if not (self.allowed or self.denied) else Reason.DEFAULT


@dataclass(frozen=True, slots=True)
class Payload:
    """What is known of each feature of a payload, by its name, and our own decisions on them."""

    known: Mapping[str, Known]
    reference: Reference


def known_of(text: str) -> Payload:
    """Return every feature of a payload. Raises DocumentError for what is no payload of Unleash."""
    source = read(text)
    carried = carried_by(source)
    known = {name: _known(one, carried.get(name)) for name, one in source.features.items()}
    return Payload(known, Reference(source))


def _known(feature: Feature, carried: Carried | None) -> Known:
    table = table_of(feature)
    unnamed = all(one.payload is None for one in _variants(feature))
    if table.kind is FlagKind.BOOLEAN:
        variants: Mapping[str, Any] = {"on": True, "off": False}
        off: str | None = "off"
    else:
        variants = {name: value for name, value in table.values.items() if name != table.off}
        # What a user gets who is not enabled, Unleash leaves to the application, or we wrote it.
        off = _recorded_off(feature)
    flag = Flag(
        key=feature.name,
        kind=table.kind,
        variants=dict(variants),
        off_variant=off,
        default=off or next(iter(variants), table.off),
        on=feature.enabled,
        prerequisites=tuple(
            dict.fromkeys(
                Prerequisite(one.feature, one.variants, negate=not one.enabled)
                for one in feature.dependencies
            )
        ),
        tags=() if feature.project is None else (f"project:{feature.project}",),
        version=_digest(feature.raw),
    )
    active = [one for one in feature.strategies if not one.disabled and _serves(one)]
    lists = [one for one in active if _allows(one)]
    others = [one for one in active if not _allows(one)]
    shares = {id(one): _share(one, feature.name) for one in others}
    splits = [one for one in others if 0 < shares[id(one)] < _ALL]
    return Known(
        flag=flag,
        table=table,
        plain=table.on if table.kind is FlagKind.BOOLEAN or unnamed else None,
        allowed=frozenset().union(*map(_allows, lists)),
        denied=_denied(others),
        splits=bool(splits)
        or _several(feature.variants)
        or any(_several(one.variants) for one in active),
        draws=any(_by_key(one, feature.name) for one in splits),
        targeted=any(_conditions(one, feature.name) or one.segments for one in others),
        everybody=any(
            not (_conditions(one, feature.name) or one.segments) and shares[id(one)]
            for one in others
        ),
        carried=carried,
    )


def _serves(one: Strategy) -> bool:
    """Return whether a strategy may serve somebody, and is not for the record alone."""
    mark = mark_of(one.parameters)
    return mark is None or mark.serves


def _recorded_off(feature: Feature) -> str | None:
    """Return the off variant that we wrote down beside a feature's strategies."""
    for one in feature.strategies:
        mark = mark_of(one.parameters)
        if mark is not None and mark.sort is Sort.OFF:
            return next((each.name for each in one.variants if each.weight), None)
    return None


def _variants(feature: Feature) -> Iterable[Variant]:
    yield from feature.variants
    for one in feature.strategies:
        yield from one.variants


def _several(variants: tuple[Variant, ...]) -> bool:
    return sum(one.weight > 0 for one in variants) > 1


def _allows(one: Strategy) -> frozenset[str]:
    """Return the users that a strategy lists, if a list of users is all that it is."""
    if len(one.constraints) != 1 or one.segments or _share(one, "") != _ALL:
        return frozenset()
    only = one.constraints[0]
    plain = only.context_name == "userId" and only.operator == "IN" and not only.inverted
    return frozenset(only.values) if plain and not only.ignore_case else frozenset()


def _denied(strategies: list[Strategy]) -> frozenset[str]:
    """Return the users that no strategy serves, because each leaves them out by name."""
    lists = [
        frozenset(user for one in each.constraints if is_deny(one) for user in one.values)
        for each in strategies
    ]
    return frozenset.intersection(*lists) if lists else frozenset()


def is_deny(one: Constraint) -> bool:
    """Return whether a constraint is a list of users who are left out."""
    return (one.context_name, one.operator, one.inverted) == ("userId", "NOT_IN", False)


def _is_portable(one: Constraint, name: str) -> bool:
    return one.context_name == portable_attribute(name) and one.operator == "NUM_LT"


def _is_bucket(one: Constraint, name: str) -> bool:
    return _is_portable(one, name) or carrier_in(one.context_name) is not None


def _conditions(one: Strategy, name: str) -> list[Constraint]:
    mark = mark_of(one.parameters)
    own = one.constraints if mark is None else one.constraints[: mark.own]
    return [each for each in own if not is_deny(each) and not _is_bucket(each, name)]


def _share(one: Strategy, name: str) -> float:
    """Return the percentage of a strategy: of its hash, of a portable bucket, or of a carrier."""
    for each in one.constraints:
        if _is_portable(each, name):
            return float(each.value or 0) / 1000
        carrier = carrier_in(each.context_name)
        if carrier is not None:
            return min(float(each.value or 0) / carrier.how.total, 1) * _ALL
    parameter = _SHARES.get(one.name)
    return _ALL if parameter is None else percentage(one.parameters.get(parameter)) or 0


def _by_key(one: Strategy, name: str) -> bool:
    """Return whether a strategy splits by the targeting key, so that there must be one."""
    if any(_is_portable(each, name) for each in one.constraints):
        return True
    stickiness = one.parameters.get("stickiness", "default")
    if mark_of(one.parameters) is not None:
        # By any other stickiness, nobody without one is what was meant.
        share = percentage(one.parameters.get("rollout")) or 0
        return stickiness == "default" and 0 < share < _ALL
    return one.name == "flexibleRollout" and stickiness in _STICKY_BY_KEY


def _digest(raw: Mapping[str, Any]) -> str:
    text = json.dumps(raw, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
