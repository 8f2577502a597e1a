"""What an operator does, on any provider: change flags, kill, revive, restore, import, look back.

The command line, and whatever other face there is, calls :class:`Operator` and renders what it
returns. Policy lives here, not in a face. Nothing here evaluates a flag or keeps one.
"""

from downhaul.control.alerts import Alert, AlertEvent, LogAlert, MemoryAlert
from downhaul.control.drills import DrillResult
from downhaul.control.operator import Operator
from downhaul.control.receipts import Receipts
from downhaul.control.results import (
    Blast,
    Ending,
    FlagResult,
    HistoryEntry,
    ImportResult,
    ImportRow,
    KillResult,
    OnConflict,
    ReviveRequest,
    SegmentResult,
    StandingKill,
)
from downhaul.control.stale import StaleFlag

__all__ = [
    "Alert",
    "AlertEvent",
    "Blast",
    "DrillResult",
    "Ending",
    "FlagResult",
    "HistoryEntry",
    "ImportResult",
    "ImportRow",
    "KillResult",
    "LogAlert",
    "MemoryAlert",
    "OnConflict",
    "Operator",
    "Receipts",
    "ReviveRequest",
    "SegmentResult",
    "StaleFlag",
    "StandingKill",
]
