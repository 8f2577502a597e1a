"""Definitions of flags for tests to begin from, as the admin API takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def definition_of(treatments: Sequence[str], **fields: Any) -> dict[str, Any]:
    """Return a definition that serves its first treatment to all, and its last when killed.

    ``fields`` lie over that.
    """
    return {
        "treatments": [{"name": one} for one in treatments],
        "defaultTreatment": treatments[-1],
        "defaultRule": [{"treatment": treatments[0], "size": 100}],
        "rules": [],
        **fields,
    }


def boolean(percent: int | None = None, **fields: Any) -> dict[str, Any]:
    """Return a definition with the treatments on and off; ``percent`` of all keys get on."""
    made: Mapping[str, Any] = {}
    if percent is not None:
        made = {"defaultRule": buckets(on=percent, off=100 - percent)}
    return {**definition_of(["on", "off"]), **made, **fields}


def buckets(**sizes: int) -> list[dict[str, Any]]:
    """Return a split: the share of each treatment, in percent."""
    return [{"treatment": name, "size": size} for name, size in sizes.items()]


def rule(matchers: Iterable[Mapping[str, Any]], **sizes: int) -> dict[str, Any]:
    """Return a rule that splits those whom all matchers match."""
    condition = {"combiner": "AND", "matchers": [dict(one) for one in matchers]}
    return {"condition": condition, "buckets": buckets(**sizes)}
