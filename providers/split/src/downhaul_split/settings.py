"""What stands in ``[provider]`` beside ``url`` for Split."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from downhaul.config import Secret

REFRESH: Final = 5.0  # seconds
ADMIN_URL: Final = "https://api.split.io/internal/api/v2"
DEADLINE: Final = 10.0  # seconds for one change


class SplitSettings(BaseModel):
    """The key of an environment, and where Split is, if not where it usually is.

    ``sdk_key`` is a server-side SDK key; a ``+file`` URL needs none. ``sdk_url``, ``events_url``,
    ``auth_url``, ``streaming_url`` and ``telemetry_url`` are for whoever reaches them in different
    places. ``refresh`` is how often it asks, in seconds, while no stream is heard; ``streaming``
    False never opens one. ``events`` sends Split what was evaluated for whom (impressions): keys
    and treatments, and never attributes.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sdk_key: Secret | None = None
    sdk_url: str | None = None
    events_url: str | None = None
    auth_url: str | None = None
    streaming_url: str | None = None
    telemetry_url: str | None = None
    refresh: float = Field(default=REFRESH, ge=1, le=3600)
    streaming: bool = True
    events: bool = False
