"""Alerts through Apprise: chats, pagers, mail, and whatever else it knows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from downhaul.announcements.severity import Severity
from downhaul.config.notifiers import REDACTOR, Unusable, load
from downhaul.config.urls import scheme_of
from downhaul.control.alerts import AlertEvent
from downhaul.control.hearing import Hearing
from downhaul.control.messages import Wording
from downhaul.errors import ConfigError, Unreachable

if TYPE_CHECKING:
    from downhaul.config.secret import Secret

_TYPES: Final = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.CRITICAL: "failure",
}
"""What Apprise calls our severities: colours in chats, priorities in pagers."""


class AppriseAlert:
    """Tells what an Apprise URL names. Apprise is imported at the first event.

    Raises ConfigError where nothing here can send to the URL, Unreachable where it was not taken;
    neither holds the URL.
    """

    configured = True

    def __init__(
        self,
        url: Secret,
        *,
        name: str,
        hearing: Hearing | None = None,
        wording: Wording | None = None,
    ) -> None:
        self.name = name
        self.hearing = hearing or Hearing()
        self.kind = scheme_of(url.reveal())
        self._url = url
        self._wording = wording or Wording()
        self._notifier: Any = None
        self._loading = threading.Lock()

    def hears(self, event: AlertEvent) -> bool:
        """Return whether the event is for this sink."""
        return self.hearing.hears(event)

    def send(self, event: AlertEvent) -> None:
        """Tell it in the form that the service likes best: markdown, or plain text."""
        notifier = self._loaded()
        message = self._wording.of(event)
        plain = _likes_text(notifier)
        taken = False
        with _heard() as heard:
            # The notifier itself, and not a group of one: a group sends from a pool of threads for
            # which the process would wait when it ends.
            try:
                taken = notifier.notify(
                    title=message.title,
                    body=message.text if plain else message.markdown,
                    notify_type=_TYPES[message.severity],
                    body_format="text" if plain else "markdown",
                )
            except Exception as error:  # noqa: BLE001  (a plugin raises what it likes)
                heard.append(f"{type(error).__name__}: {error}")
        if not taken:  # said here, so that no error has the plugin's own within it
            why = REDACTOR.clean("; ".join(heard)).rstrip(".") or "it did not say why"
            raise Unreachable(f"{self.kind}:// did not take it: {why}", hint=self._hint)

    @property
    def _hint(self) -> str:
        return f"see [alerts.sinks.{self.name}]"

    def _loaded(self) -> Any:
        with self._loading:
            if self._notifier is None:
                try:
                    self._notifier = load(self._url)
                except Unusable as error:
                    raise ConfigError(error.message, hint=error.hint) from None
            return self._notifier


def _likes_text(notifier: Any) -> bool:
    """Return whether plain text is the first of the forms that a service takes."""
    return str(getattr(notifier.resolve_format(None), "value", "text")) == "text"


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Give what Apprise warns of in this thread meanwhile: it returns no more than a yes or no."""
    said: list[str] = []
    mine = threading.get_ident()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == mine:
                said.append(record.getMessage())

    log, ear = logging.getLogger("apprise"), Ear(logging.WARNING)
    log.addHandler(ear)
    try:
        yield said
    finally:
        log.removeHandler(ear)
