"""Percentages and times as people write them in plans: ``0.5 %``, ``24h``, ``1h30m``."""

from __future__ import annotations

import re
from typing import Any, Final

from downhaul.documents.faults import quoted
from downhaul.flag import weight_of
from downhaul.spans import LONGEST as LONGEST  # noqa: PLC0414  (a plan's times are named here too)
from downhaul.spans import SPAN_PATTERN as SPAN_PATTERN  # noqa: PLC0414
from downhaul.spans import is_span as is_span  # noqa: PLC0414
from downhaul.spans import seconds_of as seconds_of  # noqa: PLC0414
from downhaul.spans import span_text as span_text  # noqa: PLC0414

PERCENT_PATTERN: Final = r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$"

_NUMBER: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*\Z")


def percent_of(value: Any) -> float:
    """Read a percentage: a number such as 25 or 0.5, or text such as ``25 %``.

    Raises ValueError for anything else, and outside 0 to 100.
    """
    if isinstance(value, str) and (found := _NUMBER.match(value)):
        value = float(found[1])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = f'{quoted(value)} is no percentage: write 25, 0.5 or "25 %"'
        raise ValueError(message)  # noqa: TRY004  (one error for one value, whatever is wrong)
    if not 0 <= value <= 100:  # noqa: PLR2004  (NaN fails here too)
        message = f"a percentage lies between 0 and 100, not at {value!r}"
        raise ValueError(message)
    return float(value)


def weight_from(value: Any) -> int:
    """Read a percentage as a weight in thousandths of a percent. Raises ValueError."""
    return weight_of(percent_of(value))


def percent_text(weight: float) -> str:
    """Return a weight in thousandths of a percent as a percentage: ``25 %``, ``0.001 %``."""
    return f"{round(weight / 1000, 4):g} %"
