"""Any SQL table of flags, by what the options say of its columns: ``table+sqlite:``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downhaul.backends.inhouse.database import Theirs, Wanted, their_database
from downhaul.backends.inhouse.following import POLL, FollowingProvider
from downhaul.backends.inhouse.table_rows import LISTED, REFERRED, translate
from downhaul.ledger import Translation

if TYPE_CHECKING:
    from downhaul.backends.inhouse.options import TableOptions
    from downhaul.config import Settings


class TableSource:
    """The flags of one table. A :class:`~downhaul.backends.inhouse.following.Source`."""

    def __init__(self, theirs: Theirs, options: TableOptions) -> None:
        self._theirs = theirs
        self._options = options
        self._wanted = _wanted(options)
        self.where = theirs.where

    def look(self) -> Translation | None:
        """Return the flags, or None where nothing moved. Raises Unreachable, SchemaMissing."""
        found = self._theirs.look(self._wanted)
        return None if found is None else translate(found, self._options)

    def read(self) -> Translation:
        """Return the flags as they are now. Raises as :meth:`look`."""
        return translate(self._theirs.read(self._wanted), self._options)

    def forget(self) -> None:
        """Read anew at the next look."""
        self._theirs.forget()

    def close(self) -> None:
        """Close the connections."""
        self._theirs.close()

    def after_fork(self) -> None:
        """Open connections of the child's own."""
        self._theirs.after_fork()


def create(settings: Settings) -> FollowingProvider:
    """Return the provider of ``table+sqlite:///PATH`` or ``table+postgresql://``. Opens nothing.

    Raises ProviderNotFound where what drives the database is not installed.
    """
    from downhaul.backends.inhouse.options import TableOptions  # noqa: PLC0415  (pydantic)

    options = TableOptions(**settings.provider.options)
    source = TableSource(their_database(settings), options)
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
