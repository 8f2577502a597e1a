"""What LaunchDarkly's API refuses to keep: its documented types, limits and references."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from downhaul_emulators.launchdarkly.emulator import LaunchDarklyEmulator

_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
_WHOLE: Final = 100_000
_OPERATORS: Final = frozenset(
    {
        "in",
        "startsWith",
        "endsWith",
        "contains",
        "matches",
        "lessThan",
        "lessThanOrEqual",
        "greaterThan",
        "greaterThanOrEqual",
        "before",
        "after",
        "semVerEqual",
        "semVerLessThan",
        "semVerGreaterThan",
        "segmentMatch",
    }
)


class Invalid(ValueError):
    """The API answers 400, and changes nothing."""


def check_key(key: Any) -> None:
    """Raise Invalid for what is no key of LaunchDarkly's."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise Invalid(
            "a key has letters, digits, '.', '_' and '-', and begins with one of the first two"
        )


def check_flag(service: LaunchDarklyEmulator, flag: Mapping[str, Any]) -> None:
    """Raise Invalid for a flag that LaunchDarkly would not keep."""
    count = len(flag["variations"])
    if type(flag["on"]) is not bool:
        raise Invalid("on is true or false")
    for index in (flag["offVariation"],) if flag["offVariation"] is not None else ():
        _check_index(index, count)
    for serve in (flag["fallthrough"], *flag["rules"]):
        _check_serve(serve, count)
    for rule in flag["rules"]:
        if not rule["clauses"]:
            raise Invalid("a rule has clauses")
        check_clauses(service, rule["clauses"])
    _check_targets(flag, count)
    _check_prerequisites(service, flag)


def check_change(
    service: LaunchDarklyEmulator, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Raise Invalid for a change that LaunchDarkly would not keep.

    A flag that a test put here as no API would keep it may be changed all the same.
    """
    try:
        check_flag(service, before)
    except (Invalid, KeyError, TypeError, AttributeError):
        return
    check_flag(service, after)


def check_clauses(service: LaunchDarklyEmulator, clauses: Iterable[Mapping[str, Any]]) -> None:
    """Raise Invalid for clauses that LaunchDarkly would not keep."""
    for one in clauses:
        if one["op"] not in _OPERATORS:
            raise Invalid(f"unknown operator {one['op']}")
        if not isinstance(one["values"], list) or not one["values"]:
            raise Invalid("a clause has values")
        for value in one["values"] if one["op"] == "segmentMatch" else ():
            if value not in service.segments:
                raise Invalid(f"unknown segment {value}")


def _check_serve(serve: Mapping[str, Any], count: int) -> None:
    if ("variation" in serve) is ("rollout" in serve):
        raise Invalid("a variation, or a rollout, is served")
    if "variation" in serve:
        _check_index(serve["variation"], count)
        return
    weights = serve["rollout"]["variations"]
    for one in weights:
        _check_index(one["variation"], count)
        if type(one["weight"]) is not int or one["weight"] < 0:
            raise Invalid("a weight is a whole number")
    if sum(one["weight"] for one in weights) != _WHOLE:
        raise Invalid("the weights must add up to 100000")


def _check_index(index: Any, count: int) -> None:
    if type(index) is not int or not 0 <= index < count:
        raise Invalid(f"there is no variation {index!r}")


def _check_targets(flag: Mapping[str, Any], count: int) -> None:
    seen: dict[tuple[str, str], int] = {}
    for one in (*flag["targets"], *flag["contextTargets"]):
        _check_index(one["variation"], count)
        for value in one["values"]:
            if not isinstance(value, str) or not value:
                raise Invalid("a target is a key")
            place = (one.get("contextKind") or "user", value)
            if seen.setdefault(place, one["variation"]) != one["variation"]:
                raise Invalid("a key may be the target of one variation only")


def _check_prerequisites(service: LaunchDarklyEmulator, flag: Mapping[str, Any]) -> None:
    pending = [one["key"] for one in flag["prerequisites"]]
    for one in flag["prerequisites"]:
        other = service.flags.get(one["key"])
        if other is None:
            raise Invalid(f"unknown prerequisite {one['key']}")
        _check_index(one["variation"], len(other["variations"]))
    seen: set[str] = set()
    while pending:
        key = pending.pop()
        if key == flag["key"]:
            raise Invalid("prerequisites make a circle")
        if key not in seen and key in service.flags:
            seen.add(key)
            pending += [one["key"] for one in service.flags[key]["prerequisites"]]
