"""Unleash's variants as variants of one flag, and its weighted choices as splits."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from downhaul.flag import (
    TARGETING_KEY,
    Bucketing,
    Clause,
    Dialect,
    FlagKind,
    Missing,
    NoKey,
    Operator,
    Scheme,
    Serve,
    Split,
    Weight,
)
from downhaul_unleash.attributes import CURRENT_TIME, attribute_of
from downhaul_unleash.source import Feature, Override, Variant

SEED: Final = 86_028_157
"""The seed of the engine's hash for variants, so that they don't go along with rollouts."""

_OFF_NAMES: Final = ("off", "disabled", "unleash-off")
_ON_NAMES: Final = ("on", "enabled", "unleash-on")
_NOTHING: Final[dict[FlagKind, Any]] = {
    FlagKind.STRING: "",
    FlagKind.NUMBER: 0,
    FlagKind.OBJECT: {},
}
_Identity = tuple[str, tuple[str, str] | None]


@dataclass(slots=True)
class Table:
    """The variants of one flag: our name of each of Unleash's, their values, off, and a plain on.

    ``names`` is ours for each of Unleash's name and payload. ``reasons`` says, by the path of a
    variant in the source, what is not carried as it stands.
    """

    kind: FlagKind = FlagKind.BOOLEAN
    off: str = "off"
    on: str = "on"
    values: dict[str, Any] = field(default_factory=lambda: {"on": True, "off": False})
    reasons: dict[str, list[str]] = field(default_factory=dict)
    names: dict[_Identity, str] = field(default_factory=dict)
    _plain: Any = True

    def name_of(self, one: Variant) -> str:
        """Return our name of a variant."""
        return self.names[one.name, one.payload]

    def plain_on(self) -> str:
        """Return the variant of who is enabled without any of Unleash's variants."""
        self.values.setdefault(self.on, self._plain)
        return self.on


def table_of(feature: Feature) -> Table:
    """Return the variants of a flag for this feature; without any, the flag is a boolean."""
    found = list(_all(feature))
    if not found:
        return Table()
    kind, mixed = _kind(found)
    taken = {one.name for one in found}
    off, on = _free(_OFF_NAMES, taken), _free(_ON_NAMES, taken)
    unnamed = all(one.payload is None for one in found)
    plain = on if unnamed else _NOTHING[kind]
    table = Table(kind, off, on, {}, {}, {}, plain)
    used = {off, on}
    for one in found:
        if mixed:
            _tell(table, one, mixed)
        identity = (one.name, one.payload)
        if identity in table.names:
            continue
        name = _named(one, used)
        if name != one.name:
            _tell(table, one, f'called "{name}" here: another variant has its name')
        used.add(name)
        table.names[identity] = name
        table.values[name] = _value(one, kind)
    table.values[off] = off if unnamed else _NOTHING[kind]
    return table


def _all(feature: Feature) -> Iterator[Variant]:
    yield from feature.variants
    for strategy in feature.strategies:
        yield from strategy.variants


def _tell(table: Table, one: Variant, reason: str) -> None:
    table.reasons.setdefault(one.path, []).append(reason)


def _free(names: Iterable[str], taken: set[str]) -> str:
    names = tuple(names)
    free = next((name for name in names if name not in taken), None)
    if free is not None:
        return free
    number = 2
    while f"{names[0]}-{number}" in taken:
        number += 1
    return f"{names[0]}-{number}"


def _named(one: Variant, used: set[str]) -> str:
    wanted = one.name or "unnamed"
    if wanted not in used:
        return wanted
    number = 2
    while f"{wanted}-{number}" in used:
        number += 1
    return f"{wanted}-{number}"


def _kind(found: list[Variant]) -> tuple[FlagKind, str]:
    """Return what the payloads are together, and what to say where they are of several kinds."""
    payloads = [one.payload for one in found]
    types = {"none" if payload is None else payload[0] for payload in payloads}
    if types == {"number"}:
        if all(_number(text) is not None for _, text in filter(None, payloads)):
            return FlagKind.NUMBER, ""
        return FlagKind.STRING, "some payloads are no numbers, so that all are text here"
    if types == {"json"}:
        if all(_object(text) is not None for _, text in filter(None, payloads)):
            return FlagKind.OBJECT, ""
        return FlagKind.STRING, "some payloads are no objects or lists, so that all are text here"
    if len(types) == 1:
        return FlagKind.STRING, ""
    mixed = ", ".join(sorted(types))
    return (
        FlagKind.STRING,
        f"the payloads are of several types ({mixed}), so that all are text here",
    )


def _value(one: Variant, kind: FlagKind) -> Any:
    if one.payload is None:
        return one.name
    text = one.payload[1]
    if kind is FlagKind.NUMBER:
        return _number(text)
    return _object(text) if kind is FlagKind.OBJECT else text


def _number(text: str) -> int | float | None:
    found = _json(text)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    if isinstance(found, float) and not math.isfinite(found):
        return None
    return found if -(1 << 63) <= found < 1 << 63 or isinstance(found, float) else None


def _object(text: str) -> Any:
    found = _json(text)
    return found if isinstance(found, (dict, list)) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# --- the choice


def choice(
    variants: tuple[Variant, ...], group: str, stickiness: str | None, table: Table
) -> Serve:
    """Return what serves these variants by weight, as the engine chooses among them."""
    total = sum(one.weight for one in variants)
    if not total:
        return table.plain_on()
    if len(chosen := [one for one in variants if one.weight]) == 1:
        return table.name_of(chosen[0])
    weights = tuple(Weight(table.name_of(one), one.weight) for one in variants)
    return Split(weights, _bucketing(group, stickiness, total))


def _bucketing(group: str, stickiness: str | None, total: int) -> Bucketing:
    # The engine takes a stickiness that it does not know, "random" among them, for the name of a
    # property, and draws where there is none. No property has the name currentTime.
    if stickiness == CURRENT_TIME:
        return Bucketing(Scheme.RANDOM, total=total)
    by: tuple[str, ...] = (TARGETING_KEY, "sessionId")
    if stickiness is not None and stickiness != "default":
        by = (attribute_of(stickiness),)
    return Bucketing(Scheme.UNLEASH, group, SEED, by=by, no_key=NoKey.RANDOM, total=total)


def override_clause(one: Override, *, negate: bool = False) -> Clause:
    """Return the condition of a variant's override."""
    return Clause(
        attribute_of(one.context_name),
        Operator.IN,
        one.values,
        negate=negate,
        missing=Missing.FALSE,
        dialect=Dialect.UNLEASH,
    )
