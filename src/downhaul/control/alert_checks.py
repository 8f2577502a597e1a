"""What ``doctor`` looks at of alerts: who would hear of a kill, and what sinks have not taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from downhaul.control.hearing import too_few, who_hears_of_kills
from downhaul.errors import SchemaMissing
from downhaul.provider import ControlStore

if TYPE_CHECKING:
    from downhaul.config import Settings

Look = tuple[str, str, str | None]
"""A status (``ok`` or ``warn``), what was found, and what to do."""

_LATE: Final = 60.0  # seconds after which what waits is worth a word
_MINUTE: Final = 60
_HOUR: Final = 3600


def hearing(settings: Settings) -> Iterator[Look]:
    """Say who would hear of a kill, and warn where that hangs on one service."""
    few = too_few(settings)
    if few is not None:
        yield "warn", few, "two that don't depend on one another: [alerts.sinks.NAME] url"
        return
    names = ", ".join(who_hears_of_kills(settings))
    yield "ok", f"sinks that hear of a kill in {settings.environment}: {names}", None


def outbox(control: ControlStore | None) -> Iterator[Look]:
    """Say what sinks have not taken. Raises Unreachable."""
    box: Any = getattr(control, "outbox", None)
    if box is None:
        return
    try:
        backlogs = box.backlogs()
        count, oldest = box.untouched()
    except SchemaMissing:
        return  # which the look at the tables tells of
    for one in backlogs:
        why = f": {one.error}" if one.error else ""
        if one.given_up:
            told = f'"{one.sink}" was not told of {_many(one.given_up)} this week, and will not be'
            yield "warn", f"{told}{why}", f"downhaul alerts test --sink {one.sink}"
        if one.waiting and one.oldest > _LATE:
            waits = f"{_many(one.waiting)} for {_span(one.oldest)}"
            hint = f"downhaul alerts test --sink {one.sink}"
            yield "warn", f'"{one.sink}" was not told of {waits}{why}', hint
    if count and oldest > _LATE:
        waits = f"{_many(count)} waited for {_span(oldest)}, and nobody told anybody"
        hint = "run a controller: it delivers" if not box.controllers() else "see its log"
        yield "warn", waits, hint


def _many(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _span(seconds: float) -> str:
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.0f} h"
