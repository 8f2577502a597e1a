"""The SDK's events without those of questions that serve nobody."""

from __future__ import annotations

from typing import Any

from ldclient.impl.events.event_processor import DefaultEventProcessor

from downhaul.vendors.aside import is_aside


class Events(DefaultEventProcessor):
    """The SDK's own; what is asked aside, only to compare, is sent to nobody."""

    def send_event(self, event: Any) -> None:
        """Take an event, unless it is of a question that is asked aside."""
        if not is_aside():
            super().send_event(event)
