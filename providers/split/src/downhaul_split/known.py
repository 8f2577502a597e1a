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
    own = [
        Prerequisite(one.feature_flag_name, tuple(one.treatments)) for one in split.prerequisites
    ]
    leading = _leading(split) if asked.flags else []
    return Known(
        flag=Flag(
            key=split.name,
            kind=kind,
            variants=values,
            off_variant=known_off,
            default=known_off or next(iter(values), off),
            on=not split.killed,
            prerequisites=(*own, *leading),
            tags=tuple(sorted(split.sets)),
            version=str(split.change_number),
        ),
        traffic_type=split.traffic_type_name,
        reasons={**_LABELS, **dict(_reasons(split, conditions, len(leading)))},
        by_key=frozenset(_by_key(split, conditions)),
        asked=asked,
    )


def _leading(split: Any) -> list[Prerequisite]:
    """Return what the first rules require, so that a kill of that holds the flag back too."""
    return leading_of([one.to_json() for one in split.conditions], split.default_treatment)


def _treatments(split: Any, conditions: Iterable[Any]) -> list[str]:
    """Return the treatments in the order of the rules, the default treatment last.

    A flag of a file may have no default treatment; what the SDK puts there is no treatment.
    """
    named = [part.treatment for one in conditions for part in one.partitions]
    configured = split.to_split_view().configs
    found = dict.fromkeys([*named, *configured, split.default_treatment])
    return [name for name in found if name != CONTROL]


def _reasons(split: Any, conditions: list[Any], required: int) -> Iterator[tuple[str, Reason]]:
    """Return the reason of each label. Where two conditions share one, a share of users counts.

    What is told by a bucket that we send is a share (rule E10), and so is what that leaves. The
    first ``required`` of what is no list of keys are prerequisites.
    """
    plain = len(conditions) == 1 and not split.prerequisites
    shares = _by_key(split, conditions)
    shares |= {one.label for one in conditions if asked_by([one]).carriers}
    if len(conditions) > 1 and _is_only_carried(conditions[-2]):
        shares |= {one.label for one in conditions if _is_for_all(one)}
    for label in shares:
        yield label, Reason.SPLIT
    for one in conditions:
        if one.label in shares:
            continue
        if required and _depends(one):
            required -= 1
            yield one.label, Reason.DISABLED
        elif _is_for_all(one):
            yield one.label, Reason.STATIC if plain else Reason.DEFAULT
        else:
            yield one.label, Reason.TARGETING_MATCH


def _by_key(split: Any, conditions: Iterable[Any]) -> set[str]:
    """Return the labels of shares by Split's hash or by a portable bucket, and what that leaves."""
    shares = {one.label for one in conditions if _is_share(one)}
    if (split.traffic_allocation or 0) < _WHOLE:
        shares.add(_ALLOCATED)
    portable = {one.label for one in conditions if _is_portable(one, split.name)}
    if portable:
        shares |= portable | {one.label for one in conditions if _is_for_all(one)}
    return shares


def _depends(condition: Any) -> bool:
    return all(hasattr(one, "_split_name") for one in condition.matchers)


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
