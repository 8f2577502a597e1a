"""What somebody else changed about a flag, and whether it serves more or less (rule R7). Pure."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from downhaul.backends.edits import weight_of_variant, with_rollout
from downhaul.control.diff import differences
from downhaul.encoding import flag_to_data
from downhaul.errors import Refused
from downhaul.flag import WHOLE, Flag, Split

_ABOUT: Final = ("description", "owner", "tags", "type")
"""Fields that decide nothing: they may be edited while a rollout runs, and survive its restore."""

_OWN: Final = ("on", "default")
"""Fields that a rollout moves."""


class Drift(StrEnum):
    """How a flag differs from what the rollout last wrote or accepted."""

    NONE = "none"
    LOWERED = "lowered"
    """Off, or a smaller part for the variant and nothing else: nobody gets it who did not."""
    RAISED = "raised"
    OTHER = "other"
    """Something else decides otherwise: targets, rules, variants, other parts of the split."""


def drift_of(desired: Flag, now: Flag, variant: str) -> Drift:
    """Return how the flag ``now`` differs from the ``desired`` one."""
    if _deciding(desired) == _deciding(now):
        return Drift.NONE
    if _without(desired, _OWN) != _without(now, _OWN):
        return Drift.OTHER
    was, has = exposure_of(desired, variant), exposure_of(now, variant)
    if has > was:
        return Drift.RAISED
    if not desired.on:
        return Drift.OTHER  # its targets and rules serve again, or will serve otherwise
    if not now.on:
        return Drift.LOWERED
    return Drift.LOWERED if has < was and _is_lowered(desired, now, variant) else Drift.OTHER


def exposure_of(flag: Flag, variant: str) -> float:
    """Return how much of the default the variant gets, in thousandths of a percent; 0 if off."""
    return weight_of_variant(flag, variant) if flag.on else 0.0


def foreign_changes(desired: Flag, now: Flag, variant: str) -> tuple[str, ...]:
    """Return, in words, what differs from the flag that the rollout last wrote or accepted.

    Being off, or at a smaller part, is not counted here; see :func:`lowered_below`.
    """
    before, after = replace(desired, on=True), replace(now, on=True)
    if drift_of(before, after, variant) in (Drift.NONE, Drift.LOWERED):
        return ()
    return differences_of(before, after)


def lowered_below(snapshot: Flag, desired: Flag, variant: str) -> tuple[str, ...]:
    """Return, in words, what somebody took away of that which was served before the rollout.

    ``desired`` is the flag as the rollout last wrote or accepted it. A restore would give it back.
    """
    fewer = exposure_of(desired, variant) < exposure_of(snapshot, variant)
    if not fewer and (desired.on or not snapshot.on):
        return ()
    own = {name: value for name, value in _deciding(desired).items() if name in _OWN}
    return tuple(
        str(one) for one in differences(_deciding(snapshot), {**_deciding(snapshot), **own})
    )


def differences_of(before: Flag, after: Flag) -> tuple[str, ...]:
    """Return, in words, each field that decides and differs."""
    return tuple(str(one) for one in differences(_deciding(before), _deciding(after)))


def lies_between(was: Flag, meant: Flag, now: Flag) -> bool:
    """Return whether all that decides is as it was or as it was meant to be.

    A write of several parts that was cut off leaves such a flag, and a whole one too.
    """
    before, after, found = _deciding(was), _deciding(meant), _deciding(now)
    fields = {*before, *after, *found}
    return all(found.get(one) in (before.get(one), after.get(one)) for one in fields)


def came_late(base: Flag, meant: Flag, now: Flag, *, switched: bool) -> tuple[str, ...]:
    """Return the fields that are as a write meant them, and were to be as in ``base``.

    Only fields that a rollout writes are looked at, each by itself: the writes of a backend that
    takes them one by one may arrive apart. ``switched`` says that ``on`` was one of them.
    """
    before, after, found = _deciding(base), _deciding(meant), _deciding(now)
    fields = ("default", "targets", "on") if switched else ("default", "targets")
    return tuple(
        one
        for one in fields
        if found.get(one) == after.get(one) and before.get(one) != after.get(one)
    )


def with_late(desired: Flag, missing: tuple[Flag, ...], now: Flag) -> Flag:
    """Return the desired flag with what writes that were ``missing`` have changed by now."""
    for meant in missing:
        fields = came_late(desired, meant, now, switched=True)
        desired = replace(desired, **{name: getattr(now, name) for name in fields})
    return desired


def with_about(snapshot: Flag, now: Flag) -> Flag:
    """Return the snapshot with the fields that decide nothing as they are now."""
    return replace(
        snapshot,
        description=now.description,
        owner=now.owner,
        tags=now.tags,
        type=now.type,
    )


def _deciding(flag: Flag) -> dict[str, Any]:
    return _without(flag, ())


def _without(flag: Flag, fields: tuple[str, ...]) -> dict[str, Any]:
    left_out = (*fields, *_ABOUT, "version")
    return {name: value for name, value in _data(flag).items() if name not in left_out}


def _data(flag: Flag) -> dict[str, Any]:
    return dict(flag_to_data(flag))


def _is_lowered(desired: Flag, now: Flag, variant: str) -> bool:
    """Return whether a lower percentage is all that differs: the others' parts follow from it."""
    try:
        lowered = with_rollout(desired, variant, int(exposure_of(now, variant)))
    except Refused:
        return False
    return _served(lowered) == _served(now) and _same_buckets(desired, now)


def _served(flag: Flag) -> tuple[tuple[str | None, int], ...]:
    """Return the parts of the default in the order of their buckets."""
    if isinstance(flag.default, str):
        return ((flag.default, WHOLE),)
    return tuple((one.variant, one.weight) for one in flag.default.weights if one.weight)


def _same_buckets(one: Flag, other: Flag) -> bool:
    """Return whether both defaults put everybody into the same buckets."""
    mine, theirs = one.default, other.default
    if isinstance(mine, Split) and isinstance(theirs, Split):
        return mine.bucketing == theirs.bucketing
    return True  # a default without a split has no buckets to disagree on
