"""Everything that a kill depends on, looked at one by one; no look keeps others from looking."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from downhaul.control import alert_checks
from downhaul.control.drills import OLD, is_old, words
from downhaul.control.receipts import receipts_of
from downhaul.control.service import database_of, resolve_settings
from downhaul.control.standing import standings
from downhaul.errors import ConfigError, DownhaulError, SchemaMissing
from downhaul.overlay import KillRegister
from downhaul.provider import Capability, ControlStore, FlagProvider, State

if TYPE_CHECKING:
    from downhaul.config import Settings
    from downhaul.store.database import Database

_CHANNEL: Final = "downhaul:doctor"
_HEARD_WITHIN: Final = 2.0  # seconds
_READY_WITHIN: Final = 5.0  # seconds for all backends of a stack together
_SHOWN: Final = 5  # processes by name
_SKEW: Final = 2.0  # seconds between clocks that records show without harm


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found: ``ok``, ``warn`` or ``fail``, and what to do about it."""

    name: str
    status: str
    message: str
    hint: str | None = None


def examine(
    *, url: str | None = None, file: str | None = None, environment: str | None = None
) -> list[Finding]:
    """Look at everything, and return what was found in the order of looking.

    The arguments are those of :func:`downhaul.control.service.resolve_settings`. Raises nothing.
    """
    given = {"url": url, "file": file, "environment": environment}
    findings = _guarded("configuration", lambda: _configuration(given))
    findings += _guarded("plugins", _plugins)
    try:
        settings = resolve_settings(url=url, file=file, environment=environment)
    except ConfigError:
        return findings  # the first finding says it all
    findings += _guarded("provider", lambda: _backend(settings))
    if settings.provider.wrap:
        findings += _guarded("wrapper", lambda: _stack(settings))
    findings += _guarded("last-known copy", lambda: _copy(settings))
    findings += _guarded("kill file", lambda: _kill_file(settings))
    findings += _guarded("alerts", lambda: _told(alert_checks.hearing(settings)))
    return findings


def _guarded(name: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(look())
    except DownhaulError as error:
        found.append(Finding(name, "fail", error.message, error.hint))
    except OSError as error:
        found.append(Finding(name, "fail", str(error)))
    return found


def _configuration(given: dict[str, str | None]) -> Iterator[Finding]:
    from downhaul.config import check  # noqa: PLC0415  (pydantic)

    problems = check(given["url"], file=given["file"], environment=given["environment"])
    for problem in problems:
        where = " ".join(part for part in (problem.origin, problem.path) if part)
        yield Finding("configuration", "fail", f"{where}: {problem.message}", problem.hint)
    if not problems:
        settings = resolve_settings(
            url=given["url"], file=given["file"], environment=given["environment"]
        )
        yield Finding(
            "configuration", "ok", f"{settings.provider.safe_url}, {settings.environment}"
        )
        for note in settings.notes:
            yield Finding("configuration", "warn", note)


def _plugins() -> Iterator[Finding]:
    from downhaul.plugins import installed  # noqa: PLC0415  (pluggy)

    found = installed()
    for one in found:
        if one.problem and not one.disabled:
            yield Finding(
                "plugins",
                "warn",
                f"{one.name} of {one.distribution} {one.version}: {one.problem}",
                f"upgrade, reinstall or uninstall {one.distribution}",
            )
    working = [one.name for one in found if one.spec is not None]
    yield Finding("plugins", "ok", ", ".join(working))


def _backend(settings: Settings) -> Iterator[Finding]:
    from downhaul.plugins import build_control, build_provider  # noqa: PLC0415  (pluggy)

    provider = build_provider(settings)
    control: ControlStore | None = None
    try:
        yield from _flags(provider)
        control = build_control(settings, provider)
        yield from _kills(control, settings)
        yield from _told(alert_checks.outbox(control))
        yield from _database(provider)
    finally:
        if control is not None:
            control.close()
        provider.close()


def _stack(settings: Settings) -> Iterator[Finding]:
    """Start the whole stack, as an application does, and see how each part of it stands."""
    for part in standings(settings, _READY_WITHIN):
        state, said = part.status.state, part.status.message
        message = f"{part.what} is {state}{f': {said}' if said else ''}"
        if state in (State.READY, State.STALE):
            yield Finding(part.kind, "ok" if state is State.READY else "warn", message)
        else:
            hint = "see whether it is up, and what the configuration says of it"
            yield Finding(part.kind, "fail", message, hint)


def _flags(provider: FlagProvider) -> Iterator[Finding]:
    if Capability.READ not in provider.capabilities:
        yield Finding("provider", "warn", f"{provider.name} shows no flags, so they aren't checked")
        return
    started = time.perf_counter()
    flags = provider.list().flags
    took = (time.perf_counter() - started) * 1000
    yield Finding("provider", "ok", f"its flags ({len(flags)}) were read in {took:.0f} ms")


def _kills(control: ControlStore | None, settings: Settings) -> Iterator[Finding]:
    if control is None:
        hint = "set [control] url to a database; until then only `kill --local` works"
        yield Finding("control store", "warn", "there is none, so kills reach nobody else", hint)
        return
    overlay = KillRegister().hear(control.kills()).overlay()
    count = len(overlay.flags) + len(overlay.tags) + len(overlay.switches)
    if overlay.everything is not None:
        why = f'everything is killed in {settings.environment}: "{overlay.everything.reason}"'
        yield Finding("control store", "warn", why, "downhaul revive --all lifts it")
    yield Finding("control store", "ok", f"it can be read; kills in force: {count}")
    yield from _exercised(control, settings)


def _exercised(control: ControlStore, settings: Settings) -> Iterator[Finding]:
    """Say when the kill switch was last exercised, and who would hear of a kill now."""
    kept: Any = getattr(control, "drills", None)
    processes: Any = getattr(control, "processes", None)
    if kept is None or processes is None:
        return
    try:
        last, (now, rows) = kept.last(), processes.rows()
    except SchemaMissing:
        return  # which the look at the tables tells of
    found = receipts_of(0, now, rows)
    where = f"processes that follow kills in {settings.environment}: {found.known}"
    if found.silent:
        names = ", ".join(map(str, found.silent[:_SHOWN]))
        yield Finding("receipts", "warn", f"{where}; silent: {names}", "do they still run?")
    else:
        yield Finding("receipts", "ok", where)
    if is_old(last):
        hint = f"downhaul drill: it touches no flag; once in {OLD} days is not too often"
        yield Finding("drill", "warn", f"the kill switch was {words(last)}", hint)
    else:
        yield Finding("drill", "ok", words(last))


def _told(looks: Iterable[alert_checks.Look]) -> Iterator[Finding]:
    for status, message, hint in looks:
        yield Finding("alerts", status, message, hint)


def _copy(settings: Settings) -> Iterator[Finding]:
    folder = settings.cache_dir
    if folder is None:
        hint = "set cache_dir or DOWNHAUL_CACHE_DIR to a folder that outlives a restart"
        yield Finding("last-known copy", "warn", "none is kept on this machine", hint)
        return
    probe = next(one for one in (folder, *folder.parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=probe):
            pass
    except OSError as error:
        hint = "let this user write there, or set DOWNHAUL_CACHE_DIR"
        yield Finding("last-known copy", "fail", f"{probe}: {error.strerror}", hint)
        return
    yield Finding("last-known copy", "ok", f"{folder} can be written")


def _kill_file(settings: Settings) -> Iterator[Finding]:
    path: Path | None = settings.control.kill_file
    if path is None:
        hint = "set [control] kill_file or DOWNHAUL_KILL_FILE: it needs no network"
        yield Finding("kill file", "warn", "none is configured", hint)
        return
    if not path.exists():
        yield Finding("kill file", "ok", f"{path} isn't there, and names nothing")
        return
    from downhaul.store.breakglass import KillFile  # noqa: PLC0415  (beside its only use)

    file = KillFile(path)
    named = file.read().killed
    if file.trouble:
        yield Finding("kill file", "fail", file.trouble, "let this user read it")
        return
    names = ", ".join(sorted(map(str, named))) or "nothing"
    yield Finding("kill file", "warn" if named else "ok", f"{path} names {names}")


def _database(provider: FlagProvider) -> Iterator[Finding]:
    """Look at the tables and the clock of a SQL provider."""
    database = database_of(provider)
    if database is None:
        return
    from downhaul.store import schema  # noqa: PLC0415  (Alembic)

    state = schema.state(database)
    if state.current:
        newer = f", which is newer than this code ({state.head})" if state.newer else ""
        yield Finding("tables", "ok", f"at {state.found}{newer}")
    else:
        message = f"at {state.found or 'nothing'}, and this code wants {state.head}"
        yield Finding("tables", "fail", message, "run: downhaul db upgrade")
    skew = time.time() - int(database.scalar(database.dialect.microseconds)) / 1_000_000
    if abs(skew) > _SKEW:
        hint = "set this machine's clock; kills are ordered by the database's"
        yield Finding("clock", "warn", f"this machine is {skew:+.1f} s off the database", hint)
    else:
        yield Finding("clock", "ok", f"this machine is {skew * 1000:+.0f} ms off the database")
    if database.dialect.notify:
        yield _notifications(database)


def _notifications(database: Database) -> Finding:
    """Say something on a channel of our own, and see whether it is heard."""
    with database.reading() as ear, database.reading() as mouth:
        raw: Any = ear.connection.driver_connection
        if not hasattr(raw, "notifies"):
            return Finding("notifications", "warn", "this driver can't be asked about them")
        ear.exec_driver_sql(f'LISTEN "{_CHANNEL}"')
        mouth.exec_driver_sql(f"SELECT pg_notify('{_CHANNEL}', '')")
        heard = next(iter(raw.notifies(timeout=_HEARD_WITHIN, stop_after=1)), None)
        ear.exec_driver_sql(f'UNLISTEN "{_CHANNEL}"')
    if heard is None:
        hint = "behind PgBouncer in transaction mode? connect past it, or live with polling"
        return Finding("notifications", "warn", "LISTEN hears nothing: changes are polled", hint)
    return Finding("notifications", "ok", "LISTEN hears of changes")
