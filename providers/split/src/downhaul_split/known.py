"""What Split's SDK holds of a flag, and what a decision of it means for us.

The SDK answers with a treatment and, on the impression, the label of the condition that decided.
Kinds, the off variant, and whether a share of users was at stake are in the definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from downhaul.flag import Flag, FlagKind, Prerequisite
from downhaul.provider import portable_attribute
from downhaul.result import Reason, Result
from downhaul_split.carrying import Asked, asked_by
from downhaul_split.conditions import leading_of
from downhaul_split.values import CONTROL, kind_of, off_of, values_of

_WHOLE: Final = 100
_ALLOCATED: Final = "not in split"  # by a share of users, as the traffic allocation has it
_LABELS: Final = {
    "killed": Reason.DISABLED,
    "prerequisites not met": Reason.DISABLED,
    _ALLOCATED: Reason.SPLIT,
    "no rule matched": Reason.DEFAULT,
    "default rule": Reason.DEFAULT,
}


@dataclass(frozen=True, slots=True)
class Known:
    """One flag as the SDK holds it. ``flag`` is what Downhaul is told of it."""

    flag: Flag
    traffic_type: str
    reasons: dict[str, Reason]
    by_key: frozenset[str]
    """The labels of what is decided by Split's hash of the key, or a portable bucket of it."""
    asked: Asked
    results: dict[Any, Result] = field(default_factory=dict)
    """What was answered before, by kind, treatment and label: made once for each outcome."""

    def reason_of(self, label: str | None) -> Reason:
        """Return our reason for the label of a condition."""
        return self.reasons.get(label or "", Reason.UNKNOWN)

    def is_by_key(self, label: str | None) -> bool:
        """Return whether the condition of a label can't decide without a key."""
        return (label or "") in self.by_key


def known_of(split: Any) -> Known:
    """Return what a definition of the SDK (``splitio.models.splits.Split``) tells."""
    conditions = list(split.conditions)
    treatments = _treatments(split, conditions)
    configurations = {name: split.get_configurations_for(name) for name in treatments}
    values = values_of(treatments, configurations)
    kind = kind_of(values.values())
    if kind is FlagKind.BOOLEAN and set(values.values()) == {True}:
        # Who serves `on` to all need not tell of `off`; a kill serves it all the same.
        values["false" if "true" in values else "off"] = False
    off = off_of(kind, values, split.default_treatment)
    known_off = off if off in values else None
    asked = asked_by(conditions, *(one.feature_flag_name for one in split.prerequisites))
    return Known(
        flag=Flag(
            key=split.name,
            kind=kind,
            variants=values,
            off_variant=known_off,
            default=known_off or next(iter(values), off),
            on=not split.killed,
            prerequisites=_prerequisites(split, asked),
            tags=tuple(sorted(split.sets)),
            version=str(split.change_number),
        ),
        traffic_type=split.traffic_type_name,
        reasons={**_LABELS, **dict(_reasons(split, conditions))},
        by_key=frozenset(_by_key(split.name, conditions)),
        asked=asked,
    )


def _prerequisites(split: Any, asked: Asked) -> tuple[Prerequisite, ...]:
    """Return what the flag requires, so that a kill of that holds it back too."""
    own = [
        Prerequisite(one.feature_flag_name, tuple(one.treatments)) for one in split.prerequisites
    ]
    if asked.flags == {one.flag for one in own}:
        return tuple(own)
    conditions = [one.to_json() for one in split.conditions]
    return (*own, *leading_of(conditions, split.default_treatment))


def _treatments(split: Any, conditions: Iterable[Any]) -> list[str]:
    """Return the treatments in the order of the rules, the default treatment last.

    A flag of a file may have no default treatment; what the SDK puts there is no treatment.
    """
    named = [part.treatment for one in conditions for part in one.partitions]
    configured = split.to_split_view().configs
    found = dict.fromkeys([*named, *configured, split.default_treatment])
    return [name for name in found if name != CONTROL]


def _reasons(split: Any, conditions: list[Any]) -> Iterator[tuple[str, Reason]]:
    """Return the reason of each label. Where two conditions share one, a share of users counts.

    What is told by a bucket that we send is a share (rule E10), and so is what that leaves.
    """
    plain = len(conditions) == 1 and not split.prerequisites
    shares = _by_key(split.name, conditions)
    shares |= {one.label for one in conditions if asked_by([one]).carriers}
    last = conditions[-2] if len(conditions) > 1 else None
    if last is not None and _is_only_carried(last):
        shares |= {one.label for one in conditions if _is_for_all(one)}
    for one in conditions:
        if one.label in shares:
            yield one.label, Reason.SPLIT
        elif _is_for_all(one):
            yield one.label, Reason.STATIC if plain else Reason.DEFAULT
        else:
            yield one.label, Reason.TARGETING_MATCH


def _by_key(key: str, conditions: Iterable[Any]) -> set[str]:
    """Return the labels of shares by Split's hash or by a portable bucket, and what that leaves."""
    shares = {_ALLOCATED, *(one.label for one in conditions if _is_share(one))}
    portable = {one.label for one in conditions if _is_portable(one, key)}
    if portable:
        shares |= portable | {one.label for one in conditions if _is_for_all(one)}
    return shares


def _is_share(condition: Any) -> bool:
    return max((part.size for part in condition.partitions), default=_WHOLE) < _WHOLE


def _is_portable(condition: Any, key: str) -> bool:
    return _attributes(condition) == {portable_attribute(key)}


def _is_only_carried(condition: Any) -> bool:
    names = _attributes(condition)
    return len(names) == 1 and names == asked_by([condition]).carriers


def _attributes(condition: Any) -> set[Any]:
    return {getattr(one, "_attribute_name", None) for one in condition.matchers}


def _is_for_all(condition: Any) -> bool:
    return all(type(one).__name__ == "AllKeysMatcher" for one in condition.matchers)
