"""From a configuration to an operator: who acts, where the flags are, where the kills are.

Nothing is started: an operator reads and writes, and follows nothing.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from downhaul.control.alerts import Alert, LogAlert
from downhaul.control.hearing import too_few
from downhaul.control.operator import Operator
from downhaul.control.sinks import alerts_for
from downhaul.errors import ConfigError, Refused, SchemaMissing
from downhaul.provider import FlagProvider

if TYPE_CHECKING:
    from downhaul.config import Settings
    from downhaul.store.database import Database

ACTOR: Final = "DOWNHAUL_ACTOR"
UNREADABLE_POLICY: Final = "[policy] can't be read, and is left out: see downhaul config check"
_KILL_FILE: Final = "DOWNHAUL_KILL_FILE"


def resolve_settings(
    *,
    url: str | None = None,
    file: str | None = None,
    environment: str | None = None,
    whatever_policy: bool = False,
) -> Settings:
    """Return the configuration, with what a command line says on top. Raises ConfigError.

    ``whatever_policy`` reads it without ``[policy]`` where something is wrong with it: for what
    takes exposure away, which no policy stands in the way of.
    """
    from downhaul.config import resolve  # noqa: PLC0415  (pydantic)

    try:
        return resolve(url, file=file, environment=environment)
    except ConfigError:
        if not whatever_policy:
            raise
        # What else is wrong is told by this one.
        found = resolve(url, file=file, environment=environment, leave_out=("policy",))
        return replace(found, notes=(*found.notes, UNREADABLE_POLICY))


def who(actor: str | None = None, environ: Mapping[str, str] | None = None) -> tuple[str, bool]:
    """Return who acts, and whether that is only the login name (rule X4).

    What is given, else ``DOWNHAUL_ACTOR``, else the login name.
    """
    named = actor or (os.environ if environ is None else environ).get(ACTOR, "")
    if named.strip():
        return named.strip(), False
    try:
        return getpass.getuser(), True
    except (KeyError, OSError, ImportError):  # a user without a name, as in some containers
        return f"uid-{os.getuid()}", True


def connect_operator(
    settings: Settings,
    actor: str | None = None,
    *,
    create: bool = False,
    alerts: Sequence[Alert] | None = None,
) -> Operator:
    """Return an operator on what the settings name, which closes it all when it is closed.

    ``create`` makes the tables of an embedded store that isn't there yet. Raises ConfigError,
    ProviderNotFound, ProviderError; a backend that can't be reached says so when it is used.
    """
    from downhaul.plugins import build_control, build_provider  # noqa: PLC0415  (pluggy, pydantic)

    provider = build_provider(settings)
    control = build_control(settings, provider)
    if create:
        _create_embedded(provider)
    name, marked = who(actor)
    return Operator(
        provider,
        control,
        actor=name,
        marked=marked,
        environment=settings.environment,
        alerts=alerts_for(settings) if alerts is None else alerts,
        kill_file=settings.control.kill_file,
        owns=True,
        policy=settings.policy,
        advice=too_few(settings) if alerts is None else None,
    )


def local_operator(
    *,
    url: str | None = None,
    file: str | None = None,
    environment: str | None = None,
    actor: str | None = None,
) -> Operator:
    """Return an operator for this machine's kill file alone: no backend, driver or network.

    It tells the configured sinks. Where the configuration can't be read, ``DOWNHAUL_KILL_FILE`` is
    enough, and the log is told. Raises ConfigError without it.
    """
    alerts: Sequence[Alert] = (LogAlert(),)
    advice, policy = None, None
    try:
        settings = resolve_settings(
            url=url, file=file, environment=environment, whatever_policy=True
        )
        path, policy = settings.control.kill_file, settings.policy
        alerts, advice = alerts_for(settings), too_few(settings)
    except ConfigError:
        path = Path(os.environ.get(_KILL_FILE, "")).absolute()
        if not os.environ.get(_KILL_FILE):
            raise
    name, marked = who(actor)
    return Operator(
        FlagProvider(),
        None,
        actor=name,
        marked=marked,
        alerts=alerts,
        kill_file=path,
        advice=advice,
        policy=policy,
    )


@contextmanager
def databases(settings: Settings) -> Iterator[list[Database]]:
    """Give the SQL databases that the settings name: the provider's, and the control store's.

    Their connections are closed at the end. Raises Refused where there is none, and what
    :func:`connect_operator` raises.
    """
    from downhaul.plugins import build_provider  # noqa: PLC0415  (pluggy, pydantic)

    providers = [build_provider(settings)]
    if settings.control.url not in (None, settings.provider.url):
        providers.append(build_provider(settings.for_control()))
    found = [one for one in map(database_of, providers) if one is not None]
    if not found:
        raise Refused(
            f'"{settings.provider.safe_url}" keeps no tables',
            hint="name a database with --url: sqlite:///flags.db, postgresql://...",
        )
    try:
        yield found
    finally:
        for one in providers:
            one.close()


def database_of(provider: FlagProvider) -> Database | None:
    """Return the database of a SQL provider, wrapped or not; None for any other."""
    from downhaul.store.provider import SqlProvider  # noqa: PLC0415  (SQLAlchemy)
    from downhaul.wrappers.wrapper import innermost  # noqa: PLC0415  (only here)

    backend = innermost(provider)
    return backend.database if isinstance(backend, SqlProvider) else None


def _create_embedded(provider: FlagProvider) -> None:
    """Make the file and tables of an embedded store; a server's are made on purpose only."""
    database = database_of(provider)
    if database is None or database.dialect.name != "sqlite":
        return
    try:
        provider.get("")
    except SchemaMissing:
        from downhaul.store.schema import upgrade  # noqa: PLC0415  (Alembic)

        upgrade(database)
