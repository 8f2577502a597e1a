"""What answers of the admin API must have."""

from __future__ import annotations

from typing import Any

from downhaul.vendors.shapes import Shape


class _Named(Shape):
    name: str


class _Workspace(_Named):
    id: str


class Workspaces(Shape):
    """The workspaces that a key sees."""

    objects: list[_Workspace]


class About(Shape):
    """What all environments share of a flag."""

    tags: list[_Named] | None = None
    description: str | None = None


class _NamedAbout(About):
    name: str


class Abouts(Shape):
    """That of a page of flags."""

    objects: list[_NamedAbout]
    total_count: int | None = None


class _Treatment(_Named):
    configurations: str | None = None
    description: str | None = None
    keys: list[str] | None = None
    segments: list[str] | None = None


class _Bucket(Shape):
    treatment: str
    size: float


class _Matcher(Shape):
    type: str


class _Condition(Shape):
    matchers: list[_Matcher]


class _Rule(Shape):
    condition: _Condition
    buckets: list[_Bucket]


class Definition(_Named):
    """What a flag is in one environment."""

    treatments: list[_Treatment]
    default_treatment: str
    rules: list[_Rule] | None = None
    default_rule: list[_Bucket]
    traffic_allocation: float | None = None
    traffic_type: dict[str, Any] | None = None
    flag_sets: list[dict[str, Any]] | None = None


class Definitions(Shape):
    """A page of definitions."""

    objects: list[Definition]
    total_count: int | None = None


class _Changed(_Named):
    conditions: list[dict[str, Any]] | None = None


class _Page(Shape):
    d: list[_Changed]
    t: int


class Changes(Shape):
    """What changed since two numbers, as SDKs are sent it."""

    ff: _Page
    rbs: _Page | None = None


class OldChanges(Shape):
    """What changed, as an older proxy tells it."""

    splits: list[_Changed]
    till: int


class Keys(_Named):
    """What changed of a segment's keys."""

    added: list[str]
    removed: list[str]
    till: int
