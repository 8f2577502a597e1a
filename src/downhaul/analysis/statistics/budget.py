"""The chance of a false alarm, shared out over a rollout's checks."""

from __future__ import annotations

from typing import Final

FALSE_ROLLBACK: Final = 0.01
"""How likely chance alone may take a healthy rollout back: in its whole life, by any guardrail."""

FALSE_CLEAN: Final = 0.05
"""How likely a check may call a variant clean that is as bad as the bound it is to exclude."""

DOUBT: Final = 20.0
"""From how much evidence of late for a variant being worse (20 to 1) it is not called clean."""


def shares(checks: int, whole: float = FALSE_ROLLBACK) -> float:
    """Return each check's part: together they are never above the whole, however they depend."""
    return whole / max(1, checks)
