"""What kills left to be done where a flag is kept: to switch it off there, until it is (rule K1).

A debt is a row of the intents, written before the backend is asked, so that whoever dies in between
leaves it behind. It stands until somebody saw the flag off, or the kill was lifted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, insert, literal_column, select, update

from downhaul.overlay import KillRecord
from downhaul.provider import Change
from downhaul.store.database import Database
from downhaul.store.writing import announce, dumps

_SECOND: Final = 1_000_000
_OPERATION: Final = "switch_off"


@dataclass(frozen=True, slots=True)
class Debt:
    """A flag that is killed here and still to be switched off at its backend.

    ``scope`` is the kill's, as it is written: the flag itself, or ``tag:NAME``, or ``*``.
    ``at`` (when it was killed), ``now`` and ``told`` (when people last heard of it, 0: never) are
    microseconds of the store's clock. ``attempts`` counts those of controllers.
    """

    id: str
    flag: str
    scope: str
    actor: str
    reason: str
    marked: bool
    at: int
    now: int
    attempts: int
    told: int = 0

    @property
    def age(self) -> float:
        """Seconds since the kill."""
        return (self.now - self.at) / _SECOND


class Debts:
    """The debts of one environment at one provider. All may raise Unreachable."""

    def __init__(
        self, database: Database, environment: str, provider: str, controllers: Callable[[], int]
    ) -> None:
        self.controllers = controllers
        """Returns how many controllers of this environment are alive, to pay."""
        self._database = database
        self._environment = environment
        self._owner = f"kills:{environment}:{provider}"

    @property
    def _clock(self) -> ColumnElement[int]:
        return literal_column(f"({self._database.dialect.microseconds})", BigInteger)

    def owe(self, kill: KillRecord, change: Change, flags: Iterable[str]) -> dict[str, str]:
        """Write down that flags which a kill covers are to be switched off; return the debts' ids.

        A flag is owed once: a kill that covers it anew takes the place of the one before.
        """
        debts = {flag: f"{self._owner}:{flag}" for flag in flags}
        with self._database.writing() as connection:
            for flag, debt in debts.items():
                self._owe_one(connection, kill, change, flag, debt)
        return debts

    def _owe_one(
        self, connection: Connection, kill: KillRecord, change: Change, flag: str, debt: str
    ) -> None:
        intents = self._database.tables.intents
        detail = {
            "flag": flag,
            "scope": str(kill.scope),
            "actor": change.actor,
            "reason": change.reason,
            "marked": change.marked,
            "due": 0,
            "told": 0,
        }
        row = {
            "state": "sent",
            "detail": dumps(detail),
            "attempts": 0,
            "at": self._clock,
            "settled_at": None,
            "epoch": kill.sequence,
        }
        again = connection.execute(update(intents).where(intents.c.id == debt).values(**row))
        if not again.rowcount:
            connection.execute(
                insert(intents).values(id=debt, rollout=self._owner, operation=_OPERATION, **row)
            )

    def due(self) -> list[Debt]:
        """Return the debts that it is time to try, the oldest first."""
        intents = self._database.tables.intents
        query = (
            select(intents, self._clock.label("now"))
            .where(intents.c.rollout == self._owner, intents.c.settled_at.is_(None))
            .order_by(intents.c.at)
        )
        with self._database.reading() as connection:
            rows = list(connection.execute(query))
        found = []
        for row in rows:
            detail = _detail(row.detail)
            if int(detail.get("due", 0)) <= row.now:
                found.append(_debt(row, detail))
        return found

    def take(self, debt: Debt, retry_in: float, *, told: bool = False) -> bool:
        """Take the next try of a debt; return False where another controller has it, or it is paid.

        ``retry_in`` is in seconds; ``told`` notes that people are being told of it now.
        """
        intents = self._database.tables.intents
        detail = {
            "flag": debt.flag,
            "scope": debt.scope,
            "actor": debt.actor,
            "reason": debt.reason,
            "marked": debt.marked,
            "due": debt.now + int(retry_in * _SECOND),
            "told": debt.now if told else debt.told,
        }
        with self._database.writing() as connection:
            mine = connection.execute(
                update(intents)
                .where(
                    intents.c.id == debt.id,
                    intents.c.attempts == debt.attempts,
                    intents.c.settled_at.is_(None),
                )
                .values(attempts=debt.attempts + 1, detail=dumps(detail))
            )
        return bool(mine.rowcount)

    def settle(self, debt: str, state: str) -> None:
        """Note what became of a debt: ``confirmed``, ``superseded`` or ``failed``."""
        intents = self._database.tables.intents
        with self._database.writing() as connection:
            connection.execute(
                update(intents)
                .where(intents.c.id == debt, intents.c.settled_at.is_(None))
                .values(state=state, settled_at=self._clock)
            )

    def announce(self, debt: Debt, what: str, detail: Mapping[str, Any]) -> None:
        """Leave an announcement about a debt to be told."""
        event = {
            "what": what,
            "subject": debt.flag,
            "actor": debt.actor,
            "reason": debt.reason,
            "environment": self._environment,
            "detail": {"flag": debt.flag, **detail},
        }
        with self._database.writing() as connection:
            announce(connection, self._database, self._environment, event)


def _detail(text: str) -> Mapping[str, Any]:
    """Decode a row's detail. Of one that somebody broke by hand the id still names the flag."""
    try:
        detail = json.loads(text)
    except ValueError:
        return {}
    return detail if isinstance(detail, dict) else {}


def _debt(row: Any, detail: Mapping[str, Any]) -> Debt:
    flag = str(detail.get("flag", row.id.rpartition(":")[2]))
    return Debt(
        id=row.id,
        flag=flag,
        scope=str(detail.get("scope", flag)),
        actor=str(detail.get("actor", "")),
        reason=str(detail.get("reason", "")),
        marked=bool(detail.get("marked", False)),
        at=row.at,
        now=row.now,
        attempts=row.attempts,
        told=int(detail.get("told", 0)),
    )
