"""How the engine of Unleash's SDKs reads text as a number, a time or an address.

It leaves that to Rust: to ``f64::from_str``, to ``DateTime::from_str`` of the crate chrono, and to
``IpAddr::from_str``. Each differs from Python's own reading somewhere, and each difference would
be a decision that turns round when a flag leaves Unleash (rule E9).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import sys
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NUMBER: Final = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)", re.ASCII | re.IGNORECASE
)
_LONGEST: Final = 400
_TIME: Final = re.compile(
    r"\s*(\d{1,4}|\+\d{1,4})\s*-\s*(\d{1,2})\s*-\s*(\d{1,2})[Tt ]"
    r"\s*(\d{1,2})\s*:\s*(\d{1,2})\s*:\s*(\d{1,2})(?:\.(\d+))?\s*"
    r"(?:[Uu][Tt][Cc]|[Zz]|([+\N{MINUS SIGN}-])(\d\d)[:\s]*([0-5]\d))",
    re.ASCII,
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LEAP: Final = 60


def text_of(value: Any) -> Any:
    """Return a scalar as the string that an Unleash client sends for it; anything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return digits(value)
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return value


def digits(value: float) -> str | None:
    """Return a number as text; None for an integer of more digits than Python writes (4300)."""
    try:
        return str(value)
    except ValueError:
        return None


def number(text: Any) -> float | None:
    """Read a number as a 64-bit float, whatever its size; infinity is one, NaN is not."""
    if not isinstance(text, str) or len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return None
    return float(text)


def equal(left: float, right: float) -> bool:
    """Return whether two numbers are less than the machine epsilon apart. Infinities never are."""
    return abs(left - right) < sys.float_info.epsilon


def moment(text: Any) -> int | None:
    """Read RFC 3339, loosely, as nanoseconds since 1970: spaces, ``UTC`` and ``+0900`` will do."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    *numbers, fraction, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = map(int, numbers)
    leap = second == _LEAP
    try:
        whole = dt.datetime(year, month, day, hour, minute, second - leap, tzinfo=dt.UTC)
        ahead = dt.timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        dt.timezone(ahead)  # refuses a day and more
    except ValueError:
        return None
    ahead = ahead if sign == "+" else -ahead
    seconds = (whole - _EPOCH - ahead) // dt.timedelta(seconds=1) + leap
    return seconds * 1_000_000_000 + int((fraction or "")[:9].ljust(9, "0"))


def address(text: Any) -> Address | None:
    """Read an address, without spaces around it and without a zone."""
    if not isinstance(text, str) or "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
