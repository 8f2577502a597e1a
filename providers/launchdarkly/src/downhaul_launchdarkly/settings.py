"""What stands in ``[provider]`` beside ``url`` for LaunchDarkly."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from downhaul.config import Secret


class LaunchDarklySettings(BaseModel):
    """The key of an environment, and where LaunchDarkly is, if not where it usually is.

    ``sdk_key`` is a server-side SDK key; a ``+file`` URL needs none. ``stream_url``, ``poll_url``
    and ``events_url`` are for whoever reaches them in different places. ``events`` sends
    LaunchDarkly what was evaluated for whom: targeting keys, and no attributes unless ``private``
    is False.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    sdk_key: Secret | None = None
    stream_url: str | None = None
    poll_url: str | None = None
    events_url: str | None = None
    events: bool = False
    private: bool = True
