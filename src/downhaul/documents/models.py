"""The published format as pydantic models: which fields there are, and of what type.

What the fields mean together (does the variant exist, do the weights add up) is checked in
:mod:`downhaul.documents.checks`, on the model that evaluation uses.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from downhaul.flag import (
    TARGETING_KEY,
    USER,
    WHOLE,
    Dialect,
    FlagKind,
    FlagType,
    Missing,
    NoKey,
    Operator,
    Scheme,
)

FORMAT_VERSION: Final = 1

KEY_PATTERN: Final = r"""^[^\s\x00-\x1f\x7f,;*#"'`-][^\s\x00-\x1f\x7f,;"'`]{0,199}$"""
"""Keys of flags and segments: no spaces, quotes, commas, semicolons; none of ``*#-`` first."""

TAG_PATTERN: Final = r"^[^\s\x00-\x1f\x7f,]([^\x00-\x1f\x7f,]{0,198}[^\s\x00-\x1f\x7f,])?$"
KIND_PATTERN: Final = r"^[A-Za-z0-9._-]{1,200}$"

_DIALECT_NOTE: Final = "whose reading of numbers, dates and versions the clause follows"

Key = Annotated[str, Field(json_schema_extra={"pattern": KEY_PATTERN})]
TagName = Annotated[str, Field(json_schema_extra={"pattern": TAG_PATTERN})]
ContextKind = Annotated[
    str,
    Field(
        json_schema_extra={"pattern": KIND_PATTERN}, description="which part of a context it reads"
    ),
]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class Bucketing(_Model):
    """How a context becomes a bucket: by default, a hash of flag and targeting key."""

    scheme: Annotated[Scheme, Field(strict=False)] = Scheme.DOWNHAUL
    """whose hash; anything but `downhaul` is for imported flags"""
    salt: str | None = None
    """what is hashed with the key; the flag's key where it is left out"""
    seed: int | None = None
    """the seed of a vendor's hash"""
    by: Annotated[list[str], Field(min_length=1)] = [TARGETING_KEY]
    """attributes to bucket by; the first that is present is hashed"""
    context_kind: ContextKind = USER
    no_key: Annotated[NoKey, Field(strict=False)] = NoKey.ERROR
    """what happens when the context has nothing to bucket by"""
    total: Annotated[int, Field(ge=1)] = WHOLE
    """how many buckets there are; weights and shares are counts of them"""


class Weight(_Model):
    """A variant's part of a split: a weight, or a percentage with at most three decimals."""

    variant: str = ""
    fall_through: Literal[True] | None = None
    """instead of a variant: this part goes on to the next rule"""
    weight: Annotated[int, Field(ge=0)] | None = None
    """thousandths of a percent, unless the bucketing has another total"""
    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Weight:
        given = self.model_fields_set
        if ("variant" in given) == (self.fall_through is not None):
            raise ValueError('name a "variant", or say "fall_through": true')
        if (self.weight is None) == (self.percent is None):
            raise ValueError('give either a "weight" or a "percent"')
        return self


class Split(_Model):
    """A weighted choice of variants by bucket. The order of the parts is part of the assignment."""

    split: Annotated[list[Weight], Field(min_length=1)]
    bucketing: Bucketing | None = None


class Gate(_Model):
    """Lets only a share of all buckets through."""

    share: Annotated[int, Field(ge=0)] | None = None
    """thousandths of a percent, unless the bucketing has another total"""
    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    bucketing: Bucketing | None = None
    outside: str | None = None
    """the variant for who stays outside; left out, they go on to the next rule"""

    @model_validator(mode="after")
    def _one_of_each(self) -> Gate:
        if (self.share is None) == (self.percent is None):
            raise ValueError('give either a "share" or a "percent"')
        return self


def _serve_tag(value: Any) -> str | None:
    if isinstance(value, str):
        return "<variant>"
    return "<split>" if isinstance(value, (dict, Split)) else None


Serve = Annotated[
    Annotated[str, Tag("<variant>")] | Annotated[Split, Tag("<split>")],
    Discriminator(
        _serve_tag,
        custom_error_type="serve",
        custom_error_message='should be the name of a variant, or {"split": [...]}',
    ),
]


class Clause(_Model):
    """One condition on a context."""

    attribute: str = ""
    """a name, or a path such as `/address/city`; of `serves`, the key of a flag"""
    operator: Annotated[Operator, Field(strict=False)]
    values: list[Any] = []
    """alternatives: one that fits is enough (the list operators take them as one set)"""
    negate: bool = False
    ignore_case: bool = False
    context_kind: ContextKind = USER
    missing: Annotated[Missing, Field(strict=False)] = Missing.NO_MATCH
    """what the clause does when the context lacks the attribute"""
    dialect: Annotated[Dialect, Field(strict=False, description=_DIALECT_NOTE)] = Dialect.NATIVE


class Rule(_Model):
    """All clauses match and the gate is open: then serve."""

    id: str = ""
    description: str = ""
    when: list[Clause] = []
    gate: Gate | None = None
    serve: Serve


class Target(_Model):
    """Targeting keys that always get one variant."""

    variant: str
    keys: list[str]
    context_kind: ContextKind = USER


class Prerequisite(_Model):
    """Another flag that must serve one of these variants (none named: any but its off variant)."""

    flag: Key
    variants: list[str] = []
    negate: bool = False
    while_off: bool = False
    """whether the other flag counts even when it is off or killed"""


class CallersDefault(_Model):
    """For TOML, which has no null."""

    callers_default: Literal[True]


def _off_tag(value: Any) -> str | None:
    if value is None:
        return "<null>"
    if isinstance(value, str):
        return "<variant>"
    return "<callers_default>" if isinstance(value, (dict, CallersDefault)) else None


OffVariant = Annotated[
    Annotated[str, Tag("<variant>")]
    | Annotated[None, Tag("<null>")]
    | Annotated[CallersDefault, Tag("<callers_default>")],
    Discriminator(
        _off_tag,
        custom_error_type="off_variant",
        custom_error_message="should be the name of a variant, or null for the caller's default",
    ),
]


class Flag(_Model):
    """A flag. It is evaluated in this order: on, prerequisites, targets, rules, default."""

    key: Key
    kind: Annotated[FlagKind, Field(strict=False)] = FlagKind.BOOLEAN
    description: str = ""
    owner: str = ""
    type: Annotated[FlagType, Field(strict=False)] = FlagType.RELEASE
    tags: list[TagName] = []
    on: bool = False
    variants: Annotated[dict[str, Any], Field(min_length=1)] = {"on": True, "off": False}
    """named values; left out, a boolean flag has `on` and `off`"""
    off_variant: OffVariant = "off"
    """what it serves when it is off or killed; null is the caller's default"""
    prerequisites: list[Prerequisite] = []
    targets: list[Target] = []
    rules: list[Rule] = []
    default: Serve
    """what everybody else gets"""
    version: str = ""
    """given by the store; ignored on writing"""


class FlagOfKey(Flag):
    """A flag whose key stands before it, in a mapping."""

    key: Key = ""


class Keys(_Model):
    """Targeting keys of one context kind."""

    keys: list[str]
    context_kind: ContextKind = USER


class SegmentRule(_Model):
    """All clauses match and the gate is open: the context belongs to the segment."""

    when: list[Clause] = []
    gate: Gate | None = None


class Segment(_Model):
    """A named audience: included keys, then excluded keys, then rules."""

    key: Key
    description: str = ""
    tags: list[TagName] = []
    included: list[Keys] = []
    excluded: list[Keys] = []
    rules: list[SegmentRule] = []
    version: str = ""


class SegmentOfKey(Segment):
    """A segment whose key stands before it, in a mapping."""

    key: Key = ""


class Document(_Model):
    """A document of flags and segments: lists of them, or mappings by key."""

    downhaul: Literal[1]
    """the version of this format"""
    flags: list[Flag] | dict[str, FlagOfKey] = []
    segments: list[Segment] | dict[str, SegmentOfKey] = []


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document format, as published in ``docs/``."""
    schema = Document.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
