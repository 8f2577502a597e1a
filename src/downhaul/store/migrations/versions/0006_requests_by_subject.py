"""Requests are looked up by who asked, so that each user counts once."""

from alembic import context, op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    options = context.config.attributes
    table = f"{options['prefix']}requests"
    # Writers wait while it is made. Outcomes wait in the applications meanwhile, and none is lost.
    op.create_index(
        f"ix_{table}_subject",
        table,
        ["environment", "flag", "subject", "logged_at"],
        schema=options["schema"],
        if_not_exists=True,
    )
