"""Looking at the configured sinks, and trying them out."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from downhaul.announcements.severity import Severity
from downhaul.config.notifiers import WEB, Unusable, load
from downhaul.config.urls import scheme_of
from downhaul.control.alerts import Alert, AlertEvent, name_of
from downhaul.control.sending import PATIENCE, Sender
from downhaul.control.sinks import alerts_for, sink_path
from downhaul.errors import ConfigError
from downhaul.provider import utc_now

if TYPE_CHECKING:
    from downhaul.config import Settings

_LONGEST: Final = PATIENCE + 2.0  # seconds for all sinks, which are asked at once
_UNREAD: Final = "its URL can't be read"


@dataclass(frozen=True, slots=True)
class Listed:
    """A sink as it is configured. ``problem`` says why it can't be told from here, if it can't."""

    name: str
    kind: str
    severity: Severity = Severity.INFO
    only: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a test message: how many seconds it took, or why the sink did not take it."""

    sink: str
    kind: str
    took: float | None = None
    error: str | None = None


def listed(settings: Settings) -> tuple[Listed, ...]:
    """Return the sinks, the log first. Loads Apprise where one needs it, and contacts nobody."""
    unread = {one.path: one.message for one in settings.alerts.unread}
    found = [Listed("log", "log")]
    if settings.alerts.webhook is not None or "alerts.webhook" in unread:
        found.append(Listed("webhook", "webhook", problem=unread.get("alerts.webhook")))
    for sink in settings.alerts.sinks:
        kind = ""
        problem: str | None = unread.get(sink_path(sink.name), _UNREAD)
        if sink.url is not None:
            scheme = scheme_of(sink.url.reveal())
            kind, problem = "webhook" if scheme in WEB else scheme, None
            if scheme not in WEB:
                try:
                    load(sink.url)
                except Unusable as error:
                    problem = f"{error.message} ({error.hint})"
        found.append(Listed(sink.name, kind, sink.severity, sink.only, sink.environments, problem))
    return tuple(found)


def try_out(settings: Settings, actor: str, only: str | None = None) -> tuple[Trial, ...]:
    """Send a test message to each sink but the log, or to ``only`` one, all at once.

    What a sink hears of otherwise does not matter. Raises ConfigError where there is no such sink.
    """
    sinks = {name_of(one): one for one in alerts_for(settings)}
    wanted = [one for one in listed(settings) if one.name != "log"]
    known = [one.name for one in wanted]
    if not known:
        message = "no sink is configured beside the log"
        raise ConfigError(
            message, hint="write [alerts.sinks.NAME] with its url: see docs/alerts.md"
        )
    if only is not None:
        wanted = [one for one in wanted if one.name == only]
        if not wanted:
            message = f'no sink is called "{only}"'
            raise ConfigError(message, hint=f"there are: {', '.join(known)}")
    event = AlertEvent(
        "test",
        "alerts",
        actor,
        "a test that somebody asked for",
        settings.environment,
        utc_now(),
        id=uuid.uuid4().hex,
    )
    calls = [_Call(one, sinks.get(one.name), event) for one in wanted]
    until = time.monotonic() + _LONGEST
    return tuple(call.wait(max(0.0, until - time.monotonic())) for call in calls)


class _Call:
    """One sink that is being tried."""

    def __init__(self, listed: Listed, sink: Alert | None, event: AlertEvent) -> None:
        self._listed = listed
        self._sink = sink
        self._event = event
        self._trial = Trial(listed.name, listed.kind, error=f"no answer within {_LONGEST:g} s")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, timeout: float) -> Trial:
        self._thread.join(timeout)
        return self._trial

    def _run(self) -> None:
        name, kind = self._listed.name, self._listed.kind
        if self._sink is None or self._listed.problem is not None:
            self._trial = Trial(name, kind, error=self._listed.problem or _UNREAD)
            return
        began = time.monotonic()
        why = Sender(name, self._sink).send(self._event)
        took = time.monotonic() - began
        self._trial = Trial(name, kind, error=why) if why else Trial(name, kind, took)
