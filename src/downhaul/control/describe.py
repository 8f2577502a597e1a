"""A flag's exposure in few words, and where in it the rising percentage stands."""

from __future__ import annotations

from typing import Final

from downhaul.flag import Bucketing, Flag, FlagKind, Serve, Split

_ON: Final = "on"


def exposure(flag: Flag) -> str:
    """Return whom the flag serves what, kills aside: ``on at 25 %``, ``v2 for all, 2 rules``."""
    if not flag.on:
        return f"off ({_serving(flag.default, flag)} when on)"
    parts = [_serving(flag.default, flag)]
    for count, one, many in (
        (len(flag.rules), "rule", "rules"),
        (sum(len(target.keys) for target in flag.targets), "target", "targets"),
        (len(flag.prerequisites), "prerequisite", "prerequisites"),
    ):
        if count:
            parts.append(f"{count} {one if count == 1 else many}")
    return ", ".join(parts)


def percent_of(weight: int, total: int) -> str:
    """Return a weight as a percentage: ``25 %``, ``0.001 %``."""
    return f"{round(weight * 100 / total, 4):g} %"


def exposed(flag: Flag) -> int:
    """Return how many buckets of the default split's total get another variant than the off one."""
    if isinstance(flag.default, str):
        return 0 if flag.default == flag.off_variant else Bucketing().total
    return sum(
        one.weight for one in flag.default.weights if one.variant not in (None, flag.off_variant)
    )


def is_partial(flag: Flag) -> bool:
    """Return whether the default serves some, and not all, another variant than the off one."""
    return isinstance(flag.default, Split) and 0 < exposed(flag) < flag.default.bucketing.total


def rising_variant(flag: Flag) -> str | None:
    """Return the variant that a percentage of this flag means, or None where that is open.

    ``on`` of a boolean flag; else the only variant beside the off one, in the default split or in
    the whole flag.
    """
    if flag.kind is FlagKind.BOOLEAN and _ON in flag.variants and flag.off_variant != _ON:
        return _ON
    if isinstance(flag.default, Split):
        served = {
            one.variant
            for one in flag.default.weights
            if one.weight and one.variant not in (None, flag.off_variant)
        }
        if len(served) == 1:
            return served.pop()
    others = [name for name in flag.variants if name != flag.off_variant]
    return others[0] if len(others) == 1 else None


def has_percentages_in_rules(flag: Flag) -> bool:
    """Return whether rules serve shares of their own, which no percentage of the flag moves."""
    return any(isinstance(rule.serve, Split) or rule.gate is not None for rule in flag.rules)


def _serving(serve: Serve, flag: Flag) -> str:
    if isinstance(serve, str):
        return f"{serve} for all"
    total = serve.bucketing.total
    shown = [one for one in serve.weights if one.variant not in (None, flag.off_variant)]
    if not [one for one in shown if one.weight]:
        return f"{shown[0].variant} at 0 %" if shown else "nobody"
    return " / ".join(
        f"{one.variant} at {percent_of(one.weight, total)}" for one in shown if one.weight
    )
