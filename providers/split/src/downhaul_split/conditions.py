"""The conditions of a flag, as Split sends them to SDKs, that are no rules of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from downhaul.flag import Prerequisite, Target
from downhaul_split.native import PERCENT

_DEPENDS: Final = "IN_SPLIT_TREATMENT"


def targets_of(
    conditions: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Target, ...], list[Mapping[str, Any]]]:
    """Return the lists of keys that come before all else, and the other conditions."""
    targets: list[Target] = []
    rest = list(conditions)
    seen: set[str] = set()
    while rest and (keys := _whitelist(rest[0])) is not None:
        first = rest.pop(0)
        new = keys - seen  # a key goes by the first list that has it
        seen |= keys
        if new:
            targets.append(Target(only_of(first["partitions"]), frozenset(new)))
    return tuple(targets), rest


def _whitelist(condition: Mapping[str, Any]) -> set[str] | None:
    """Return the keys of a condition that is a list of keys for one treatment, else None."""
    matchers = condition["matcherGroup"]["matchers"]
    if condition.get("conditionType", "WHITELIST") != "WHITELIST" or len(matchers) != 1:
        return None
    (matcher,) = matchers
    plain = matcher["matcherType"] == "WHITELIST" and not matcher.get("negate")
    if not plain or (matcher.get("keySelector") or {}).get("attribute") is not None:
        return None
    if len([one for one in condition["partitions"] if one["size"]]) != 1:
        return None
    return set(matcher["whitelistMatcherData"]["whitelist"])


def leading_of(conditions: Iterable[Mapping[str, Any]], default: str) -> list[Prerequisite]:
    """Return the prerequisites that the first conditions are: who lacks them is served the default.

    The admin API has no others. They come after the lists of keys, and after a traffic allocation,
    which serves the default too.
    """
    found: list[Prerequisite] = []
    targets, rest = targets_of(conditions)
    if any(one.variant != default for one in targets):
        return found
    for one in rest:
        matchers = one["matcherGroup"]["matchers"]
        named = {(each.get("dependencyMatcherData") or {}).get("split") for each in matchers}
        lacks = all(each["matcherType"] == _DEPENDS and each.get("negate") for each in matchers)
        shares = [(each["treatment"], each["size"]) for each in one["partitions"] if each["size"]]
        if not lacks or len(named) != 1 or shares != [(default, PERCENT)]:
            break
        wanted = [name for each in matchers for name in each["dependencyMatcherData"]["treatments"]]
        if not wanted:
            break
        found.append(Prerequisite(str(*named), tuple(dict.fromkeys(wanted)), while_off=True))
    return found


def only_of(partitions: Iterable[Mapping[str, Any]]) -> str:
    """Return the treatment that all are served."""
    return str(next(one["treatment"] for one in partitions if one["size"]))
