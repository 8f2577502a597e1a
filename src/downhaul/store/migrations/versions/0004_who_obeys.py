"""Who follows kills and obeys which; kills with an end; drills."""

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    options = context.config.attributes
    schema, prefix = options["schema"], options["prefix"]
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

    def table(name: str, *parts: sa.schema.SchemaItem) -> None:
        op.create_table(f"{prefix}{name}", *parts, schema=schema)

    def index(table: str, name: str, columns: list[str]) -> None:
        op.create_index(f"ix_{prefix}{table}_{name}", f"{prefix}{table}", columns, schema=schema)

    table(
        "processes",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("application", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("obeyed_at", sa.BigInteger, nullable=False),
        sa.Column("forks", sa.Integer, nullable=False),
    )
    index("processes", "environment", ["environment"])
    table(
        "kill_terms",
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("at_most", sa.Float, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("flag", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("environment", "scope"),
    )
    table(
        "drills",
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("marked", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("processes", sa.Integer, nullable=False),
        sa.Column("confirmed", sa.Integer, nullable=False),
        sa.Column("lifted", sa.Integer, nullable=False),
        sa.Column("p50_ms", sa.Float),
        sa.Column("max_ms", sa.Float),
    )
    index("drills", "environment", ["environment", "id"])
