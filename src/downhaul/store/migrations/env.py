"""Alembic's entry: runs the migrations on the connection, or into the text, that it is handed."""

from alembic import context

options = context.config.attributes
settings = {
    "version_table": options["version_table"],
    "version_table_schema": options["schema"],
    "target_metadata": None,
}
if context.is_offline_mode():
    context.configure(dialect_name=options["dialect"], literal_binds=True, **settings)
else:
    context.configure(connection=options["connection"], **settings)
with context.begin_transaction():
    context.run_migrations()
