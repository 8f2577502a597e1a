"""An Unleash document as data: what it says, place by place, before anything is made of it.

Every field that decides something has its own type here, as the engine of Unleash's SDKs reads it.
Everything else stays in ``raw``, so that the ledger can tell of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the document: its place, as ``features[0].strategies[1]``, and its JSON data."""

    path: str
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Constraint(Part):
    """A condition on one field of the context."""

    context_name: str
    operator: str
    values: tuple[str, ...] = ()
    value: str | None = None
    inverted: bool = False
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Override(Part):
    """Whoever has one of these values gets the variant that the override belongs to."""

    context_name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variant(Part):
    """A named part of a weighted choice; ``payload`` is its type and text."""

    name: str
    weight: int
    stickiness: str | None = None
    payload: tuple[str, str] | None = None
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class Strategy(Part):
    """One way for a feature to be enabled; a feature's strategies are ORed."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    segments: tuple[int, ...] = ()
    variants: tuple[Variant, ...] = ()
    title: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Dependency(Part):
    """Another feature that must be enabled, or must not; and which variants of it will do."""

    feature: str
    enabled: bool = True
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Feature(Part):
    """A feature toggle in one environment."""

    name: str
    enabled: bool
    type: str | None = None
    description: str = ""
    project: str | None = None
    strategies: tuple[Strategy, ...] = ()
    variants: tuple[Variant, ...] = ()
    dependencies: tuple[Dependency, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentSource(Part):
    """Constraints with an id, which strategies name."""

    id: int
    name: str = ""
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that reading the document met, for the ledger."""

    flag: str
    path: str
    reason: str
    fragment: Any
    lossy: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A whole document: features by name and segments by id; of several, the last."""

    features: Mapping[str, Feature]
    segments: Mapping[int, SegmentSource]
    remarks: tuple[Remark, ...] = ()
