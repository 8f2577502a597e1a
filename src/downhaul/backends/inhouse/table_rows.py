"""From the rows of a team's own table to flags of ours, and what became of each cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from downhaul.backends.inhouse import cells
from downhaul.backends.inhouse.database import Found, Row
from downhaul.backends.inhouse.entries import Entries, NotMeant
from downhaul.backends.inhouse.meaning import flag_of
from downhaul.flag import Flag
from downhaul.ledger import Ledger, LedgerEntry, Translation

if TYPE_CHECKING:
    from downhaul.backends.inhouse.options import TableOptions

REFERRED: Final = "referred"
"""Our name of the column that the users' table refers to, in both tables."""

LISTED: Final = "listed"
"""Our name of the column with the user."""


def translate(found: tuple[Found, ...], options: TableOptions) -> Translation:
    """Return the flags of the rows, in the order of their keys, and the ledger of all cells."""
    table, *others = found
    name = options.table
    made: list[LedgerEntry] = []
    flags: list[Flag] = []
    rows, odd = _by_key(table, name)
    lists, lost = _listed(others, rows, options)
    for key in sorted(rows):
        entries = Entries(key, _path(name, table, key))
        flag = _flag(key, rows[key], table, lists.get(key, ()), entries, options)
        flags += [flag] if flag is not None else []
        made += entries.made
    made += [*odd, *lost, *_columns(table, name)]
    return Translation(tuple(flags), ledger=Ledger(tuple(made)))


def _path(table: str, found: Found, key: str) -> str:
    return f'{table}[{found.columns["key"]}="{key}"]'


def _by_key(table: Found, name: str) -> tuple[dict[str, list[Row]], list[LedgerEntry]]:
    """Return the rows by their key, and entries for those without one."""
    rows: dict[str, list[Row]] = {}
    odd = Entries("", name)
    for row in table.rows:
        try:
            key = cells.name_of(row["key"])
        except NotMeant as error:
            odd.manual(table.columns["key"], str(error), dict(row))
            continue
        rows.setdefault(key, []).append(row)
    return rows, odd.made


def _columns(table: Found, name: str) -> list[LedgerEntry]:
    """Return an entry for each column that no flag is made of."""
    entries = Entries("", name)
    for one in table.others:
        entries.skipped(one, "no option says what this column means, so it decides nothing")
    return entries.made


def _listed(
    others: Iterable[Found], rows: Mapping[str, list[Row]], options: TableOptions
) -> tuple[dict[str, list[Any]], list[LedgerEntry]]:
    """Return the users in the table of whitelists by the flag's key, and what belongs to none."""
    role = "key" if options.whitelist_refers_to is None else REFERRED
    owners = {str(row[role]).strip(): key for key, same in rows.items() for row in same}
    lists: dict[str, list[Any]] = {}
    lost = Entries("", options.whitelist_table or "")
    for table in others:
        for row in table.rows:
            owner = owners.get(str(row[REFERRED]).strip())
            if owner is None:
                lost.skipped(options.whitelist_key, "there is no such flag", dict(row))
            else:
                lists.setdefault(owner, []).append(row[LISTED])
    return lists, lost.made


def _flag(
    key: str,
    same: list[Row],
    table: Found,
    listed: Iterable[Any],
    entries: Entries,
    options: TableOptions,
) -> Flag | None:
    if len(same) > 1:
        reason = f"{len(same)} rows have this key, and which one counts is not said"
        entries.manual("", reason, [dict(one) for one in same])
        return None
    users: list[str] = []
    for one in listed:
        try:
            users.append(cells.name_of(one))
        except NotMeant as error:
            entries.manual(f"{options.whitelist_table}.{options.whitelist_user}", str(error), one)
    unsaid = options.enabled_by == "switch"
    return flag_of(
        key, same[0], table.columns, entries, options, unsaid=unsaid, listed=tuple(users)
    )
