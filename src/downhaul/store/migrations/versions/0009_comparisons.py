"""What two backends answered to the same questions, counted over all processes."""

import sqlalchemy as sa
from alembic import context, op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    options = context.config.attributes
    schema, prefix = options["schema"], options["prefix"]
    examples = f"{prefix}comparison_examples"
    writers = f"{prefix}comparison_writers"
    op.create_table(
        f"{prefix}comparisons",
        sa.Column("hour", sa.BigInteger, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("pair", sa.Text, nullable=False),
        sa.Column("flag", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("hour", "environment", "pair", "flag", "outcome"),
        schema=schema,
    )
    op.create_table(
        examples,
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("pair", sa.Text, nullable=False),
        sa.Column("flag", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("example", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("environment", "pair", "flag", "outcome"),
        schema=schema,
    )
    op.create_index(f"ix_{examples}_at", examples, ["at"], schema=schema)
    op.create_table(
        writers,
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        schema=schema,
    )
    op.create_index(f"ix_{writers}_at", writers, ["at"], schema=schema)
