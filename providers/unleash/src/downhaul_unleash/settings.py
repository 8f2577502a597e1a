"""What stands in ``[provider]`` beside ``url`` for Unleash."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from downhaul.config import Secret


class UnleashSettings(BaseModel):
    """The tokens, and how often the server is asked. Times are in seconds.

    ``token`` is a backend token, with which flags are evaluated; a ``+file`` URL needs none.
    ``admin_token`` is another secret, for whoever manages flags; an application has none.
    ``environment`` is Unleash's name of the environment: unsaid, the one that the token names,
    else Downhaul's own. ``refresh`` is the time between two looks at the server. ``metrics`` sends
    counts of evaluations to it.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: Secret | None = None
    admin_token: Secret | None = None
    project: str = Field(default="default", pattern=r"^[A-Za-z0-9_.~-]{1,100}$")
    environment: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.~-]{1,100}$")
    app_name: str = Field(default="downhaul", min_length=1, max_length=100)
    refresh: float = Field(default=2.0, ge=0.1, le=3600)
    request_timeout: float = Field(default=3.0, gt=0, le=60)
    deadline: float = Field(default=10.0, gt=0, le=300)
    metrics: bool = False
