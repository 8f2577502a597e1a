"""What stands in ``[provider]`` beside ``url`` for PostgreSQL."""

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """``schema`` is where the tables live; ``poll`` the seconds between looks without any news."""

    model_config = ConfigDict(extra="forbid")

    schema_: str | None = Field(
        default=None, alias="schema", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,50}$"
    )
    poll: float | None = Field(default=None, gt=0, le=60)
