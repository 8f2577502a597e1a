"""Giving one event to one sink: within a time, and with what went wrong in words."""

from __future__ import annotations

import logging
import threading
from typing import Final

from downhaul.control.alerts import Alert, AlertEvent
from downhaul.errors import ConfigError, DownhaulError

PATIENCE: Final = 20.0
"""Seconds after which a sink that did not answer has failed."""

_LOG: Final = logging.getLogger("downhaul.alerts")
_MOST_HANGING: Final = 3  # calls of one sink that never came back, before no more are made
_LAST_RETRY: Final = 300  # seconds


class Sender:
    """One sink, from one thread at a time. A failure is logged when it is a new one."""

    def __init__(self, name: str, alert: Alert) -> None:
        self.name = name
        self.alert = alert
        self.hopeless = False
        """Whether the last failure lasts until somebody changes the configuration."""
        self._hanging: list[threading.Thread] = []
        self._failing = ""

    def send(self, event: AlertEvent) -> str:
        """Give the sink an event. Return why it did not take it; nothing if it did."""
        self.hopeless = False
        self._hanging = [one for one in self._hanging if one.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            return self._noted(event, "it hangs on what it was given before")
        said: list[tuple[str, bool]] = []
        call = threading.Thread(
            target=self._call, args=(event, said), name=f"downhaul-sink-{self.name}", daemon=True
        )
        call.start()
        call.join(PATIENCE)
        if call.is_alive():
            self._hanging.append(call)
            return self._noted(event, f"no answer within {PATIENCE:g} s")
        why, self.hopeless = said[0]
        return self._noted(event, why)

    def _call(self, event: AlertEvent, said: list[tuple[str, bool]]) -> None:
        try:
            self.alert.send(event)
        except DownhaulError as error:
            said.append((str(error), isinstance(error, ConfigError)))
        except Exception as error:  # noqa: BLE001  (whatever a sink does, the others are served)
            if not self._failing:
                _LOG.exception("alert %s failed for %s", self.name, event.subject)
            said.append((f"{type(error).__name__}: {error}", False))
        else:
            said.append(("", False))

    def _noted(self, event: AlertEvent, why: str) -> str:
        if why and why != self._failing:
            _LOG.warning(
                "alert %s did not take %s %s: %s", self.name, event.what, event.subject, why
            )
        elif self._failing and not why:
            _LOG.info("alert %s takes events again", self.name)
        self._failing = why
        return why


def retry_in(attempts: int) -> float:
    """Return the seconds until a sink is tried again after so many failures: 1, 2, 4 … 300."""
    return float(min(_LAST_RETRY, 2 ** min(max(attempts - 1, 0), 9)))
