"""A revive may wait, in each process, for the flag as it was at the revive."""

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    options = context.config.attributes
    # With a default on the server, because older code goes on writing kills without it.
    waits = sa.Column("waits", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column(f"{options['prefix']}kills", waits, schema=options["schema"])
