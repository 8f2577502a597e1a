"""``audit``: the one history of flags, segments, kills and rollouts, as it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from downhaul.cli.commands import command
from downhaul.cli.session import Session
from downhaul.control.describe import exposure
from downhaul.encoding import flag_from_data
from downhaul.errors import Refused, Unreachable
from downhaul.provider import ChangeRecord

if TYPE_CHECKING:
    from downhaul.control import Operator
    from downhaul.store.control import SqlControl

LOOK: Final = 1.0  # seconds between two looks
_PAGE: Final = 500
_OVERLAP: Final = 100
"""How many ids are read again: of two transactions, the one with the lower id may commit later."""
_WIDTH: Final = 20  # of an actor's name; longer ones push their line


@command("audit", example="downhaul audit -f --flag new_agent_version")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what happens.")
@click.option("--flag", metavar="KEY", help="Only what happened to this flag and its rollouts.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--since", metavar="TIME", help="Only what is newer: 2h, 1d, or an RFC 3339 time.")
def audit(session: Session, follow: bool, flag: str | None, limit: int, since: str | None) -> None:
    """Show everything that happened, the oldest first: flags, segments, kills, rollouts.

    The newest 50 records unless --limit says otherwise.
    """
    after = _since(since)
    with session.operator() as operator:
        control = _history(operator)
        newest = _newest(control)
        found = control.audit(key=flag, limit=limit)
        found = [one for one in found if not follow or one.id <= newest]
        shown = [one for one in found if after is None or _at(one) >= after]
        if not follow:
            _show(session, shown)
            return
        _stream(session, shown)
        follow_on(
            lambda seen: control.audit(seen, key=flag, limit=_PAGE),
            lambda records: _stream(session, records),
            session.out.warning,
            newest,
        )


def follow_on(
    fetch: Callable[[int], list[ChangeRecord]],
    show: Callable[[list[ChangeRecord]], None],
    warn: Callable[[str], None],
    last: int,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Show whatever is newer than the record ``last``, as it comes, until somebody interrupts.

    A store that is away is asked again; nothing is missed meanwhile.
    """
    seen = {one.id for one in fetch(max(0, last - _OVERLAP)) if one.id <= last}
    away = False
    while True:
        try:
            found = fetch(max(0, last - _OVERLAP))
        except Unreachable as error:
            if not away:
                warn(f"{error.message}; asking again")
            away = True
        else:
            away = False
            if fresh := [one for one in found if one.id not in seen]:
                show(fresh)
            last = max([last, *(one.id for one in found)])
            seen = {one for one in seen if one > last - _OVERLAP} | {one.id for one in found}
        wait(LOOK)


def record_data(record: ChangeRecord) -> dict[str, Any]:
    """Return one record. ``flag`` is the flag that it is about, where it is about one."""
    return {
        "id": record.id,
        "at": record.at,
        "environment": record.environment,
        "entity": record.entity,
        "key": record.key,
        "flag": _flag_of(record),
        "action": record.action,
        "actor": record.actor,
        "marked": record.marked,
        "reason": record.reason,
        "version": record.version,
        "detail": _detail(record),
        "summary": summary(record),
    }


def record_line(record: ChangeRecord) -> str:
    """Return one record as a line: when, who, what, on what, and why."""
    actor = f"{record.actor} (login)" if record.marked else record.actor
    said = f"{record.entity} {record.action.replace('_', ' ')}"
    parts = [record.at, actor.ljust(_WIDTH), said.ljust(_WIDTH), _subject(record), summary(record)]
    # A reason that a rollout's event gives is its summary already.
    if record.reason and record.reason != summary(record):
        parts.append(f'"{record.reason}"')
    return "  ".join(" ".join(one.splitlines()) for one in parts if one).rstrip()


def summary(record: ChangeRecord) -> str:
    """Return what came of it in a few words: whom a flag serves now, what a rollout says."""
    if record.entity == "flag" and record.after is not None:
        try:
            return exposure(flag_from_data(record.after))
        except (KeyError, TypeError, ValueError):
            return ""  # a document that an older or newer version wrote
    if record.entity == "rollout":
        return record.reason
    if record.entity == "rehearsal" and record.after is not None:
        return "the way back held" if record.after.get("held") else "the way back did not hold"
    return ""


def _subject(record: ChangeRecord) -> str:
    flag = _flag_of(record)
    return f"{flag} ({record.key})" if flag and flag != record.key else record.key


def _flag_of(record: ChangeRecord) -> str | None:
    if record.entity in ("flag", "rehearsal"):
        return record.key
    named = (record.after or {}).get("flag") if record.entity == "rollout" else None
    return str(named) if named else None


def _detail(record: ChangeRecord) -> dict[str, Any]:
    """Return what a rollout or a rehearsal says besides; documents are for ``flags history``."""
    if record.entity not in ("rollout", "rehearsal"):
        return {}
    return dict(record.after or {})


def _show(session: Session, records: list[ChangeRecord]) -> None:
    if session.as_json:
        session.out.json({"records": [record_data(one) for one in records]})
        return
    if not records:
        session.out.note("nothing happened that is known here")
    for one in records:
        session.out.line(record_line(one))


def _stream(session: Session, records: Iterable[ChangeRecord]) -> None:
    for one in records:
        if session.as_json:
            session.out.json_line({"records": [record_data(one)]})
        else:
            session.out.line(record_line(one))


def _history(operator: Operator) -> SqlControl:
    from downhaul.store.control import SqlControl  # noqa: PLC0415  (SQLAlchemy)

    control: object = operator.control
    if isinstance(control, SqlControl):
        return control
    raise Refused(
        "there is no control store that keeps a history: it lives in a SQL database",
        hint="set [control] url or DOWNHAUL_CONTROL_URL to sqlite:/// or postgresql://",
        provider=operator.provider.name,
    )


def _newest(control: SqlControl) -> int:
    """Return the id of the newest record of all, so that following begins after it."""
    found = control.audit(limit=1)
    return found[-1].id if found else 0


def _since(text: str | None) -> datetime | None:
    """Read a time, or how long ago it was."""
    if text is None:
        return None
    from downhaul.rollout.units import is_span, seconds_of  # noqa: PLC0415

    if is_span(text):
        return datetime.now(UTC) - timedelta(seconds=seconds_of(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is no time: write 2h, 1d, or 2026-11-23T07:00:00Z"
        raise click.BadParameter(message, param_hint="--since") from None
    if at.tzinfo is None:
        message = f"{text} has no offset: add Z for UTC"
        raise click.BadParameter(message, param_hint="--since")
    return at


def _at(record: ChangeRecord) -> datetime:
    return datetime.fromisoformat(record.at)
