"""Any SQL table of flags, by what the options say of its columns: ``table+sqlite:``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from downhaul.backends.inhouse.database import Wanted, their_database
from downhaul.backends.inhouse.following import POLL, FollowingProvider
from downhaul.backends.inhouse.table_rows import LISTED, REFERRED, translate
from downhaul.backends.inhouse.tables import TablesSource

if TYPE_CHECKING:
    from downhaul.backends.inhouse.options import TableOptions
    from downhaul.config import Settings


def create(settings: Settings) -> FollowingProvider:
    """Return the provider of ``table+sqlite:///PATH`` or ``table+postgresql://``. Opens nothing.

    Raises ProviderNotFound where what drives the database is not installed.
    """
    from downhaul.backends.inhouse.options import TableOptions  # noqa: PLC0415  (pydantic)

    options = TableOptions(**settings.provider.options)
    made = partial(translate, options=options)
    source = TablesSource(their_database(settings), _wanted(options), made)
    return FollowingProvider("table", source, poll=options.poll or POLL)


def _wanted(options: TableOptions) -> tuple[Wanted, ...]:
    """Return what is read: the table, and the one with the users of whitelists, if there is one."""
    columns = {role: name for role, name in options.columns if name}
    given = options.columns.model_fields_set
    needed = {"key", "enabled", *given} & set(columns)
    if options.whitelist_table is None:
        return (Wanted(options.table, columns, frozenset(needed)),)
    if options.whitelist_refers_to is not None:
        columns[REFERRED] = options.whitelist_refers_to
        needed.add(REFERRED)
    users = {REFERRED: options.whitelist_key, LISTED: options.whitelist_user}
    return (
        Wanted(options.table, columns, frozenset(needed)),
        Wanted(options.whitelist_table, users, frozenset(users)),
    )
