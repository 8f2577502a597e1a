"""What the core's own providers take in ``[provider]`` beside ``url`` and ``wrap``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, PositiveFloat


class NoOptions(BaseModel):
    """``memory:`` takes nothing more."""

    model_config = ConfigDict(extra="forbid")


class PolledOptions(BaseModel):
    """``file:`` and ``sqlite:``: how often to look for changes, in seconds."""

    model_config = ConfigDict(extra="forbid")

    poll: PositiveFloat | None = None
