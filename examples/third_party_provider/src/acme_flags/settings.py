"""What stands in ``[provider]`` beside ``url``."""

from pydantic import BaseModel, ConfigDict, PositiveFloat

from downhaul.config import Secret


class AcmeSettings(BaseModel):
    """The token of the server, and how often to ask for changes, in seconds."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: Secret
    poll: PositiveFloat = 1.0
