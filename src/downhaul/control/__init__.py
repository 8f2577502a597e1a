"""What an operator does, on any provider: change flags, kill, revive, restore, import, look back.

The command line, and whatever other face there is, calls :class:`Operator` and renders what it
returns. Policy lives here, not in a face. Nothing here evaluates a flag or keeps one.
"""

from downhaul.control.alerts import Alert, AlertEvent, LogAlert, MemoryAlert
from downhaul.control.operator import Operator
from downhaul.control.results import (
    FlagResult,
    HistoryEntry,
    ImportResult,
    ImportRow,
    KillResult,
    OnConflict,
    SegmentResult,
)
from downhaul.control.stale import StaleFlag

__all__ = [
    "Alert",
    "AlertEvent",
    "FlagResult",
    "HistoryEntry",
    "ImportResult",
    "ImportRow",
    "KillResult",
    "LogAlert",
    "MemoryAlert",
    "OnConflict",
    "Operator",
    "SegmentResult",
    "StaleFlag",
]
