"""Feature flags behind one interface, with a kill switch that holds.

The public names are here and load on first use, so that importing the package costs an
application next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from downhaul._version import __version__

if TYPE_CHECKING:
    from downhaul.client import Flags
    from downhaul.context import Context
    from downhaul.errors import DownhaulError
    from downhaul.flag import Flag, Segment
    from downhaul.provider import Change, FlagProvider
    from downhaul.result import ErrorCode, Reason, Result


__all__ = [
    "Change",
    "Context",
    "DownhaulError",
    "ErrorCode",
    "Flag",
    "FlagProvider",
    "Flags",
    "Reason",
    "Result",
    "Segment",
    "__version__",
]

_HOME = {
    "Change": "downhaul.provider",
    "Context": "downhaul.context",
    "DownhaulError": "downhaul.errors",
    "ErrorCode": "downhaul.result",
    "Flag": "downhaul.flag",
    "FlagProvider": "downhaul.provider",
    "Flags": "downhaul.client",
    "Reason": "downhaul.result",
    "Result": "downhaul.result",
    "Segment": "downhaul.flag",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
