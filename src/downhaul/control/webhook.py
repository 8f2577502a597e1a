"""Alerts as JSON to a URL: a service of one's own, or a chat that takes a line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from downhaul.config.notifiers import REDACTOR
from downhaul.control.alerts import AlertEvent
from downhaul.control.hearing import Hearing
from downhaul.control.messages import Wording
from downhaul.errors import Unreachable

if TYPE_CHECKING:
    from downhaul.config.secret import Secret

_TIMEOUT: Final = 5.0  # seconds to connect, and between two bytes
_REFUSED: Final = 400


class WebhookAlert:
    """Posts each event as JSON. Raises Unreachable, without the URL, where it is not taken."""

    configured = True
    kind = "webhook"

    def __init__(
        self,
        url: Secret,
        *,
        name: str = "webhook",
        hearing: Hearing | None = None,
        wording: Wording | None = None,
    ) -> None:
        self.name = name
        self.hearing = hearing or Hearing()
        self._url = url
        self._wording = wording or Wording()

    def hears(self, event: AlertEvent) -> bool:
        """Return whether the event is for this sink."""
        return self.hearing.hears(event)

    def send(self, event: AlertEvent) -> None:
        """Post the event. Any answer below 400 is a delivery; redirects are not followed."""
        import requests  # noqa: PLC0415  (only who alerts pays for it)

        REDACTOR.hide(self._url)
        answer, why = None, ""
        try:
            answer = requests.post(
                self._url.reveal(),
                json=payload(event, self._wording),
                timeout=_TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # The error names the URL, and whoever knows that may post there: it is left behind.
            why = type(error).__name__
        if answer is None:
            message = f"the alert webhook did not answer: {why}"
            raise Unreachable(message, hint=self._hint)
        if answer.status_code >= _REFUSED:
            message = f"the alert webhook answered {answer.status_code}"
            raise Unreachable(message, hint=self._hint)

    @property
    def _hint(self) -> str:
        return (
            "see [alerts] webhook" if self.name == "webhook" else f"see [alerts.sinks.{self.name}]"
        )


def payload(event: AlertEvent, wording: Wording | None = None) -> dict[str, Any]:
    """Return what is posted: a line for people, the whole message, and the event for programs."""
    why = f': "{event.reason}"' if event.reason else ""
    what = event.what.replace("_", " ")
    message = (wording or Wording()).of(event)
    return {
        "text": f"{what} {event.subject} in {event.environment} by {event.actor}{why}",
        "id": event.id,
        "severity": message.severity.value,
        "what": event.what,
        "subject": event.subject,
        "environment": event.environment,
        "actor": event.actor,
        "reason": event.reason,
        "at": event.at,
        "title": message.title,
        "body": message.text,
        "link": message.link,
        "command": message.command,
        "before": dict(event.before),
        "after": dict(event.after),
    }
