"""What LaunchDarkly's payload tells of a flag, and what a decision of its SDK means for us.

The SDK answers with the index of a variation and a reason. Names, kinds, and whether a share of
users was at stake are in the payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from downhaul.evaluator.carriers import bucketing_of
from downhaul.flag import Flag, FlagKind, Prerequisite
from downhaul.provider import portable_attribute
from downhaul.result import Reason, Result

_LONGEST: Final = 100  # characters of a value that serves as its own name
_WHOLE: Final = 100_000


Outcome = tuple[int | None, str | None, int | None]
"""What decides how a result looks: the variation's index, the kind of reason, the rule's index."""


@dataclass(frozen=True, slots=True)
class Known:
    """One flag of the payload. ``flag`` is what Downhaul is told of it; ``names`` go by index.

    ``shares`` are the places that serve a share of users by their key: -1 is the fallthrough, other
    numbers are rules; ``carried`` those that serve one by a bucket which the context carries.
    ``plain`` says that there is nothing but the fallthrough. ``answers`` are the results that were
    given already, by what the SDK said: making one costs as much as looking up ten. A flag that
    changes is another object, so that none outlives its version.
    """

    flag: Flag
    names: tuple[str, ...]
    shares: frozenset[int]
    carried: frozenset[int]
    plain: bool
    answers: dict[Outcome, Result] = field(default_factory=dict, compare=False, repr=False)

    def name_of(self, index: int | None) -> str | None:
        """Return the variant's name for an index of LaunchDarkly's."""
        return self.names[index] if index is not None and 0 <= index < len(self.names) else None


def known_of(raw: Mapping[str, Any]) -> Known:
    """Return what a flag's document tells. Lenient where the SDK is: what it lacks is empty."""
    values = [*(raw.get("variations") or [])]
    kind = kind_of(values)
    names = names_of(values, kind)
    off = raw.get("offVariation")
    off_variant = names[off] if isinstance(off, int) and 0 <= off < len(names) else None
    rules = raw.get("rules") or []
    places = {-1: raw.get("fallthrough") or {}, **dict(enumerate(rules))}
    return Known(
        flag=Flag(
            key=str(raw["key"]),
            kind=kind,
            variants=dict(zip(names, values, strict=True)),
            off_variant=off_variant,
            default=off_variant or next(iter(names), "off"),
            on=bool(raw.get("on")),
            prerequisites=tuple(
                Prerequisite(str(one["key"])) for one in raw.get("prerequisites") or []
            ),
            version=str(raw.get("version", "")),
        ),
        names=names,
        shares=frozenset(
            [
                *(place for place, serves in places.items() if _is_share(serves)),
                *_portable(str(raw["key"]), rules),
            ]
        ),
        carried=frozenset(_carried(rules)),
        plain=not any(raw.get(part) for part in _PARTS),
    )


_PARTS: Final = ("rules", "targets", "contextTargets", "prerequisites")


def kind_of(values: Sequence[Any]) -> FlagKind:
    """Return the kind of a flag by its variations; what is of several kinds is an object."""
    types = {_type(value) for value in values}
    return types.pop() if len(types) == 1 else FlagKind.OBJECT


def names_of(values: Sequence[Any], kind: FlagKind) -> tuple[str, ...]:
    """Return a name for each variation: LaunchDarkly's payload has none.

    ``on`` and ``off`` of a boolean, the text itself of a string that can be printed on a line, else
    ``variation-N``; what comes twice is told apart by its place.
    """
    names: list[str] = []
    for place, value in enumerate(values):
        name = f"variation-{place}"
        if kind is FlagKind.BOOLEAN:
            name = "on" if value else "off"
        elif kind is FlagKind.STRING and 0 < len(value) <= _LONGEST and value.isprintable():
            name = value
        while name in names:
            name = f"{name}-{place}"
        names.append(name)
    return tuple(names)


def reason_of(said: Mapping[str, Any], known: Known | None) -> Reason:
    """Return our reason for one of the SDK's that is no error."""
    kind = said.get("kind")
    if kind in ("OFF", "PREREQUISITE_FAILED"):
        return Reason.DISABLED
    if kind == "TARGET_MATCH":
        return Reason.TARGETING_MATCH
    by_bucket = known is not None and _place(said) in known.carried
    if kind == "RULE_MATCH":
        split = by_bucket or by_share(said, known)
        return Reason.SPLIT if split else Reason.TARGETING_MATCH
    if kind == "FALLTHROUGH":
        if by_bucket or by_share(said, known):
            return Reason.SPLIT
        return Reason.STATIC if known is not None and known.plain else Reason.DEFAULT
    return Reason.UNKNOWN


def by_share(said: Mapping[str, Any], known: Known | None) -> bool:
    """Return whether a share of users by their key decided."""
    if known is None:
        return False
    return said.get("kind") in ("RULE_MATCH", "FALLTHROUGH") and _place(said) in known.shares


def _place(said: Mapping[str, Any]) -> int | None:
    """Return the place that decided: a rule's index, or -1 for the fallthrough."""
    return said.get("ruleIndex") if said.get("kind") == "RULE_MATCH" else -1


def _type(value: Any) -> FlagKind:
    if isinstance(value, bool):
        return FlagKind.BOOLEAN
    if isinstance(value, str):
        return FlagKind.STRING
    if isinstance(value, (int, float)):
        return FlagKind.NUMBER
    return FlagKind.OBJECT


def is_portable(raw: Mapping[str, Any]) -> bool:
    """Return whether the last rule of a flag's document is a portable rollout (rule E10)."""
    rules = raw.get("rules") or []
    rest = (raw.get("fallthrough") or {}).get("variation")
    if rest is None or not rules or rules[-1].get("variation") is None:
        return False
    asked = [(one.get("attribute"), one.get("op")) for one in rules[-1].get("clauses") or []]
    return asked == [(portable_attribute(str(raw["key"])), "lessThan")]


def _portable(key: str, rules: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the places that a portable rollout decides (rule E10): its rule, and what is left."""
    attribute = portable_attribute(key)
    ours = [
        place
        for place, rule in enumerate(rules)
        if [one.get("attribute") for one in rule.get("clauses") or []] == [attribute]
    ]
    return [*ours, -1] if ours else []


def _carried(rules: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """Yield the places that a carried bucket decides; the rest too, where all users have one."""
    for place, rule in enumerate(rules):
        asked = [bucketing_of(str(one.get("attribute"))) for one in rule.get("clauses") or []]
        if any(one is not None for one in asked):
            yield place
            if None not in asked:
                yield -1


def _is_share(serves: Mapping[str, Any]) -> bool:
    """Return whether a key decides: not where one variation has everybody, nor by an attribute."""
    rollout = serves.get("rollout") or {}
    weights = [one.get("weight", 0) for one in rollout.get("variations") or []]
    return bool(weights) and max(weights) < _WHOLE and rollout.get("bucketBy") in (None, "key")
