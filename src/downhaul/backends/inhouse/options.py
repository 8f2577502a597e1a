"""What stands in ``[provider]`` for flags of a team's own: see docs/in-house-flags.md."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


def _is_name(name: str) -> str:
    if "\0" in name:
        message = "can't be a name in a database"
        raise ValueError(message)
    return name


def _is_table(name: str) -> str:
    if not all(_is_name(name).split(".")):
        message = "is no name of a table, such as feature_flags or app.feature_flags"
        raise ValueError(message)
    return name


def _is_hashed(text: str) -> str:
    before, user, after = text.rpartition("{user}")
    if not user or after or "{user}" in before:
        message = "is the text that is hashed, with {user} at its end, such as {flag}:{user}"
        raise ValueError(message)
    return text


Name = Annotated[str, AfterValidator(_is_name)]
Table = Annotated[str, AfterValidator(_is_table)]
Bucketing = Literal["python-hash", "downhaul", "crc32", "md5", "sha1", "sha256", "other"]
Maybe = Annotated[str, AfterValidator(lambda name: _is_table(name) if name else name)]


class Options(BaseModel):
    """What all of them take: seconds between two looks."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    poll: PositiveFloat | None = None


class Columns(BaseModel):
    """What the columns are called. An empty name is a column that the table has not."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: Annotated[Name, Field(min_length=1)] = "name"
    enabled: Name = "enabled"
    percentage: Name = "rollout_percentage"
    whitelist: Name = "whitelist"
    blacklist: Name = "blacklist"
    value: Name = ""
    off_value: Name = ""
    kind: Name = ""
    description: Name = "description"
    owner: Name = "owner"
    tags: Name = "tags"
    updated_at: Name = "updated_at"


class Meaning(Options):
    """How a flag with a switch, a percentage and lists is read."""

    usual: ClassVar[Literal["everyone", "switch"]] = "everyone"

    enabled_means: Literal["everyone", "switch"] | None = None
    null_enabled: bool = False
    percentage_scale: PositiveFloat | None = None
    bucketing: Bucketing = "python-hash"
    hashed: Annotated[str, AfterValidator(_is_hashed)] = "{flag}{user}"
    buckets: Annotated[PositiveInt, Field(le=1 << 31)] = 100

    @property
    def enabled_by(self) -> Literal["everyone", "switch"]:
        """What ``enabled`` means, said or not."""
        return self.enabled_means or self.usual


class TableOptions(Meaning):
    """``table+sqlite:`` and ``table+postgresql:``. The defaults are the guide's table."""

    table: Table = "feature_flags"
    columns: Columns = Field(default_factory=Columns)
    whitelist_table: Table | None = None
    whitelist_key: Name = "flag"
    whitelist_user: Name = "user_id"
    whitelist_refers_to: Name | None = None


class FlipperOptions(Options):
    """``flipper+sqlite:`` and ``flipper+postgresql:``. ``groups`` is an attribute."""

    features: Table = "flipper_features"
    gates: Table = "flipper_gates"
    groups: Annotated[str, Field(min_length=1)] | None = None


class WaffleOptions(Options):
    """``waffle+sqlite:`` and ``waffle+postgresql:``. An empty name of a table reads none.

    ``users`` says what the targeting keys are.
    """

    flags: Maybe = "waffle_flag"
    switches: Maybe = "waffle_switch"
    samples: Maybe = "waffle_sample"
    switch_prefix: str = ""
    sample_prefix: str = ""
    users: Literal["id", "username"] = "id"
    user_table: Table = "auth_user"
    group_table: Table = "auth_group"


class EnvironmentOptions(Meaning):
    """``env:``. ``separator`` stands for ``_`` in keys."""

    usual: ClassVar[Literal["everyone", "switch"]] = "switch"

    poll: None = None
    bucketing: Bucketing = "other"
    separator: Literal["_", "-", "."] = "_"


class PlainOptions(Meaning):
    """``plain+file:``. ``section`` is the path, with dots, to the table of flags."""

    usual: ClassVar[Literal["everyone", "switch"]] = "switch"

    bucketing: Bucketing = "other"
    section: str = ""
