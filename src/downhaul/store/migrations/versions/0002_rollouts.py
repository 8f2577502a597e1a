"""Rollouts with their commands, intents and announcements; controllers; the request log."""

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    options = context.config.attributes
    schema, prefix = options["schema"], options["prefix"]
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

    def table(name: str, *parts: sa.schema.SchemaItem) -> None:
        op.create_table(f"{prefix}{name}", *parts, schema=schema)

    def index(
        table: str, name: str, columns: list[str], where: str | None = None, *, unique: bool = False
    ) -> None:
        condition = None if where is None else sa.text(where)
        op.create_index(
            f"{'ux' if unique else 'ix'}_{prefix}{table}_{name}",
            f"{prefix}{table}",
            columns,
            schema=schema,
            unique=unique,
            sqlite_where=condition,
            postgresql_where=condition,
        )

    table(
        "rollouts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("flag", sa.Text, nullable=False),
        sa.Column("variant", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.Text, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("marked", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    index("rollouts", "live", ["environment", "provider", "flag"], "live", unique=True)
    index("rollouts", "due", ["due_at"], "live")
    table(
        "rollout_commands",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("rollout", sa.Text, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("marked", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("done_at", sa.BigInteger),
        sa.Column("outcome", sa.Text, nullable=False),
    )
    index("rollout_commands", "rollout", ["rollout", "id"])
    table(
        "rollout_intents",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("rollout", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger),
    )
    index("rollout_intents", "rollout", ["rollout", "at"])
    table(
        "outbox",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("delivered_at", sa.BigInteger),
    )
    index("outbox", "due", ["due_at"], "delivered_at IS NULL")
    table(
        "controllers",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    table(
        "requests",
        sa.Column("number", number, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("flag", sa.Text, nullable=False),
        sa.Column("variant", sa.Text, nullable=False),
        sa.Column("served_by", sa.Text, nullable=False),
        sa.Column("success", sa.Boolean, nullable=False),
        sa.Column("error", sa.Boolean, nullable=False),
        sa.Column("latency_ms", sa.Float),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("flag_version", sa.Text, nullable=False),
        sa.Column("logged_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("id", name=f"uq_{prefix}requests_id"),
    )
    index("requests", "window", ["environment", "flag", "logged_at"])
