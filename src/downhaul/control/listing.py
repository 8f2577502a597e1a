"""The kills in force, with what people want to know of each: who obeys it, its end, who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from downhaul.control import ends, kills, second
from downhaul.control.desk import Desk
from downhaul.control.receipts import Receipts, receipts_of
from downhaul.control.results import Ending, ReviveRequest, StandingKill
from downhaul.errors import DownhaulError
from downhaul.overlay import KillRecord

if TYPE_CHECKING:
    from downhaul.store.processes import ProcessRow  # SQLAlchemy stands behind it


def standing_kills(desk: Desk) -> list[StandingKill]:
    """Return the kills in force by the control store's words, the oldest first.

    What can't be read of them (tables from before there were receipts) is left out. Raises Refused,
    Unreachable.
    """
    records = kills.standing(desk)
    rows: dict[str, tuple[int, list[ProcessRow]] | None] = {}
    found = _ends(desk)
    return [
        StandingKill(
            one,
            _receipts(desk, one, rows),
            found.get((one.environment, str(one.scope), one.sequence)),
            _request(desk, one),
        )
        for one in records
    ]


def _receipts(
    desk: Desk, kill: KillRecord, rows: dict[str, tuple[int, list[ProcessRow]] | None]
) -> Receipts | None:
    processes: Any = getattr(desk.control, "processes", None)
    if processes is None:
        return None
    if kill.environment not in rows:
        try:
            rows[kill.environment] = processes.rows(kill.environment)
        except DownhaulError:
            rows[kill.environment] = None
    read = rows[kill.environment]
    return None if read is None else receipts_of(kill.sequence, *read)


def _ends(desk: Desk) -> dict[tuple[str, str, int], Ending]:
    terms: Any = getattr(desk.control, "terms", None)
    if terms is None:
        return {}
    try:
        return {
            (one.environment, str(one.scope), one.sequence): ends.ending(one)
            for one in terms.standing()
        }
    except DownhaulError:
        return {}


def _request(desk: Desk, kill: KillRecord) -> ReviveRequest | None:
    if desk.control is None:
        return None
    try:
        return second.pending(desk.control, kill)
    except DownhaulError:
        return None
