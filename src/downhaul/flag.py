"""The model of a flag: frozen data that can say whatever LaunchDarkly, Split and Unleash can say.

Nothing here evaluates, validates or reads a file. :mod:`downhaul.evaluator` compiles these
objects into decisions, :mod:`downhaul.documents` reads and checks them.

Where the backends' semantics differ, the difference is a stated option of the clause, the
bucketing or the flag (``dialect``, ``missing``, ``no_key``, ``off_variant``), never a guess. The
defaults are Downhaul's own semantics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

TARGETING_KEY: Final = "targetingKey"
"""The attribute name under which clauses and splits read a context's targeting key."""

CONTEXT_KIND: Final = "contextKind"
"""The attribute name under which a clause reads the kinds that a context carries."""

USER: Final = "user"
"""The context kind that is meant where none is named."""

WHOLE: Final = 100_000
"""The native resolution of a split: weights are thousandths of a percent."""


class FlagKind(StrEnum):
    """What a flag's variants hold. ``number`` keeps integers and floats apart by their values."""

    BOOLEAN = "boolean"
    STRING = "string"
    NUMBER = "number"
    OBJECT = "object"


class FlagType(StrEnum):
    """What a flag is for, and so how long it is meant to live."""

    RELEASE = "release"
    KILL_SWITCH = "kill_switch"
    EXPERIMENT = "experiment"
    PERMISSION = "permission"
    OPERATIONAL = "operational"


class Operator(StrEnum):
    """How a clause compares an attribute with its values. Several values are alternatives (any)."""

    IN = "in"
    """Equal to one of the values. Typed: ``5`` is ``5.0``, but not ``"5"``, and ``1`` not True."""
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    CONTAINS = "contains"
    MATCHES = "matches"
    """A regular expression (RE2 syntax, linear time) is found somewhere in the string."""
    EQUAL = "equal"
    """Numerically equal."""
    LESS = "less"
    LESS_OR_EQUAL = "less_or_equal"
    GREATER = "greater"
    GREATER_OR_EQUAL = "greater_or_equal"
    SAME_TIME = "same_time"
    BEFORE = "before"
    AFTER = "after"
    AT_OR_BEFORE = "at_or_before"
    AT_OR_AFTER = "at_or_after"
    SEMVER_EQUAL = "semver_equal"
    SEMVER_LESS = "semver_less"
    SEMVER_LESS_OR_EQUAL = "semver_less_or_equal"
    SEMVER_GREATER = "semver_greater"
    SEMVER_GREATER_OR_EQUAL = "semver_greater_or_equal"
    IN_CIDR = "in_cidr"
    """An IPv4 or IPv6 address within one of the networks."""
    HAS_ANY = "has_any"
    """A list attribute shares an element with the values, which list operators take as one set."""
    HAS_ALL = "has_all"
    """A list attribute has every one of the values."""
    SET_EQUALS = "set_equals"
    """A list attribute and the values have the same elements."""
    SUBSET_OF = "subset_of"
    """Every element of a non-empty list attribute is among the values."""
    IN_SEGMENT = "in_segment"
    """The context belongs to one of the segments named by the values. Reads no attribute."""
    PRESENT = "present"
    """The attribute is there and is not null. Takes no values."""
    SERVES = "serves"
    """Another flag, named by ``attribute``, serves the context a variant named by the values."""


class Dialect(StrEnum):
    """Whose reading of values a clause follows: what counts as a number, a date, a version.

    ``docs/specification.md`` has the table of the differences.
    """

    NATIVE = "native"
    LAUNCHDARKLY = "launchdarkly"
    SPLIT = "split"
    UNLEASH = "unleash"


class Missing(StrEnum):
    """What a clause does when the context lacks its attribute."""

    NO_MATCH = "no_match"
    """The clause does not match, negated or not (rule E8; LaunchDarkly)."""
    FALSE = "false"
    """The comparison is false, so a negated clause matches (Split, Unleash)."""
    NOW = "now"
    """The time of the evaluation stands in for the attribute (Unleash's ``currentTime``)."""


class Scheme(StrEnum):
    """Whose hash turns a key into a bucket. Changing it reassigns every user."""

    DOWNHAUL = "downhaul"
    """``murmur3_x86_32(cbor([salt, key])) * total >> 32`` (rule E6; flagd's fractional)."""
    LAUNCHDARKLY = "launchdarkly"
    """``sha1(f"{salt}.{key}")[:15 hex digits] / 0xFFFFFFFFFFFFFFF``.

    The salt is ``FLAG.SALT`` as LaunchDarkly has them, or its seed."""
    SPLIT = "split"
    """``murmur3_x86_32(key, seed) % 100 + 1`` (algo 2)."""
    SPLIT_LEGACY = "split_legacy"
    """Split's first hash, a Java-style string hash exclusive-or the seed (algo 1)."""
    UNLEASH = "unleash"
    """``murmur3_x86_32(f"{salt}:{key}", seed) % total + 1``; salt is the group id."""
    FLIPPER = "flipper"
    """``crc32(f"{salt}{key}") % total`` (Flipper's actors; the salt is the feature's name)."""
    RANDOM = "random"
    """A new bucket at every evaluation: sticky for nobody (Unleash's ``random``)."""


class NoKey(StrEnum):
    """What a split does when the context has nothing to bucket by."""

    ERROR = "error"
    """TARGETING_KEY_MISSING and the caller's default (rule E8)."""
    MISS = "miss"
    """The gate does not open; a split serves nobody (Unleash's strategies)."""
    FIRST = "first"
    """Bucket zero: the first variant of any weight (LaunchDarkly)."""
    RANDOM = "random"
    """A random bucket (Unleash's ``default`` stickiness)."""


@dataclass(frozen=True, slots=True)
class Bucketing:
    """How a context becomes a bucket.

    ``salt`` defaults to the flag's key. ``by`` names the attributes to try in order; the first
    that is present is hashed. ``total`` is the number of buckets that the weights add up to.
    """

    scheme: Scheme = Scheme.DOWNHAUL
    salt: str | None = None
    seed: int | None = None
    by: tuple[str, ...] = (TARGETING_KEY,)
    context_kind: str = USER
    no_key: NoKey = NoKey.ERROR
    total: int = WHOLE


@dataclass(frozen=True, slots=True)
class Weight:
    """A variant's part of a split. ``variant=None`` falls through to the next rule."""

    variant: str | None
    weight: int


@dataclass(frozen=True, slots=True)
class Split:
    """A weighted choice by bucket; the order of the weights is part of the assignment (rule E7)."""

    weights: tuple[Weight, ...]
    bucketing: Bucketing = Bucketing()


Serve = str | Split
"""What a rule or a flag serves: one variant by name, or a split."""


@dataclass(frozen=True, slots=True)
class Gate:
    """An audience gate: only the first ``share`` of ``bucketing.total`` buckets get through.

    Who stays outside goes on to the next rule, or is served ``outside`` where that is set
    (Split's traffic allocation serves the default treatment).
    """

    share: int
    bucketing: Bucketing = Bucketing()
    outside: str | None = None


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on a context.

    ``attribute`` is a name, or a path ``/address/city`` into nested mappings (``~1`` and ``~0``
    stand for ``/`` and ``~``, as in JSON Pointer). A list attribute matches if any element does.
    """

    attribute: str
    operator: Operator
    values: tuple[Any, ...] = ()
    negate: bool = False
    ignore_case: bool = False
    context_kind: str = USER
    missing: Missing = Missing.NO_MATCH
    dialect: Dialect = Dialect.NATIVE


@dataclass(frozen=True, slots=True)
class Rule:
    """All clauses match and the gate, if any, is open: then ``serve``. No clauses: everybody."""

    serve: Serve
    clauses: tuple[Clause, ...] = ()
    gate: Gate | None = None
    id: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Targeting keys that always get one variant. On the off variant it is a deny."""

    variant: str
    keys: frozenset[str]
    context_kind: str = USER


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """Another flag that must serve one of ``variants`` (none named: any but its off variant).

    A prerequisite that is off or killed fails, whatever it serves then, unless ``while_off``.
    ``negate`` turns the whole condition round; a prerequisite that does not exist always fails.
    """

    flag: str
    variants: tuple[str, ...] = ()
    negate: bool = False
    while_off: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """Targeting keys of one context kind."""

    keys: frozenset[str]
    context_kind: str = USER


@dataclass(frozen=True, slots=True)
class SegmentRule:
    """All clauses match and the gate, if any, is open: the context belongs to the segment."""

    clauses: tuple[Clause, ...] = ()
    gate: Gate | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A named audience: included keys, then excluded keys, then rules. Segments may nest."""

    key: str
    included: tuple[Keys, ...] = ()
    excluded: tuple[Keys, ...] = ()
    rules: tuple[SegmentRule, ...] = ()
    description: str = ""
    tags: tuple[str, ...] = ()
    version: str = ""


_ON_OFF: Final[Mapping[str, Any]] = MappingProxyType({"on": True, "off": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag, whole. The order of evaluation is off, prerequisites, targets, rules, ``default``.

    ``off_variant`` is what it serves when it is off or killed. ``None`` says that an imported flag
    serves the caller's default then, as its vendor does. ``version`` is opaque: compare it for
    equality only. Mappings in ``variants`` are never changed by evaluation.
    """

    key: str
    default: Serve
    kind: FlagKind = FlagKind.BOOLEAN
    variants: Mapping[str, Any] = field(default_factory=lambda: _ON_OFF)
    off_variant: str | None = "off"
    on: bool = False
    targets: tuple[Target, ...] = ()
    rules: tuple[Rule, ...] = ()
    prerequisites: tuple[Prerequisite, ...] = ()
    tags: tuple[str, ...] = ()
    owner: str = ""
    description: str = ""
    type: FlagType = FlagType.RELEASE
    version: str = ""

    @classmethod
    def boolean(
        cls,
        key: str,
        *,
        on: bool = True,
        percent: float | None = None,
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        **fields: Any,
    ) -> Flag:
        """Return a boolean flag, for everybody or for ``percent`` of all targeting keys.

        ``allow`` and ``deny`` are targeting keys that always get ``on`` or ``off``. ``fields`` are
        those of :class:`Flag`. Raises ValueError for a percentage outside 0..100 or finer than
        0.001.
        """
        targets = tuple(
            Target(variant, frozenset(keys))
            for variant, keys in (("off", frozenset(deny)), ("on", frozenset(allow)))
            if keys
        )
        serve: Serve = "on" if percent is None else percentage("on", percent, rest="off")
        return cls(**{"key": key, "default": serve, "on": on, "targets": targets, **fields})


@dataclass(frozen=True, slots=True)
class FlagSet:
    """Flags and segments with one revision: what an evaluator works on."""

    flags: Mapping[str, Flag] = field(default_factory=dict)
    segments: Mapping[str, Segment] = field(default_factory=dict)
    revision: str = ""

    @classmethod
    def of(
        cls, flags: Iterable[Flag], segments: Iterable[Segment] = (), revision: str = ""
    ) -> FlagSet:
        """Return a flag set of these flags and segments, by key."""
        return cls({one.key: one for one in flags}, {one.key: one for one in segments}, revision)


@dataclass(frozen=True, slots=True)
class FlagSetDelta:
    """What changed from one revision of a flag set to a later one. None stands for removed."""

    flags: Mapping[str, Flag | None] = field(default_factory=dict)
    segments: Mapping[str, Segment | None] = field(default_factory=dict)
    revision: str = ""


def percentage(variant: str, percent: float, *, rest: str | None) -> Split:
    """Return the split that gives ``variant`` to ``percent`` of all keys, ``rest`` to the others.

    The rising variant comes first in cumulative order, so raising only adds users (rule E7).
    Raises ValueError for a percentage outside 0..100 or finer than 0.001.
    """
    weight = weight_of(percent)
    return Split((Weight(variant, weight), Weight(rest, WHOLE - weight)))


def weight_of(percent: float) -> int:
    """Return a percentage as an integer weight in thousandths of a percent.

    Raises ValueError if it lies outside 0..100, is not a number, or is finer than 0.001.
    """
    if isinstance(percent, bool) or not isinstance(percent, (int, float)):
        message = f"a percentage is a number from 0 to 100, not {percent!r}"
        raise ValueError(message)  # noqa: TRY004  (one error for one argument, whatever is wrong with it)
    if not 0 <= percent <= 100:  # noqa: PLR2004  (NaN fails here too)
        message = f"a percentage lies between 0 and 100, not at {percent!r}"
        raise ValueError(message)
    weight = round(percent * 1000)
    if abs(weight / 1000 - percent) > 1e-9:  # noqa: PLR2004  (float noise, not a fourth decimal)
        message = f"the finest percentage is 0.001, so {percent!r} cannot be kept"
        raise ValueError(message)
    return weight
