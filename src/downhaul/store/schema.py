"""Creating and looking after the tables: what the ``db`` commands do.

One line of Alembic migrations ships with the package. They only add, so that old code goes on
running on the next schema while a fleet is deployed. An application calls nothing of this.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from downhaul.errors import Refused
from downhaul.store.database import Database

VERSION_TABLE: Final = "downhaul_alembic_version"
_LOCK: Final = 4_120_250_101  # an advisory lock of our own: two upgrades at once take turns


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Which revision of the tables is there (None: no tables), and which this code brings.

    ``newer`` says that the database is ahead of this code, which is no problem.
    """

    found: str | None
    head: str
    newer: bool = False

    @property
    def current(self) -> bool:
        """Whether nothing is to be done."""
        return self.newer or self.found == self.head


def upgrade(database: Database) -> SchemaState:
    """Create the tables or bring them up to date; return what was there before."""
    with database.creating() as connection:
        before = _state(connection, database)
        if database.dialect.notify:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if database.schema is not None:
            connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{database.schema}"'))
        config = _config(database)
        config.attributes["connection"] = connection
        # Asked again, because another upgrade may have held the lock until now.
        if not _state(connection, database).current:
            command.upgrade(config, "head")
    return before


def state(database: Database) -> SchemaState:
    """Return which tables are there. Creates nothing. Raises Unreachable."""
    with database.reading() as connection:
        return _state(connection, database)


def check(database: Database) -> list[str]:
    """Return what is wrong with the tables, in words; nothing if they are up to date."""
    found = state(database)
    if found.current:
        return []
    if found.found is None:
        return [f"{database.safe_url} has no tables of Downhaul (run: downhaul db upgrade)"]
    behind = f"{database.safe_url} is at revision {found.found}, and this code wants {found.head}"
    return [f"{behind} (run: downhaul db upgrade)"]


def sql(database: Database) -> str:
    """Return the SQL that creates all tables, for somebody else to run. Contacts nothing."""
    config = _config(database)
    written = io.StringIO()
    config.output_buffer = written
    config.stdout = io.StringIO()
    command.upgrade(config, "head", sql=True)
    schema = f'CREATE SCHEMA IF NOT EXISTS "{database.schema}";\n\n' if database.schema else ""
    return schema + written.getvalue()


def roles(database: Database, *, application: str, operator: str) -> str:
    """Return GRANTs for PostgreSQL: an application reads, logs, acknowledges; an operator changes.

    A controller of rollouts needs an operator's rights.

    Raises Refused where the database has no roles.
    """
    if database.schema is None:
        raise Refused(
            f"{database.provider} has no roles", hint="the rights of its file are its rights"
        )
    schema = _quoted(database.schema)
    app, person = _quoted(application), _quoted(operator)
    documents = ", ".join(f"{schema}.{name}" for name in ("environments", "flags", "segments"))
    names = (
        "rollouts", "rollout_commands", "rollout_intents", "rollout_looks", "rollout_signoffs",
        "rollout_hook_calls", "outbox", "outbox_deliveries", "controllers", "requests",
    )  # fmt: skip
    rollouts = ", ".join(f"{schema}.{name}" for name in names)
    processes, terms = f"{schema}.processes", f"{schema}.kill_terms"
    tables = ("comparisons", "comparison_examples", "comparison_writers")
    compared = ", ".join(f"{schema}.{name}" for name in tables)
    return "\n".join(
        [
            "-- An application reads, logs the outcomes of its requests, and acknowledges kills.",
            f"GRANT USAGE ON SCHEMA {schema} TO {app};",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {app};",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {app};",
            f"GRANT INSERT ON {schema}.requests TO {app}; -- the outcomes of its requests",
            f"GRANT INSERT, UPDATE, DELETE ON {processes} TO {app}; -- which kills it obeys",
            f"GRANT INSERT, UPDATE, DELETE ON {compared} TO {app}; -- how two backends agree",
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {app};",
            "-- An operator changes flags and kills, and adds to the history without changing it.",
            f"GRANT USAGE ON SCHEMA {schema} TO {person};",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {person};",
            f"GRANT INSERT, UPDATE ON {documents}, {schema}.kills TO {person};",
            f"GRANT INSERT ON {schema}.changes TO {person};",
            f"GRANT INSERT, UPDATE ON {rollouts} TO {person};",
            f"GRANT DELETE ON {rollouts} TO {person};",
            f"GRANT INSERT, UPDATE ON {terms} TO {person}; -- kills with an end",
            f"GRANT INSERT ON {schema}.drills TO {person};",
            f"GRANT INSERT, UPDATE, DELETE ON {processes}, {compared} TO {person};",
            f"GRANT UPDATE ON {schema}.store TO {person}; -- the lock that orders kills",
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {person};",
            "",
        ]
    )


def _state(connection: Connection, database: Database) -> SchemaState:
    context = MigrationContext.configure(
        connection,
        opts={"version_table": VERSION_TABLE, "version_table_schema": database.schema},
    )
    found = context.get_current_revision()
    script = ScriptDirectory.from_config(_config(database))
    head = script.get_current_head()
    assert head is not None  # noqa: S101  (the package has migrations)
    known = {one.revision for one in script.walk_revisions()}
    return SchemaState(found, head, newer=found is not None and found not in known)


def _config(database: Database) -> Config:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    options: dict[str, Any] = {
        "schema": database.schema,
        "prefix": database.prefix,
        "dialect": database.dialect.name,
        "now": database.dialect.now,
        "version_table": VERSION_TABLE,
    }
    config.attributes.update(options)
    return config


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
