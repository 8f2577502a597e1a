"""Alerts as JSON to a URL: a chat, a pager, a service of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from downhaul.control.alerts import Alert, AlertEvent, LogAlert
from downhaul.errors import Unreachable

if TYPE_CHECKING:
    from downhaul.config import Settings
    from downhaul.config.secret import Secret

_TIMEOUT: Final = 5.0  # seconds to connect, and between two bytes
_REFUSED: Final = 400


class WebhookAlert:
    """Posts each event as JSON. Raises Unreachable, without the URL, where it is not taken."""

    def __init__(self, url: Secret) -> None:
        self._url = url

    def send(self, event: AlertEvent) -> None:
        """Post the event. Any answer below 400 is a delivery; redirects are not followed."""
        import requests  # noqa: PLC0415  (only who alerts pays for it)

        try:
            answer = requests.post(
                self._url.reveal(), json=payload(event), timeout=_TIMEOUT, allow_redirects=False
            )
        except requests.RequestException as error:
            # The error names the URL, and whoever knows that may post there.
            message = f"the alert webhook did not answer: {type(error).__name__}"
            raise Unreachable(message, hint="see [alerts] webhook") from None
        if answer.status_code >= _REFUSED:
            message = f"the alert webhook answered {answer.status_code}"
            raise Unreachable(message, hint="see [alerts] webhook")


def payload(event: AlertEvent) -> dict[str, Any]:
    """Return what is posted: a line for people, and the event for programs."""
    why = f': "{event.reason}"' if event.reason else ""
    what = event.what.replace("_", " ")
    return {
        "text": f"{what} {event.subject} in {event.environment} by {event.actor}{why}",
        "what": event.what,
        "subject": event.subject,
        "environment": event.environment,
        "actor": event.actor,
        "reason": event.reason,
        "at": event.at,
        "before": dict(event.before),
        "after": dict(event.after),
    }


def alerts_for(settings: Settings) -> tuple[Alert, ...]:
    """Return the sinks that the settings name, the log first."""
    webhook = settings.alerts.webhook
    return (LogAlert(),) if webhook is None else (LogAlert(), WebhookAlert(webhook))
