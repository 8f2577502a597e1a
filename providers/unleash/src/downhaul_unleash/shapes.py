"""What answers of the admin API must have."""

from __future__ import annotations

from typing import Any

from downhaul.vendors.shapes import Shape


class _Named(Shape):
    name: str


class Names(Shape):
    """The flags of a project, by name."""

    features: list[_Named]


class _Project(Shape):
    id: str


class Projects(Shape):
    """The projects that there are."""

    projects: list[_Project]


class _Constraint(Shape):
    context_name: str
    operator: str
    values: list[Any] | None = None


class _Segment(Shape):
    id: int
    name: str
    constraints: list[_Constraint] | None = None


class Segments(Shape):
    """The segments that there are."""

    segments: list[_Segment]


class _Variant(_Named):
    weight: float


class _Strategy(Shape):
    id: str
    parameters: dict[str, Any] | None = None
    constraints: list[_Constraint] | None = None
    segments: list[int] | None = None
    variants: list[_Variant] | None = None


class _Here(Shape):
    name: str
    enabled: bool
    strategies: list[_Strategy] | None = None
    variants: list[dict[str, Any]] | None = None


class _Dependency(Shape):
    feature: str
    variants: list[str] | None = None


class Feature(_Named):
    """A flag, with what it is in each environment."""

    environments: list[_Here]
    dependencies: list[_Dependency] | None = None
    children: list[str] | None = None


class _OfFeature(Shape):
    feature_name: str


class _ExportedStrategy(_OfFeature, _Strategy):
    pass


class _ExportedHere(_OfFeature):
    enabled: bool
    variants: list[dict[str, Any]] | None = None


class _ExportedDependencies(Shape):
    feature: str
    dependencies: list[_Dependency]


class _Tag(_OfFeature):
    tag_type: str
    tag_value: str


class Export(Shape):
    """Some flags at once, in one environment."""

    features: list[_Named]
    feature_strategies: list[_ExportedStrategy]
    feature_environments: list[_ExportedHere]
    dependencies: list[_ExportedDependencies] | None = None
    feature_tags: list[_Tag] | None = None
