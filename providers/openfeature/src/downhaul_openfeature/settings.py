"""What stands in ``[provider]`` beside ``url`` for an OpenFeature provider."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class OpenFeatureSettings(BaseModel):
    """Which provider, and what it is made with.

    ``provider`` is ``package.module:callable``, called with ``options`` as keywords; a name that is
    known (``openfeature+flagd:``) needs none. ``watch`` says whether the provider tells of changes
    by itself; unsaid, what is known of the name, else no.
    """

    model_config = ConfigDict(extra="forbid")

    provider: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
    options: dict[str, Any] = Field(default_factory=dict)
    watch: bool | None = None
