"""Counts out of any table, by what the plan says of its columns.

Names are looked up in the database and quoted; they are never pasted into SQL. A row falls into the
window that its own time says, read as UTC; what is written later than ``lag`` is in no count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    MetaData,
    Select,
    Table,
    Text,
    case,
    cast,
    func,
    inspect,
    literal,
    null,
    or_,
    select,
    true,
    types,
)
from sqlalchemy.exc import NoSuchTableError

from downhaul.analysis.model import Counts, Sample, Window
from downhaul.analysis.sql_columns import (
    latency_in_postgresql,
    latency_in_sqlite,
    numeric,
    positive_in_postgresql,
    positive_in_sqlite,
    textual,
    within_in_postgresql,
    within_in_sqlite,
)
from downhaul.analysis.sql_mapping import TableMapping, read, refuse
from downhaul.documents.faults import did_you_mean, quoted
from downhaul.errors import ConfigError, Problem, SchemaMissing
from downhaul.store.database import Database

_SECOND: Final = 1_000_000
_NEEDED: Final = ("variant", "time")
_MOST_ARMS: Final = 100
_AHEAD: Final = 60 * _SECOND  # what one clock may be ahead of another
_ZONES: Final = 15 * 3600 * _SECOND  # what the clock on a wall may be ahead of UTC
_TOO_LARGE: Final = 100  # times now: a time in another unit than was said
_LOOKED_AT: Final = 1000  # rows whose times are looked at before a rollout starts


class SqlSource:
    """Any table as a :class:`~downhaul.analysis.model.MetricSource`.

    ``clock`` is the control store, whose time decides until when to count; ``logs`` is where the
    table is.
    """

    def __init__(self, mapping: TableMapping, clock: Database, logs: Database) -> None:
        self._mapping = mapping
        self._clock = clock
        self._logs = logs
        self._found: _Found | None = None
        self._counted: frozenset[str] = frozenset()  # roles that counts stand on already

    @classmethod
    def from_plan(cls, metrics: Mapping[str, Any], control: Database) -> Self:
        """Return the source that ``metrics`` of a plan describes. Contacts nothing.

        Raises ConfigError with every problem.
        """
        mapping = read(metrics)
        return cls(mapping, control, _database(mapping.url) if mapping.url else control)

    def probe(self, flag: str, thresholds: tuple[float, ...]) -> None:
        """See that table and columns are there, and can be counted.

        Raises ConfigError with every problem, Unreachable.
        """
        self._found, self._counted = None, frozenset()
        found = self._table()
        if thresholds and "latency_ms" not in found.roles:
            refuse([self._missing("latency_ms", found, "and the plan asks who is slow")])
        now = self._now()
        self.sample(flag, Window(now - _SECOND, now), thresholds)
        self._look_at_times(found, now)

    def watermark(self) -> int:
        """Return until when the counts are complete, in microseconds since 1970."""
        return self._now() - round(self._mapping.lag * _SECOND)

    def sample(
        self, flag: str, window: Window, thresholds: tuple[float, ...], *, preview: bool = False
    ) -> Sample:
        """Return the counts of the window, of everybody: a table doesn't say who was targeted."""
        try:
            return self._sample(self._table(), window, thresholds)
        except SchemaMissing:
            self._found = None  # it was another table when it was looked at
            return self._sample(self._table(), window, thresholds)

    def _sample(self, found: _Found, window: Window, thresholds: tuple[float, ...]) -> Sample:
        query = _query(found, self._mapping, window, thresholds)
        with self._logs.reading() as connection:
            rows = connection.execute(query.limit(_MOST_ARMS + 1)).all()
        if len(rows) > _MOST_ARMS:
            column = self._mapping.columns["variant"]
            message = f"{quoted(column)} holds more than {_MOST_ARMS} values: is it the variant?"
            refuse([Problem("metrics.columns.variant", message)])
        arms: dict[str, Counts] = {}
        for row in rows:
            variant = self._variant(str(row[0]))
            arms[variant] = arms.get(variant, Counts()) + _counts(row, thresholds)
        return Sample(window, arms, _shown(query, self._logs.engine))

    def _variant(self, held: str) -> str:
        """Return whose counts a value's are; one that stands for none of our variants is its own.

        The table's "v2" is not ours, where ours is said to be its "2.0".
        """
        variants = self._mapping.variants
        return variants.get(held, f"{held} (unmapped)" if held in variants.values() else held)

    def _now(self) -> int:
        return int(self._clock.scalar(self._clock.dialect.microseconds))

    # The table

    def _table(self) -> _Found:
        """Return the table with its columns, looked up once. Raises ConfigError, Unreachable."""
        if self._found is not None:
            return self._found
        table = self._reflected()
        names = [column.name for column in table.columns]
        roles = {
            role: table.columns[name]
            for role, name in self._mapping.columns.items()
            if name in table.columns
        }
        # A column that went must not turn what it told of into good news (rule R5).
        wanted = self._mapping.named | {*_NEEDED} | self._counted
        problems = [
            self._unknown(f"metrics.columns.{role}", self._mapping.columns[role], names)
            for role in self._mapping.columns
            if role in wanted and role not in roles
        ]
        problems += [
            self._unknown(f"metrics.where.{name}", name, names)
            for name in self._mapping.where
            if name not in table.columns
        ]
        if not problems and not {"success", "error"} & set(roles):
            problems.append(
                Problem(
                    "metrics.columns.success",
                    f"{quoted(self._mapping.table)} says neither what succeeded nor what failed",
                    hint=did_you_mean("success", names, all_of="its columns are"),
                )
            )
        lite = self._logs.dialect.name == "sqlite"
        if not problems and not lite:
            problems += _wrong_types(roles)
        refuse(problems, f"the table {quoted(self._mapping.table)} can't be used")
        empty, text = self._times_are_text(table, roles["time"]) if lite else (False, False)
        found = _Found(table, roles, lite, text)
        self._counted = frozenset(roles)
        if not empty:  # of an empty table it is seen later how it keeps its times
            self._found = found
        return found

    def _reflected(self) -> Table:
        schema, name = None, self._mapping.table
        if self._logs.dialect.name != "sqlite" and "." in name:
            schema, _, name = name.rpartition(".")
        with self._logs.errors(), self._logs.engine.connect() as connection:
            inspector = inspect(connection)
            try:
                columns = inspector.get_columns(name, schema)
            except NoSuchTableError:
                known = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
                hint = did_you_mean(name, known, all_of="its tables are")
                message = f"{self._logs.safe_url} has no table {quoted(self._mapping.table)}"
                raise ConfigError(f"metrics.table: {message}", hint=hint) from None
        lite = self._logs.dialect.name == "sqlite"
        return Table(
            name,
            MetaData(schema=schema),
            *(Column(one["name"], types.NullType() if lite else one["type"]) for one in columns),
        )

    def _times_are_text(self, table: Table, column: Column[Any]) -> tuple[bool, bool]:
        """Return whether there is nothing to judge by, and whether SQLite has the times as text."""
        query = select(func.typeof(column)).where(column.is_not(None)).limit(1)
        with self._logs.reading() as connection:
            kind = connection.execute(query).scalar()
        return kind is None, kind in (None, "text")

    def _unknown(self, path: str, name: str, names: Sequence[str]) -> Problem:
        message = f"{quoted(self._mapping.table)} has no column {quoted(name)}"
        return Problem(path, message, hint=did_you_mean(name, names, all_of="its columns are"))

    def _missing(self, role: str, found: _Found, why: str) -> Problem:
        names = [column.name for column in found.table.columns]
        problem = self._unknown(f"metrics.columns.{role}", self._mapping.columns[role], names)
        return Problem(problem.path, f"{problem.message}, {why}", hint=problem.hint)

    # Before a rollout starts

    def _look_at_times(self, found: _Found, now: int) -> None:
        """Raise ConfigError for times that can't be what the plan says they are."""
        column, name = found.roles["time"], quoted(self._mapping.columns["time"])
        path = "metrics.columns.time"
        with self._logs.reading() as connection:
            if found.lite and found.text:
                some = select(column.label("time")).where(column.is_not(None)).limit(_LOOKED_AT)
                times = some.subquery().c.time
                query = select(times).where(func.julianday(times).is_(None)).limit(1)
                for (odd,) in connection.execute(query):
                    hint = "keep them as ISO 8601, such as 2026-03-28 09:00:00"
                    refuse([Problem(path, f"{name} holds {quoted(odd)}, which is no time", hint)])
            elif found.numbers:
                latest = now * _TOO_LARGE / self._mapping.time_unit
                if connection.execute(select(column).where(column > latest).limit(1)).first():
                    hint = 'say metrics.time_unit = "ms" or "us"'
                    refuse([Problem(path, f"{name} holds times too large for their unit", hint)])
            ahead = Window(now + _AHEAD, now + _ZONES)
            if connection.execute(
                select(literal(1)).where(_within(found, self._mapping, ahead)).limit(1)
            ).first():
                hint = "keep them in UTC, or with their offset"
                message = f"{name} holds times that are still to come: they are read as UTC"
                refuse([Problem(path, message, hint=hint)])


@dataclass(frozen=True, slots=True)
class _Found:
    """A table as it is in the database. ``text`` says that SQLite keeps its times as text."""

    table: Table
    roles: Mapping[str, Column[Any]]
    lite: bool
    text: bool

    @property
    def numbers(self) -> bool:
        """Whether times are numbers."""
        return not self.text if self.lite else numeric(self.roles["time"])


def _query(
    found: _Found, mapping: TableMapping, window: Window, thresholds: Sequence[float]
) -> Select[Any]:
    """Return the counts by variant, of rows that each stand once where the table has an id."""
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
    conditions = [
        roles["variant"].is_not(None),
        _within(found, mapping, window),
        *(_equal(found, name, value) for name, value in mapping.where.items()),
    ]
    rows = select(*chosen).where(*conditions).subquery()
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
        .where(rows.c.turn == 1 if "id" in roles else true())
        .group_by(rows.c.variant)
    )


def _outcome(found: _Found) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return what a success is and what an error. One says the other, where only one is there."""
    positive = positive_in_sqlite if found.lite else positive_in_postgresql
    success, error = found.roles.get("success"), found.roles.get("error")
    bad = None if error is None else positive(error, error=True)
    good = None if success is None else positive(success, error=False)
    if bad is None:
        assert good is not None  # noqa: S101  (one of them is there: it was looked at)
        return good, case((good, 0), else_=1) == 1
    return (case((bad, 0), else_=1) == 1 if good is None else good), bad


def _within(found: _Found, mapping: TableMapping, window: Window) -> ColumnElement[bool]:
    column = found.roles["time"]
    if found.lite:
        return within_in_sqlite(column, window, mapping.time_unit, text=found.text)
    return within_in_postgresql(column, window, mapping.time_unit)


def _latency(found: _Found, mapping: TableMapping) -> ColumnElement[Any]:
    make = latency_in_sqlite if found.lite else latency_in_postgresql
    return make(found.roles["latency_ms"], mapping.latency_unit / 1000)


def _equal(found: _Found, name: str, value: Any) -> ColumnElement[bool]:
    """Compare as the column is typed: a plan may write 1 or "1"."""
    column = found.table.columns[name]
    values = value if isinstance(value, (list, tuple)) else [value]
    return or_(*(_one_equal(found, column, one) for one in values))


def _one_equal(found: _Found, column: Column[Any], value: Any) -> ColumnElement[bool]:
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


def _wrong_types(roles: Mapping[str, Column[Any]]) -> list[Problem]:
    """Return what PostgreSQL can't count by."""
    problems = []
    time, latency = roles["time"], roles.get("latency_ms")
    if not (isinstance(time.type, types.DateTime) or numeric(time) or textual(time)):
        message = f"{quoted(time.name)} is of type {time.type}, and no time"
        hint = "timestamptz, timestamp in UTC, ISO text and numbers are read"
        problems.append(Problem("metrics.columns.time", message, hint=hint))
    if latency is not None and not numeric(latency):
        message = f"{quoted(latency.name)} is of type {latency.type}, and no number"
        problems.append(Problem("metrics.columns.latency_ms", message))
    return problems


def _counts(row: Sequence[Any], thresholds: Sequence[float]) -> Counts:
    _, requests, errors, successes, timed, latency, *slow = row
    return Counts(
        int(requests),
        int(errors),
        int(successes),
        int(timed),
        float(latency),
        {float(limit): int(many) for limit, many in zip(thresholds, slow, strict=True)},
    )


def _shown(query: Select[Any], engine: Engine) -> str:
    """Return the query as it is shown, without its values."""
    return " ".join(str(query.compile(engine)).split())


def _database(url: str) -> Database:
    """Return a database by its URL, through the plugin that knows the scheme.

    Raises ConfigError, ProviderNotFound.
    """
    from downhaul.config import resolve  # noqa: PLC0415  (only with a database of its own)
    from downhaul.plugins import build_provider  # noqa: PLC0415  (as above)

    settings = resolve(url, cache_dir=None, environ={})
    database = getattr(build_provider(settings), "database", None)
    if isinstance(database, Database):
        return database
    message = f"metrics.url: {settings.provider.safe_url} is no SQL database"
    raise ConfigError(message, hint="sqlite:/// and postgresql:// are")
