"""From settings to the sinks that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downhaul.config.notifiers import WEB
from downhaul.config.urls import scheme_of
from downhaul.control.alerts import Alert, AlertEvent, LogAlert
from downhaul.control.apprise_sink import AppriseAlert
from downhaul.control.hearing import Hearing
from downhaul.control.messages import Wording
from downhaul.control.webhook import WebhookAlert
from downhaul.errors import ConfigError

if TYPE_CHECKING:
    from downhaul.config import Settings


class UnreadAlert:
    """Stands for a sink whose URL this process can't read. Others may, and so it is not left out.

    Raises ConfigError for every event that is for it.
    """

    configured = True

    def __init__(self, name: str, hearing: Hearing, why: str, hint: str | None = None) -> None:
        self.name = name
        self.hearing = hearing
        self._why = why
        self._hint = hint

    def hears(self, event: AlertEvent) -> bool:
        """Return whether the event is for this sink."""
        return self.hearing.hears(event)

    def send(self, event: AlertEvent) -> None:
        """Raise ConfigError."""
        raise ConfigError(self._why, hint=self._hint)


def alerts_for(settings: Settings) -> tuple[Alert, ...]:
    """Return the sinks that the settings name, the log first.

    Nothing is contacted, nor is Apprise loaded.
    """
    alerts = settings.alerts
    wording = Wording(alerts.link, alerts.templates)
    unread = {one.path: one for one in alerts.unread}
    found: list[Alert] = [LogAlert()]
    if alerts.webhook is not None:
        found.append(WebhookAlert(alerts.webhook, wording=wording))
    elif "alerts.webhook" in unread:
        problem = unread["alerts.webhook"]
        found.append(UnreadAlert("webhook", Hearing(), problem.message, problem.hint))
    for sink in alerts.sinks:
        hearing = Hearing(sink.severity, sink.only, sink.environments)
        if sink.url is None:
            missing = unread.get(sink_path(sink.name))
            why = "its URL can't be read" if missing is None else missing.message
            hint = None if missing is None else missing.hint
            found.append(UnreadAlert(sink.name, hearing, why, hint))
            continue
        web = scheme_of(sink.url.reveal()) in WEB
        make = WebhookAlert if web else AppriseAlert
        found.append(make(sink.url, name=sink.name, hearing=hearing, wording=wording))
    return tuple(found)


def sink_path(name: str) -> str:
    """Return where a sink's URL stands in the configuration, as problems name it."""
    from downhaul.config.schema import dotted  # noqa: PLC0415  (pydantic)

    return dotted(("alerts", "sinks", name, "url"))
