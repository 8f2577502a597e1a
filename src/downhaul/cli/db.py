"""``db upgrade|check|sql|roles``: the tables of a SQL store."""

from __future__ import annotations

from downhaul.cli.commands import command
from downhaul.cli.session import Session


@command("db upgrade", example="downhaul db upgrade --url postgresql://db.internal/flags")
def upgrade(session: Session) -> None:
    """Create the tables, or bring them up to date. Old code goes on running on them."""


@command("db check", example="downhaul db check")
def check(session: Session) -> None:
    """Say whether the tables are up to date. Exit code 3 says that they are not."""


@command("db sql", example="downhaul db sql > upgrade.sql")
def sql(session: Session) -> None:
    """Print the SQL of an upgrade for somebody else to run. Nothing is contacted."""


@command("db roles", example="downhaul db roles --app my_app --operator my_operators")
def roles(session: Session) -> None:
    """Print grants for PostgreSQL: what an application and an operator need, and no more."""
