"""What stands in ``[provider]`` beside ``url`` for LaunchDarkly."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from downhaul.config import Secret

ADMIN_URL: Final = "https://app.launchdarkly.com"
DEADLINE: Final = 10.0  # seconds for one change


class LaunchDarklySettings(BaseModel):
    """The key of an environment, and where LaunchDarkly is, if not where it usually is.

    ``sdk_key`` is a server-side SDK key; a ``+file`` URL needs none. ``stream_url``, ``poll_url``
    and ``events_url`` are for whoever reaches them in different places. ``events`` sends
    LaunchDarkly what was evaluated for whom: targeting keys, and no attributes unless ``private``
    is False.

    ``admin_token`` is another secret, an API access token for whoever manages flags; an
    application has none. It needs ``project`` and ``environment`` (unsaid, Downhaul's own).
    ``deadline`` is the time of one change, in seconds.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sdk_key: Secret | None = None
    stream_url: str | None = None
    poll_url: str | None = None
    events_url: str | None = None
    events: bool = False
    private: bool = True
    admin_token: Secret | None = None
    admin_url: str = ADMIN_URL
    project: str = Field(default="default", min_length=1)
    environment: str | None = None
    deadline: float = Field(default=DEADLINE, gt=0, le=300)
