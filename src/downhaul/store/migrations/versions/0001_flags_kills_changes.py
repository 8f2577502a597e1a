"""The first tables: flags, segments, kills, and an append-only history."""

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    options = context.config.attributes
    schema, prefix, dialect = options["schema"], options["prefix"], options["dialect"]

    def table(name: str, *parts: sa.schema.SchemaItem) -> None:
        op.create_table(f"{prefix}{name}", *parts, schema=schema)

    table(
        "store",
        sa.Column("identity", sa.Text, primary_key=True),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    table(
        "environments",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
    )
    for name in ("flags", "segments"):
        table(
            name,
            sa.Column("environment", sa.Text, nullable=False),
            sa.Column("key", sa.Text, nullable=False),
            sa.Column("version", sa.BigInteger, nullable=False),
            sa.Column("revision", sa.BigInteger, nullable=False),
            sa.Column("document", sa.Text),
            sa.Column("updated_at", sa.Text, nullable=False),
            sa.PrimaryKeyConstraint("environment", "key"),
        )
        op.create_index(
            f"ix_{prefix}{name}_revision",
            f"{prefix}{name}",
            ["environment", "revision"],
            schema=schema,
        )
    table(
        "kills",
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("killed", sa.Boolean, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("lifts", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("environment", "scope"),
    )
    table(
        "changes",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("change_id", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("marked", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("token", sa.Text, nullable=False, unique=True),
    )
    op.create_index(
        f"ix_{prefix}changes_key",
        f"{prefix}changes",
        ["environment", "entity", "key", "id"],
        schema=schema,
    )
    if dialect == "postgresql":
        _append_only_postgresql(schema, prefix)
        identity = "gen_random_uuid()::text"
    else:
        _append_only_sqlite(prefix)
        identity = "lower(hex(randomblob(16)))"
    name = f'"{schema}"."{prefix}store"' if schema else f'"{prefix}store"'
    op.execute(f"INSERT INTO {name} (identity, created_at) VALUES ({identity}, {options['now']})")  # noqa: S608  (our own names)


def _append_only_postgresql(schema: str, prefix: str) -> None:
    op.execute(
        f'CREATE FUNCTION "{schema}"."{prefix}append_only"() RETURNS trigger LANGUAGE plpgsql AS '
        "$$ BEGIN RAISE EXCEPTION 'the history is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON "
        f'"{schema}"."{prefix}changes" FOR EACH STATEMENT '
        f'EXECUTE FUNCTION "{schema}"."{prefix}append_only"()'
    )


def _append_only_sqlite(prefix: str) -> None:
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f'CREATE TRIGGER "{prefix}changes_no_{event.lower()}" BEFORE {event} '
            f'ON "{prefix}changes" '
            "BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END"
        )
