"""Flags in the shape in which LaunchDarkly's service sends them to server SDKs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def flag_of(key: str, variations: Sequence[Any], **fields: Any) -> dict[str, Any]:
    """Return a flag that is on and serves its first variation; ``fields`` lie over that.

    The off variation is the last one, as in a flag that somebody made in the console.
    """
    return {
        "key": key,
        "version": 1,
        "on": True,
        "salt": f"salt-of-{key}",
        "sel": f"sel-of-{key}",
        "variations": list(variations),
        "offVariation": len(variations) - 1,
        "fallthrough": {"variation": 0},
        "targets": [],
        "contextTargets": [],
        "rules": [],
        "prerequisites": [],
        "trackEvents": False,
        "trackEventsFallthrough": False,
        "debugEventsUntilDate": None,
        "clientSide": False,
        "deleted": False,
        **fields,
    }


def boolean(key: str, *, percent: float | None = None, **fields: Any) -> dict[str, Any]:
    """Return a boolean flag: True, then False; ``percent`` of all users get True."""
    made: Mapping[str, Any] = {}
    if percent is not None:
        weight = round(percent * 1000)
        rollout = {
            "contextKind": "user",
            "variations": [
                {"variation": 0, "weight": weight},
                {"variation": 1, "weight": 100_000 - weight},
            ],
        }
        made = {"fallthrough": {"rollout": rollout}}
    return flag_of(key, [True, False], **{**made, **fields})
