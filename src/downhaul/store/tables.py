"""The tables: one row per flag and environment, segments likewise, kills, and the history.

Documents are text and no JSON type: PostgreSQL's would forget the order of keys. Times are RFC
3339 text in UTC from the database's clock. A deleted flag leaves its row with no document, so that
whoever follows the revisions sees that it went, and its version is never used again.

A ``token`` is drawn for each write. A reader whose last token is in the history goes on from there;
one whose token isn't has read a state that a restored backup forgot, and reads everything anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
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

    @classmethod
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
                PrimaryKeyConstraint("environment", "scope"),
            ),
            _changes(f"{prefix}changes", metadata),
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
