"""The tables: flags, segments, kills and who obeys them, the history, rollouts, requests, moves.

Documents are text and no JSON type: PostgreSQL's would forget the order of keys. Times are RFC
3339 text in UTC from the database's clock. A deleted flag leaves its row with no document, so that
whoever follows the revisions sees that it went, and its version is never used again.

A ``token`` is drawn for each write. A reader whose last token is in the history goes on from there;
one whose token isn't has read a state that a restored backup forgot, and reads everything anew.

Times that are reckoned with (leases, due times, windows of requests) are microseconds since 1970 by
the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only INTEGER keys


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one store, under its schema or prefix."""

    metadata: MetaData
    store: Table
    environments: Table
    flags: Table
    segments: Table
    kills: Table
    changes: Table
    rollouts: Table
    commands: Table
    intents: Table
    outbox: Table
    deliveries: Table
    controllers: Table
    requests: Table
    looks: Table
    processes: Table
    terms: Table
    drills: Table
    signoffs: Table
    hook_calls: Table
    comparisons: Table
    comparison_examples: Table
    comparison_writers: Table

    @classmethod
    @cache  # each transaction of a rollout asks for them, and to make them takes ten milliseconds
    def named(cls, schema: str | None, prefix: str) -> Tables:
        """Return the tables with these names: a schema on PostgreSQL, a prefix on SQLite."""
        metadata = MetaData(schema=schema)
        return cls(
            metadata,
            Table(
                f"{prefix}store",
                metadata,
                Column("identity", Text, primary_key=True),
                Column("created_at", Text, nullable=False),
            ),
            Table(
                f"{prefix}environments",
                metadata,
                Column("name", Text, primary_key=True),
                Column("revision", BigInteger, nullable=False),
                Column("token", Text, nullable=False),
                Column("previous", Text, nullable=False),
            ),
            _documents(f"{prefix}flags", metadata),
            _documents(f"{prefix}segments", metadata),
            Table(
                f"{prefix}kills",
                metadata,
                Column("environment", Text, nullable=False),
                Column("scope", Text, nullable=False),
                Column("sequence", BigInteger, nullable=False),
                Column("killed", Boolean, nullable=False),
                Column("actor", Text, nullable=False),
                Column("reason", Text, nullable=False),
                Column("at", Text, nullable=False),
                Column("lifts", BigInteger, nullable=False),
                Column("waits", Boolean, nullable=False),
                PrimaryKeyConstraint("environment", "scope"),
            ),
            _changes(f"{prefix}changes", metadata),
            _rollouts(f"{prefix}rollouts", metadata),
            _commands(f"{prefix}rollout_commands", metadata),
            _intents(f"{prefix}rollout_intents", metadata),
            _outbox(f"{prefix}outbox", metadata),
            _deliveries(f"{prefix}outbox_deliveries", metadata),
            _controllers(f"{prefix}controllers", metadata),
            _requests(f"{prefix}requests", metadata),
            _looks(f"{prefix}rollout_looks", metadata),
            _processes(f"{prefix}processes", metadata),
            _terms(f"{prefix}kill_terms", metadata),
            _drills(f"{prefix}drills", metadata),
            _signoffs(f"{prefix}rollout_signoffs", metadata),
            _hook_calls(f"{prefix}rollout_hook_calls", metadata),
            _comparisons(f"{prefix}comparisons", metadata),
            _comparison_examples(f"{prefix}comparison_examples", metadata),
            _comparison_writers(f"{prefix}comparison_writers", metadata),
        )


def _documents(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
        metadata,
        Column("environment", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("document", Text),
        Column("updated_at", Text, nullable=False),
        PrimaryKeyConstraint("environment", "key"),
        Index(f"ix_{name}_revision", "environment", "revision"),
    )


def _changes(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
        metadata,
        Column("id", _Id, primary_key=True, autoincrement=True),
        Column("change_id", Text, nullable=False),
        Column("at", Text, nullable=False),
        Column("environment", Text, nullable=False),
        Column("entity", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("actor", Text, nullable=False),
        Column("marked", Boolean, nullable=False),
        Column("reason", Text, nullable=False),
        Column("before", Text),
        Column("after", Text),
        Column("version", Text, nullable=False),
        Column("token", Text, nullable=False, unique=True),
        Index(f"ix_{name}_key", "environment", "entity", "key", "id"),
    )


def _rollouts(name: str, metadata: MetaData) -> Table:
    """One row per rollout. At most one of a flag is live: the partial index sees to it."""
    live = text("live")
    return Table(
        name,
        metadata,
        Column("id", Text, primary_key=True),
        Column("environment", Text, nullable=False),
        Column("provider", Text, nullable=False),
        Column("flag", Text, nullable=False),
        Column("variant", Text, nullable=False),
        Column("plan", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("snapshot", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("evidence", Text, nullable=False),
        Column("phase", Text, nullable=False),
        Column("live", Boolean, nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("due_at", BigInteger, nullable=False),
        Column("lease_owner", Text, nullable=False),
        Column("lease_until", BigInteger, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("actor", Text, nullable=False),
        Column("marked", Boolean, nullable=False),
        Column("reason", Text, nullable=False),
        Index(
            f"ux_{name}_live",
            "environment",
            "provider",
            "flag",
            unique=True,
            sqlite_where=live,
            postgresql_where=live,
        ),
        Index(f"ix_{name}_due", "due_at", sqlite_where=live, postgresql_where=live),
    )


def _commands(name: str, metadata: MetaData) -> Table:
    """What people asked of a rollout, and at which step they asked it. Append-only but for done."""
    return Table(
        name,
        metadata,
        Column("id", _Id, primary_key=True, autoincrement=True),
        Column("rollout", Text, nullable=False),
        Column("verb", Text, nullable=False),
        Column("step", Integer, nullable=False),
        Column("options", Text, nullable=False),
        Column("actor", Text, nullable=False),
        Column("marked", Boolean, nullable=False),
        Column("reason", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("done_at", BigInteger),
        Column("outcome", Text, nullable=False),
        Index(f"ix_{name}_rollout", "rollout", "id"),
    )


def _intents(name: str, metadata: MetaData) -> Table:
    """What a controller is about to write at a provider, before it does."""
    return Table(
        name,
        metadata,
        Column("id", Text, primary_key=True),
        Column("rollout", Text, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("operation", Text, nullable=False),
        Column("detail", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("settled_at", BigInteger),
        Index(f"ix_{name}_rollout", "rollout", "at"),
    )


def _looks(name: str, metadata: MetaData) -> Table:
    """What controllers saw of rollouts, and what came of it; appended, and swept when old."""
    return Table(
        name,
        metadata,
        Column("id", _Id, primary_key=True, autoincrement=True),
        Column("rollout", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("look", Text, nullable=False),
        Index(f"ix_{name}_rollout", "rollout", "at"),
    )


def _outbox(name: str, metadata: MetaData) -> Table:
    """What is to be announced: written with what happened, delivered at least once."""
    return Table(
        name,
        metadata,
        Column("id", _Id, primary_key=True, autoincrement=True),
        Column("environment", Text, nullable=False),
        Column("event", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("due_at", BigInteger, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("delivered_at", BigInteger),
        Index(
            f"ix_{name}_due",
            "due_at",
            sqlite_where=text("delivered_at IS NULL"),
            postgresql_where=text("delivered_at IS NULL"),
        ),
    )


def _deliveries(name: str, metadata: MetaData) -> Table:
    """What became of an announcement at each sink; one row is one sink's claim on it.

    ``state`` is ``sending``, ``failed``, ``delivered``, ``skipped`` or ``given_up``. Nobody else
    takes one that is being sent before ``due_at``.
    """
    return Table(
        name,
        metadata,
        Column("announcement", BigInteger, nullable=False),
        Column("sink", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("due_at", BigInteger, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("error", Text, nullable=False),
        PrimaryKeyConstraint("announcement", "sink"),
    )


def _controllers(name: str, metadata: MetaData) -> Table:
    """Who moves rollouts, and when each was last seen."""
    return Table(
        name,
        metadata,
        Column("owner", Text, primary_key=True),
        Column("environment", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("version", Text, nullable=False),
        Column("started_at", BigInteger, nullable=False),
        Column("seen_at", BigInteger, nullable=False),
    )


def _requests(name: str, metadata: MetaData) -> Table:
    """Outcomes of requests under the variant that was served (rule R10).

    ``id`` is the client's, so that a batch that is sent twice counts once. ``logged_at`` is the
    database's clock when the row arrived: a late row falls into a later window, never into a past.
    """
    return Table(
        name,
        metadata,
        Column("number", _Id, primary_key=True, autoincrement=True),
        Column("id", Text, nullable=False),
        Column("environment", Text, nullable=False),
        Column("flag", Text, nullable=False),
        Column("variant", Text, nullable=False),
        Column("served_by", Text, nullable=False),
        Column("success", Boolean, nullable=False),
        Column("error", Boolean, nullable=False),
        Column("latency_ms", Float),
        Column("subject", Text, nullable=False),
        Column("flag_version", Text, nullable=False),
        Column("logged_at", BigInteger, nullable=False),
        UniqueConstraint("id", name=f"uq_{name}_id"),
        Index(f"ix_{name}_window", "environment", "flag", "logged_at"),
        # Whether somebody who erred now had erred before.
        Index(f"ix_{name}_subject", "environment", "flag", "subject", "logged_at"),
    )


def _processes(name: str, metadata: MetaData) -> Table:
    """Who follows the kills of an environment, and the latest word that each obeys (rule K6).

    ``process`` is one for all rows of a process. ``due_at`` is when it will have told of itself
    again, ``obeyed_at`` when ``sequence`` was in force there. ``forks`` counts children that obey
    and can't tell.
    """
    return Table(
        name,
        metadata,
        Column("id", Text, primary_key=True),
        Column("environment", Text, nullable=False),
        Column("process", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("application", Text, nullable=False),
        Column("version", Text, nullable=False),
        Column("started_at", BigInteger, nullable=False),
        Column("seen_at", BigInteger, nullable=False),
        Column("due_at", BigInteger, nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("obeyed_at", BigInteger, nullable=False),
        Column("forks", Integer, nullable=False),
        Index(f"ix_{name}_environment", "environment"),
    )


def _terms(name: str, metadata: MetaData) -> Table:
    """Kills that were given an end. A row speaks of the kill of its ``sequence`` and no other.

    ``flag`` is the document of the flag as it was before the kill, where there was one to read.
    """
    return Table(
        name,
        metadata,
        Column("environment", Text, nullable=False),
        Column("scope", Text, nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("begun_at", BigInteger, nullable=False),
        Column("ends_at", BigInteger, nullable=False),
        Column("at_most", Float, nullable=False),
        Column("provider", Text, nullable=False),
        Column("flag", Text),
        Column("actor", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("told_at", BigInteger, nullable=False),
        Column("settled_at", BigInteger),
        Column("outcome", Text, nullable=False),
        PrimaryKeyConstraint("environment", "scope"),
    )


def _drills(name: str, metadata: MetaData) -> Table:
    """When the kill switch was exercised, on what, and how long it took. Only added to."""
    return Table(
        name,
        metadata,
        Column("id", _Id, primary_key=True, autoincrement=True),
        Column("environment", Text, nullable=False),
        Column("scope", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("actor", Text, nullable=False),
        Column("marked", Boolean, nullable=False),
        Column("reason", Text, nullable=False),
        Column("processes", Integer, nullable=False),
        Column("confirmed", Integer, nullable=False),
        Column("lifted", Integer, nullable=False),
        Column("p50_ms", Float),
        Column("max_ms", Float),
        Index(f"ix_{name}_environment", "environment", "id"),
    )


def _signoffs(name: str, metadata: MetaData) -> Table:
    """What people approved, rejected, ticked and unticked, each at one door. Append-only.

    ``digest`` is that of the plan that they saw: of another plan it counts for nothing.
    """
    return Table(
        name,
        metadata,
        Column("id", _Id, primary_key=True, autoincrement=True),
        Column("rollout", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("step", Integer, nullable=False),
        Column("since", BigInteger, nullable=False),
        Column("given", Boolean, nullable=False),
        Column("actor", Text, nullable=False),
        Column("marked", Boolean, nullable=False),
        Column("under", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        Index(f"ix_{name}_rollout", "rollout", "id"),
    )


def _hook_calls(name: str, metadata: MetaData) -> Table:
    """Services that are asked at a door, and what they said last.

    ``id`` goes with each request, so that a service knows one that is repeated.
    """
    waiting = text("settled_at IS NULL")
    return Table(
        name,
        metadata,
        Column("id", Text, primary_key=True),
        Column("environment", Text, nullable=False),
        Column("rollout", Text, nullable=False),
        Column("digest", Text, nullable=False),
        Column("hook", Text, nullable=False),
        Column("step", Integer, nullable=False),
        Column("since", BigInteger, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("outcome", Text, nullable=False),
        Column("confirmed", Boolean, nullable=False),
        Column("asked_at", BigInteger, nullable=False),
        Column("due_at", BigInteger, nullable=False),
        Column("settled_at", BigInteger),
        Index(f"ix_{name}_due", "due_at", sqlite_where=waiting, postgresql_where=waiting),
        Index(f"ix_{name}_rollout", "rollout"),
    )


def _comparisons(name: str, metadata: MetaData) -> Table:
    """How often the two backends of a pair agreed on a flag, and how else it went, by the hour.

    ``hour`` is its first microsecond, and the first column, so that old ones are found at once.
    """
    return Table(
        name,
        metadata,
        Column("hour", BigInteger, nullable=False),
        Column("environment", Text, nullable=False),
        Column("pair", Text, nullable=False),
        Column("flag", Text, nullable=False),
        Column("outcome", Text, nullable=False),
        Column("count", BigInteger, nullable=False),
        PrimaryKeyConstraint("hour", "environment", "pair", "flag", "outcome"),
    )


def _comparison_examples(name: str, metadata: MetaData) -> Table:
    """The last comparison of each sort that was no match: no identity, and no attribute's value."""
    return Table(
        name,
        metadata,
        Column("environment", Text, nullable=False),
        Column("pair", Text, nullable=False),
        Column("flag", Text, nullable=False),
        Column("outcome", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("example", Text, nullable=False),
        PrimaryKeyConstraint("environment", "pair", "flag", "outcome"),
        Index(f"ix_{name}_at", "at"),
    )


def _comparison_writers(name: str, metadata: MetaData) -> Table:
    """The last batch of counts that was added of each writer, so that none is added twice."""
    return Table(
        name,
        metadata,
        Column("id", Text, primary_key=True),
        Column("number", BigInteger, nullable=False),
        Column("at", BigInteger, nullable=False),
        Index(f"ix_{name}_at", "at"),
    )
