"""``db upgrade|check|sql|roles``: the tables of a SQL store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from downhaul.cli.commands import command
from downhaul.cli.exits import CheckFailed
from downhaul.cli.session import Session
from downhaul.errors import SchemaMissing

if TYPE_CHECKING:
    from downhaul.store.database import Database


@command("db upgrade", example="downhaul db upgrade --url postgresql://db.internal/flags")
def upgrade(session: Session) -> None:
    """Create the tables, or bring them up to date. Old code goes on running on them.

    Where the control store is another database, its tables too.
    """
    from downhaul.control.service import databases  # noqa: PLC0415  (SQLAlchemy)
    from downhaul.store import schema  # noqa: PLC0415  (Alembic)

    with databases(session.settings()) as found:
        states = [(one.safe_url, schema.upgrade(one)) for one in found]
    rows = [
        {
            "url": url,
            "before": before.found,
            "after": before.found if before.newer else before.head,
            "changed": not before.current,
        }
        for url, before in states
    ]
    if session.as_json:
        session.out.json({"databases": rows})
        return
    for row in rows:
        if row["changed"]:
            was = f"from {row['before']}" if row["before"] else "new"
            session.out.line(f"{row['url']}  upgraded to {row['after']} ({was})")
        else:
            session.out.line(f"{row['url']}  is up to date at {row['after']}")


@command("db check", example="downhaul db check")
def check(session: Session) -> None:
    """Say whether the tables are up to date. Exit code 3 says that they are not."""
    from downhaul.control.service import databases  # noqa: PLC0415  (SQLAlchemy)

    with databases(session.settings()) as found:
        rows = [_state(one) for one in found]
    ok = all(row["ok"] for row in rows)
    if session.as_json:
        session.out.json({"ok": ok, "databases": rows})
    else:
        for row in rows:
            has = f"is at {row['found']}" if row["found"] else "has no tables of Downhaul"
            then = (
                f", and this code wants {row['wanted']}" if row["found"] and not row["ok"] else ""
            )
            session.out.line(f"{row['url']}  {has}{then}")
    if not ok:
        message = "the tables are not up to date"
        raise CheckFailed(message, hint="run: downhaul db upgrade")


@command("db sql", example="downhaul db sql > upgrade.sql")
def sql(session: Session) -> None:
    """Print the SQL of an upgrade for somebody else to run. Nothing is contacted."""
    from downhaul.control.service import databases  # noqa: PLC0415  (SQLAlchemy)
    from downhaul.store import schema  # noqa: PLC0415  (Alembic)

    with databases(session.settings()) as found:
        text = "\n".join(schema.sql(one) for one in found)
    _print(session, text)


@command("db roles", example="downhaul db roles --app my_app --operator my_operators")
@click.option("--app", default="downhaul_app", show_default=True, help="The application's role.")
@click.option(
    "--operator", default="downhaul_operator", show_default=True, help="The operator's role."
)
def roles(session: Session, app: str, operator: str) -> None:
    """Print grants for PostgreSQL: what an application and an operator need, and no more.

    Nothing is contacted.
    """
    from downhaul.control.service import databases  # noqa: PLC0415  (SQLAlchemy)
    from downhaul.store import schema  # noqa: PLC0415  (Alembic)

    with databases(session.settings()) as found:
        grants = [schema.roles(one, application=app, operator=operator) for one in found]
    _print(session, "\n".join(grants))


def _state(database: Database) -> dict[str, Any]:
    from downhaul.store import schema  # noqa: PLC0415  (Alembic)

    try:
        state = schema.state(database)
    except SchemaMissing:
        return {"url": database.safe_url, "found": None, "wanted": None, "ok": False}
    return {
        "url": database.safe_url,
        "found": state.found,
        "wanted": state.head,
        "ok": state.current,
    }


def _print(session: Session, text: str) -> None:
    if session.as_json:
        session.out.json({"sql": text})
        return
    session.out.line(text.rstrip("\n"))
