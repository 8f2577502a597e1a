"""Which events a sink hears of, and whether enough sinks hear of a kill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from downhaul.announcements.severity import Severity
from downhaul.config.notifiers import WEB, host_of
from downhaul.config.urls import scheme_of
from downhaul.control.alerts import AlertEvent

if TYPE_CHECKING:
    from downhaul.config import Secret, Settings

ENOUGH: Final = 2
"""Sinks that do not depend on one another, for one of them to work when the other does not."""

_EVERYWHERE: Final = "*"
_LOCAL: Final = frozenset({"localhost"})


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a sink hears of: the least severity, and events and environments (empty: all)."""

    severity: Severity = Severity.INFO
    only: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()

    def hears(self, event: AlertEvent) -> bool:
        """Return whether an event is for the sink. What is everywhere is in its environments."""
        if not event.severity.reaches(self.severity):
            return False
        if self.only and event.what not in self.only:
            return False
        places = (_EVERYWHERE, *self.environments)
        return not self.environments or event.environment in places


def who_hears_of_kills(settings: Settings) -> tuple[str, ...]:
    """Return the names of the configured sinks that hear of a kill, the log not counted."""
    return tuple(name for name, _ in _hearing(settings))


def independent(settings: Settings) -> int:
    """Return how many of those sinks are not on one service or host with another."""
    return len({service for _, service in _hearing(settings)})


def too_few(settings: Settings) -> str | None:
    """Return what to say where fewer than two independent sinks would hear of a kill."""
    names, services = who_hears_of_kills(settings), independent(settings)
    if services >= ENOUGH:
        return None
    where = f"of a kill in {settings.environment}"
    if not names:
        return f"no sink for alerts hears {where}, but for the log"
    if len(names) == 1:
        return f'one sink for alerts ("{names[0]}") hears {where}: if it is away, nobody does'
    return f"all sinks that hear {where} are on one service ({', '.join(names)})"


def _hearing(settings: Settings) -> Iterable[tuple[str, str]]:
    """Yield names and services of the configured sinks that hear of a kill."""
    kill = AlertEvent("killed", "", "", "", settings.environment, "")
    alerts = settings.alerts
    if alerts.webhook is not None:
        yield "webhook", service_of(alerts.webhook)
    elif any(one.path == "alerts.webhook" for one in alerts.unread):
        yield "webhook", "webhook"  # kept where other processes can read it
    for sink in alerts.sinks:
        if Hearing(sink.severity, sink.only, sink.environments).hears(kill):
            yield sink.name, sink.name if sink.url is None else service_of(sink.url)


def service_of(url: Secret) -> str:
    """Return what a sink depends on: its host, or where its URL names none, its sort.

    Most of Apprise's URLs have a token in the host's place, which no dot is in.
    """
    text = url.reveal()
    host, scheme = host_of(text), scheme_of(text)
    if scheme in WEB or "." in host or host in _LOCAL:
        return host
    return scheme.removesuffix("s")
