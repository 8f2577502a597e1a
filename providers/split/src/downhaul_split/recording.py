"""What the SDK would record of each evaluation: the label is taken, the rest only on demand.

The label of the condition that decided reaches nobody but the recorder. Ours keeps it for the
thread that asked, and passes impressions on only where the application wants them sent: in its
quietest mode the SDK still posts the key of every user, and keys are what is billed. What is asked
aside, only to compare, is passed on nowhere.
"""

from __future__ import annotations

import threading
from typing import Any

from splitio.recorder.recorder import StatsRecorder

from downhaul.vendors.aside import is_aside


class Recorder(StatsRecorder):  # type: ignore[misc]  # the SDK has no types
    """Keeps the label of the last evaluation of each thread; ``passed_to`` records the rest."""

    def __init__(self, passed_to: StatsRecorder | None) -> None:
        self._passed_to = passed_to
        self.last = _Last()

    def passes_nothing_on(self) -> None:
        """Let the rest be recorded by nobody."""
        self._passed_to = None

    def record_treatment_stats(
        self, impressions: Any, latency: Any, operation: Any, method_name: Any = None
    ) -> None:
        """Take the label of an evaluation."""
        self.last.label = impressions[0][0].Impression.label
        if self._passed_to is not None and not is_aside():
            self._passed_to.record_treatment_stats(impressions, latency, operation, method_name)

    def record_track_stats(self, events: Any, latency: Any = None) -> Any:
        """Pass an event on where events are sent."""
        return self._passed_to is None or self._passed_to.record_track_stats(events, latency)


def recorder_of(client: Any) -> Recorder:
    """Return the recorder of a client of ours: in a forked child it may be the parent's."""
    found: Recorder = client._recorder  # noqa: SLF001  (the SDK does not tell)
    return found


class _Last(threading.local):
    label: str | None = None
