"""Times as people write them in plans, settings and options: ``24h``, ``1h30m``, ``800 ms``."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from downhaul.documents.faults import quoted

SPAN_PATTERN: Final = r"^\s*([0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d|w)\s*)+$"
"""A time with units: ``90s``, ``1h30m``, ``800 ms``."""

_SPAN: Final = re.compile(SPAN_PATTERN)
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d|w)")
_PLAIN: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*\Z")
_UNITS: Final = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SHOWN: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
LONGEST: Final = 10 * 366 * 86_400.0
"""Seconds that a time in a plan may last: ten years."""


def seconds_of(value: Any) -> float:
    """Read a time: a number of seconds, or text such as ``10m``, ``1h30m``, ``2d``, ``800 ms``.

    Raises ValueError for anything else, and for a time above ten years.
    """
    seconds = _seconds(value)
    if not 0 <= seconds <= LONGEST:
        message = f"{quoted(value)} is no time of a plan: it lies between 0 and ten years"
        raise ValueError(message)
    return seconds


def _seconds(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else math.inf
    if isinstance(value, str):
        if _SPAN.match(value):
            return round(sum(float(many) * _UNITS[unit] for many, unit in _PART.findall(value)), 6)
        if plain := _PLAIN.match(value):
            return float(plain[1])
    message = f'{quoted(value)} is no time: write "90s", "10m", "24h", "2d", or a number of seconds'
    raise ValueError(message)


def is_span(text: str) -> bool:
    """Return whether this is a time with its unit."""
    return _SPAN.match(text) is not None


def span_text(seconds: float) -> str:
    """Return a time in the units of a plan, at most two of them: ``1d 12h``, ``90 ms``, ``0s``."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60 and seconds != int(seconds):  # noqa: PLR2004  (a minute)
        return f"{seconds:.3g}s"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in _SHOWN:
        many, left = divmod(left, size)
        if many:
            parts.append(f"{many}{unit}")
        if len(parts) == 2:  # noqa: PLR2004
            break
    return " ".join(parts) or "0s"
