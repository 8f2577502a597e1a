"""What answers of the REST API must have."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from downhaul.vendors.shapes import Shape


class _Variation(Shape):
    id: str = Field(alias="_id")
    value: Any


class _Targets(Shape):
    variation: int
    values: list[str] | None = None


class _Clause(Shape):
    op: str
    attribute: str | None = None
    values: list[Any] | None = None


class _Weight(Shape):
    variation: int
    weight: int


class _Rollout(Shape):
    variations: list[_Weight] | None = None


class _Serve(Shape):
    variation: int | None = None
    rollout: _Rollout | None = None


class _Rule(_Serve):
    clauses: list[_Clause]


class _Required(Shape):
    key: str
    variation: int


class _Here(Shape):
    on: bool
    version: int
    salt: str | None = None
    off_variation: int | None = None
    fallthrough: _Serve
    targets: list[_Targets] | None = None
    context_targets: list[_Targets] | None = None
    rules: list[_Rule] | None = None
    prerequisites: list[_Required] | None = None


class _Property(Shape):
    value: list[Any] | None = None


class Stored(Shape):
    """A flag, with what it is in each environment that was asked for."""

    key: str
    variations: list[_Variation]
    environments: dict[str, _Here]
    tags: list[str] | None = None
    description: str | None = None
    custom_properties: dict[str, _Property] | None = None


class FlagPage(Shape):
    """A page of flags."""

    items: list[Stored]
    total_count: int | None = None


class Kept(Shape):
    """A segment."""

    key: str
    version: int


class SegmentPage(Shape):
    """A page of segments."""

    items: list[Kept]
    total_count: int | None = None
