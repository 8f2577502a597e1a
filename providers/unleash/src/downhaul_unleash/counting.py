"""The engine's counts without questions that serve nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from downhaul.vendors.aside import is_aside


def count_served(engine: Any) -> None:
    """Let an engine count nothing of what is asked aside, only to compare."""
    engine.count_toggle = _unless_aside(engine.count_toggle)
    engine.count_variant = _unless_aside(engine.count_variant)


def _unless_aside(count: Callable[..., None]) -> Callable[..., None]:
    def counted(*what: Any) -> None:
        if not is_aside():
            count(*what)

    return counted
