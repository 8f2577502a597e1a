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
from downhaul_split.values import BOOLEANS, CONTROL, kind_of, values_of

_WHOLE: Final = 100
_LABELS: Final = {
    "killed": Reason.DISABLED,
    "prerequisites not met": Reason.DISABLED,
    "not in split": Reason.SPLIT,  # by a share of users, as the traffic allocation has it
    "no rule matched": Reason.DEFAULT,
    "default rule": Reason.DEFAULT,
}


@dataclass(frozen=True, slots=True)
class Known:
    """One flag as the SDK holds it. ``flag`` is what Downhaul is told of it."""

    flag: Flag
    traffic_type: str
    reasons: dict[str, Reason]
    results: dict[Any, Result] = field(default_factory=dict)
    """What was answered before, by kind, treatment and label: made once for each outcome."""

    def reason_of(self, label: str | None) -> Reason:
        """Return our reason for the label of a condition."""
        return self.reasons.get(label or "", Reason.UNKNOWN)


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
    return Known(
        flag=Flag(
            key=split.name,
            kind=kind,
            variants=values,
            off_variant=known_off,
            default=known_off or next(iter(values), off),
            on=not split.killed,
            prerequisites=tuple(
                Prerequisite(one.feature_flag_name, tuple(one.treatments))
                for one in split.prerequisites
            ),
            tags=tuple(sorted(split.sets)),
            version=str(split.change_number),
        ),
        traffic_type=split.traffic_type_name,
        reasons={
            **_LABELS,
            **dict(
                _reasons(
                    split.name,
                    conditions,
                    plain=len(conditions) == 1 and not split.prerequisites,
                )
            ),
        },
    )


def off_of(kind: FlagKind, values: dict[str, Any], default_treatment: str) -> str:
    """Return the variant that a kill serves.

    Split serves the default treatment to whom a kill, or the traffic allocation, shuts out. It may
    be ``on``; what a kill of ours serves then is the treatment that is False.
    """
    if kind is FlagKind.BOOLEAN and BOOLEANS.get(default_treatment, True):
        return next((name for name, value in values.items() if not value), default_treatment)
    return default_treatment


def _treatments(split: Any, conditions: Iterable[Any]) -> list[str]:
    """Return the treatments in the order of the rules, the default treatment last.

    A flag of a file may have no default treatment; what the SDK puts there is no treatment.
    """
    named = [part.treatment for one in conditions for part in one.partitions]
    configured = split.to_split_view().configs
    found = dict.fromkeys([*named, *configured, split.default_treatment])
    return [name for name in found if name != CONTROL]


def _reasons(key: str, conditions: list[Any], *, plain: bool) -> Iterator[tuple[str, Reason]]:
    """Return the reason of each label. Where two conditions share one, a share of users counts.

    A portable rollout is a share (rule E10), and so is what it leaves.
    """
    portable = {one.label for one in conditions if _is_portable(one, key)}
    shares = portable | {one.label for one in conditions if _is_share(one)}
    if portable:
        shares |= {one.label for one in conditions if _is_for_all(one)}
    for one in conditions:
        if one.label in shares:
            yield one.label, Reason.SPLIT
        elif _is_for_all(one):
            yield one.label, Reason.STATIC if plain else Reason.DEFAULT
        else:
            yield one.label, Reason.TARGETING_MATCH


def _is_share(condition: Any) -> bool:
    return max((part.size for part in condition.partitions), default=_WHOLE) < _WHOLE


def _is_portable(condition: Any, key: str) -> bool:
    attributes = {getattr(one, "_attribute_name", None) for one in condition.matchers}
    return attributes == {portable_attribute(key)}


def _is_for_all(condition: Any) -> bool:
    return all(type(one).__name__ == "AllKeysMatcher" for one in condition.matchers)
