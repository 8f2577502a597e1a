"""Columns of somebody else's table as SQL: what is true, what is a time, what is a latency.

PostgreSQL has types and is asked by them. SQLite has a type in each value, so the expressions look
at that.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    Integer,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    types,
)

from downhaul.analysis.model import Window

_DAY: Final = dt.timedelta(days=1)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND: Final = 1000
_SANE: Final = 1e15  # a latency; PostgreSQL's NaN is above every number
_TRUE: Final = ("true", "t", "yes", "y", "1", "ok", "success", "succeeded")
_NO_ERROR: Final = ("", "false", "f", "no", "n", "0", "none", "null")
_ZONE: Final = r"([zZ]|[+-][0-9][0-9](:?[0-9][0-9])?)$"

Condition = ColumnElement[bool]


def moment(microseconds: int) -> dt.datetime:
    """Return a time in UTC."""
    return _EPOCH + dt.timedelta(microseconds=microseconds)


def numeric(column: Column[Any]) -> bool:
    """Return whether PostgreSQL keeps numbers in a column."""
    # A Float is a Numeric in SQLAlchemy 2.0, and none in 2.1.
    return isinstance(column.type, (types.Integer, types.Numeric, types.Float))


def textual(column: Column[Any]) -> bool:
    """Return whether PostgreSQL keeps text in a column."""
    return isinstance(column.type, types.String)


# --- PostgreSQL


def positive_in_postgresql(column: Column[Any], *, error: bool) -> Condition:
    """Return whether a value says yes: of errors, also any text but ``false`` and the like."""
    if isinstance(column.type, types.Boolean):
        return column.is_(True)
    if numeric(column):
        return func.coalesce(column != 0, False)
    return _text_says_yes(cast(column, Text), error=error)


def within_in_postgresql(column: Column[Any], window: Window, unit: int) -> Condition:
    """Return whether a time lies in the window."""
    since, until = moment(window.since), moment(window.until)
    if numeric(column):
        return _between_numbers(column, window, unit)
    if textual(column):
        zoned = cast(column, types.DateTime(timezone=True))
        plain = func.timezone("UTC", cast(column, types.DateTime()))
        at = case((column.regexp_match(_ZONE), zoned), else_=plain)
        return and_(at >= since, at < until)
    if not getattr(column.type, "timezone", False):
        since, until = since.replace(tzinfo=None), until.replace(tzinfo=None)
    return and_(column >= since, column < until)


def latency_in_postgresql(column: Column[Any], scale: float) -> ColumnElement[Any]:
    """Return a latency in milliseconds, or NULL for what is none."""
    return _latency(cast(column, Float(53)), scale)


# --- SQLite, where the columns have no type


def positive_in_sqlite(column: Column[Any], *, error: bool) -> Condition:
    """Return whether a value says yes, as above."""
    text = _text_says_yes(cast(column, Text), error=error)
    number = case((column.is_(None), 0), (column != 0, 1), else_=0) == 1
    return case((func.typeof(column) == "text", text), else_=number)


def within_in_sqlite(column: Column[Any], window: Window, unit: int, *, text: bool) -> Condition:
    """Return whether a time lies in the window: by numbers, or ISO text with or without zone.

    SQLite reads text to the millisecond. The first comparison is coarse, and can use an index.
    """
    if not text:
        return _between_numbers(column, window, unit)
    days = func.julianday(column) - 2440587.5
    at = cast(func.round(days * 86_400_000.0), Integer) * _MILLISECOND
    return and_(
        column >= _date(moment(window.since) - _DAY),
        column < _date(moment(window.until) + 2 * _DAY),
        at >= window.since,
        at < window.until,
    )


def latency_in_sqlite(column: Column[Any], scale: float) -> ColumnElement[Any]:
    """Return a latency in milliseconds, or NULL for what is none."""
    number = func.typeof(column).in_(("integer", "real"))
    return case((number, _latency(cast(column, Float), scale)))


# --- both


def _text_says_yes(text: ColumnElement[Any], *, error: bool) -> Condition:
    plain = func.lower(func.trim(func.coalesce(text, "")))
    return plain.not_in(_NO_ERROR) if error else plain.in_(_TRUE)


def _between_numbers(column: Column[Any], window: Window, unit: int) -> Condition:
    # The end of one window is the very number that the next begins with.
    since, until = window.since / unit, window.until / unit
    return and_(column >= literal(since, Float), column < literal(until, Float))


def _latency(value: ColumnElement[Any], scale: float) -> ColumnElement[Any]:
    return case((and_(value >= 0, value < _SANE), value * literal(scale, Float)))


def _date(at: dt.datetime) -> str:
    return at.strftime("%Y-%m-%d")
