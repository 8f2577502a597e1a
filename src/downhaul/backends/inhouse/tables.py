"""Tables of somebody's as a source of flags: which, and what makes flags of them."""

from __future__ import annotations

from collections.abc import Callable

from downhaul.backends.inhouse.database import Found, Theirs, Wanted
from downhaul.ledger import Translation

Translate = Callable[[tuple[Found, ...]], Translation]


class TablesSource:
    """A :class:`~downhaul.backends.inhouse.following.Source` on tables of one database."""

    def __init__(self, theirs: Theirs, wanted: tuple[Wanted, ...], translate: Translate) -> None:
        self._theirs = theirs
        self._wanted = wanted
        self._translate = translate
        self.where = theirs.where

    def look(self) -> Translation | None:
        """Return the flags, or None where nothing moved. Raises Unreachable, SchemaMissing."""
        found = self._theirs.look(self._wanted)
        return None if found is None else self._translate(found)

    def read(self) -> Translation:
        """Return the flags as they are now. Raises as :meth:`look`."""
        return self._translate(self._theirs.read(self._wanted))

    def forget(self) -> None:
        """Read anew at the next look."""
        self._theirs.forget()

    def close(self) -> None:
        """Close the connections."""
        self._theirs.close()

    def after_fork(self) -> None:
        """Open connections of the child's own."""
        self._theirs.after_fork()
