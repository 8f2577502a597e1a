"""One database: its engine, its dialect's ways, and its errors as ours.

A backend makes a :class:`Database` and hands it to :class:`downhaul.store.provider.SqlProvider`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError, SQLAlchemyError

from downhaul.errors import NoRight, ProviderError, SchemaMissing, Unreachable
from downhaul.store.tables import Tables

_T = TypeVar("_T")
Redact = Callable[[str], str]

_UPGRADE: Final = "run: downhaul db upgrade"
_MISSING_IN_SQLITE: Final = ("no such table", "no such column", "unable to open database file")
_NO_RIGHT: Final = ("readonly database", "permission denied", "read-only transaction")
_MISSING_IN_POSTGRESQL: Final = ("relation", "schema", "column")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between databases, as SQL. Each clock is the database's own (rule X3)."""

    name: str
    now: str
    """An expression: RFC 3339 text in UTC."""
    microseconds: str
    """An expression: microseconds since 1970, an integer."""
    begin_write: tuple[str, ...] = ()
    """Statements that begin a transaction that writes, where the driver's begin won't do."""
    begin_read: tuple[str, ...] = ("BEGIN",)
    """Statements that begin a transaction all of whose reads see one moment."""
    limits: tuple[str, ...] = ()
    """Statements that bound the time of one transaction."""
    begin_in_passing: tuple[str, ...] = ()
    """Statements before a write that waits for nobody, and for no disk."""
    end_in_passing: tuple[str, ...] = ()
    writes_after_fork: bool = True
    """Whether a forked child may write to what its parent has open."""
    notify: bool = False
    """Whether a commit can tell listeners (pg_notify)."""


SQLITE: Final = Dialect(
    "sqlite",
    now="strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'",
    microseconds="CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    begin_write=("BEGIN IMMEDIATE",),
    # No transaction: a statement of its own holds the file for no longer than SQLite takes for it,
    # and whoever is stopped between two statements of ours must not keep a kill waiting.
    begin_in_passing=("PRAGMA synchronous = NORMAL", "PRAGMA busy_timeout = 1000"),
    # SQLite takes both for one process, and its locks for the parent's.
    writes_after_fork=False,
)
POSTGRESQL: Final = Dialect(
    "postgresql",
    now="to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    microseconds="(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    begin_read=("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",),
    # The last one: a writer that is stopped in the middle must not keep its locks for ever.
    limits=(
        """
        SELECT set_config('statement_timeout', '10s', true),
               set_config('lock_timeout', '5s', true),
               set_config('idle_in_transaction_session_timeout', '10s', true)
        """,
    ),
    begin_in_passing=(
        "BEGIN",
        """
        SELECT set_config('statement_timeout', '2s', true),
               set_config('lock_timeout', '1s', true),
               set_config('synchronous_commit', 'off', true),
               set_config('idle_in_transaction_session_timeout', '5s', true)
        """,
    ),
    end_in_passing=("COMMIT",),
    notify=True,
)


@dataclass(frozen=True, slots=True)
class Database:
    """A database with Downhaul's tables in it, or about to be.

    ``safe_url`` is fit to be shown; ``redact`` takes secrets out of a driver's words. ``schema`` is
    PostgreSQL's, ``prefix`` SQLite's, so that both live beside an application's own tables.
    """

    engine: Engine
    dialect: Dialect
    safe_url: str
    provider: str
    schema: str | None = None
    prefix: str = ""
    redact: Redact = field(default=lambda words: words, repr=False)
    create: Callable[[], None] = field(default=lambda: None, repr=False)
    """Makes the empty database where it can be made at all; called by ``db upgrade`` alone."""
    driver_errors: tuple[type[Exception], ...] = field(default=(), repr=False)
    """What the driver raises where it is used without SQLAlchemy."""
    tables: Tables = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", Tables.named(self.schema, self.prefix))

    @property
    def channel(self) -> str:
        """The name under which commits are told (NOTIFY)."""
        return f"downhaul:{self.schema or ''}"[:63]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection on which each statement is its own snapshot. Raises Unreachable."""
        with self.errors(), self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def at_one_moment(self, connection: Connection) -> Iterator[None]:
        """Let all that is read on a connection without a transaction be of one moment."""
        yield from _by_hand(connection, self.dialect.begin_read, None)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in one transaction, committed at the end. Raises Unreachable."""
        with self.errors(), self.engine.connect() as connection:
            yield from self._transaction(connection)

    @contextmanager
    def writing_apart(self) -> Iterator[Connection]:
        """As :meth:`writing`, on a connection that is not kept.

        What is written now and then is worth no second one for each process of a fleet.
        """
        with self.errors(), self.engine.connect() as connection:
            yield from self._transaction(connection, kept=False)

    def _transaction(self, connection: Connection, *, kept: bool = True) -> Iterator[Connection]:
        if self.dialect.begin_write:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        if not kept:
            connection.detach()
        if self.dialect.begin_write:
            yield from _by_hand(connection, self.dialect.begin_write, connection)
        else:
            with connection.begin():
                for statement in self.dialect.limits:
                    connection.exec_driver_sql(statement)
                yield connection

    @contextmanager
    def in_passing(self) -> Iterator[Connection]:
        """Give a connection for a small write whose loss would be none. Raises Unreachable.

        It waits a second at most for others, and not for the disk. Its connection is not kept:
        what is written now and then is worth no second one for each process of a fleet.
        """
        with self.errors(), self.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.detach()
            for statement in self.dialect.begin_in_passing:
                alone.exec_driver_sql(statement)
            yield alone  # where this raises, the connection goes, and the transaction with it
            for statement in self.dialect.end_in_passing:
                alone.exec_driver_sql(statement)

    @contextmanager
    def creating(self) -> Iterator[Connection]:
        """Give a connection to make tables on; the database itself is made if need be."""
        with self.errors():
            self.create()
        with self.writing() as connection:
            yield connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn a driver's errors into ours, without its secrets."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self.ours(error) from None  # the driver's own may quote the password

    def knows(self, error: BaseException) -> bool:
        """Return whether an error is the database's or the system's, and no fault of our own."""
        return isinstance(error, (SQLAlchemyError, OSError, *self.driver_errors))

    def ours(self, error: BaseException) -> ProviderError:
        """Return one of our errors for a driver's."""
        cause = error.orig if isinstance(error, DBAPIError) else None
        words = self.redact(" ".join(str(cause or error).split()))
        if _is_missing_table(error, words):
            return SchemaMissing(
                f"{self.safe_url} has no tables of Downhaul, or too old ones",
                hint=_UPGRADE,
                provider=self.provider,
            )
        if any(sign in words for sign in _NO_RIGHT):
            return NoRight(
                f"{self.safe_url} refuses: {words}",
                hint="see `downhaul db roles` for the rights that are needed",
                provider=self.provider,
            )
        return Unreachable(
            f"{self.safe_url} did not answer: {words}",
            hint="is it running, and is the URL right? see `downhaul doctor`",
            provider=self.provider,
        )

    def bound(self, connection: Connection) -> Database:
        """Return this database as one transaction sees it: reads and writes go through it."""
        return _Bound(
            self.engine,
            self.dialect,
            self.safe_url,
            self.provider,
            self.schema,
            self.prefix,
            self.redact,
            self.create,
            self.driver_errors,
            connection,
        )

    def scalar(self, expression: str) -> Any:
        """Return the value of one SQL expression."""
        with self.reading() as connection:
            return connection.execute(text(f"SELECT {expression}")).scalar_one()


@dataclass(frozen=True, slots=True)
class _Bound(Database):
    """A database within a transaction that somebody else began, and will end."""

    connection: Connection | None = field(default=None, repr=False)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        assert self.connection is not None  # noqa: S101  (only `bound` makes one)
        yield self.connection

    writing = reading


def _by_hand(connection: Connection, begin: tuple[str, ...], given: _T) -> Iterator[_T]:
    """Run a transaction in plain words, where the driver would begin it too late or too weakly."""
    for statement in begin:
        connection.exec_driver_sql(statement)
    try:
        yield given
    except BaseException:
        with suppress(SQLAlchemyError):  # the error that led here says more
            connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def _is_missing_table(error: BaseException, words: str) -> bool:
    if isinstance(error, OperationalError):
        return any(sign in words for sign in _MISSING_IN_SQLITE)
    if isinstance(error, ProgrammingError):
        return "does not exist" in words and any(sign in words for sign in _MISSING_IN_POSTGRESQL)
    return False
