"""What people sign before a rollout goes on, and the services that are asked."""

import sqlalchemy as sa
from alembic import context, op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    options = context.config.attributes
    schema, prefix = options["schema"], options["prefix"]
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    signoffs, calls = f"{prefix}rollout_signoffs", f"{prefix}rollout_hook_calls"
    op.create_table(
        signoffs,
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("rollout", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("given", sa.Boolean, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("marked", sa.Boolean, nullable=False),
        sa.Column("under", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        schema=schema,
    )
    op.create_index(f"ix_{signoffs}_rollout", signoffs, ["rollout", "id"], schema=schema)
    op.create_table(
        calls,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("rollout", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("confirmed", sa.Boolean, nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger),
        schema=schema,
    )
    waiting = sa.text("settled_at IS NULL")
    op.create_index(
        f"ix_{calls}_due",
        calls,
        ["due_at"],
        schema=schema,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_index(f"ix_{calls}_rollout", calls, ["rollout"], schema=schema)
