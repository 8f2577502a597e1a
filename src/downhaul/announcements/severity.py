"""How bad each event is: the one table of all that can be announced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

BEING_TAKEN_BACK: Final = frozenset({"rolling_back", "reverting", "latched"})
"""The phases of a rollout in which what it cannot do leaves people exposed."""


class Severity(StrEnum):
    """How soon somebody has to look. In rising order."""

    INFO = "info"
    """All goes as it was planned."""
    WARNING = "warning"
    """Something stands still, or differs from what was planned; look today."""
    CRITICAL = "critical"
    """Users lost something, or are about to: look now."""

    @property
    def rank(self) -> int:
        """Where it stands in the order, from 0."""
        return _ORDER.index(self)

    def reaches(self, least: Severity) -> bool:
        """Return whether it is at least as bad as ``least``."""
        return self.rank >= least.rank


_ORDER: Final = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Known:
    """An event's severity, and its severity while a rollout is being taken back."""

    severity: Severity
    taken_back: Severity | None = None


_INFO: Final = Known(Severity.INFO)
_WARNING: Final = Known(Severity.WARNING)
_CRITICAL: Final = Known(Severity.CRITICAL)
_WORSE_ON_THE_WAY_BACK: Final = Known(Severity.WARNING, Severity.CRITICAL)

EVENTS: Final[Mapping[str, Known]] = MappingProxyType(
    {
        # Kills
        "killed": _CRITICAL,
        "revived": _WARNING,  # what was taken back is served again
        "not_switched_off": _CRITICAL,
        "switched_off": _INFO,
        "kill_ends_soon": _WARNING,
        "kill_ended": _WARNING,  # and it stays: a person has to say what becomes of it
        # Rollouts that go as planned
        "planned": _INFO,
        "started": _INFO,
        "raised": _INFO,
        "promoted": _INFO,
        "resumed": _INFO,
        "completed": _INFO,
        "cancelled": _INFO,
        "metrics_found": _INFO,
        "approved": _INFO,
        "hook_confirmed": _INFO,
        # Rollouts that stand still
        "paused": _WARNING,
        "held": _WARNING,
        "metrics_lost": _WARNING,
        "rejected": _WARNING,
        "hook_waits": _WARNING,
        "stuck": _WORSE_ON_THE_WAY_BACK,
        "drift": _WORSE_ON_THE_WAY_BACK,
        "stopped": _WARNING,  # by a kill, which is critical itself
        # Rollouts on their way back: one critical word each, when it is known how it ended
        "rolling_back": _WARNING,
        "reverting": _WARNING,
        "exposure_off": _WARNING,
        "rolled_back": _CRITICAL,
        "reverted": _CRITICAL,
        "not_rolled_back": _CRITICAL,
        "late_write": _CRITICAL,  # what was taken back was served again, if only for a moment
        "latched": _CRITICAL,  # off, and a person has to say what is restored
        # What `alerts test` sends
        "test": _INFO,
    }
)
"""Every event that can be announced, with its severity."""


def severity_of(what: str, detail: Mapping[str, Any] | None = None) -> Severity:
    """Return how bad an event is. One that only a newer version knows is a warning.

    ``detail`` is the event's own; ``phase`` in it says where a rollout stood.
    """
    known = EVENTS.get(what, _WARNING)
    phase = "" if detail is None else str(detail.get("phase", ""))
    if known.taken_back is not None and phase in BEING_TAKEN_BACK:
        return known.taken_back
    return known.severity
