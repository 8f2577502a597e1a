"""Points in time and weekly windows, as plans write them. Pure; times are microseconds since 1970.

A weekly window is told by the clock on the wall of its zone, so it begins at 16:00 in summer and in
winter. Where the clocks change within it, it is the longer of the two readings.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from downhaul.documents.faults import quoted

SECOND: Final = 1_000_000

RFC3339_PATTERN: Final = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$"
_AT: Final = r"([A-Za-z]+)\s+(\d{1,2}):(\d{2})"
WEEKLY_PATTERN: Final = rf"^\s*{_AT}\s*[-\u2013]\s*{_AT}\s+([A-Za-z][A-Za-z0-9_+/-]*)\s*$"
"""``Fri 16:00 - Mon 08:00 Europe/Berlin``."""

_RFC3339: Final = re.compile(RFC3339_PATTERN)
_WEEKLY: Final = re.compile(WEEKLY_PATTERN)
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9000  # so that windows after it can be reckoned with
_SETTLED: Final = 4_102_444_800 * SECOND  # the year 2100: no zone's past plays a part
_WEEK: Final = 7 * 24 * 60  # minutes
_MOST: Final = 500  # windows that may follow each other before there is no end to them


def moment_of(text: str) -> int:
    """Read a time in RFC 3339, with its offset. Raises ValueError."""
    hint = 'write it as "2026-09-01T06:00:00Z"'
    if not _RFC3339.fullmatch(text):
        what = "has no offset" if _RFC3339.fullmatch(f"{text}Z") else "is no time"
        message = f"{quoted(text)} {what}: {hint}"
        raise ValueError(message)
    try:
        at = dt.datetime.fromisoformat(text.upper().replace(" ", "T"))
    except ValueError as error:
        message = f"{quoted(text)} is no time ({error}): {hint}"
        raise ValueError(message) from None
    if not _FIRST_YEAR <= at.year < _LAST_YEAR:
        message = f"{quoted(text)} lies too far away"
        raise ValueError(message)
    return microseconds_of(at)


def microseconds_of(at: dt.datetime) -> int:
    """Return a time with an offset as microseconds since 1970. Raises ValueError without one."""
    if at.utcoffset() is None:
        message = f"{at.isoformat()} has no offset: pass a time such as datetime.now(UTC)"
        raise ValueError(message)
    return (at - _EPOCH) // dt.timedelta(microseconds=1)


def datetime_of(moment: int) -> dt.datetime:
    """Return microseconds since 1970 as a time in UTC."""
    return _EPOCH + dt.timedelta(microseconds=moment)


def moment_text(moment: int) -> str:
    """Return a time as RFC 3339 in UTC; parts of a second only where there are any."""
    at = datetime_of(moment)
    return at.isoformat(timespec="auto").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Weekly:
    """A window of each week: two days (0 is Monday) with minutes of the day, in an IANA zone."""

    first_day: int
    first_minute: int
    last_day: int
    last_minute: int
    zone: str

    @property
    def minutes(self) -> int:
        """How long it is by a clock that is never changed."""
        begins = self.first_day * 1440 + self.first_minute
        ends = self.last_day * 1440 + self.last_minute
        return (ends - begins) % _WEEK or _WEEK

    def __str__(self) -> str:
        begins = _day_text(self.first_day, self.first_minute)
        return f"{begins} - {_day_text(self.last_day, self.last_minute)} {self.zone}"

    def spans_around(self, moment: int) -> Iterator[tuple[int, int]]:
        """Yield the windows, begin and end, of the week before, of this one and of the next.

        Raises UnknownZone where this host does not know the zone.
        """
        zone = zone_of(self.zone)
        here = datetime_of(moment).astimezone(zone).date()
        monday = here - dt.timedelta(days=here.weekday())
        for week in (-1, 0, 1):
            day = monday + dt.timedelta(days=7 * week + self.first_day)
            begins = _wall(day, self.first_minute)
            ends = begins + dt.timedelta(minutes=self.minutes)
            yield min(_both(begins, zone)), max(_both(ends, zone))


class UnknownZone(ValueError):
    """This host knows no time zone of that name."""


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone. Raises UnknownZone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        message = (
            f"the time zone {quoted(name)} is not known here: write one such as Europe/Berlin, or "
            "install tzdata"
        )
        raise UnknownZone(message) from None


def weekly_of(text: str) -> Weekly:
    """Read ``Fri 16:00 - Mon 08:00 Europe/Berlin``. Raises ValueError.

    Whether the zone is known is not asked: a plan that is kept must be readable on every host.
    """
    found = _WEEKLY.fullmatch(text)
    if found is None:
        message = (
            f'{quoted(text)} is no window of a week: write "Fri 16:00 - Mon 08:00 Europe/Berlin"'
        )
        raise ValueError(message)
    first, last = _day(found[1]), _day(found[4])
    return Weekly(first, _minute(found[2], found[3]), last, _minute(found[5], found[6]), found[7])


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which nothing may rise: from one moment to another, or weekly.

    Without a ``begin`` it began long ago; without an ``end`` it has none. ``reason`` is for people.
    """

    begin: int | None = None
    end: int | None = None
    weekly: Weekly | None = None
    reason: str = ""

    def over_at(self, moment: int) -> int | None:
        """Return when the window in which a moment lies is over; 0 for never, None outside."""
        if self.weekly is not None:
            if self.weekly.minutes >= _WEEK:
                return 0
            spans = self.weekly.spans_around(moment)
            return max((end for begin, end in spans if begin <= moment < end), default=None)
        if self.begin is not None and moment < self.begin:
            return None
        if self.end is None:
            return 0
        return self.end if moment < self.end else None


@dataclass(frozen=True, slots=True)
class Frozen:
    """That a moment is frozen: by which window, and until when (0 for ever) by all of them."""

    window: Window
    until: int


def frozen_at(windows: tuple[Window, ...], moment: int) -> Frozen | None:
    """Return what freezes a moment, windows that follow each other taken together, or None.

    Raises UnknownZone.
    """
    first, at = None, moment
    for _ in range(_MOST):
        found = [(window, over) for window in windows if (over := window.over_at(at)) is not None]
        if not found:
            return None if first is None else Frozen(first, at)
        first = first or found[0][0]
        if any(over == 0 for _, over in found):
            break
        at = max(over for _, over in found)
    assert first is not None  # noqa: S101  (the loop found one, again and again)
    return Frozen(first, 0)


def open_from(windows: tuple[Window, ...], moment: int) -> int | None:
    """Return the first moment from then on that nothing freezes; None for none. See above."""
    frozen = frozen_at(windows, moment)
    if frozen is None:
        return moment
    return frozen.until or None


def never_open(windows: tuple[Window, ...]) -> bool:
    """Return whether some day nothing is open any more, by the rules that zones have by now.

    Raises UnknownZone.
    """
    ends = [one.end for one in windows if one.end is not None]
    later = [one.begin for one in windows if one.begin is not None]
    return open_from(windows, max([*ends, *later, _SETTLED])) is None


def _day(name: str) -> int:
    word = name.lower()
    for number, day in enumerate(_DAYS):
        if len(word) >= 3 and day.startswith(word):  # noqa: PLR2004  (Mon is the shortest)
            return number
    message = f"{quoted(name)} is no day of the week: write Mon, Tue, Wed, Thu, Fri, Sat or Sun"
    raise ValueError(message)


def _minute(hours: str, minutes: str) -> int:
    if int(hours) > 23 or int(minutes) > 59:  # noqa: PLR2004  (a day's)
        message = f"{hours}:{minutes} is no time of the day: it lies between 00:00 and 23:59"
        raise ValueError(message)
    return int(hours) * 60 + int(minutes)


def _day_text(day: int, minute: int) -> str:
    return f"{_DAYS[day][:3].title()} {minute // 60:02}:{minute % 60:02}"


def _wall(day: dt.date, minute: int) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(minute // 60, minute % 60))


def _both(wall: dt.datetime, zone: ZoneInfo) -> tuple[int, int]:
    """Return both readings of a time on the wall; they differ only while the clocks change."""
    return (
        microseconds_of(wall.replace(tzinfo=zone, fold=0)),
        microseconds_of(wall.replace(tzinfo=zone, fold=1)),
    )
