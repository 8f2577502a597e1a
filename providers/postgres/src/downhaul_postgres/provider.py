"""Flags in PostgreSQL: a :class:`downhaul.store.provider.SqlProvider` that listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from downhaul.store.database import Database
from downhaul.store.lastknown import FlagCopy, copies_of
from downhaul.store.provider import SqlProvider
from downhaul_postgres.connection import NAME, database_at
from downhaul_postgres.listen import ListenSignal

if TYPE_CHECKING:
    from downhaul.config import Settings

_POLL: Final = 2.0
_SILENCE: Final = 3.5  # seconds beyond a poll after which what is served counts as stale


class PostgresProvider(SqlProvider):
    """Flags in one schema of a PostgreSQL database. ``poll`` is in seconds."""

    name: str = NAME

    def __init__(
        self,
        database: Database,
        environment: str = "default",
        *,
        poll: float = _POLL,
        copy: FlagCopy | None = None,
    ) -> None:
        super().__init__(
            database,
            environment,
            lambda: ListenSignal(database, poll),
            stale_after=poll + _SILENCE,
            copy=copy,
        )


def create(settings: Settings) -> PostgresProvider:
    """Return the provider for a ``postgresql://`` URL. Connects to nothing yet."""
    provider = settings.provider
    database = database_at(
        provider.url, provider.safe_url, provider.options.get("schema_"), settings.redact
    )
    paths = copies_of(settings.cache_dir, provider.safe_url, settings.environment)
    copy = None if paths is None else FlagCopy(paths[0])
    poll = provider.options.get("poll") or _POLL
    return PostgresProvider(database, settings.environment, poll=poll, copy=copy)
