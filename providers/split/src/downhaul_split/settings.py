"""What stands in ``[provider]`` beside ``url`` for Split."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from downhaul.config import Secret

REFRESH: Final = 5.0  # seconds
SDK_URL: Final = "https://sdk.split.io/api"
ADMIN_URL: Final = "https://api.split.io/internal/api/v2"
DEADLINE: Final = 10.0  # seconds for one change


class SplitSettings(BaseModel):
    """The key of an environment, and where Split is, if not where it usually is.

    ``sdk_key`` is a server-side SDK key; a ``+file`` URL needs none. ``sdk_url``, ``events_url``,
    ``auth_url``, ``streaming_url`` and ``telemetry_url`` are for whoever reaches them in different
    places. ``refresh`` is how often it asks, in seconds, while no stream is heard; ``streaming``
    False never opens one. ``events`` sends Split what was evaluated for whom (impressions): keys
    and treatments, and never attributes.

    ``admin_token`` is another secret, an admin API key for whoever manages flags; an application
    has none. ``workspace`` is a name or an id, and unsaid the only one that the key sees;
    ``environment`` likewise (unsaid, Downhaul's own). ``traffic_type`` is that of flags that are
    made. ``admin_header`` is ``x-api-key`` for accounts that moved to Harness. ``deadline`` is the
    time of one change, in seconds.
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
    admin_token: Secret | None = None
    admin_url: str = ADMIN_URL
    admin_header: Literal["Authorization", "x-api-key"] = "Authorization"
    workspace: str | None = None
    environment: str | None = None
    traffic_type: str = Field(default="user", min_length=1)
    deadline: float = Field(default=DEADLINE, gt=0, le=300)
