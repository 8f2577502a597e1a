"""What controllers saw of rollouts, look by look, so that it can be explained later."""

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    options = context.config.attributes
    schema, prefix = options["schema"], options["prefix"]
    name = f"{prefix}rollout_looks"
    op.create_table(
        name,
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("rollout", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("look", sa.Text, nullable=False),
        schema=schema,
    )
    op.create_index(f"ix_{name}_rollout", name, ["rollout", "at"], schema=schema)
