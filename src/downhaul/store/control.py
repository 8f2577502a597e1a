"""The register of kills in a SQL database (rules K3, X4)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import select

from downhaul.errors import ProviderError, SchemaMissing
from downhaul.overlay import KillRecord, Scope, ScopeKind
from downhaul.provider import Change, ChangeRecords, KillListener, ProviderStatus
from downhaul.store import reading, writing
from downhaul.store.comparisons import Comparisons
from downhaul.store.database import Database
from downhaul.store.drills import Drills
from downhaul.store.outbox import Outbox
from downhaul.store.owed import Debts
from downhaul.store.processes import Processes
from downhaul.store.requests import RequestLog
from downhaul.store.rollouts import ALIVE, RolloutStore
from downhaul.store.terms import Terms
from downhaul.store.watch import Watcher

_ENTITIES = ("flag", "segment", "kill")
_ALL_ENTITIES = (*_ENTITIES, "rollout", "rehearsal")


class SqlControl:
    """Kills of one environment, followed by the same watcher as the flags beside them."""

    def __init__(self, database: Database, environment: str, watcher: Watcher) -> None:
        self._database = database
        self._environment = environment
        self._watcher = watcher
        self.rollouts = RolloutStore(database, environment)

    @property
    def identity(self) -> str:
        """The store's identity; empty until it was first reached."""
        return self._watcher.identity

    @property
    def requests(self) -> RequestLog:
        """The request log beside the kills."""
        return RequestLog(self._database, self._environment, lambda: self.identity)

    @property
    def processes(self) -> Processes:
        """Who follows the kills of this environment, and which each obeys."""
        return Processes(self._database, self._environment)

    @property
    def comparisons(self) -> Comparisons:
        """What the two backends of a move answered in this environment, added up."""
        return Comparisons(self._database, self._environment)

    @property
    def terms(self) -> Terms:
        """The kills of this environment that were given an end."""
        return Terms(self._database, self._environment)

    @property
    def drills(self) -> Drills:
        """When the kill switch was exercised in this environment."""
        return Drills(self._database, self._environment)

    def controllers(self) -> int:
        """Return how many controllers of this environment are alive. Raises Unreachable."""
        return self.rollouts.controllers(ALIVE)

    def now(self) -> int:
        """Return the database's time in microseconds since 1970. Raises Unreachable."""
        return self.rollouts.now()

    @property
    def outbox(self) -> Outbox:
        """What waits to be told to people of this environment."""
        return self.rollouts.outbox

    def debts(self, provider: str) -> Debts:
        """Return what kills left to be done at a provider that keeps its flags elsewhere."""
        return Debts(
            self._database,
            self._environment,
            provider,
            self.controllers,
        )

    def start(self, listener: KillListener) -> None:
        """Tell the listener of every kill there is, and of each to come."""
        self._watcher.follow(kills=listener.kills)

    def wait_ready(self, timeout: float) -> bool:
        """Wait for the kills to be read once."""
        return self._watcher.wait_loaded(timeout)

    def status(self) -> ProviderStatus:
        """Return how the database stands."""
        return self._watcher.status()

    def close(self, timeout: float = 2.0) -> None:
        """Stop following."""
        self._watcher.close(timeout)
        self._database.engine.dispose()

    def after_fork(self) -> None:
        """Follow kills again in a forked child."""
        self._watcher.after_fork()

    def kills(self) -> list[KillRecord]:
        """Return the last word on each scope, as the database has it now. Raises Unreachable."""
        tables = self._database.tables
        with self._database.reading() as connection:
            identity = connection.execute(select(tables.store.c.identity)).scalar()
            if identity is None:
                raise SchemaMissing(
                    f"{self._database.safe_url} has no identity",
                    hint="run: downhaul db upgrade",
                    provider=self._database.provider,
                )
            return reading.kill_records(connection, tables, self._environment, identity)

    def record_kill(
        self,
        scope: Scope,
        change: Change,
        *,
        killed: bool,
        lift_others: bool = False,
        everywhere: bool = False,
        waits: bool = False,
    ) -> KillRecord:
        """Commit a kill or a revive and return it. Raises Unreachable."""
        environment = writing.environment_of_kill(self._environment, everywhere=everywhere)
        with self._database.writing() as connection:
            record = writing.write_kill(
                connection,
                self._database,
                environment,
                scope,
                change,
                killed=killed,
                lift_others=lift_others,
                waits=waits,
                told_in=self._environment,
            )
        if killed:
            # The kill is in force. Live rollouts that it ends are to be looked at now, and are
            # looked at soon in any case.
            with suppress(ProviderError):
                self.rollouts.hurry(scope.name if scope.kind is ScopeKind.FLAG else None)
        return record

    def lift_kill(
        self, kill: KillRecord, change: Change, *, waits: bool = False
    ) -> KillRecord | None:
        """Commit the revive of this very kill; None where it was lifted or said again meanwhile."""
        with self._database.writing() as connection:
            return writing.lift_kill(
                connection, self._database, kill, change, waits=waits, told_in=self._environment
            )

    def record_change(
        self,
        entity: str,
        key: str,
        action: str,
        change: Change,
        *,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        version: str = "",
        everywhere: bool = False,
    ) -> None:
        """Append to the history what has no row of its own: writes elsewhere, what people ask.

        Raises Unreachable.
        """
        write = writing.Write(entity, key, action, before, after)
        environment = writing.environment_of_kill(self._environment, everywhere=everywhere)
        with self._database.writing() as connection:
            writing.record_change(
                connection,
                self._database,
                environment,
                write,
                change,
                version,
                uuid.uuid4().hex,
            )

    def changes(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> ChangeRecords:
        """Return the newest changes first, of flags, segments and kills."""
        with self._database.reading() as connection:
            return reading.history(
                connection, self._database.tables, self._environment, _ENTITIES, key, limit, before
            )

    def audit(
        self, after: int | None = None, *, key: str | None = None, limit: int = 100
    ) -> ChangeRecords:
        """Return everything that happened, rollouts included, the oldest first.

        The newest ``limit`` records, or the first ones above the id ``after``.
        """
        with self._database.reading() as connection:
            return reading.audit(
                connection,
                self._database.tables,
                self._environment,
                _ALL_ENTITIES,
                key=key,
                limit=limit,
                after=after,
            )
