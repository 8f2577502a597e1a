"""Counts out of somebody else's table, as SQL.

Names were looked up in the database, and are quoted; they are never pasted into a statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    types,
)

from downhaul.analysis.model import Window
from downhaul.analysis.sql_columns import (
    Condition,
    latency_in_postgresql,
    latency_in_sqlite,
    numeric,
    positive_in_postgresql,
    positive_in_sqlite,
    textual,
    within_in_postgresql,
    within_in_sqlite,
)
from downhaul.analysis.sql_mapping import TableMapping
from downhaul.analysis.variants import Variants


@dataclass(frozen=True, slots=True)
class Found:
    """A table as it is in the database. ``text`` says that SQLite keeps its times as text."""

    table: Table
    roles: Mapping[str, Column[Any]]
    lite: bool
    text: bool

    @property
    def numbers(self) -> bool:
        """Whether times are numbers."""
        return not self.text if self.lite else numeric(self.roles["time"])


def counting(
    found: Found,
    mapping: TableMapping,
    flag: str,
    window: Window,
    thresholds: Sequence[float],
) -> Select[Any]:
    """Return the counts by variant, of rows that each stand once where the table has an id."""
    rows = _rows(found, mapping, flag, window).subquery()
    time = rows.c.latency
    return (
        select(
            rows.c.variant,
            func.count(),
            func.sum(rows.c.bad),
            func.sum(rows.c.good),
            func.count(time),
            func.coalesce(func.sum(time), 0.0),
            *(func.sum(case((time > float(limit), 1), else_=0)) for limit in thresholds),
        )
        .where(_once(rows))
        .group_by(rows.c.variant)
    )


def counting_users(
    found: Found,
    mapping: TableMapping,
    flag: str,
    window: Window,
    thresholds: Sequence[float],
    users_since: int,
) -> Select[Any]:
    """Return the counts of people by variant: those of the window, beside what they did before.

    The columns are ``variant``, ``anonymous``, ``users``, ``recent`` (their first), ``error``,
    ``failed``, and ``slow_0`` and so on. Variants are ours, so that whoever is served two that
    stand for the same is one user of it.
    """
    rows = _rows(found, mapping, flag, window, since=users_since).cte("rows_now")
    now = _people(rows, mapping, thresholds, and_(_once(rows), rows.c.subject != "")).cte("people")
    past = Window(users_since, window.since)
    earlier = _rows(found, mapping, flag, past, since=users_since).subquery()
    same = earlier.c.subject.in_(select(now.c.subject))
    before = _people(earlier, mapping, thresholds, same).cte("before_it")
    both = and_(now.c.variant == before.c.variant, now.c.subject == before.c.subject)
    names = ["recent", "error", "failed", *(f"slow_{at}" for at in range(len(thresholds)))]
    first = [
        _sum(and_(now.c[name] == 1, func.coalesce(before.c[name], 0) == 0)).label(name)
        for name in names
    ]
    firsts = (
        select(now.c.variant, func.count().label("users"), *first)
        .select_from(now.outerjoin(before, both))
        .group_by(now.c.variant)
        .cte("firsts")
    )
    ours = _ours(rows.c.variant, mapping.variants)
    nobody = (
        select(ours.label("variant"), _sum(rows.c.subject == "").label("anonymous"))
        .where(_once(rows))
        .group_by(ours)
        .cte("nobody")
    )
    return select(nobody, *(one for one in firsts.c if one.name != "variant")).select_from(
        nobody.outerjoin(firsts, nobody.c.variant == firsts.c.variant)
    )


def _people(
    rows: FromClause, mapping: TableMapping, thresholds: Sequence[float], condition: Condition
) -> Select[Any]:
    """Return one row for each user of a variant: whether any request of theirs was so."""
    ours = _ours(rows.c.variant, mapping.variants)
    recent = rows.c.recent == 1
    return (
        select(
            ours.label("variant"),
            rows.c.subject,
            func.max(rows.c.recent).label("recent"),
            _any(and_(recent, rows.c.bad == 1)).label("error"),
            _any(and_(recent, rows.c.good == 0)).label("failed"),
            *(
                _any(and_(recent, rows.c.latency > float(limit))).label(f"slow_{at}")
                for at, limit in enumerate(thresholds)
            ),
        )
        .where(condition)
        .group_by(ours, rows.c.subject)
    )


def _rows(
    found: Found, mapping: TableMapping, flag: str, window: Window, *, since: int | None = None
) -> Select[Any]:
    """Return the rows of a window; with ``since``, who asked, and whether that was from then on."""
    roles = found.roles
    latency = _latency(found, mapping) if "latency_ms" in roles else cast(null(), types.Float(53))
    good, bad = _outcome(found)
    chosen: list[ColumnElement[Any]] = [
        cast(roles["variant"], Text).label("variant"),
        case((good, 1), else_=0).label("good"),
        case((bad, 1), else_=0).label("bad"),
        latency.label("latency"),
    ]
    if "id" in roles:
        again = func.row_number().over(partition_by=roles["id"], order_by=roles["time"])
        chosen.append(case((roles["id"].is_(None), 1), else_=again).label("turn"))
    if since is not None:
        recent = within_window(found, mapping, Window(since, max(since, window.until)))
        chosen.append(func.coalesce(cast(roles["subject"], Text), "").label("subject"))
        chosen.append(case((recent, 1), else_=0).label("recent"))
    conditions = [
        roles["variant"].is_not(None),
        within_window(found, mapping, window),
        *(_equal(found, name, value) for name, value in mapping.where.items()),
    ]
    if "flag" in roles:
        conditions.append(_equal(found, roles["flag"].name, flag))
    return select(*chosen).where(*conditions)


def _once(rows: FromClause) -> ColumnElement[bool]:
    return rows.c.turn == 1 if "turn" in rows.c else true()


def _ours(held: ColumnElement[Any], variants: Variants) -> ColumnElement[Any]:
    """Return which variant of ours a value stands for, as :meth:`Variants.of` has it."""
    known = {*variants.ours, *variants.ours.values()}
    whens = [(held == one, literal(variants.of(one))) for one in sorted(known)]
    return case(*whens, else_=held) if whens else held


def _any(condition: Condition) -> ColumnElement[int]:
    return func.max(case((condition, 1), else_=0))


def _sum(condition: Condition) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _outcome(found: Found) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return what a success is and what an error. One says the other, where only one is there."""
    positive = positive_in_sqlite if found.lite else positive_in_postgresql
    success, error = found.roles.get("success"), found.roles.get("error")
    bad = None if error is None else positive(error, error=True)
    good = None if success is None else positive(success, error=False)
    if bad is None:
        assert good is not None  # noqa: S101  (one of them is there: it was looked at)
        return good, case((good, 0), else_=1) == 1
    return (case((bad, 0), else_=1) == 1 if good is None else good), bad


def within_window(found: Found, mapping: TableMapping, window: Window) -> Condition:
    """Return whether a row's time lies in the window."""
    column = found.roles["time"]
    if found.lite:
        return within_in_sqlite(column, window, mapping.time_unit, text=found.text)
    return within_in_postgresql(column, window, mapping.time_unit)


def _latency(found: Found, mapping: TableMapping) -> ColumnElement[Any]:
    make = latency_in_sqlite if found.lite else latency_in_postgresql
    return make(found.roles["latency_ms"], mapping.latency_unit / 1000)


def _equal(found: Found, name: str, value: Any) -> ColumnElement[bool]:
    """Compare as the column is typed: a plan may write 1 or "1"."""
    column = found.table.columns[name]
    values = value if isinstance(value, (list, tuple)) else [value]
    return or_(*(_one_equal(found, column, one) for one in values))


def _one_equal(found: Found, column: Column[Any], value: Any) -> ColumnElement[bool]:
    plain = found.lite or (
        numeric(column) and isinstance(value, (int, float)) and not isinstance(value, bool)
    )
    if plain:
        return column == literal(value)
    if isinstance(column.type, types.Boolean) and isinstance(value, bool):
        return column.is_(value)
    if textual(column) and not isinstance(column.type, types.Enum):  # which equals no text
        return column == literal(str(value))
    return cast(column, Text) == literal(str(value))
