"""Whether LaunchDarkly keeps what was asked for, whatever it adds of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_TARGETS: Final = frozenset({"targets", "contextTargets", "includedContexts", "excludedContexts"})
_KEYS: Final = frozenset({"included", "excluded"})


def holds(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Return whether fields are as wanted. What LaunchDarkly adds (ids, defaults) doesn't count."""
    return all(
        _holds(name, value, there.get(name))
        for name, value in wanted.items()
        if not name.startswith("_")
    )


def _holds(name: str, wanted: Any, there: Any) -> bool:
    if _is_nothing(wanted) and _is_nothing(there):
        return True
    if name in _TARGETS:
        return by_place(wanted) == by_place(there)
    if name in _KEYS:
        return set(wanted or ()) == set(there or ())
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and holds(wanted, there)
    if isinstance(wanted, list):
        same = isinstance(there, list) and len(there) == len(wanted)
        return same and all(_holds("", *pair) for pair in zip(wanted, there, strict=True))
    return type(wanted) is type(there) and bool(wanted == there)


def _is_nothing(value: Any) -> bool:
    """Return whether a value is what LaunchDarkly may leave out; 0 is a variation, or a weight."""
    return value is None or value is False or (isinstance(value, (str, list, dict)) and not value)


def by_place(lists: Any) -> dict[tuple[str, Any], frozenset[str]]:
    """Return targeting keys by their kind and variation; who has none has no place."""
    return {
        (one.get("contextKind") or "user", one.get("variation")): frozenset(one["values"])
        for one in lists or ()
        if one["values"]
    }
