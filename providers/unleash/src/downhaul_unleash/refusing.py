"""What a verb refuses to write, and what it says of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from downhaul.errors import Refused, VersionConflict
from downhaul.flag import WHOLE, Flag
from downhaul.provider import ABSENT
from downhaul_unleash.api import NAME
from downhaul_unleash.shape import Shape, conditions_of, named, serves_anybody
from downhaul_unleash.state import State


def refuse_defeat(key: str, shape: Shape) -> None:
    """Refuse where a strategy that was made by hand would serve beside the percentage."""
    wide = [one for one in shape.foreign if serves_anybody(one, key, shape.denies)]
    if wide:
        names = ", ".join(f'"{named(one)}"' for one in wide)
        raise Refused(
            f'flag "{key}" has strategies that serve beside a percentage: {names}',
            flag=key,
            hint="Unleash serves who matches any strategy: remove them there, or give them a "
            "constraint that says whom they are for",
        )
    if shape.in_part:
        raise Refused(
            f'flag "{key}" leaves users out of its percentage whom other strategies serve',
            flag=key,
            hint="set the targets of its off variant again: to all its strategies, or to none",
        )
    own = shape.rollout
    if own is not None and (own["segments"] or conditions_of(own, key, shape.denies)):
        raise Refused(
            f'somebody gave the strategy "{named(own)}" of flag "{key}" conditions of its own',
            flag=key,
            hint="move them into another strategy in Unleash: this one is for everybody",
        )


def refuse_other_segments(
    key: str, before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse where segments are not as they were: strategies that name them serve others now."""
    found = {one["id"]: one["constraints"] for one in now}
    changed = [one for one in before if found.get(one["id"]) != one["constraints"]]
    if changed:
        names = ", ".join(f'"{one["name"]}"' for one in changed)
        raise Refused(
            f'segments of flag "{key}" changed since the snapshot: {names}',
            flag=key,
            hint="other flags may share them, so they are left alone: bring them back in Unleash, "
            "then restore",
        )


def check_version(key: str, before: State | None, expected: str | None) -> None:
    """Raise VersionConflict where a flag is not at the version that is expected."""
    if expected is None:
        return
    found = ABSENT if before is None else before.version
    if found != expected:
        raise VersionConflict(
            f'flag "{key}" is not as it was when it was read',
            expected=expected,
            found=found,
            flag=key,
            provider=NAME,
        )


def check_weight(flag: Flag, weight: int) -> None:
    """Raise Refused for what is no weight."""
    if type(weight) is not int or not 0 <= weight <= WHOLE:
        raise Refused(
            f"a weight is a whole number from 0 to {WHOLE}, not {weight!r}",
            flag=flag.key,
            hint="weights are thousandths of a percent: 25000 is 25 %",
        )


def no_variant(flag: Flag, variant: str, serving: str | None) -> Refused:
    """Return the refusal of a percentage, or targets, for a variant that cannot have them."""
    if variant not in flag.variants:
        names = ", ".join(f'"{name}"' for name in flag.variants)
        message = f'flag "{flag.key}" has no variant "{variant}"'
        return Refused(message, flag=flag.key, hint=f"its variants are {names}")
    if serving is None:
        message = f'no one variant of flag "{flag.key}" is served by a percentage'
        hint = "put the flag with a default of one variant and the off variant first"
        return Refused(message, flag=flag.key, hint=hint)
    message = f'the percentage of flag "{flag.key}" is of "{serving}", not of "{variant}"'
    return Refused(message, flag=flag.key, hint=f'give "{serving}" its weight: the rest is off')
