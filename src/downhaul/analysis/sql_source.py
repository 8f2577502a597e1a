"""Counts out of any table, by what the plan says of its columns.

Names are looked up in the database and quoted; they are never pasted into SQL. A row falls into the
window that its own time says, read as UTC; what is written later than ``lag`` is in no count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, Self, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    Select,
    Table,
    func,
    inspect,
    literal,
    select,
    types,
)
from sqlalchemy.exc import NoSuchTableError

from downhaul.analysis.model import Counts, Sample, Window
from downhaul.analysis.patience import within
from downhaul.analysis.settings import SourceSettings, no_users
from downhaul.analysis.sql_columns import numeric, textual
from downhaul.analysis.sql_counting import Found, counting, counting_users, within_window
from downhaul.analysis.sql_mapping import TableMapping, read, refuse
from downhaul.documents.faults import did_you_mean, quoted
from downhaul.errors import ConfigError, Problem, SchemaMissing
from downhaul.store.database import Database

T = TypeVar("T")

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
        self._found: Found | None = None
        self._counted: frozenset[str] = frozenset()  # roles that counts stand on already

    @classmethod
    def from_plan(cls, metrics: Mapping[str, Any], control: Database) -> Self:
        """Return the source that ``metrics`` of a plan describes. Contacts nothing.

        Raises ConfigError with every problem.
        """
        mapping = read(metrics)
        return cls(mapping, control, _database(mapping.url) if mapping.url else control)

    @property
    def counts_users(self) -> bool:
        """Whether the plan names the column that tells people apart."""
        return "subject" in self._mapping.columns

    def probe(
        self, flag: str, thresholds: tuple[float, ...], *, users: bool = False
    ) -> Sequence[str]:
        """See that table and columns are there, and can be counted.

        Raises ConfigError with every problem, Unreachable.
        """
        return self._in_time(lambda: self._probe(flag, thresholds, users=users))

    def _probe(self, flag: str, thresholds: tuple[float, ...], *, users: bool) -> Sequence[str]:
        self._found, self._counted = None, frozenset()
        if users and not self.counts_users:
            raise no_users("sql", 'name the column: columns = { subject = "user_id" }')
        found = self._table()
        if thresholds and "latency_ms" not in found.roles:
            refuse([self._missing("latency_ms", found, "and the plan asks who is slow")])
        now = self._now()
        window = Window(now - _SECOND, now)
        self._sample(found, flag, window, thresholds, now - _SECOND if users else None)
        self._look_at_times(found, now)
        return ()

    def watermark(self) -> int:
        """Return until when the counts are complete, in microseconds since 1970."""
        return self._now() - round(self._mapping.lag * _SECOND)

    def sample(
        self,
        flag: str,
        window: Window,
        thresholds: tuple[float, ...],
        *,
        preview: bool = False,
        users_since: int | None = None,
    ) -> Sample:
        """Return the counts of the window, of everybody: a table doesn't say who was targeted."""

        def look() -> Sample:
            try:
                return self._sample(self._table(), flag, window, thresholds, users_since)
            except SchemaMissing:
                self._found = None  # it was another table when it was looked at
                return self._sample(self._table(), flag, window, thresholds, users_since)

        return self._in_time(look)

    def _in_time(self, look: Callable[[], T]) -> T:
        return within(self._mapping.timeout, self._logs.safe_url, look)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Give a connection whose statements end in time, as far as the database can see to it."""
        if self._logs.dialect.name == "sqlite":
            with self._logs.reading() as connection:
                yield connection
            return
        milliseconds = round(self._mapping.timeout * 900)
        with self._logs.errors(), self._logs.engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
            yield connection

    def _sample(
        self,
        found: Found,
        flag: str,
        window: Window,
        thresholds: tuple[float, ...],
        users_since: int | None,
    ) -> Sample:
        query = counting(found, self._mapping, flag, window, thresholds)
        arms: dict[str, Counts] = {}
        with self._reading() as connection:
            rows = connection.execute(query.limit(_MOST_ARMS + 1)).all()
            if len(rows) > _MOST_ARMS:
                name = quoted(self._mapping.columns["variant"])
                message = f"{name} holds more than {_MOST_ARMS} values: is it the variant?"
                refuse([Problem("metrics.columns.variant", message)])
            for row in rows:
                variant = self._mapping.variants.of(str(row[0]))
                arms[variant] = arms.get(variant, Counts()) + _counts(row, thresholds)
            if users_since is not None and "subject" in found.roles:
                people = counting_users(found, self._mapping, flag, window, thresholds, users_since)
                for one in connection.execute(people).mappings():
                    variant = str(one["variant"])
                    arms[variant] = _with_users(arms[variant], one, thresholds)
        return Sample(window, arms, _shown(query, self._logs.engine))

    def _now(self) -> int:
        return int(self._clock.scalar(self._clock.dialect.microseconds))

    # The table

    def _table(self) -> Found:
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
        found = Found(table, roles, lite, text)
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

    def _missing(self, role: str, found: Found, why: str) -> Problem:
        names = [column.name for column in found.table.columns]
        problem = self._unknown(f"metrics.columns.{role}", self._mapping.columns[role], names)
        return Problem(problem.path, f"{problem.message}, {why}", hint=problem.hint)

    # Before a rollout starts

    def _look_at_times(self, found: Found, now: int) -> None:
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
                select(literal(1)).where(within_window(found, self._mapping, ahead)).limit(1)
            ).first():
                hint = "keep them in UTC, or with their offset"
                message = f"{name} holds times that are still to come: they are read as UTC"
                refuse([Problem(path, message, hint=hint)])


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


def _with_users(counts: Counts, row: Mapping[Any, Any], thresholds: Sequence[float]) -> Counts:
    slow = {float(limit): int(row[f"slow_{at}"] or 0) for at, limit in enumerate(thresholds)}
    return replace(
        counts,
        users=int(row["users"] or 0),
        new_users=int(row["recent"] or 0),
        error_users=int(row["error"] or 0),
        failed_users=int(row["failed"] or 0),
        slow_users=slow,
        anonymous=int(row["anonymous"]),
    )


def create(settings: SourceSettings) -> SqlSource:
    """Return the source that a plan describes. Raises ConfigError with every problem."""
    return SqlSource.from_plan(settings.options, settings.database)


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
